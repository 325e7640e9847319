"""The plots of the page, each from reports that `to_dict` holds as well."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from xml.etree.ElementTree import Element

from gristmill.documents import TEXT_SUFFIXES
from gristmill.report import OutlyingDocument, TokenizerReport
from gristmill.report_page.charts import Axis, Point, Series, line_chart
from gristmill.report_page.markup import element
from gristmill.report_page.tables import Column, Row, table
from gristmill.vocabulary_curve import CurvePoint, VocabularyCurve

Named = Sequence[tuple[str, TokenizerReport]]


def compression(curves: Sequence[VocabularyCurve], recommended: int | None = None) -> Element:
    """Return vocabulary size against compression."""
    series = [
        Series(
            curve.name,
            number,
            [_curve_point(curve.name, point) for point in curve.points],
            len(curve.points) > 1,
        )
        for number, curve in enumerate(curves)
    ]
    return line_chart(
        "Vocabulary size against compression",
        Axis("vocabulary size (tokens, logarithmic)", is_log=True),
        Axis("compression (UTF-8 bytes per token; higher means fewer tokens)"),
        series,
        [] if recommended is None else [(float(recommended), f"{recommended:,}")],
    )


def rank_frequency(reports: Named) -> Element:
    """Return how often the n-th most frequent token occurs."""
    series = []
    for number, (name, report) in enumerate(reports):
        points = [
            Point(item.rank, item.count, f"{name}\nrank {item.rank:,}\n{item.count:,} occurrences")
            for item in report.distributions.rank_frequency
            if item.count > 0
        ]
        series.append(Series(name, number, points))
    return line_chart(
        "Rank and frequency",
        Axis("rank of the token (1 = the most frequent, logarithmic)", is_log=True),
        Axis("occurrences in the corpus (logarithmic)", is_log=True),
        series,
    )


def token_lengths(reports: Named, of_vocabulary: bool) -> Element:
    """Return the lengths of tokens, over the running tokens or over the vocabulary."""
    series = []
    for number, (name, report) in enumerate(reports):
        lengths = [item for item in report.distributions.token_lengths if item.num_bytes > 0]
        counts = [item.tokens if of_vocabulary else item.occurrences for item in lengths]
        total = sum(counts) or 1
        what = "tokens of the vocabulary" if of_vocabulary else "occurrences"
        points = []
        for item, count in zip(lengths, counts, strict=True):
            share = count / total
            unit = "byte" if item.num_bytes == 1 else "bytes"
            tip = f"{name}\n{item.num_bytes} {unit}\n{count:,} {what} ({share:.2%})"
            points.append(Point(item.num_bytes, share, tip))
        series.append(Series(name, number, points))
    tokens = "tokens of the vocabulary" if of_vocabulary else "running tokens"
    return line_chart(
        f"Token lengths, {tokens}",
        Axis("length of a token (UTF-8 bytes, logarithmic)", is_log=True),
        Axis(f"share of the {tokens}", from_zero=True, is_share=True),
        series,
    )


def outlying_documents(report: TokenizerReport) -> Element:
    """Return the documents of the fewest and of the most bytes per token."""
    found = report.distributions
    overall = report.corpus.bytes / report.corpus.tokens if report.corpus.tokens else 0.0
    documents = [*found.worst_documents, *reversed(found.best_documents)]
    unique = list(dict.fromkeys(documents))
    if not unique:
        return element("p", None, f"No document has {found.outlier_min_bytes:,} bytes or more.")
    most = max([overall, *(document.bytes_per_token or 0.0 for document in unique)]) * 1.05
    columns = [
        Column(title="Document", width=200),
        Column(title="Bytes per token", width=90),
        Column(title="Of the corpus'", width=90),
        Column(title="", width=150),
        Column(title="Bytes", width=85),
        Column(title="Tokens", width=85),
    ]
    return table("outlying documents", columns, [_document_row(item, overall, most) for item in unique])


def document_name(name: str) -> str:
    """Return the name of a document without its row, where the file is one document.

    Example:
        >>> document_name("src/a.py, row 0"), document_name("rows.jsonl, row 0")
        ('src/a.py', 'rows.jsonl, row 0')
    """
    path = name.removesuffix(", row 0")
    return path if PurePath(path).suffix in TEXT_SUFFIXES else name


def _document_row(document: OutlyingDocument, overall: float, most: float) -> Row:
    value = document.bytes_per_token or 0.0
    bar = element(
        "span",
        {"class": "bar", "aria-hidden": "true"},
        element("i", {"style": f"width:{100 * value / most:.1f}%"}),
        element("b", {"style": f"left:{100 * overall / most:.1f}%"}),
    )
    return Row(
        title=document_name(document.name),
        cells=[
            [f"{value:.3f}"],
            [f"{value / overall:.2f}×" if overall else ""],
            [bar],
            [f"{document.bytes:,}"],
            [f"{document.tokens:,}"],
        ],
    )


def _curve_point(name: str, point: CurvePoint) -> Point:
    low, high = (point.interval.low, point.interval.high) if point.interval else (None, None)
    between = f" ({low:.3f} to {high:.3f})" if point.interval else ""
    tip = f"{name}\n{point.vocab_size:,} tokens\n{point.bytes_per_token:.3f} bytes per token{between}"
    return Point(point.vocab_size, point.bytes_per_token, tip, low, high)
