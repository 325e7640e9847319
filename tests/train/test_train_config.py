"""Configuration: values checked at construction, unknown keys refused in one line, flags over YAML."""

from __future__ import annotations

import dataclasses
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gristmill.errors import ConfigError, ResumeError
from gristmill.train.__main__ import main
from gristmill.train.arguments import config_from_dict, parse_arguments, save_config
from gristmill.train.compatibility import refuse_other_run
from gristmill.train.config import (
    CheckpointConfig,
    CorpusConfig,
    DataConfig,
    EvaluationConfig,
    LoggingConfig,
    ModelConfig,
    RunConfig,
    TrainingConfig,
    check_world_size,
)
from gristmill.train.optimizer import learning_rate

CORPUS = CorpusConfig(path="json", data_files="train.jsonl")


def make_config(**training: Any) -> RunConfig:
    return RunConfig(
        data=DataConfig(tokenizer="tokenizer", train=CORPUS, validation=CORPUS),
        training=TrainingConfig(**{"output_dir": "run", "max_steps": 100, **training}),
    )


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ModelConfig(n_layer=0), "model.n_layer is 0 (expected a whole number, 1 or more)"),
        (lambda: ModelConfig(n_head=5), "model.n_embd is 768 (expected a multiple of model.n_head, 5)"),
        (lambda: ModelConfig(dropout=1), "model.dropout is 1 (expected a number, at least 0 and below 1)"),
        (lambda: CorpusConfig(path=""), "data.<corpus>.path is '' (expected a text that is not empty)"),
        (lambda: data(seq_length=1), "data.seq_length is 1 (expected a whole number, 2 or more)"),
        (lambda: data(seq_length="8"), "data.seq_length is '8' (expected a whole number, 2 or more)"),
        (lambda: data(seq_length=True), "data.seq_length is True (expected a whole number, 2 or more)"),
        (lambda: data(final="cut"), "data.final is 'cut' (expected one of: drop, pad)"),
        (lambda: data(on_bad="drop"), "data.on_bad is 'drop' (expected one of: error, skip)"),
        (lambda: data(shuffle=1), "data.shuffle is 1 (expected true or false)"),
        (lambda: data(seed=2**63), f"data.seed is {2**63} (expected a whole number, 0 to {2**63 - 1})"),
        (
            lambda: make_config(learning_rate=0.0),
            "training.learning_rate is 0.0 (expected a number, above 0)",
        ),
        (
            lambda: make_config(learning_rate=float("nan")),
            "training.learning_rate is nan (expected a number, above 0)",
        ),
        (
            lambda: make_config(max_steps=None),
            "training.max_steps is null (expected a number of steps, or training.num_epochs set)",
        ),
        (
            lambda: make_config(max_steps=None, num_epochs=1),
            "training.decay_steps is null (expected a number of steps, as max_steps gives none)",
        ),
        (lambda: make_config(warmup_steps=101), "training.warmup_steps is 101 (expected at most 100)"),
        (
            lambda: make_config(precision="fp8"),
            "training.precision is 'fp8' (expected one of: auto, float32, bfloat16, float16)",
        ),
        (
            lambda: EvaluationConfig(prompts="def"),
            "evaluation.prompts is 'def' (expected a list of texts)",
        ),
        (
            lambda: CheckpointConfig(keep_last=0),
            "checkpoint.keep_last is 0 (expected a whole number, 1 or more, or null)",
        ),
        (lambda: LoggingConfig(tensorboard=None), "logging.tensorboard is null (expected true or false)"),
        (
            lambda: RunConfig(model=ModelConfig(n_positions=8), data=data(), training=make_config().training),
            "model.n_positions is 8 (expected data.seq_length, 1024, or more)",
        ),
        (
            lambda: RunConfig(
                data=data(), training=make_config().training, evaluation=EvaluationConfig(every_steps=5)
            ),
            "evaluation.every_steps is 5 (expected null, as data.validation is null)",
        ),
        (
            lambda: check_world_size(make_config(), 3),
            "training.global_batch_size is 64 (expected a multiple of the number of ranks, 3)",
        ),
    ],
)
def test_a_value_out_of_range_is_named(build: Any, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        build()
    assert str(error.value) == message


def data(**values: Any) -> DataConfig:
    return DataConfig(**{"tokenizer": "tokenizer", "train": CORPUS, **values})


def all_fields(config: Any) -> Iterator[tuple[type, str]]:
    for field in dataclasses.fields(config):
        yield type(config), field.name
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from all_fields(value)


def test_every_field_has_its_docstring() -> None:
    source = (Path(__file__).parents[2] / "python/gristmill/train/config.py").read_text()
    for owner, name in all_fields(make_config()):
        assert re.search(rf'^    {name}: [^\n]+\n(?:    \)\n)?    """\w', source, re.MULTILINE), (owner, name)


def test_yaml_and_flags(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    config = make_config(learning_rate=1e-3)
    save_config(path, config)
    assert parse_arguments(["--config", str(path)]) == (config, False)
    assert parse_arguments([f"--config={path}"]) == (config, False)
    changed, resume = parse_arguments(
        ["--config", str(path), "--training.learning_rate", "2e-4", "--resume", "--evaluation.prompts=[a,b]"]
    )
    assert resume
    assert changed.training.learning_rate == 2e-4
    assert changed.evaluation.prompts == ("a", "b")
    assert changed.data == config.data
    assert config_from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("flags", "yaml_change", "named"),
    [
        (["--training.learning_rat=1"], {}, "--training.learning_rat"),
        (["--training.learning_ra=1"], {}, "--training.learning_ra"),  # no abbreviations
        ([], {"trainin": {"max_steps": 1}}, "trainin"),
        ([], {"trainin": {}}, "trainin"),  # even where nothing is in it
        ([], {"data": {"train_corpus": None}}, "data.train_corpus"),
        ([], {"data": {"train": {"path": "json", "data_fils": "x"}}}, "data_fils"),
        ([], {"data": {"validation": {"path": "json", "data_fils": "x"}}}, "data_fils"),
        (["--data.seq_length=many"], {}, "many"),
        (["--data.final=cut"], {}, "cut"),
        (["--training.max_steps=1.5"], {}, "1.5"),
        (["--training.micro_batch_size=0"], {}, "training.micro_batch_size is 0"),
        (["--config=no-such.yaml"], {}, "no-such.yaml"),
    ],
)
def test_bad_keys_and_values_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], yaml_change: Any, named: str
) -> None:
    values = make_config().to_dict()
    for section, change in yaml_change.items():
        values.setdefault(section, {}).update(change)
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(values))
    assert main(["--config", str(path), *flags]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith("gristmill train: ConfigError: ")
    assert named in told
    if yaml_change:
        assert str(path) in told


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("--training.max_steps=x", "training.max_steps is 'x' (expected an integer or null)"),
        ("--training.max_steps=1.5", "training.max_steps is '1.5' (expected an integer or null)"),
        ("--data.seq_length=abc", "data.seq_length is 'abc' (expected an integer)"),
        ("--data.seq_length=null", "data.seq_length is 'None' (expected an integer)"),
        ("--training.learning_rate=nan", "training.learning_rate is 'nan' (expected a number)"),
        ("--data.shuffle=perhaps", "data.shuffle is 'perhaps' (expected true or false)"),
        ("--data.final=cut", "data.final is 'cut' (expected 'drop' or 'pad')"),
        ("--evaluation.prompts=5", "evaluation.prompts is '5' (expected a list)"),
        ("--data.validation=5", "data.validation is '5' (expected keys such as path and data_files or null)"),
        ("--training=5", "training is '5' (expected keys and values, or the name of a YAML file with them)"),
        ("--data.train=5", "data.train is '5' (expected keys and values, or the name of a YAML file with"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_in_plain_words(flag: str, told: str) -> None:
    given = ["--data.tokenizer=t", "--data.train.path=json", "--training.output_dir=run"]
    with pytest.raises(ConfigError) as error:
        parse_arguments([*given, flag])
    assert str(error.value).startswith(told)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "it holds None (expected sections of keys, such as data:)"),
        ("# nothing but a comment\n", "it holds None (expected sections of keys, such as data:)"),
        ("- data", "it holds ['data'] (expected sections of keys, such as data:)"),
        ("training: 5", "training is 5 (expected keys and values)"),
        ("data: {train: [a]}", "data.train is ['a'] (expected keys and values)"),
    ],
)
def test_a_file_that_is_no_configuration_is_told_in_plain_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, told: str
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(content)
    assert main([f"--config={path}"]) == 2
    assert capsys.readouterr().err == f"gristmill train: ConfigError: {path}: {told}\n"


def test_an_output_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    from gristmill import train_tokenizer
    from gristmill.train.run import run_training

    train_tokenizer(["a"], 257, show_progress=False).save_pretrained(tmp_path / "tokenizer")
    output = tmp_path / "run"
    output.write_text("mine")
    config = make_config(output_dir=str(output))
    config = dataclasses.replace(config, data=data(tokenizer=str(tmp_path / "tokenizer")))
    with pytest.raises(ConfigError, match=r"training\.output_dir is '.*run', a file"):
        run_training(config)
    assert output.read_text() == "mine"


def test_a_misspelt_key_is_told_without_torch() -> None:
    code = "import sys; from gristmill.train.__main__ import main; print(main(), 'torch' in sys.modules)"
    command = [sys.executable, "-c", code, "--x=1"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == "2 False\n"
    assert "Traceback" not in done.stderr


def test_help_lists_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    for key in ("--training.learning_rate", "--data.train.data_files", "--resume", "75 stopped by a signal"):
        assert key in " ".join(told.split())


# Resuming with another configuration ---------------------------------------------------------------------


def saved_state(config: RunConfig) -> dict[str, Any]:
    return {"config": config.to_dict(), "tokenizer_fingerprint": "abc"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"training": {"learning_rate": 1e-3}}, "training.learning_rate was 0.0005, is now 0.001"),
        ({"training": {"max_steps": 200}}, "training.decay_steps (null takes max_steps) was 100, is now 200"),
        ({"training": {"schedule": "constant"}}, "training.schedule was 'cosine', is now 'constant'"),
        ({"model": {"n_layer": 3}}, "model.n_layer was 12, is now 3"),
        ({"data": {"seq_length": 512}}, "data.seq_length was 1024, is now 512"),
        ({"data": {"train": {"data_files": "b"}}}, "data.train.data_files was 'train.jsonl', is now 'b'"),
        ({"data": {"seed": 1}}, "data.seed was 0, is now 1"),
    ],
)
def test_what_the_steps_depend_on_must_not_change(change: Any, message: str) -> None:
    config = make_config()
    with pytest.raises(ResumeError, match=re.escape(message)):
        refuse_other_run(saved_state(config), changed(config, change), "abc")


def test_what_is_free_may_change_and_is_told() -> None:
    config = make_config(decay_steps=100)
    change = {
        "training": {"max_steps": 200, "output_dir": "moved", "micro_batch_size": 4, "device": "cpu"},
        "data": {"tokenizer": "moved/tokenizer", "prefetch_batches": 0, "num_threads": 3, "validation": None},
        "evaluation": {"prompts": ["a"]},
        "checkpoint": {"every_steps": 7},
        "logging": {"console": False},
    }
    told = refuse_other_run(saved_state(config), changed(config, change), "abc")
    assert "training.max_steps: 100 -> 200" in told
    assert "evaluation.prompts: [] -> ['a']" in told
    assert len(told) == 11
    assert refuse_other_run(saved_state(config), config, "abc") == []


def test_another_tokenizer_is_refused() -> None:
    with pytest.raises(ResumeError, match=r"another tokenizer: its fingerprint is abc, .* is def"):
        refuse_other_run(saved_state(make_config()), make_config(), "def")


def changed(config: RunConfig, change: dict[str, dict[str, Any]]) -> RunConfig:
    values = config.to_dict()
    for section, fields in change.items():
        for name, value in fields.items():
            old = values[section][name]
            values[section][name] = old | value if isinstance(old, dict) and value is not None else value
    return config_from_dict(values)


# Learning rate -------------------------------------------------------------------------------------------


def test_the_learning_rate_warms_up_and_follows_the_cosine() -> None:
    config = TrainingConfig(
        output_dir="run", max_steps=13, warmup_steps=4, learning_rate=1.0, min_learning_rate_ratio=0.1
    )
    rates = [learning_rate(step, config) for step in range(15)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[8] == pytest.approx(0.55)  # halfway down
    assert rates[12] == pytest.approx(0.1)  # the last step
    assert rates[13:] == [rates[12]] * 2
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates[4:]))
    constant = dataclasses.replace(config, schedule="constant")
    assert [learning_rate(step, constant) for step in (0, 5, 500)] == [0.25, 1.0, 1.0]


@pytest.mark.parametrize("warmup_steps", [0, 1, 2])
def test_the_shortest_schedules_are_finite(warmup_steps: int) -> None:
    config = TrainingConfig(output_dir="run", max_steps=2, warmup_steps=warmup_steps, learning_rate=1.0)
    assert all(0 < learning_rate(step, config) <= 1 for step in range(4))
