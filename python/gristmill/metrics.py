"""Measure a tokenizer on a corpus: one streaming pass, integer counters in Rust, figures at the end.

    documents ──► TokenizerMeter.add ──► counters ──┐
    (shards)      TokenizerMeter.add ──► counters ──┴► merge ──► report ──► TokenizerReport
                                            └─ save, load

No figure depends on the order of the documents, on how they are cut into batches and shards, or on threads.
What each metric means stands beside it in the report, and at length in docs/metrics.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gristmill.corpus import TextBatch, as_source, iter_batches
from gristmill.errors import (
    BadDocumentError,
    EmptyCorpusError,
    SourceError,
)
from gristmill.options import check_count
from gristmill.report import (
    TokenEntry as TokenEntry,
    TokenizerReport as TokenizerReport,
)
from gristmill.token_meter import (
    NOISES as NOISES,
    NoiseOptions as NoiseOptions,
    TokenizerMeter as TokenizerMeter,
    check_share as check_share,
)
from gristmill.tokenizer import Tokenizer

_BATCH_DOCUMENTS = 1000


def measure_tokenizer(
    tokenizer: Tokenizer,
    documents: object,
    *,
    text_column: str = "text",
    num_threads: int | None = None,
    on_bad: str = "error",
    rare_below: int = 10,
    noises: Sequence[str] = (),
    noise_rate: float = 0.1,
    seed: int = 0,
    reference: Tokenizer | None = None,
    reference_name: str = "the reference",
    parallel_to: object = None,
    confidence: float = 0.95,
    num_replicates: int = 1000,
    name: str = "",
) -> TokenizerReport:
    """Measure a tokenizer on a corpus, which is read once. Memory does not grow with the corpus.

    Args:
        tokenizer: what is measured.
        documents: any iterable of texts, of lists of texts, or of rows with a text column; Arrow memory.
        text_column: the column of rows that holds the text.
        num_threads: Rust threads, all cores by default. No figure depends on it.
        on_bad: "error" raises at the first value that is no text, "skip" counts such values and goes on.
        rare_below: a token that occurs at least once, but fewer times than this, is rarely used.
        noises: of "misspelling", "case", "whitespace", "homoglyphs": how much the tokens change by them.
        noise_rate: the share of runs of letters (of blanks) that a noise changes.
        seed: of noise and bootstrap.
        reference: sequence lengths are normalized by those of this tokenizer.
        reference_name: how the report calls it.
        parallel_to: the same documents in the reference language, one for one: parity is measured.
        confidence: of the intervals.
        num_replicates: of the bootstrap; 0 for no intervals.
        name: how the report calls the tokenizer.

    Raises:
        EmptyCorpusError: there is no text in the corpus.
        BadDocumentError: a value is no text, and `on_bad` is "error".
        SourceError: the parallel text has more or fewer documents.
        ConfigError: an option is out of its range.

    Example:
        >>> report = measure_tokenizer(tokenizer, ["def f(x):", "return x"])
        >>> report.fertility, report.continued_share
        (2.0, 0.5)
    """
    check_count("rare_below", rare_below, 1)
    check_count("num_replicates", num_replicates, 0)
    check_share("confidence", confidence)
    noise = NoiseOptions(noises=tuple(noises), rate=noise_rate, seed=seed)
    meter = TokenizerMeter(tokenizer, noise=noise, reference=reference)
    corpus_name, parallel_name = fill_meters(
        [meter],
        documents,
        text_column=text_column,
        num_threads=num_threads,
        on_bad=on_bad,
        parallel_to=parallel_to,
    )
    return meter.report(
        rare_below,
        confidence=confidence,
        num_replicates=num_replicates,
        name=name,
        corpus_name=corpus_name,
        reference_name=reference_name,
        parallel_name=parallel_name,
    )


def fill_meters(
    meters: Sequence[TokenizerMeter],
    documents: object,
    *,
    text_column: str = "text",
    num_threads: int | None = None,
    on_bad: str = "error",
    parallel_to: object = None,
) -> tuple[str, str]:
    """Let meters count a whole corpus, which is read once; the arguments are those of `measure_tokenizer`.

    Returns:
        What the corpus and the parallel text are called; "" where there is none.

    Raises:
        EmptyCorpusError, BadDocumentError, SourceError: as `measure_tokenizer`.

    Example:
        >>> meter = TokenizerMeter(tokenizer)
        >>> fill_meters([meter], ["def f(x):", "return x"])
        ('documents (list)', '')
    """
    source = as_source(documents, text_column)
    parallel = None if parallel_to is None else as_source(parallel_to, text_column)
    others = None if parallel is None else iter_batches(parallel, text_column, 1)
    num_rows = 0
    for batch in iter_batches(source, text_column, _BATCH_DOCUMENTS):
        texts = None if others is None or parallel is None else _parallel_texts(batch, others, parallel.name)
        num_rows += len(batch.texts)
        for meter in meters:
            try:
                meter.add(batch.texts, num_threads=num_threads, on_bad=on_bad, parallel_texts=texts)
            except BadDocumentError as error:
                raise batch.bad_document(error) from None
            meter.name_outliers(batch)
    if others is not None and parallel is not None and next(others, None) is not None:
        raise SourceError(
            f"{parallel.name}: the parallel text has more documents than {source.name}, which has "
            f"{num_rows} (expected one for each)"
        )
    for meter in meters:
        if not meter.totals["documents"]:
            skipped = f"{meter.num_skipped} rows, all of them skipped" if meter.num_skipped else "no rows"
            raise EmptyCorpusError(
                f"{source.name}: no text to measure on (found {skipped}; expected at least one text)"
            )
    return source.name, "" if parallel is None else parallel.name


def _parallel_texts(batch: TextBatch, others: Iterator[TextBatch], name: str) -> list[object]:
    texts = [text for _, other in zip(batch.texts, others, strict=False) for text in other.texts]
    if len(texts) < len(batch.texts):
        raise SourceError(
            f"{name}: the parallel text ends after {batch.first_row + len(texts)} documents, before those of "
            f"{batch.source} (expected one for each)"
        )
    return texts


def estimate_chars_per_token(
    tokenizer: Tokenizer,
    documents: object,
    num_documents: int = 500,
    *,
    text_column: str = "text",
    on_bad: str = "error",
) -> float:
    """Return the characters per token of the first documents of a corpus (no EOS counted).

    An iterator is read that far and not given back; take the estimate from something repeatable.

    Raises:
        EmptyCorpusError: those documents hold no text.
        BadDocumentError: a value is no text, and `on_bad` is "error".
        ConfigError: `num_documents` is below 1.

    Example:
        >>> estimate_chars_per_token(tokenizer, ["def f(x):", "return x"])
        2.125
    """
    left = check_count("num_documents", num_documents, 1)
    meter = TokenizerMeter(tokenizer)
    source = as_source(documents, text_column)
    for batch in iter_batches(source, text_column, min(left, _BATCH_DOCUMENTS)):
        texts = batch.texts[:left]
        try:
            meter.add(texts, on_bad=on_bad)
        except BadDocumentError as error:
            raise batch.bad_document(error) from None
        left -= len(texts)
        if not left:
            break
    totals = meter.totals
    if not totals["tokens"]:
        raise EmptyCorpusError(
            f"{source.name}: the first {totals['documents']} documents hold no text (expected some, to "
            "estimate from)"
        )
    return totals["characters"] / totals["tokens"]
