"""What a run is told: frozen dataclasses, each value checked when it is built.

A field marked `FREE` may differ between a checkpoint and the run that resumes from it, because the
sequence of steps does not depend on it (or only in its rounding: `micro_batch_size`, `device`). Every other
field must be the same; `gristmill.train.compatibility` compares them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from gristmill.train.field_checks import (
    check_boolean,
    check_choice,
    check_integer,
    check_number,
    check_text,
    refuse,
)

Final = Literal["drop", "pad"]
OnBad = Literal["error", "skip"]
Schedule = Literal["cosine", "constant"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]
Device = Literal["auto", "cpu", "cuda"]

# jsonargparse and pyyaml both give plain lists; a frozen value should not hold one
DataFiles = str | list[str] | dict[str, str | list[str]] | None


# the mark of a field that may change when a run is resumed
FREE = {"free": True}


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The shape of the GPT-2; the defaults are GPT-2 small."""

    n_layer: int = 12
    """Transformer blocks."""
    n_head: int = 12
    """Attention heads of a block; must divide n_embd."""
    n_embd: int = 768
    """Width of the embeddings and of the residual stream."""
    n_positions: int | None = None
    """Longest sequence that the model can take; null takes data.seq_length."""
    dropout: float = 0.0
    """Share of activations dropped in training: embedding, residual and attention alike."""
    pad_vocab_to_multiple_of: int = 8
    """The embedding gets rows up to a multiple of this, which suits matrix units; the export trims them."""

    def __post_init__(self) -> None:
        for name in ("n_layer", "n_head", "n_embd", "pad_vocab_to_multiple_of"):
            check_integer("model", self, name, minimum=1)
        check_integer("model", self, "n_positions", minimum=2, optional=True)
        check_number("model", self, "dropout", minimum=0, below=1)
        if self.n_embd % self.n_head:
            refuse("model.n_embd", self.n_embd, f"a multiple of model.n_head, {self.n_head}")


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """A corpus, as the arguments of `datasets.load_dataset`."""

    path: str
    """A builder (json, parquet, text), a local folder, or the name of a data set on a hub."""
    name: str | None = None
    """The data set's configuration, where it has several."""
    data_files: DataFiles = None
    """Files or patterns for the builder."""
    split: str = "train"
    """Which split."""

    def __post_init__(self) -> None:
        check_text("data.<corpus>", self, "path")
        check_text("data.<corpus>", self, "split")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The tokenizer, the corpora and how documents become blocks."""

    # a folder may be moved: what a run is tied to is the tokenizer's fingerprint
    tokenizer: str = field(metadata=FREE)
    """Folder of the tokenizer (tokenizer.json), local."""
    train: CorpusConfig
    """What to learn from."""
    validation: CorpusConfig | None = None
    """What to evaluate on; null evaluates nothing."""
    streaming: bool = True
    """Read the corpora as streams; false copies them to Arrow files in the cache of `datasets` first."""
    text_column: str = "text"
    """The column that holds the text."""
    seq_length: int = 1024
    """Tokens of a block."""
    num_lanes: int = 16
    """Logical streams that documents are dealt to."""
    shuffle: bool = True
    """Permute the documents of each window anew in each epoch."""
    shuffle_window: int = 4096
    """Rows of the corpus that are read together and permuted."""
    seed: int = 0
    """Seed of the order."""
    final: Final = "drop"
    """What becomes of the last partial blocks when the data ends: dropped, or padded without weight."""
    on_bad: OnBad = "error"
    """A row that is no text: stop with its name, or skip and count it."""
    num_threads: int | None = field(default=None, metadata=FREE)
    """Threads that tokenize, in each rank; null shares the cores among the ranks of a machine."""
    prefetch_batches: int = field(default=4, metadata=FREE)
    """Global batches that a thread reads ahead; 0 reads where the training runs."""

    def __post_init__(self) -> None:
        for name in ("tokenizer", "text_column"):
            check_text("data", self, name)
        check_integer("data", self, "seq_length", minimum=2)
        for name in ("num_lanes", "shuffle_window"):
            check_integer("data", self, name, minimum=1)
        check_integer("data", self, "seed", minimum=0, maximum=2**63 - 1)
        check_integer("data", self, "num_threads", minimum=1, optional=True)
        check_integer("data", self, "prefetch_batches", minimum=0)
        check_choice("data", self, "final", Final)
        check_choice("data", self, "on_bad", OnBad)
        for name in ("streaming", "shuffle"):
            check_boolean("data", self, name)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The optimization. A run ends after `max_steps` or `num_epochs`, whichever comes first."""

    output_dir: str = field(metadata=FREE)
    """Folder of the run: configuration, log, checkpoints, the exported model."""
    max_steps: int | None = field(default=None, metadata=FREE)
    """Optimizer steps; null sets no limit."""
    num_epochs: int | None = field(default=None, metadata=FREE)
    """Times that the corpus is read, each a pass with an end (data.final); null reads on until max_steps, and
    what is left over at the end of an epoch goes first into the next one."""
    global_batch_size: int = 64
    """Sequences of one optimizer step, over all ranks; the number of ranks must divide it."""
    micro_batch_size: int = field(default=8, metadata=FREE)
    """Sequences of one forward pass of a rank, at most: the rest of its share is accumulated."""
    learning_rate: float = 5e-4
    """Highest learning rate."""
    schedule: Schedule = "cosine"
    """After the warmup: cosine decay, or constant."""
    min_learning_rate_ratio: float = 0.1
    """The cosine ends at this share of learning_rate."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises linearly from 0."""
    decay_steps: int | None = None
    """Step at which the cosine ends; null takes max_steps, which then may not change on resuming."""
    weight_decay: float = 0.1
    """Decoupled weight decay, on tensors of two or more dimensions alone."""
    beta1: float = 0.9
    """AdamW: decay of the mean."""
    beta2: float = 0.95
    """AdamW: decay of the square."""
    epsilon: float = 1e-8
    """AdamW: added to the denominator."""
    max_grad_norm: float | None = 1.0
    """Gradients are scaled down to this norm; null does not clip."""
    precision: Precision = "auto"
    """auto: bfloat16 where the device has it, else float16 with a scaler on CUDA, float32 on the CPU."""
    seed: int = 0
    """Seed of initialization and dropout."""
    device: Device = field(default="auto", metadata=FREE)
    """auto takes CUDA where it is there."""
    num_threads: int | None = field(default=None, metadata=FREE)
    """Threads of a rank for computing on the CPU; null shares the cores among the ranks of a machine."""
    timeout_s: float = field(default=120.0, metadata=FREE)
    """Seconds after which a rank that waits for another one gives up."""

    def __post_init__(self) -> None:
        check_text("training", self, "output_dir")
        for name in ("max_steps", "num_epochs", "decay_steps", "num_threads"):
            check_integer("training", self, name, minimum=1, optional=True)
        for name in ("global_batch_size", "micro_batch_size"):
            check_integer("training", self, name, minimum=1)
        check_integer("training", self, "warmup_steps", minimum=0)
        check_integer("training", self, "seed", minimum=0, maximum=2**63 - 1)
        for name in ("learning_rate", "epsilon", "timeout_s"):
            check_number("training", self, name, above=0)
        check_number("training", self, "min_learning_rate_ratio", minimum=0, maximum=1)
        check_number("training", self, "weight_decay", minimum=0)
        for name in ("beta1", "beta2"):
            check_number("training", self, name, minimum=0, below=1)
        check_number("training", self, "max_grad_norm", above=0, optional=True)
        check_choice("training", self, "schedule", Schedule)
        check_choice("training", self, "precision", Precision)
        check_choice("training", self, "device", Device)
        if self.max_steps is None and self.num_epochs is None:
            refuse("training.max_steps", None, "a number of steps, or training.num_epochs set")
        if self.schedule == "cosine":
            if self.resolved_decay_steps is None:
                refuse("training.decay_steps", None, "a number of steps, as max_steps gives none")
            elif self.warmup_steps > self.resolved_decay_steps:
                refuse("training.warmup_steps", self.warmup_steps, f"at most {self.resolved_decay_steps}")

    @property
    def resolved_decay_steps(self) -> int | None:
        """Step at which the cosine ends, None where there is none."""
        if self.schedule == "constant":
            return None
        return self.max_steps if self.decay_steps is None else self.decay_steps


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How the validation corpus is measured, always at the end of the run too."""

    every_steps: int | None = None
    """Optimizer steps between evaluations; null evaluates at the end alone."""
    num_batches: int | None = None
    """Global batches of an evaluation, the same first ones each time; null takes all."""
    micro_batch_size: int | None = None
    """Sequences of one forward pass of a rank; null takes training.micro_batch_size."""
    prompts: tuple[str, ...] = ()
    """Texts that are completed at each evaluation; an empty one starts a new document."""
    num_new_tokens: int = 48
    """Tokens of a completion at most."""
    temperature: float = 0.8
    """Above 0 samples, 0 takes the likeliest token."""

    def __post_init__(self) -> None:
        for name in ("every_steps", "num_batches", "micro_batch_size"):
            check_integer("evaluation", self, name, minimum=1, optional=True)
        check_integer("evaluation", self, "num_new_tokens", minimum=1)
        check_number("evaluation", self, "temperature", minimum=0)
        if isinstance(self.prompts, str) or not all(isinstance(prompt, str) for prompt in self.prompts):
            refuse("evaluation.prompts", self.prompts, "a list of texts")
        object.__setattr__(self, "prompts", tuple(self.prompts))


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """When checkpoints are written; one always is at the end and at a stop signal."""

    every_steps: int | None = 500
    """Optimizer steps between checkpoints; null writes only those."""
    keep_last: int | None = 3
    """Checkpoints that are kept, at least 1; null keeps all."""

    def __post_init__(self) -> None:
        for name in ("every_steps", "keep_last"):
            check_integer("checkpoint", self, name, minimum=1, optional=True)


@dataclass(frozen=True, kw_only=True)
class LoggingConfig:
    """Where progress is told. The JSON lines in log.jsonl are always written."""

    every_steps: int = 1
    """Optimizer steps between lines of the log."""
    tensorboard: bool = True
    """Write for TensorBoard too, where it is installed."""
    console: bool = True
    """Show progress on rank 0: a bar on a terminal, else a line now and then."""
    console_interval_s: float = 10.0
    """Seconds between lines where the console is no terminal."""

    def __post_init__(self) -> None:
        check_integer("logging", self, "every_steps", minimum=1)
        check_number("logging", self, "console_interval_s", minimum=0)
        for name in ("tensorboard", "console"):
            check_boolean("logging", self, name)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """All that a run is told.

    Example:
        >>> config = RunConfig(
        ...     data=DataConfig(tokenizer="tokenizer", train=CorpusConfig(path="json")),
        ...     training=TrainingConfig(output_dir="run", max_steps=100, warmup_steps=200),
        ... )
        Traceback (most recent call last):
        gristmill.errors.ConfigError: training.warmup_steps is 200 (expected at most 100)
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    """The shape of the GPT-2."""
    data: DataConfig
    """Tokenizer, corpora, blocks."""
    training: TrainingConfig
    """The optimization."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig, metadata=FREE)
    """Measuring on the validation corpus."""
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig, metadata=FREE)
    """Saving."""
    logging: LoggingConfig = field(default_factory=LoggingConfig, metadata=FREE)
    """Telling."""

    def __post_init__(self) -> None:
        if self.model.n_positions is not None and self.model.n_positions < self.data.seq_length:
            refuse(
                "model.n_positions",
                self.model.n_positions,
                f"data.seq_length, {self.data.seq_length}, or more",
            )
        if self.evaluation.every_steps is not None and self.data.validation is None:
            refuse("evaluation.every_steps", self.evaluation.every_steps, "null, as data.validation is null")

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain values, ready for YAML and JSON."""
        values: dict[str, Any] = dataclasses.asdict(self)
        values["evaluation"]["prompts"] = list(self.evaluation.prompts)
        return values


def check_world_size(config: RunConfig, world_size: int) -> None:
    """Refuse a global batch that the ranks cannot share evenly.

    Raises:
        ConfigError: `training.global_batch_size` is no multiple of `world_size`.
    """
    size = config.training.global_batch_size
    if size % world_size:
        refuse("training.global_batch_size", size, f"a multiple of the number of ranks, {world_size}")
