"""The corpus: anything that gives documents, read as batches of raw values.

    documents ──► as_source ──► DocumentSource.open(position) ──► read(n), position()
                                (sources.py, streams.py)
             └──► iter_batches, for one pass without positions; lists of texts are taken apart there

A value is not judged here: who encodes it says whether it is a text, and `on_bad` what happens if not. So
nulls, numbers and lone surrogates come through with their row.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set as AbstractSet
from dataclasses import dataclass
from typing import Literal, cast

from gristmill import _native
from gristmill.arrow_columns import (
    ArrowSource,
    ArrowStreamSource,
    TableSource,
    column_of_data_set,
    has_arrow,
    in_arrow,
)
from gristmill.errors import BadDocumentError, GristmillError, SourceError
from gristmill.options import check_choice, check_count
from gristmill.sources import (
    DocumentSource as DocumentSource,
    IterableSource,
    IteratorSource,
    Position as Position,
    Seek as Seek,
    SequenceSource,
    SourceReader as SourceReader,
    are_texts,
)
from gristmill.streams import StreamSource

OnBad = Literal["error", "skip"]

# A batch ends early when its texts reach this size (bytes, in Arrow memory), so that long documents do not
# add up. At each end threads wait for each other, and of what is pushed at once a packer copies all but the
# first batch: a quarter of this size costs a tenth of the speed on Python files.
_BATCH_CHARACTERS = 1 << 25
_ROWS_PER_READ = 16


@dataclass(frozen=True)
class TextBatch:
    """Raw values in the order of the corpus.

    Attributes:
        texts: str and bytes if the corpus is sound; whatever else it held is there, too. Texts in Arrow
            memory stay there (`_native.ArrowTexts`).
        first_row: number of the first one in the corpus, from 0.
        source: how errors call the corpus.
        origin: the corpus.
    """

    texts: Sequence[object]
    first_row: int
    source: str
    origin: DocumentSource

    def bad_document(self, error: BadDocumentError) -> BadDocumentError:
        """Return the error for one of these texts, named by its place in the corpus instead of the batch."""
        index = error.row or 0
        return BadDocumentError(*self.origin.locate(self.first_row + index, self.texts[index]), error.reason)


def as_source(documents: object, text_column: str = "text") -> DocumentSource:
    """Wrap documents as a source; what is a source already is returned as it is.

    Args:
        documents: a list or any other `Sequence`, a `datasets` data set (streaming or not) or a column of
            one, Arrow memory (`__arrow_c_array__` or `__arrow_c_stream__`: arrays, tables, readers), an
            object whose `__iter__` starts anew, or an iterator. Its rows are texts (`str`, UTF-8 `bytes`) or
            mappings.
        text_column: the column that holds the text, where rows are mappings, and of tables.

    Raises:
        TypeError: `documents` is one text, a mapping, or cannot be iterated.
        SourceError: it is a set, whose order differs from process to process; a TypeError.
        MissingColumnError: a data set that knows its columns has none of this name.

    Example:
        >>> reader = as_source(["a", "b", "c"]).open()
        >>> reader.read(2), reader.position(), reader.read(2)
        (['a', 'b'], {'row': 2}, ['c'])
    """
    if isinstance(documents, DocumentSource):
        return documents
    if not isinstance(text_column, str):
        raise TypeError(f"text_column is {text_column!r} (expected the name of a column)")
    if isinstance(documents, str | bytes | bytearray):
        raise TypeError(
            f"documents is one {type(documents).__name__} of length {len(documents)} (expected many: put it "
            "in a list)"
        )
    if isinstance(documents, Mapping):
        raise TypeError(
            f"documents is a mapping with the keys {list(documents)[:5]} (expected texts or rows: take one "
            "of its values)"
        )
    if isinstance(documents, AbstractSet):
        raise SourceError(
            f"documents is a {type(documents).__name__}, which has no order of its own (expected a list: "
            "sort it)"
        )
    # `datasets` is looked up, never imported: whoever holds one of its objects has imported it.
    datasets = sys.modules.get("datasets")
    if datasets is not None and isinstance(documents, datasets.Dataset):
        return TableSource(documents, _data_set_name(documents), text_column)
    if datasets is not None and isinstance(documents, datasets.IterableDataset):
        return StreamSource(documents, _data_set_name(documents), text_column)
    column = column_of_data_set(documents)
    if column is not None:
        return TableSource(column[0], _data_set_name(column[0]), column[1])
    if has_arrow(documents):
        source = _arrow_source(documents, text_column)
        if source is not None:
            return source
    # The class is asked: a lazy frame would compute them.
    if hasattr(type(documents), "columns") and hasattr(type(documents), "dtypes"):
        # a data frame iterates over the names of its columns, which would pass for documents
        raise TypeError(
            f"documents is a {type(documents).__name__} (expected a list or another iterable of texts: "
            "take the column, as in list(frame[name]))"
        )
    name = getattr(documents, "source_name", None) or f"documents ({type(documents).__name__})"
    if isinstance(documents, Sequence):
        return SequenceSource(documents, name, text_column)
    if isinstance(documents, Iterator):
        return IteratorSource(documents, name, text_column)
    if isinstance(documents, Iterable):
        return IterableSource(documents, name, text_column)
    raise TypeError(
        f"documents is a {type(documents).__name__} (expected a list or another iterable of texts or rows, "
        "or a datasets data set)"
    )


def _arrow_source(documents: object, text_column: str) -> DocumentSource | None:
    """Return a source of Arrow memory; None for what says that it has some, and cannot be put there.

    A `pandas.Series` of various objects is such a one: it is iterated over, and each value judged.
    """
    name = f"documents ({type(documents).__name__})"
    if not hasattr(documents, "__len__") and hasattr(documents, "__arrow_c_stream__"):
        return ArrowStreamSource(documents, name, text_column)
    try:
        return ArrowSource(documents, name, text_column)
    except GristmillError:
        raise
    except (TypeError, ValueError, ImportError):
        if hasattr(type(documents), "columns") or not isinstance(documents, Iterable):
            raise
        return None


def iter_batches(
    documents: object, text_column: str = "text", batch_documents: int = 1000
) -> Iterator[TextBatch]:
    """Read the corpus once, in batches.

    A row that is a list or tuple stands for the documents in it, so iterators of lists of texts are taken,
    too, and streams of `datasets` that were made with `.batch(n)`. A list in a column of a row, or of any
    other data set, is one document, and a bad one. A batch has up to `batch_documents` documents, fewer where
    they are long, at least one.

    Raises:
        TypeError, SourceError, MissingColumnError: as `as_source`, before the first batch.

    Example:
        >>> [(batch.first_row, batch.texts) for batch in iter_batches([["a", "b"], ["c"]], batch_documents=2)]
        [(0, ['a', 'b']), (2, ['c'])]
    """
    source = as_source(documents, text_column)
    limit = check_count("batch_documents", batch_documents, 1)
    return _batches(source, limit)


def _batches(source: DocumentSource, batch_documents: int) -> Iterator[TextBatch]:
    reader = source.open()
    if source.in_arrow:
        yield from _arrow_batches(source, reader, batch_documents)
        return
    texts: list[object] = []
    row = size = 0
    # Few at a time: what is read ahead of the batch is held besides it.
    while rows := reader.read_apart(min(batch_documents, _ROWS_PER_READ)):
        if len(texts) + len(rows) < batch_documents and are_texts(rows):
            added = sum(map(len, cast(Sequence[str | bytes], rows)))
            if size + added < _BATCH_CHARACTERS:
                texts += rows
                size += added
                continue
        for text in rows:
            texts.append(text)
            size += len(text) if isinstance(text, str | bytes) else 0
            if len(texts) == batch_documents or size >= _BATCH_CHARACTERS:
                yield TextBatch(texts, row, source.name, source)
                row += len(texts)
                texts, size = [], 0
    if texts:
        yield TextBatch(texts, row, source.name, source)


def _arrow_batches(source: DocumentSource, reader: SourceReader, batch_documents: int) -> Iterator[TextBatch]:
    row = 0
    while len(texts := reader.read(batch_documents)):
        while len(texts):
            part = texts[: cast(_native.ArrowTexts, texts).num_fitting(_BATCH_CHARACTERS)]
            yield TextBatch(part, row, source.name, source)
            row += len(part)
            texts = texts[len(part) :]


def take(documents: object, n: int) -> list[object]:
    """Return the first `n` documents (fewer where there are no more) as a list: repeatable, with a length.

    Rows stay as they are, so a data set's rows are still mappings with all their columns. Of an iterator, no
    more than `n` are consumed; a stream at hand is left where it is.

    Raises:
        TypeError, SourceError: as `as_source`. TypeError, ConfigError: `n` is no count.

    Example:
        >>> take((f"document {number}" for number in range(1000)), 2)
        ['document 0', 'document 1']
    """
    count = check_count("n", n, 0)
    datasets = sys.modules.get("datasets")
    if datasets is not None and isinstance(documents, datasets.Dataset):
        return list(documents.select(range(min(count, len(documents)))))
    if datasets is not None and isinstance(documents, datasets.IterableDataset):
        own = documents.shard(num_shards=1, index=0)
        own.set_epoch(documents.epoch)
        return list(own.take(count))
    if has_arrow(documents) and hasattr(documents, "__len__"):
        return list(in_arrow(documents)[:count])
    as_source(documents)  # refuses what holds no documents
    if isinstance(documents, DocumentSource):
        return list(documents.open().read(count))
    return list(itertools.islice(cast(Iterable[object], documents), count))


def check_on_bad(on_bad: object) -> OnBad:
    """Return `on_bad`, which is "error" or "skip".

    Raises:
        ConfigError: it is neither; a ValueError.
    """
    return cast(OnBad, check_choice("on_bad", on_bad, ("error", "skip")))


def _data_set_name(documents: object) -> str:
    info = getattr(documents, "info", None)
    name = getattr(info, "dataset_name", None) or getattr(info, "builder_name", None)
    split = getattr(documents, "split", None)
    parts = [type(documents).__name__, *([str(name)] if name else []), *([f"split {split}"] if split else [])]
    return f"datasets.{', '.join(parts)}"
