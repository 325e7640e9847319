"""Sampling from exported models: real sampling, sizes, prompts, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gristmill import Tokenizer, model_size, train_tokenizer
from gristmill.cli import main
from gristmill.errors import ConfigError, TokenizerError
from gristmill.generate import (
    Completions,
    SamplingOptions,
    format_side_by_side,
    format_size,
    sample_text,
)
from gristmill.train.config import ModelConfig
from gristmill.train.model import build_model, export_model


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["def main(argument):\n    return argument\n"] * 5, 280, show_progress=False)


def export(folder: Path, tokenizer: Tokenizer, width: int) -> Path:
    torch.manual_seed(width)
    model = build_model(
        ModelConfig(n_layer=1, n_head=2, n_embd=width),
        vocab_size=len(tokenizer),
        seq_length=32,
        eos_token_id=tokenizer.require_eos(),
    )
    export_model(model, tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Path:
    return export(tmp_path_factory.mktemp("models") / "small", tokenizer, 8)


@pytest.fixture(scope="module")
def larger_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Path:
    return export(tmp_path_factory.mktemp("models") / "larger", tokenizer, 16)


def test_completions_are_sampled(model_folder: Path) -> None:
    options = SamplingOptions(num_return_sequences=4, max_new_tokens=16, temperature=1.0)
    (completions,) = sample_text(model_folder, "def main", options)
    assert len(completions.texts) == 4
    assert len(set(completions.texts)) > 1  # a model of random weights does not say the same four times
    assert completions.prompt == "def main"
    assert not any(text.startswith("def main") for text in completions.texts)


def test_the_seed_decides(model_folder: Path) -> None:
    def sample(seed: int) -> list[Completions]:
        return sample_text(model_folder, "def", SamplingOptions(max_new_tokens=16, seed=seed))

    before = torch.get_rng_state()
    assert sample(1) == sample(1)
    assert sample(1) != sample(2)
    assert torch.equal(torch.get_rng_state(), before)  # the caller's random numbers go on as they were


def test_temperature_0_is_greedy(model_folder: Path) -> None:
    options = SamplingOptions(num_return_sequences=2, max_new_tokens=8, temperature=0, seed=1)
    (completions,) = sample_text(model_folder, "def", options)
    assert completions.texts[0] == completions.texts[1]
    again = SamplingOptions(num_return_sequences=1, max_new_tokens=8, temperature=0, seed=2)
    assert sample_text(model_folder, "def", again)[0].texts == completions.texts[:1]
    # the same as sampling among one token
    one = SamplingOptions(max_new_tokens=8, temperature=1, top_k=1, seed=3)
    assert sample_text(model_folder, "def", one)[0].texts == completions.texts[:1]


def test_models_side_by_side(
    model_folder: Path, larger_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["generate", "--model", str(model_folder), "--model", str(larger_folder), "--prompt", "def"]
    arguments += ["--prompt", "", "--num-return-sequences", "3", "--max-new-tokens", "5"]
    assert main([*arguments, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["prompt"], row["model"]) for row in rows] == [
        (prompt, str(folder)) for prompt in ("def", "") for folder in (model_folder, larger_folder)
    ]
    assert {len(row["texts"]) for row in rows} == {3}
    assert main(arguments) == 0
    table = capsys.readouterr().out
    assert table.count("prompt: ") == 2
    assert "thousand parameters" in table


def test_size_is_that_of_the_model(model_folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(model_folder)
    (completions,) = sample_text(model_folder, "def", SamplingOptions(max_new_tokens=1))
    assert completions.num_parameters == model_size(loaded) == loaded.num_parameters()


def test_special_text_in_a_prompt_is_text(model_folder: Path, tokenizer: Tokenizer) -> None:
    # 32 positions: as one special token it would fit, as the 13 characters that it is it must be counted so
    num_tokens = len(tokenizer.encode("<|endoftext|>"))
    assert num_tokens > 1
    with pytest.raises(ConfigError, match=f"has {num_tokens} tokens"):
        sample_text(model_folder, "<|endoftext|>", SamplingOptions(max_new_tokens=32))


def test_a_prompt_that_does_not_fit_is_refused(model_folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"max_new_tokens is 31 .*at most 32 together"):
        sample_text(model_folder, "return argument 1", SamplingOptions(max_new_tokens=31))
    with pytest.raises(ConfigError, match=r"max_new_tokens is 1 .*at most 32 together"):
        sample_text(model_folder, "return argument 1" * 30)
    # not asked for a number, it takes what there is room for
    assert sample_text(model_folder, "return argument 1")[0].texts


def test_an_empty_prompt_begins_a_document_without_a_warning(
    model_folder: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    import transformers

    transformers.utils.logging.enable_propagation()
    try:
        (completions,) = sample_text(model_folder, "", SamplingOptions(max_new_tokens=4))
    finally:
        transformers.utils.logging.disable_propagation()
    assert len(completions.texts) == 1
    assert not [record for record in caplog.records if "attention" in record.getMessage()]
    assert "attention" not in capfd.readouterr().err


def test_missing_and_empty_folders_are_named(tmp_path: Path, model_folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"none' does not exist"):
        sample_text(tmp_path / "none", "a")
    with pytest.raises(ConfigError, match=r"holds no config\.json"):
        sample_text(tmp_path, "a")
    shutil.copytree(model_folder, tmp_path / "copy")
    (tmp_path / "copy" / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match="no readable model"):
        sample_text(tmp_path / "copy", "a")


def test_a_pickle_is_never_loaded(tmp_path: Path, model_folder: Path) -> None:
    shutil.copytree(model_folder, tmp_path / "copy")
    (tmp_path / "copy" / "model.safetensors").rename(tmp_path / "copy" / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="no readable model"):
        sample_text(tmp_path / "copy", "a")


def test_a_folder_without_tokenizer_is_named(tmp_path: Path, model_folder: Path) -> None:
    shutil.copytree(model_folder, tmp_path / "copy")
    for file in (tmp_path / "copy").glob("tokenizer*"):
        file.unlink()
    with pytest.raises(TokenizerError, match="has no tokenizer"):
        sample_text(tmp_path / "copy", "a")


def test_a_tokenizer_larger_than_the_model_is_refused_by_both_sizes(
    tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(model_folder, tmp_path / "copy")
    larger = train_tokenizer(["def main(argument):\n    return argument\n"] * 5, 281, show_progress=False)
    larger.save_pretrained(tmp_path / "copy")
    assert main(["generate", "--model", str(tmp_path / "copy"), "--prompt", "def"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(r"error: model folder '.*copy' has a tokenizer of 281 ids and a model of 280 ", line)


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        (
            "model.safetensors",
            lambda content: content[:-100],
            r"copy/model\.safetensors has no readable model",
        ),
        ("model.safetensors", lambda content: content[:5], r"copy/model\.safetensors has no readable model"),
        (
            "model.safetensors",
            lambda content: b"x" * len(content),
            r"copy/model\.safetensors has no readable",
        ),
        ("config.json", lambda content: content[:-20], r"copy/config\.json is not readable"),
        ("config.json", lambda content: b"[]", r"copy/config\.json is not readable"),
        ("config.json", lambda content: b"\xff", r"copy/config\.json is not readable"),
        (
            "config.json",
            lambda content: content.replace(b'"n_embd": 8', b'"n_embd": 16'),
            "copy' has no readable model: .*mismatch",
        ),
        ("config.json", lambda content: content.replace(b'"n_layer": 1', b'"n_layer": 2'), "lacks 12 of the"),
        ("tokenizer.json", lambda content: content[:-20], "copy' has no readable tokenizer"),
        ("tokenizer.json", lambda content: b"{}", "copy' has no readable tokenizer"),
    ],
)
def test_damaged_files_are_told_in_one_line(
    file: str,
    damage: Callable[[bytes], bytes],
    message: str,
    tmp_path: Path,
    model_folder: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(model_folder, tmp_path / "copy")
    whole = (tmp_path / "copy" / file).read_bytes()
    assert damage(whole) != whole
    (tmp_path / "copy" / file).write_bytes(damage(whole))
    assert main(["generate", "--model", str(tmp_path / "copy"), "--prompt", "def"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("gristmill: error: ")
    assert re.search(message, line)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_return_sequences", 0),
        ("max_new_tokens", 0),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("seed", -1),
    ],
)
def test_options_out_of_range_are_named(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{field} is {value}"):
        SamplingOptions(**{field: value})  # type: ignore[arg-type]


def test_without_torch_the_extra_is_named(model_folder: Path) -> None:
    code = (
        "import sys\nsys.modules['torch'] = None\nfrom gristmill.cli import main\n"
        f"sys.exit(main(['generate', '--model', {str(model_folder)!r}, '--prompt', 'a']))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert run.returncode == 2
    assert run.stderr.startswith("gristmill: error: ")
    assert "pip install 'gristmill[train]'" in run.stderr


def test_layout() -> None:
    completions = [
        Completions("a", 1_234_567, "def ", ("one():\n\tpass", "x")),
        Completions("folder/b", 999, "def ", ("a_name_that_is_longer_than_the_column_is_wide()",)),
    ]
    assert format_side_by_side(completions, width=60) == (
        "prompt: 'def '\n"
        "  a (1.2 million parameters)  folder/b (999 parameters)\n"
        "  1  def one():               1  def a_name_that_is_longe\n"
        "         pass                    r_than_the_column_is_wid\n"
        "  2  def x                       e()"
    )


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (999, "999 parameters"),
        (124_439_808, "124.4 million parameters"),
        (2 * 10**9, "2.0 billion parameters"),
    ],
)
def test_sizes_in_words(size: int, text: str) -> None:
    assert format_size(size) == text
