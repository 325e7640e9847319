"""The corpora of a run, as data sets of blocks for one rank."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from gristmill.documents import DocumentFiles, read_rows
from gristmill.errors import ConfigError, EmptyCorpusError
from gristmill.train.config import CorpusConfig, RunConfig
from gristmill.train.distributed import Ranks, cores_per_rank

if TYPE_CHECKING:
    import torch

    from gristmill.dataset import ConstantLengthDataset
    from gristmill.tokenizer import Tokenizer


def open_corpus(
    key: str, corpus: CorpusConfig, streaming: bool, *, text_column: str = "text", on_bad: str = "error"
) -> Any:
    """Open a corpus with `datasets.load_dataset`.

    Its reader of JSON gives no row of a part of a file with a lone surrogate or invalid UTF-8. So where such
    rows are to be skipped, a stream of JSONL files on this machine is read by our own.

    Args:
        key: where the configuration names it, for the error.
        corpus: the arguments.
        streaming: a stream, or a copy in the cache of `datasets`.
        text_column: the column that holds the text.
        on_bad: what becomes of rows that are no text, "error" or "skip".

    Raises:
        ConfigError: it cannot be opened, for the reason that `datasets` gives.

    Example:
        >>> corpus = CorpusConfig(path="json", data_files="train.jsonl")
        >>> documents = open_corpus("data.train", corpus, streaming=True)  # doctest: +SKIP
    """
    import datasets

    files = _local_jsonl(corpus) if streaming and on_bad == "skip" else []
    if files:
        arguments = {"files": files, "text_column": text_column}
        return datasets.IterableDataset.from_generator(read_rows, gen_kwargs=arguments)
    try:
        return datasets.load_dataset(
            corpus.path,
            name=corpus.name,
            data_files=corpus.data_files,
            split=corpus.split,
            streaming=streaming,
        )
    except StopIteration as error:  # how the builders for text say that there is not one row
        raise EmptyCorpusError(
            f"{key} has no document: {corpus.data_files or corpus.path} (expected at least one row)"
        ) from error
    except Exception as error:  # whatever a builder raises is about what was configured
        reason = (str(error).strip().splitlines() or [""])[0]
        raise ConfigError(
            f"{key} cannot be opened: {type(error).__name__}: {reason} "
            f"(expected arguments of datasets.load_dataset; given: {corpus})"
        ) from error


def _local_jsonl(corpus: CorpusConfig) -> list[str]:
    """The files of a corpus, where all of them are JSONL on this machine; else none."""
    given = corpus.data_files
    if isinstance(given, dict):
        given = given.get(corpus.split)
    if corpus.path != "json" or corpus.name is not None or not given:
        return []
    try:
        paths = DocumentFiles([given] if isinstance(given, str) else given).paths
    except EmptyCorpusError:  # `datasets` says what is wrong with them
        return []
    return [str(path) for path in paths] if all(path.suffix == ".jsonl" for path in paths) else []


def train_dataset(
    documents: Any, tokenizer: Tokenizer, config: RunConfig, ranks: Ranks
) -> ConstantLengthDataset:
    """Return this rank's training blocks, shuffled and repeated as configured."""
    from gristmill.dataset import ConstantLengthDataset

    data = config.data
    return ConstantLengthDataset(
        documents,
        tokenizer,
        data.seq_length,
        num_lanes=data.num_lanes,
        shuffle=data.shuffle,
        seed=data.seed,
        shuffle_window=data.shuffle_window,
        infinite=config.training.num_epochs is None,
        final=data.final,
        **_reading(config, ranks),
    )


def validation_samples(
    documents: Any, tokenizer: Tokenizer, config: RunConfig, ranks: Ranks
) -> Iterator[dict[str, torch.Tensor]]:
    """Yield this rank's share of the validation blocks, the same ones each time.

    One lane, in the corpus's own order, the last block padded: the blocks of `gristmill.pack(final="pad")`,
    or the first `evaluation.num_batches` global batches of them.
    """
    from gristmill.dataset import ConstantLengthDataset

    samples = ConstantLengthDataset(
        documents, tokenizer, config.data.seq_length, num_lanes=1, final="pad", **_reading(config, ranks)
    )
    count = None
    if config.evaluation.num_batches is not None:
        count = config.evaluation.num_batches * config.training.global_batch_size // ranks.world_size
    return islice(samples, count)


def _reading(config: RunConfig, ranks: Ranks) -> dict[str, Any]:
    return {
        "text_column": config.data.text_column,
        "on_bad": config.data.on_bad,
        "num_threads": config.data.num_threads or cores_per_rank(ranks.local_world_size),
        "rank": ranks.rank,
        "world_size": ranks.world_size,
    }
