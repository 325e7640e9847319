"""Sampling text from trained models, side by side.

A model is a folder in the Hugging Face format, as the trainer exports it. Only local files are read, only
safetensors, and no code from the folder runs.
"""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gristmill._native import derive_seed
from gristmill.errors import ConfigError, TokenizerError, require_extra

DEFAULT_NEW_TOKENS = 64
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """How to sample.

    Attributes:
        num_return_sequences: completions of each prompt.
        max_new_tokens: tokens of one completion at most; it ends earlier at EOS. None: 64, or as many
            as the model's context has room for.
        temperature: above 0 samples (higher is wilder); 0 takes the likeliest token every time.
        top_k: sample among this many likeliest tokens (0: all).
        top_p: sample among the likeliest tokens that have this much probability together (1: all).
        seed: the same seed gives the same completions of one model on one machine.

    Raises:
        ConfigError: a value is out of range.
    """

    num_return_sequences: int = 1
    max_new_tokens: int | None = None
    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, is_valid, expected in (
            ("num_return_sequences", self.num_return_sequences >= 1, "1 or more"),
            ("max_new_tokens", self.max_new_tokens is None or self.max_new_tokens >= 1, "1 or more"),
            ("temperature", 0 <= self.temperature < float("inf"), "0 or more"),
            ("top_k", self.top_k >= 0, "0 or more, 0 for all"),
            ("top_p", 0 < self.top_p <= 1, "above 0, at most 1"),
            ("seed", 0 <= self.seed < 2**63, "0 to 2**63 - 1"),
        ):
            if not is_valid:
                raise ConfigError(f"{name} is {getattr(self, name)!r} (expected {expected})")


@dataclass(frozen=True)
class Completions:
    """The completions of one prompt by one model.

    Attributes:
        model: the model's folder, as given.
        num_parameters: its size, tied weights counted once.
        prompt: the text that was given.
        texts: what the model wrote after it, without special tokens.
    """

    model: str
    num_parameters: int
    prompt: str
    texts: tuple[str, ...]


def sample_text(
    model_folders: str | Path | Sequence[str | Path],
    prompts: str | Sequence[str],
    options: SamplingOptions | None = None,
) -> list[Completions]:
    """Let models complete prompts: one `Completions` for each prompt and model, prompts outermost.

    An empty prompt starts a new document (from the EOS token that stands between documents).

    Raises:
        MissingExtraError: torch or transformers is not installed.
        ConfigError: a folder is missing, or its model is missing, damaged or incomplete; a prompt is too
            long for the context.
        TokenizerError: the model has no tokenizer beside it, or one with more ids than the model has; a
            prompt is empty and there is no EOS token.

    Example:
        >>> for completions in sample_text("runs/small/model", "def main("):  # doctest: +SKIP
        ...     print(completions.num_parameters, completions.texts[0])
    """
    options = options or SamplingOptions()
    if isinstance(model_folders, str | Path):
        model_folders = [model_folders]
    if isinstance(prompts, str):
        prompts = [prompts]
    models = [_Model(folder) for folder in model_folders]
    return [
        Completions(str(model.folder), model.num_parameters, prompt, model.complete(prompt, options, number))
        for number, prompt in enumerate(prompts)
        for model in models
    ]


def format_side_by_side(completions: Sequence[Completions], width: int = 100) -> str:
    """Lay completions out for reading: one prompt a section, one model a column.

    Example:
        >>> print(format_side_by_side([Completions("small", 1_200_000, "def ", ("main():",))], width=40))
        prompt: 'def '
          small (1.2 million parameters)
          1  def main():
    """
    sections = []
    for prompt in dict.fromkeys(item.prompt for item in completions):
        group = [item for item in completions if item.prompt == prompt]
        columns = [_column(item, (width - 2) // len(group) - 2) for item in group]
        height = max(map(len, columns))
        rows = []
        for row in range(height):
            cells = [column[row] if row < len(column) else "" for column in columns]
            widths = [max(map(len, column)) for column in columns]
            padded = (cell.ljust(cell_width) for cell, cell_width in zip(cells, widths, strict=True))
            rows.append(("  " + "  ".join(padded)).rstrip())
        sections.append("\n".join([f"prompt: {prompt!r}", *rows]))
    return "\n\n".join(sections)


def format_size(num_parameters: int) -> str:
    """Write a number of parameters in words: `1.2 million parameters`."""
    for unit, name in ((10**9, "billion "), (10**6, "million "), (10**3, "thousand ")):
        if num_parameters >= unit:
            return f"{num_parameters / unit:.1f} {name}parameters"
    return f"{num_parameters} parameters"


def _column(item: Completions, width: int) -> list[str]:
    lines = textwrap.wrap(f"{item.model} ({format_size(item.num_parameters)})", width)
    for number, text in enumerate(item.texts, start=1):
        margin = f"{number}  "
        for line in (item.prompt + text).expandtabs(4).splitlines() or [""]:
            # Code keeps its own line breaks; only a line too long for the column is cut.
            for start in range(0, max(len(line), 1), max(width - 3, 1)):
                lines.append(margin + line[start : start + max(width - 3, 1)])
                margin = "   "
    return lines


@contextlib.contextmanager
def _no_progress_bar() -> Iterator[None]:
    from transformers import utils

    logging: Any = utils.logging
    was_enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            logging.enable_progress_bar()


@contextlib.contextmanager
def _no_warnings() -> Iterator[None]:
    """Keep `transformers` from advising a mask where one is given and a prompt begins with EOS."""
    from transformers import utils

    logging: Any = utils.logging
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _damaged_weights(folder: Path) -> str | None:
    """Return the first file of weights that cannot be opened."""
    import safetensors

    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safetensors.safe_open(file, framework="pt"):
                pass
        except (safetensors.SafetensorError, OSError):
            return str(file)
    return None


class _Model:
    """One loaded model with its tokenizer."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / "config.json").is_file():
            what = "holds no config.json" if self.folder.is_dir() else "does not exist"
            raise ConfigError(
                f"model folder {str(folder)!r} {what} (expected a folder that the trainer exported)"
            )
        try:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer
        except ModuleNotFoundError as error:
            raise require_extra(error.name or "torch", "train", "sampling text") from error
        from gristmill.train.model import model_size

        self._torch = torch
        self.tokenizer: Any
        self.model: Any
        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        with _no_progress_bar(), _no_warnings():
            self._read_config(local)
            # AutoTokenizer makes an empty one, without a word, where there are no files for it.
            if not any((self.folder / name).is_file() for name in TOKENIZER_FILES):
                raise TokenizerError(
                    f"model folder {str(folder)!r} has no tokenizer (expected a tokenizer.json in it)"
                )
            try:
                self.tokenizer = AutoTokenizer.from_pretrained(str(self.folder), **local)
            except Exception as error:  # `tokenizers` raises plain ones
                raise TokenizerError(
                    f"model folder {str(folder)!r} has no readable tokenizer: {_one_line(error)}"
                ) from error
            try:
                loaded: Any = AutoModelForCausalLM.from_pretrained(
                    str(self.folder), use_safetensors=True, output_loading_info=True, **local
                )
            except Exception as error:  # sizes that do not fit are a RuntimeError, damage a SafetensorError
                place = _damaged_weights(self.folder) or f"model folder {str(folder)!r}"
                raise ConfigError(f"{place} has no readable model: {_one_line(error)}") from error
        self.model, loading = loaded
        if missing := sorted(loading["missing_keys"]):
            # `transformers` would sample from random weights in their place
            raise ConfigError(
                f"model folder {str(folder)!r} lacks {len(missing)} of the model's weights, such as "
                f"{missing[0]!r} (expected all that its config.json asks for)"
            )
        self._refuse_larger_tokenizer()
        self.model.eval()
        self.num_parameters = model_size(self.model)

    def _read_config(self, local: dict[str, Any]) -> None:
        from transformers import AutoConfig

        try:
            AutoConfig.from_pretrained(str(self.folder), **local)
        except Exception as error:  # whatever a class of configurations makes of wrong values
            raise ConfigError(
                f"{self.folder / 'config.json'} is not readable: {_one_line(error)} (expected the "
                "configuration of a model)"
            ) from error

    def _refuse_larger_tokenizer(self) -> None:
        num_rows = self.model.get_input_embeddings().num_embeddings
        num_ids = max(self.tokenizer.get_vocab().values(), default=-1) + 1
        if num_ids > num_rows:
            raise TokenizerError(
                f"model folder {str(self.folder)!r} has a tokenizer of {num_ids} ids and a model of "
                f"{num_rows} (expected the tokenizer that the model was trained with)"
            )

    def complete(self, prompt: str, options: SamplingOptions, number: int) -> tuple[str, ...]:
        torch = self._torch
        try:
            prompt.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ConfigError(
                f"the prompt {prompt[:40]!r} has a lone surrogate at character {error.start} (expected valid "
                "Unicode text)"
            ) from None
        ids = self.tokenizer(prompt, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        eos_token_id = self.model.config.eos_token_id
        if not ids:
            if eos_token_id is None:
                raise TokenizerError(
                    f"{self.folder}: an empty prompt needs an EOS token to start from (none there)"
                )
            ids = [eos_token_id]
        context = getattr(self.model.config, "max_position_embeddings", None)
        wanted = options.max_new_tokens
        if wanted is None:
            wanted = (
                DEFAULT_NEW_TOKENS if context is None else max(1, min(DEFAULT_NEW_TOKENS, context - len(ids)))
            )
        if context is not None and len(ids) + wanted > context:
            raise ConfigError(
                f"the prompt {textwrap.shorten(prompt, 40)!r} has {len(ids)} tokens, max_new_tokens is "
                f"{wanted} (expected at most {context} together, the context of {self.folder})"
            )
        # Greedy completions are all alike: one is made and repeated.
        is_greedy = options.temperature == 0
        sampling: dict[str, Any] = {"do_sample": False}
        if not is_greedy:
            sampling = {
                "do_sample": True,
                "temperature": options.temperature,
                "top_k": options.top_k,
                "top_p": options.top_p,
                "num_return_sequences": options.num_return_sequences,
            }
        input_ids = torch.tensor([ids])
        with (
            _no_warnings(),
            torch.random.fork_rng(),
            torch.inference_mode(),
        ):  # the caller's random state is left alone
            torch.manual_seed(derive_seed(options.seed, "generate", 0, number))
            output = self.model.generate(
                input_ids,
                attention_mask=torch.ones_like(input_ids),
                max_new_tokens=wanted,
                pad_token_id=self.model.config.pad_token_id
                if self.model.config.pad_token_id is not None
                else eos_token_id,
                **sampling,
            )
        written = output[:, len(ids) :].tolist()
        texts = [
            self.tokenizer.decode(row, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            for row in written
        ]
        return tuple(texts * options.num_return_sequences if is_greedy else texts)
