"""The GPT-2: built for a tokenizer, counted, and exported for stock `transformers`."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import safetensors.torch
import torch
import torch.nn.functional as F
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel

from gristmill import durable
from gristmill.errors import ConfigError, TokenizerError
from gristmill.train.config import ModelConfig

if TYPE_CHECKING:
    from gristmill.tokenizer import Tokenizer

# position -100 of the labels counts nothing, by the convention of torch and transformers
IGNORED = -100
_EMBEDDING = "transformer.wte.weight"
_TIED_HEAD = "lm_head.weight"


def check_tokenizer(tokenizer: Tokenizer) -> None:
    """Refuse a tokenizer that no model can be trained for, before the first step.

    Raises:
        TokenizerError: it has no EOS token, two tokens share an id, or an id lies beyond the vocabulary (a
            gap in the ids: the embedding has one row for each token).
    """
    tokenizer.require_eos()
    vocabulary = tokenizer.get_vocab()
    counts = Counter(vocabulary.values())
    shared = next((token_id for token_id, count in counts.items() if count > 1), None)
    if shared is not None:
        tokens = sorted(token for token, token_id in vocabulary.items() if token_id == shared)
        raise TokenizerError(
            f"the tokens {', '.join(map(repr, tokens[:4]))} share the id {shared} (expected one id a token)"
        )
    token, token_id = max(vocabulary.items(), key=lambda item: item[1])
    if token_id >= len(vocabulary):
        raise TokenizerError(
            f"the token {token!r} has the id {token_id}, but the vocabulary has {len(vocabulary)} tokens "
            f"(expected the ids 0 to {len(vocabulary) - 1}, without a gap)"
        )


def build_model(
    config: ModelConfig,
    *,
    vocab_size: int,
    seq_length: int,
    eos_token_id: int,
    bos_token_id: int | None = None,
) -> GPT2LMHeadModel:
    """Build a GPT-2 with random weights, under torch's own seed and on its default device.

    Its config has no padding id: blocks are padded behind their tokens, where causal attention does not look,
    but `transformers` would search every batch for that id, and warn. `export_model` writes it.

    Args:
        config: the shape.
        vocab_size: ids that the tokenizer gives; the embedding is padded to a multiple of
            `config.pad_vocab_to_multiple_of`, and `gpt2_logits` never shows the rows beyond.
        seq_length: tokens of a block; the model has as many positions unless `config.n_positions` is larger.
        eos_token_id: ends a document.
        bos_token_id: begins a text; by default EOS, as in GPT-2.

    Raises:
        ConfigError: one of the special ids lies outside the vocabulary, or there are too few positions.

    Example:
        >>> shape = ModelConfig(n_layer=1, n_head=1, n_embd=8)
        >>> model = build_model(shape, vocab_size=301, seq_length=16, eos_token_id=0)
        >>> model.get_input_embeddings().weight.shape
        torch.Size([304, 8])
    """
    special: dict[str, Any] = {
        "eos_token_id": eos_token_id,
        "bos_token_id": eos_token_id if bos_token_id is None else bos_token_id,
    }
    for name, token_id in special.items():
        if not 0 <= token_id < vocab_size:
            raise ConfigError(
                f"{name} is {token_id} (expected an id of the vocabulary, 0 to {vocab_size - 1})"
            )
    n_positions = seq_length if config.n_positions is None else config.n_positions
    if n_positions < seq_length:
        raise ConfigError(f"model.n_positions is {n_positions} (expected seq_length, {seq_length}, or more)")
    multiple = config.pad_vocab_to_multiple_of
    gpt2 = GPT2Config(
        vocab_size=-(-vocab_size // multiple) * multiple,
        n_positions=n_positions,
        n_embd=config.n_embd,
        n_layer=config.n_layer,
        n_head=config.n_head,
        resid_pdrop=config.dropout,
        embd_pdrop=config.dropout,
        attn_pdrop=config.dropout,
        # the same function as GPT-2's gelu_new, which transformers computes in Python, op by op; a tenth of a
        # small model's step on a CPU. The export names it gelu_new again.
        activation_function="gelu_pytorch_tanh",
        pad_token_id=None,
        **special | {"attn_implementation": "sdpa"},
    )
    return GPT2LMHeadModel(gpt2)


def model_size(model: torch.nn.Module) -> int:
    """Return the number of parameters, tied weights counted once.

    Raises:
        TypeError: `model` is no `torch.nn.Module`.

    Example:
        >>> model_size(torch.nn.Linear(10, 3))
        33
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"model is a {type(model).__name__} (expected a torch.nn.Module)")
    return sum(parameter.numel() for parameter in model.parameters())  # parameters() yields each tensor once


def gpt2_logits(model: torch.nn.Module, input_ids: torch.Tensor, vocab_size: int) -> torch.Tensor:
    """Return float32 logits `(batch, positions, vocab_size)`, without those of the padding rows.

    The padding rows get no probability, in training and evaluation as in the exported model, which has none.
    """
    logits: torch.Tensor = model(input_ids=input_ids, use_cache=False).logits
    return logits[..., :vocab_size].float()


def token_nll(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return −ln p of each predicted position, `(batch, positions - 1)`: 0 where the label is −100.

    Args:
        logits: `(batch, positions, vocab_size)`, float32.
        labels: `(batch, positions)`, int64, not shifted: position t is predicted from those before it.
    """
    predicted = labels[:, 1:]
    nll = F.cross_entropy(
        logits[:, :-1].flatten(0, 1), predicted.flatten(), ignore_index=IGNORED, reduction="none"
    )
    return nll.view_as(predicted)


def num_predicted(labels: torch.Tensor) -> int:
    """Return the number of positions that a loss over `labels` (batch, positions) counts."""
    return int((labels[:, 1:] != IGNORED).sum().item())


def export_model(
    model: GPT2LMHeadModel,
    tokenizer: Tokenizer,
    folder: str | os.PathLike[str],
    *,
    vocab_size: int | None = None,
) -> None:
    """Write a folder that `AutoModelForCausalLM`, `AutoTokenizer` and `pipeline` load, whole or not at all.

    The rows that pad the embedding are left out. An existing folder is replaced.

    Args:
        model: a GPT-2 as `build_model` makes it.
        tokenizer: its tokenizer, written beside it.
        folder: where to.
        vocab_size: rows to keep, by default the tokenizer's `max_token_id + 1`.

    Raises:
        ConfigError: the model has fewer rows than the tokenizer has ids, or the padding id is none of them.
        OSError: the folder cannot be written; nothing was changed.

    Example:
        >>> export_model(model, tokenizer, "run/model")  # doctest: +SKIP
    """
    rows = tokenizer.max_token_id + 1 if vocab_size is None else vocab_size
    if rows > model.config.vocab_size:
        raise ConfigError(f"the model has {model.config.vocab_size} embedding rows, the tokenizer {rows} ids")
    tensors = {name: tensor.detach() for name, tensor in model.state_dict().items() if name != _TIED_HEAD}
    tensors[_EMBEDDING] = tensors[_EMBEDDING][:rows]
    tensors = {name: tensor.to("cpu").contiguous().clone() for name, tensor in tensors.items()}
    pad_token_id = tokenizer.pad_token_id
    if pad_token_id is None:
        pad_token_id = tokenizer.require_eos()
    elif not 0 <= pad_token_id < rows:
        raise ConfigError(
            f"pad_token_id is {pad_token_id} (expected an id of the vocabulary, 0 to {rows - 1})"
        )
    config = GPT2Config(pad_token_id=pad_token_id, **_exported_values(model.config, rows))
    config.architectures = ["GPT2LMHeadModel"]
    config.dtype = "float32"
    generation = GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=config.bos_token_id, eos_token_id=config.eos_token_id, pad_token_id=pad_token_id
    )
    with durable.atomic_folder(folder, replace=True) as temporary:
        tokenizer.save_pretrained(temporary)
        config.save_pretrained(temporary)
        generation.save_pretrained(temporary)
        durable.write_inside(
            temporary / "model.safetensors",
            lambda path: safetensors.torch.save_file(tensors, path, metadata={"format": "pt"}),
        )


def _exported_values(config: Any, rows: int) -> dict[str, Any]:
    names = ["n_positions", "n_embd", "n_layer", "n_head", "resid_pdrop", "embd_pdrop", "attn_pdrop"]
    names += ["bos_token_id", "eos_token_id"]
    return {name: getattr(config, name) for name in names} | {"vocab_size": rows}
