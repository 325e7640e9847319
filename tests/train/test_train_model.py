"""The model: sizes, checks of the tokenizer (faults row 13), padding rows, export that stock readers load."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gristmill import Tokenizer, durable, train_tokenizer
from gristmill.errors import ConfigError, TokenizerError
from gristmill.train.config import ModelConfig, TrainingConfig
from gristmill.train.distributed import Ranks
from gristmill.train.evaluate import evaluate_model, sample_completions
from gristmill.train.model import (
    build_model,
    check_tokenizer,
    export_model,
    gpt2_logits,
    model_size,
    num_predicted,
    token_nll,
)
from gristmill.train.optimizer import build_optimizer
from gristmill.train.step import Stepper, choose_precision

SHAPE = ModelConfig(n_layer=2, n_head=2, n_embd=16)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["def f(x): return x"] * 9, vocab_size=267, show_progress=False)


def small_model(tokenizer: Tokenizer, **options: Any) -> Any:
    torch.manual_seed(0)
    return build_model(
        SHAPE,
        vocab_size=tokenizer.max_token_id + 1,
        seq_length=32,
        eos_token_id=tokenizer.require_eos(),
        **options,
    )


@pytest.mark.parametrize(
    ("vocab_size", "multiple", "millions"), [(50257, 1, 124.4), (50257, 8, 124.4), (5096, 8, 89.8)]
)
def test_sizes_of_gpt2_small(vocab_size: int, multiple: int, millions: float) -> None:
    with torch.device("meta"):
        model = build_model(
            ModelConfig(pad_vocab_to_multiple_of=multiple),
            vocab_size=vocab_size,
            seq_length=1024,
            eos_token_id=0,
        )
    assert round(model_size(model) / 1e6, 1) == millions
    assert model.config._attn_implementation == "sdpa"


def test_special_ids_outside_the_vocabulary_are_refused() -> None:
    options = {"vocab_size": 10, "seq_length": 8}
    with pytest.raises(ConfigError, match=r"eos_token_id is 10 \(expected an id of the vocabulary, 0 to 9\)"):
        build_model(SHAPE, eos_token_id=10, **options)
    with pytest.raises(ConfigError, match="bos_token_id is -1"):
        build_model(SHAPE, eos_token_id=0, bos_token_id=-1, **options)
    with pytest.raises(ConfigError, match="n_positions is 4"):
        build_model(ModelConfig(n_positions=4), eos_token_id=0, **options)


def word_level(vocabulary: dict[str, int], **special: str) -> Tokenizer:
    model = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "a"}
    return Tokenizer.from_str(json.dumps({"model": model}), **special)


def test_tokenizers_that_no_model_can_be_trained_for_are_refused(tokenizer: Tokenizer) -> None:
    check_tokenizer(tokenizer)
    with pytest.raises(TokenizerError, match="EOS"):
        check_tokenizer(word_level({"a": 0, "b": 1}))
    with pytest.raises(TokenizerError, match=r"'b' has the id 900000000, but the vocabulary has 2 tokens"):
        check_tokenizer(word_level({"a": 0, "b": 900_000_000}, eos_token="a"))
    with pytest.raises(TokenizerError, match="id 0"):
        check_tokenizer(word_level({"a": 0, "b": 0, "c": 1}, eos_token="c"))


def test_weight_decay_only_on_matrices(tokenizer: Tokenizer) -> None:
    model = small_model(tokenizer)
    optimizer = build_optimizer(model, TrainingConfig(output_dir="run", max_steps=1, weight_decay=0.3))
    decaying, other = optimizer.param_groups
    assert (decaying["weight_decay"], other["weight_decay"]) == (0.3, 0.0)
    assert {p.dim() for p in decaying["params"]} == {2}
    assert {p.dim() for p in other["params"]} == {1}
    assert sum(p.numel() for group in (decaying, other) for p in group["params"]) == model_size(model)


def test_the_loss_is_the_stock_one(tokenizer: Tokenizer) -> None:
    model = small_model(tokenizer).eval()
    ids = torch.randint(0, tokenizer.max_token_id + 1, (3, 32), generator=torch.Generator().manual_seed(0))
    labels = ids.clone()
    labels[1, 20:] = -100
    rows = model.config.vocab_size  # with the padding rows, as the stock loss has them
    with torch.no_grad():
        nll = token_nll(gpt2_logits(model, ids, rows), labels)
        stock = float(model(input_ids=ids, labels=labels).loss)
    assert nll.shape == (3, 31)
    assert num_predicted(labels) == 3 * 31 - 12 == int((nll != 0).sum())
    assert float(nll.sum() / num_predicted(labels)) == pytest.approx(stock, rel=1e-5)


def test_evaluation_against_a_plain_computation(tokenizer: Tokenizer) -> None:
    model = small_model(tokenizer)
    blocks = torch.randint(0, 267, (5, 32), generator=torch.Generator().manual_seed(1))
    samples = [{"input_ids": block, "labels": block.clone()} for block in blocks]
    samples[-1]["labels"][10:] = -100
    lengths = tokenizer.token_byte_lengths()
    found = evaluate_model(model, samples, vocab_size=267, token_byte_lengths=lengths, micro_batch_size=2)
    assert model.training  # left as it was
    nll = tokens = num_bytes = 0
    with torch.no_grad():
        for sample in samples:
            probabilities = torch.log_softmax(model.eval()(sample["input_ids"][None]).logits[0, :, :267], -1)
            for place in range(1, 32):
                label = int(sample["labels"][place])
                if label != -100:
                    nll -= float(probabilities[place - 1, label])
                    tokens += 1
                    num_bytes += int(lengths[label])
    assert found is not None
    assert (found.num_tokens, found.num_bytes) == (tokens, num_bytes) == (4 * 31 + 9, num_bytes)
    assert found.loss == pytest.approx(nll / tokens, rel=1e-6)
    assert found.perplexity == pytest.approx(math.exp(nll / tokens), rel=1e-5)
    assert found.bits_per_byte == pytest.approx(nll / math.log(2) / num_bytes, rel=1e-6)
    with pytest.raises(ValueError, match="no token to predict"):
        evaluate_model(model, [], vocab_size=267)


def test_the_padding_rows_learn_nothing_and_are_never_seen(tokenizer: Tokenizer) -> None:
    model = small_model(tokenizer)
    assert model.config.vocab_size == 272
    before = model.get_input_embeddings().weight[267:].clone()
    config = TrainingConfig(output_dir="run", max_steps=2, weight_decay=0.0, learning_rate=0.1)
    stepper = Stepper(model, config, Ranks(), 267)
    ids = torch.randint(0, 267, (2, 32))
    stepper.take(ids, ids, 62, 0)
    assert torch.equal(model.get_input_embeddings().weight[267:], before)


def test_samples_leave_the_random_states_alone(tokenizer: Tokenizer) -> None:
    model = small_model(tokenizer)
    state = torch.get_rng_state()
    options = {"num_new_tokens": 12, "temperature": 1.0}
    first = sample_completions(model, tokenizer, ["def f(x): " * 9, ""], seed=1, **options)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert first == sample_completions(model, tokenizer, ["def f(x): " * 9, ""], seed=1, **options)
    assert first != sample_completions(model, tokenizer, ["def f(x): " * 9, ""], seed=2, **options)
    assert all(first)


@pytest.fixture
def exported(tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Path]:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = small_model(tokenizer).eval()
    export_model(model, tokenizer, tmp_path / "model")
    return model, tmp_path / "model"


def test_the_export_loads_in_stock_readers(exported: tuple[Any, Path], tokenizer: Tokenizer) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

    model, folder = exported
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    read = AutoTokenizer.from_pretrained(folder)
    text = "def f(x): return é"
    ids = read(text)["input_ids"]
    assert ids == tokenizer.encode(text).tolist()
    assert read.eos_token_id == tokenizer.eos_token_id
    logits = loaded(torch.tensor([ids])).logits
    assert logits.shape[-1] == 267
    # the rows are the same, the matrix product over fewer of them may round otherwise
    assert torch.allclose(logits, gpt2_logits(model, torch.tensor([ids]), 267), atol=1e-6)
    assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight
    assert loaded.num_parameters() == model_size(model) - 5 * 16
    for config in (loaded.config, loaded.generation_config):
        assert config.eos_token_id == config.pad_token_id == config.bos_token_id == tokenizer.eos_token_id
    generate = pipeline("text-generation", model=str(folder))
    out = generate("def f", max_new_tokens=5)
    assert out[0]["generated_text"].startswith("def f")


def test_the_export_is_whole_or_not_at_all(
    exported: tuple[Any, Path], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    model, folder = exported
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full_disk(operation: str, path: Path) -> None:
        if path.name == "model.safetensors":
            raise OSError(28, "No space left on device")

    durable.set_fault_hook(full_disk)
    try:
        with pytest.raises(OSError, match="No space left"):
            export_model(model, tokenizer, folder)
    finally:
        durable.set_fault_hook(None)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    export_model(model, tokenizer, folder)  # takes the place of the old one
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    with pytest.raises(ConfigError, match="the model has 272 embedding rows, the tokenizer 300 ids"):
        export_model(model, tokenizer, folder, vocab_size=300)


def test_precision_follows_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda", 0)
    assert choose_precision("auto", cpu) == "float32"
    assert choose_precision("bfloat16", cpu) == "bfloat16"
    with pytest.raises(ConfigError, match="float16' on the CPU"):
        choose_precision("float16", cpu)
    for has_bfloat16, expected in ((True, "bfloat16"), (False, "float16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, answer=has_bfloat16, **__: answer)
        assert choose_precision("auto", cuda) == expected
    assert choose_precision("float32", cuda) == "float32"


def test_a_step_in_bfloat16_is_near_the_one_in_float32(tokenizer: Tokenizer) -> None:
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, 267, (4, 32)))
    found = {}
    for precision in ("float32", "bfloat16"):
        config = TrainingConfig(output_dir="run", max_steps=1, precision=precision)
        stepper = Stepper(small_model(tokenizer), config, Ranks(), 267)
        found[precision] = stepper.take(ids, ids, 4 * 31, 0)
    assert found["bfloat16"].nll == pytest.approx(found["float32"].nll, rel=1e-2)
    assert found["bfloat16"].nll != found["float32"].nll
