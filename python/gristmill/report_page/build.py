"""Gather what a page shows: the reports are there, curves and split texts are read from the corpus again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from gristmill.comparison import TokenizerComparison, compare_tokenizers
from gristmill.corpus import as_source, iter_batches
from gristmill.errors import BadDocumentError
from gristmill.inspection import inspect_text
from gristmill.report import TokenizerReport
from gristmill.report_page.page import Excerpt, PageContent, write_page
from gristmill.report_page.plots import document_name
from gristmill.text_table import count_of
from gristmill.token_batch import as_str, good_texts
from gristmill.tokenizer import Tokenizer
from gristmill.vocabulary_advice import HoldOut, SizePoint, VocabularyAdvice
from gristmill.vocabulary_curve import CurvePoint, VocabularyCurve, measure_curves

_EXCERPT_CHARACTERS = 700


def write_report_page(
    path: str | os.PathLike[str],
    comparison: TokenizerComparison,
    tokenizers: Mapping[str, Tokenizer],
    corpora: Mapping[str, object],
    *,
    advice: VocabularyAdvice | None = None,
    title: str | None = None,
    text_column: str = "text",
    num_threads: int | None = None,
    on_bad: str = "error",
) -> None:
    """Write reports as one HTML page that needs no network.

    The corpus is read again for the curve of compression over vocabulary sizes (up to seven further
    encodings for each BPE, in one pass; none with `advice`, which has a curve), and for the split texts.
    Where it can be read only once, the page goes without them.

    Args:
        path: the file; it appears whole or not at all.
        comparison: of several tokenizers or several corpora, or of one report alone (`single_report`).
        tokenizers: by the names in the comparison; the one tokenizer where corpora are compared.
        corpora: by name; the one corpus where tokenizers are compared.
        advice: shows its answer and its curve.
        title: of the page.
        text_column, num_threads, on_bad: as for `measure_tokenizer`.

    Raises:
        OSError: the page cannot be written, and nothing was changed.
        BadDocumentError: a value is no text, and `on_bad` is "error".
    """
    options: dict[str, Any] = {"text_column": text_column, "num_threads": num_threads, "on_bad": on_bad}
    repeatable = {
        name: documents for name, documents in corpora.items() if as_source(documents, text_column).repeatable
    }
    if advice is not None:
        curves, note = _curves_of_advice(advice)
    else:
        curves, note = _curves(comparison, tokenizers, repeatable, options)
    excerpts = []
    for name, documents in repeatable.items():
        place = comparison.names.index(name) if comparison.axis == "corpora" else 0
        excerpts += _excerpts(comparison.reports[place], tokenizers, documents, text_column)
    confidence = comparison.reports[0].settings.confidence
    content = PageContent(
        title=title or _title(comparison),
        comparison=comparison,
        curves=curves,
        curve_note=f"{note} Bars are {confidence:.0%} intervals over documents.",
        excerpts=excerpts,
        advice=advice,
    )
    write_page(path, content)


def write_advice_page(
    path: str | os.PathLike[str],
    advice: VocabularyAdvice,
    beside: Mapping[str, Tokenizer],
    documents: object,
    *,
    is_held_out: bool = True,
    text_column: str = "text",
    num_threads: int | None = None,
    on_bad: str = "error",
) -> None:
    """Write an advice as a page: its answer and curve, and the advised tokenizer compared with the others.

    Args:
        path: the file; it appears whole or not at all.
        advice: what `advise_vocab_size` has found.
        beside: the tokenizers that it was given, by name.
        documents: the repeatable corpus that it was given.
        is_held_out: measure on the part of `documents` that it kept out of the training; else on all of them
            (give the documents that were given as `held_out` then).
        text_column, num_threads, on_bad: as for `measure_tokenizer`.

    Raises:
        OSError, BadDocumentError: as `write_report_page`.
    """
    options: dict[str, Any] = {"text_column": text_column, "num_threads": num_threads, "on_bad": on_bad}
    measured = HoldOut(documents, text_column, True) if is_held_out else documents
    tokenizers = {f"{advice.recommended:,} tokens": advice.tokenizer} | dict(beside)
    comparison = compare_tokenizers(tokenizers, measured, **options)
    corpora = {"held out": measured}
    title = f"Vocabulary size for {advice.corpus}"
    write_report_page(path, comparison, tokenizers, corpora, advice=advice, title=title, **options)


def single_report(report: TokenizerReport, name: str = "") -> TokenizerComparison:
    """Return one report as a comparison with nothing, for a page of its own."""
    return TokenizerComparison(
        axis="tokenizers",
        names=(name or report.tokenizer.name or "tokenizer",),
        reports=(report,),
        differences=(),
        caveats=report.caveats,
    )


def _title(comparison: TokenizerComparison) -> str:
    if len(comparison.names) == 1:
        return f"{comparison.names[0]}: a tokenizer, measured"
    what = "tokenizers" if comparison.axis == "tokenizers" else "corpora"
    return f"{len(comparison.names)} {what}, compared"


def _curves(
    comparison: TokenizerComparison,
    tokenizers: Mapping[str, Tokenizer],
    corpora: Mapping[str, object],
    options: dict[str, Any],
) -> tuple[list[VocabularyCurve], str]:
    note = (
        "Each BPE cut to its first merges, at half of its size, a quarter, and so on: what a training to "
        "that size would have learned from the same corpus."
    )
    curves: list[VocabularyCurve] = []
    for name, documents in corpora.items():
        found = measure_curves(tokenizers, documents, **options)
        if comparison.axis == "corpora":
            found = tuple(VocabularyCurve(name=name, points=curve.points) for curve in found)
        curves += found
    if not curves:  # the reports alone
        for name, report in zip(comparison.names, comparison.reports, strict=True):
            value = report.value("bytes_per_token")
            if value is not None:
                interval = report.metric("bytes_per_token").interval
                point = CurvePoint(
                    vocab_size=report.tokenizer.num_tokens, bytes_per_token=value, interval=interval
                )
                curves.append(VocabularyCurve(name=name, points=(point,)))
        note = "One point for each tokenizer: the corpus could not be read a second time."
    return curves, note


def _curves_of_advice(advice: VocabularyAdvice) -> tuple[list[VocabularyCurve], str]:
    named = {"trained here": advice.curve} | {point.name: (point,) for point in advice.beside}
    curves = [VocabularyCurve(name=name, points=tuple(map(_point, points))) for name, points in named.items()]
    measured = f"{count_of(advice.documents, 'document')}, {advice.bytes:,} bytes: {advice.held_out_rule}"
    trained = f"One training gave {advice.largest_vocab_size:,} tokens"
    return curves, f"Measured on {measured}. {trained}; the smaller vocabularies are its first merges."


def _point(point: SizePoint) -> CurvePoint:
    return CurvePoint(
        vocab_size=point.vocab_size, bytes_per_token=point.bytes_per_token or 0.0, interval=point.interval
    )


def _excerpts(
    report: TokenizerReport, tokenizers: Mapping[str, Tokenizer], documents: object, text_column: str
) -> list[Excerpt]:
    """Return the beginnings of a document in the middle of the corpus and of the farthest outliers, split."""
    found = report.distributions
    wanted = {(report.corpus.documents + report.corpus.num_skipped) // 2: "from the middle of the corpus"}
    for documents_there, note in (
        (found.worst_documents[:1], "the fewest bytes per token"),
        (found.best_documents[:1], "the most bytes per token"),
    ):
        wanted |= {document.row: note for document in documents_there}
    source = as_source(documents, text_column)
    excerpts = []
    for batch in iter_batches(source, text_column):
        for row in sorted(wanted):
            index = row - batch.first_row
            if 0 <= index < len(batch.texts) and (text := _text(batch.texts[index])) is not None:
                name, place = source.locate(row, batch.texts[index])
                title = document_name(f"{name}, row {place}")
                note = f"{wanted[row]}; its first {_EXCERPT_CHARACTERS} characters at most: "
                inspection = inspect_text(tokenizers, text[:_EXCERPT_CHARACTERS])
                excerpts.append(Excerpt(title=title, note=note, inspection=inspection))
    return excerpts


def _text(value: object) -> str | None:
    try:
        good, _ = good_texts([value], skip_bad=False)
    except BadDocumentError:
        return None
    return as_str(good[0])
