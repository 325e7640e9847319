"""The command line of a training run: a YAML file, and flags over it."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
import typing
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from gristmill import durable
from gristmill.errors import ConfigError, require_extra
from gristmill.train.config import RunConfig

_KINDS = {
    "int": "an integer",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "tuple": "a list",
    "NoneType": "null",
    "gristmill.train.config.CorpusConfig": "keys such as path and data_files",
}
# The wordings of jsonargparse for a value of the wrong kind: key, value, and what was expected.
_WRONG_KIND = (
    re.compile(
        r'Parser key "(?P<key>[^"]+)".*Subtypes: \[(?P<kinds>.*?)\]\n.*Given value: (?P<value>.*)', re.DOTALL
    ),
    re.compile(
        r'Parser key "(?P<key>[^"]+)":\s+Expected an? (?P<kinds>.*)\. Got value: (?P<value>.*)', re.DOTALL
    ),
    re.compile(
        r'Parser key "(?P<key>[^"]+)":\s+(?P<kinds>Unable to load config) \'(?P<value>.*?)\'\n', re.DOTALL
    ),
)


def parse_arguments(arguments: Sequence[str] | None = None) -> tuple[RunConfig, bool]:
    """Read `--config run.yaml --section.key value ... [--resume]`: the configuration, and whether to resume.

    `--help` and `--print_config` print, and leave with `SystemExit(0)` as argparse does.

    Raises:
        ConfigError: a key is unknown, or a value is of the wrong kind or out of range; one line.
        MissingExtraError: jsonargparse is not installed.

    Example:
        >>> parse_arguments(["--training.learning_rat=1"])
        Traceback (most recent call last):
        gristmill.errors.ConfigError: unrecognized arguments: --training.learning_rat=1
    """
    try:
        import jsonargparse
    except ImportError as error:
        raise require_extra("jsonargparse", "train", "a training run") from error
    jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = jsonargparse.ArgumentParser(
        prog="gristmill train",
        description="Train a GPT-2. In N processes: torchrun --nproc-per-node N -m gristmill.train ...",
        epilog="Exit codes: 0 finished, 75 stopped by a signal with a checkpoint, 2 refused (what was "
        "given cannot be used), 1 failed. torchrun itself exits with 1 whenever a rank's code is not 0.",
        exit_on_error=False,
        allow_abbrev=False,  # a misspelt key must not pass for the beginning of another one
    )
    parser.add_argument("--config", action="config", help="YAML file; flags that come later win over it")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on from the newest complete checkpoint in training.output_dir (start where there is none)",
    )
    parser.add_class_arguments(RunConfig, as_group=False)
    files = _config_files(arguments)
    for file in files:
        _refuse_unknown_keys(file)
    try:
        values = parser.parse_args(arguments)
        sections = parser.instantiate(values)
    except ConfigError:
        raise
    except (argparse.ArgumentError, ValueError, TypeError, OSError) as error:
        named = f" (configuration: {', '.join(files)} and flags)" if files else ""
        raise ConfigError(_plain_words(str(error)) + named) from error
    resume = bool(sections.pop("resume"))
    sections.pop("config")
    return RunConfig(**vars(sections)), resume


def save_config(path: Path, config: RunConfig) -> None:
    """Write the resolved configuration as YAML that `--config` reads, whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    import yaml

    head = "# The resolved configuration of this run: gristmill train --config <this file>\n"
    text: str = yaml.safe_dump(config.to_dict(), sort_keys=False, allow_unicode=True)
    durable.write_text(path, head + text)


def config_from_dict(values: dict[str, Any]) -> RunConfig:
    """Build a configuration from plain values, as `RunConfig.to_dict` gives them; keys are checked.

    Raises:
        ConfigError: as `parse_arguments`.
    """
    # JSON is YAML; going through the parser keeps one place that knows what is allowed
    flags = [f"--{section}={json.dumps(content)}" for section, content in values.items()]
    return parse_arguments(flags)[0]


def _one_line(message: str) -> str:
    return " ".join(line.strip() for line in message.splitlines() if line.strip())


def _plain_words(message: str) -> str:
    """Say in one line what jsonargparse lists in several: the key, what was given, what was expected."""
    found = next(filter(None, (pattern.search(message) for pattern in _WRONG_KIND)), None)
    if found is None:
        return _one_line(message)
    return f"{found['key']} is {found['value'].strip()!r} (expected {_expected(found['kinds'])})"


def _expected(kinds: str) -> str:
    if kinds.startswith("Unable"):
        return "keys and values, or the name of a YAML file with them"
    if "Literal[" in kinds:
        return " or ".join(re.findall(r"'[^']*'", kinds))
    names = re.findall(r"<class '([\w.]+)'>", kinds)
    return " or ".join(_KINDS.get(name, name) for name in names) or kinds


def _config_files(arguments: Sequence[str] | None) -> list[str]:
    given = sys.argv[1:] if arguments is None else arguments
    files = [after for flag, after in pairwise(given) if flag == "--config"]
    return files + [flag.removeprefix("--config=") for flag in given if flag.startswith("--config=")]


def _refuse_unknown_keys(file: str) -> None:
    """Walk a file's keys: the parser lets an unknown one pass when nothing is in it, and names no file."""
    import yaml

    try:
        values = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return  # the parser says what is wrong
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: it holds {values!r:.100} (expected sections of keys, such as data:)")
    _walk_keys(file, "", values, RunConfig)


def _walk_keys(file: str, prefix: str, values: object, section: type) -> None:
    if not isinstance(values, dict):
        if values is not None and not isinstance(values, str):  # a text names a file of the section's own
            raise ConfigError(f"{file}: {prefix.rstrip('.')} is {values!r:.100} (expected keys and values)")
        return
    hints = typing.get_type_hints(section)
    names = [field.name for field in dataclasses.fields(section)]
    for key, value in values.items():
        if key not in names:
            raise ConfigError(f"{file}: unknown key {prefix}{key} (expected one of: {', '.join(names)})")
        for kind in (hints[key], *typing.get_args(hints[key])):
            if dataclasses.is_dataclass(kind) and isinstance(kind, type):
                _walk_keys(file, f"{prefix}{key}.", value, kind)
