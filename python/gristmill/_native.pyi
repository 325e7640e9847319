"""Types of the compiled module (rust/python). `stubtest` compares this file with the built module."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BestFitPacker",
    "BpeTrainer",
    "Encoder",
    "MetricCounters",
    "Packer",
    "__version__",
    "check_texts",
    "derive_seed",
    "permutation",
]

__version__: str

# Blocks and num_valid; cu_seqlens, where each block's begin in it, and the document of each segment.
_BlockArrays: TypeAlias = tuple[
    NDArray[Any], NDArray[np.int64], NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]
]

@final
class Encoder:
    """Own byte-level BPE encoder, immutable, safe to share between threads."""

    @staticmethod
    def from_json(tokenizer_json: str) -> Encoder: ...
    @property
    def id_dtype(self) -> np.dtype[Any]: ...
    @property
    def cache_bytes(self) -> int: ...
    @cache_bytes.setter
    def cache_bytes(self, value: int) -> None: ...
    def encode(self, text: str | bytes) -> NDArray[Any]: ...
    def encode_batch(
        self, texts: Sequence[object], num_threads: int, skip_bad: bool
    ) -> tuple[NDArray[Any], NDArray[np.int64], list[tuple[int, str]]]: ...
    def decode_bytes(self, ids: NDArray[Any]) -> bytes: ...
    def token_bytes(self, token_id: int) -> bytes | None: ...

@final
class Packer:
    """Joins documents with EOS and chops them into blocks, in `num_lanes` lanes."""

    def __new__(cls, seq_length: int, eos_token_id: int, wide: bool, num_lanes: int = 1) -> Packer: ...
    def push_texts(
        self, encoder: Encoder, texts: Sequence[object], num_threads: int, skip_bad: bool
    ) -> list[tuple[int, str]]: ...
    def push_documents(
        self, ids: NDArray[Any], offsets: NDArray[np.int64], num_bytes: NDArray[np.int64]
    ) -> None: ...
    @property
    def num_ready_blocks(self) -> int: ...
    def take_blocks(self, max_blocks: int) -> NDArray[Any]: ...
    def take_into(self, out: NDArray[Any]) -> int: ...
    def take_with_segments(self, max_blocks: int) -> _BlockArrays: ...
    def pack_documents(
        self,
        ids: NDArray[Any],
        offsets: NDArray[np.int64],
        num_bytes: NDArray[np.int64] | None,
        max_id: int,
        out: NDArray[Any],
    ) -> int: ...
    def finish(self, pad_token_id: int | None) -> _BlockArrays: ...
    def lane_positions(self) -> list[tuple[int, int, int, int, int]]: ...
    def resume(
        self, next_block: int, next_document: int, positions: list[tuple[int, int, int, int, int]]
    ) -> None: ...
    @property
    def next_block(self) -> int: ...
    @property
    def next_document(self) -> int: ...
    @property
    def counters(self) -> dict[str, int]: ...

@final
class BestFitPacker:
    """Packs documents side by side, the longest of a window first, each where it fits best."""

    def __new__(
        cls, seq_length: int, eos_token_id: int, pad_token_id: int, wide: bool, window: int
    ) -> BestFitPacker: ...
    def push_texts(
        self, encoder: Encoder, texts: Sequence[object], num_threads: int, skip_bad: bool
    ) -> list[tuple[int, str]]: ...
    def push_documents(
        self, ids: NDArray[Any], offsets: NDArray[np.int64], num_bytes: NDArray[np.int64]
    ) -> None: ...
    @property
    def num_ready_blocks(self) -> int: ...
    def take_with_segments(self, max_blocks: int) -> _BlockArrays: ...
    def finish(self) -> _BlockArrays: ...
    @property
    def counters(self) -> dict[str, int]: ...
    def state(
        self,
    ) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64], _BlockArrays, tuple[int, ...]]: ...
    def set_state(self, state: tuple[Any, ...]) -> None: ...

@final
class MetricCounters:
    """Mergeable integer counters of one pass over a corpus."""

    def __new__(
        cls,
        vocab_size: int,
        unknown_id: int | None = None,
        byte_fallback_ids: Sequence[int] | None = None,
        noises: Sequence[str] | None = None,
        noise_rate: int = 0,
        seed: int = 0,
    ) -> MetricCounters: ...
    @staticmethod
    def from_json(json: str) -> MetricCounters: ...
    def to_json(self) -> str: ...
    def add_texts(
        self,
        encoder: Encoder,
        texts: Sequence[object],
        num_threads: int,
        skip_bad: bool,
        first_row: int = 0,
        reference_tokens: NDArray[np.int64] | None = None,
        parallel_tokens: NDArray[np.int64] | None = None,
        rows: Sequence[int] | None = None,
    ) -> list[tuple[int, str]]: ...
    def add_encoded(
        self,
        encoded: tuple[Sequence[str], NDArray[Any], NDArray[np.int64], NDArray[np.int64]],
        rows: Sequence[int],
        noised: Sequence[tuple[Sequence[str], NDArray[Any], NDArray[np.int64], NDArray[np.int64]]],
        reference_tokens: NDArray[np.int64] | None = None,
        parallel_tokens: NDArray[np.int64] | None = None,
    ) -> None: ...
    def noised_texts(self, texts: Sequence[object]) -> list[list[str]]: ...
    def merge(self, other: MetricCounters) -> None: ...
    @property
    def totals(self) -> dict[str, int]: ...
    @property
    def columns(self) -> list[str]: ...
    @property
    def groups(self) -> NDArray[np.uint64]: ...
    @property
    def token_counts(self) -> NDArray[np.uint64]: ...
    @property
    def type_samples(self) -> list[tuple[bool, list[tuple[int, str | None]]]]: ...
    @property
    def outliers(self) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]: ...

@final
class BpeTrainer:
    """Counts pieces of texts (GPT-2 pattern) batch by batch, then learns merges as `tokenizers` would."""

    def __new__(cls, max_memory: int | None = None) -> BpeTrainer: ...
    def push_texts(
        self, texts: Sequence[object], num_threads: int, skip_bad: bool
    ) -> list[tuple[int, str]]: ...
    def train(
        self,
        vocab_size: int,
        min_frequency: int,
        special_tokens: Sequence[str],
        initial_alphabet: Sequence[str],
        max_token_length: int | None = None,
        on_progress: Callable[[int], object] | None = None,
    ) -> tuple[list[str], NDArray[np.uint32]]: ...
    @property
    def counters(self) -> dict[str, int]: ...

def check_texts(texts: Sequence[object]) -> list[tuple[int, str]]: ...
def permutation(seed: int, purpose: str, epoch: int, index: int, length: int) -> NDArray[np.int64]: ...
def derive_seed(seed: int, purpose: str, epoch: int, index: int) -> int: ...
