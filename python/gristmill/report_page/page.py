"""One self-contained page: no network, no font, no script but its own few lines.

    PageContent ──► sections (figures, plots, split_view) ──► render_page ──► write_page (durable)

A content policy in the page forbids everything but that script (by its hash), so that even a page on which
some text escaped would run nothing and fetch nothing.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from xml.etree.ElementTree import Element

from gristmill import durable
from gristmill.comparison import TokenizerComparison
from gristmill.inspection import TextInspection
from gristmill.report_page import figures, plots
from gristmill.report_page.markup import element, raw, to_html
from gristmill.report_page.split_view import split_view
from gristmill.report_page.tables import stacking_rules
from gristmill.report_page.vocabulary import vocabulary_table
from gristmill.text_table import count_of
from gristmill.vocabulary_advice import VocabularyAdvice
from gristmill.vocabulary_curve import VocabularyCurve


@dataclass(frozen=True, kw_only=True)
class Excerpt:
    """A stretch of a document, split: where it comes from, why it is shown, and the splits."""

    title: str
    note: str
    inspection: TextInspection


@dataclass(frozen=True, kw_only=True)
class PageContent:
    """What a page shows.

    Attributes:
        title: its heading.
        comparison: one report or several.
        curves: vocabulary size against compression.
        curve_note: what the curves were measured on, and how.
        excerpts: split texts.
        advice: the recommended size, where it was asked for.
    """

    title: str
    comparison: TokenizerComparison
    curves: Sequence[VocabularyCurve]
    curve_note: str
    excerpts: Sequence[Excerpt] = ()
    advice: VocabularyAdvice | None = None


def write_page(path: str | os.PathLike[str], content: PageContent) -> None:
    """Write the page; the file appears whole or not at all.

    Raises:
        OSError: it cannot be written, and nothing was changed.
    """
    check_page_path(path)
    durable.write_text(path, render_page(content))


def check_page_path(path: str | os.PathLike[str]) -> None:
    """Refuse a path that no page can be written to.

    Raises:
        IsADirectoryError: it is a folder. FileNotFoundError: there is no folder for it.
    """
    if Path(path).is_dir():
        raise IsADirectoryError(errno.EISDIR, "a folder (expected the name of a file)", str(path))
    if not Path(path).parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no folder for it (expected one that exists)", str(path))


def render_page(content: PageContent) -> str:
    """Return the HTML of the page."""
    package = resources.files("gristmill.report_page")
    style, stacked = ((package / name).read_text(encoding="utf-8") for name in ("page.css", "stacked.css"))
    script = (package / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    head = element(
        "head",
        None,
        element("meta", {"charset": "utf-8"}),
        element("meta", {"http-equiv": "Content-Security-Policy", "content": policy}),
        element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", {"name": "referrer", "content": "no-referrer"}),
        element("title", None, content.title),
        raw("style", f"{style}{stacking_rules(stacked)}"),
    )
    sections = _sections(content)
    body = element(
        "body",
        None,
        element("main", None, _header(content, sections), *sections, _footer()),
        element("div", {"id": "tip", "role": "status"}),
        raw("script", script),
    )
    return "<!doctype html>\n" + to_html(element("html", {"lang": "en"}, head, body)) + "\n"


def _header(content: PageContent, sections: Sequence[Element]) -> Element:
    reports = content.comparison.reports
    corpora = reports if content.comparison.axis == "corpora" else reports[:1]
    lines = [
        f"{corpus.name}: {count_of(corpus.documents, 'document')}, {corpus.bytes:,} bytes as UTF-8, "
        f"{corpus.lines:,} lines"
        + (f", {count_of(corpus.num_skipped, 'row')} skipped" if corpus.num_skipped else "")
        for corpus in (report.corpus for report in corpora)
    ]
    links = element("ul", None)
    for section in sections:
        title = section.find("h2")
        text = "" if title is None else str(title.text)
        links.append(element("li", None, element("a", {"href": f"#{section.get('id')}"}, text)))
    return element(
        "header",
        None,
        element("h1", None, content.title),
        *(element("p", "muted", line) for line in lines),
        element("nav", {"aria-label": "sections"}, links),
    )


def _sections(content: PageContent) -> list[Element]:
    comparison, advice = content.comparison, content.advice
    named = list(zip(comparison.names, comparison.reports, strict=True))
    first_name, first = named[0]
    sections = []
    if advice is not None:
        sections.append(
            _section(
                "answer",
                "Which size, and what others lose",
                figures.answer(advice),
                figures.caveats(advice.caveats),
            )
        )
    compression = [
        element("p", "rule", content.curve_note),
        plots.compression(content.curves, None if advice is None else advice.recommended),
    ]
    if advice is not None:
        compression.append(figures.size_table(advice))
    sections += [
        _section("compression", "Vocabulary size against compression", *compression),
        _section(
            "figures",
            "Figures, each with its rule",
            *_caveats_of_figures(content),
            element("p", "rule", _how(comparison)),
            figures.metric_table(comparison),
        ),
        _section(
            "frequency",
            "Rank and frequency",
            element(
                "p",
                "rule",
                "How often the n-th most frequent token occurs. A long flat end means tokens that a model "
                "hardly ever sees in training.",
            ),
            plots.rank_frequency(named),
        ),
        _section(
            "lengths",
            "Token lengths",
            element(
                "div",
                "charts",
                plots.token_lengths(named, of_vocabulary=False),
                plots.token_lengths(named, of_vocabulary=True),
            ),
        ),
        _section(
            "outliers",
            "Outlying files",
            element(
                "p",
                "rule",
                f"The documents whose UTF-8 bytes per token ({first_name}) lie farthest from the rest, of "
                f"those with at least {first.distributions.outlier_min_bytes:,} bytes. The line in each bar "
                "is the whole corpus. Few bytes per token: text unlike what was learned; many: repetition.",
            ),
            plots.outlying_documents(first),
        ),
        _section(
            "vocabulary",
            "Tokens to look at",
            element("p", "rule", "Blanks are shown as ·, other white space and stray bytes escaped."),
            vocabulary_table(comparison.names, comparison.reports),
        ),
        _section("split", "Split text", *_split(content)),
    ]
    return sections


def _caveats_of_figures(content: PageContent) -> list[Element]:
    said = () if content.advice is None else content.advice.caveats
    left = [caveat for caveat in content.comparison.caveats if caveat not in said]
    return [figures.caveats(left)] if left else []


def _split(content: PageContent) -> list[Element]:
    if not content.excerpts:
        return [element("p", "rule", "No text: the corpus could not be read a second time.")]
    note = (
        "Colours only tell where tokens end. Point at a token, touch it, or go there by tab and arrow keys: "
        "its id, its spelling in the vocabulary, its place in characters and UTF-8 bytes. White space is "
        "marked: · blank, → tab, ⏎ line feed, ␍ carriage return, ⍽ no-break space. A character that several "
        "tokens share stands in the first of them; the others show their bytes, as \\x97."
    )
    views = [split_view(excerpt.title, excerpt.note, excerpt.inspection) for excerpt in content.excerpts]
    return [element("p", "rule", note), *views]


def _how(comparison: TokenizerComparison) -> str:
    settings = comparison.reports[0].settings
    engines = "; ".join(
        f"{name}: {report.tokenizer.num_tokens:,} tokens, encoded by {report.tokenizer.engine}"
        for name, report in zip(comparison.names, comparison.reports, strict=True)
    )
    intervals = (
        f"Intervals: {settings.confidence:.0%}, bootstrap over documents ({settings.num_replicates:,} draws)."
    )
    if len(comparison.reports) == 1:
        return f"{engines}. {intervals}"
    drawn = (
        "the same documents drawn for all"
        if comparison.axis == "tokenizers"
        else "each corpus drawn for itself"
    )
    return f"{engines}. {intervals} Differences are against {comparison.names[0]}; {drawn}."


def _section(name: str, title: str, *children: Element) -> Element:
    heading = element("h2", {"id": f"{name}-title"}, title)
    return element("section", {"id": name, "aria-labelledby": f"{name}-title"}, heading, *children)


def _footer() -> Element:
    from gristmill import __version__

    return element(
        "footer", "muted", element("p", None, f"Written by gristmill {__version__}. Nothing was fetched.")
    )
