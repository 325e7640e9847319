"""The wheel in an environment of its own that has the base dependencies and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent

# Runs inside the bare environment: everything that the base install promises, and what it says of the rest.
BARE_SCRIPT = """
import importlib.util, json, sys
for absent in ("torch", "datasets", "transformers", "pyarrow"):
    assert importlib.util.find_spec(absent) is None, absent
import warnings
warnings.simplefilter("error")
import gristmill
texts = ["def f(x):\\n    return x\\n"] * 20
tokenizer = gristmill.train_tokenizer(texts, vocab_size=270, show_progress=False)
packed = gristmill.pack(["def f(x):", "", "return x"], tokenizer, seq_length=4, final="pad")
packer = gristmill.Packer(tokenizer, seq_length=4)
packer.push(["def f(x):", "return x"])
report = gristmill.measure_tokenizer(tokenizer, ["def f(x):", "return x"])
texts = [f"text {n}" for n in range(100)]
advice = gristmill.advise_vocab_size(texts, vocab_sizes=[257, 260], show_progress=False)
gristmill.write_advice_page("report.html", advice, {"own": tokenizer}, texts)
messages = {}
for name in ("ConstantLengthDataset", "model_size"):
    try:
        getattr(gristmill, name)
    except gristmill.MissingExtraError as error:
        messages[name] = str(error)
missing = sorted(n for n in gristmill.__all__ if n not in messages and not hasattr(gristmill, n))
loaded = sorted(m for m in ("torch", "datasets", "transformers", "pyarrow") if m in sys.modules)
print(json.dumps({
    "blocks": packed.blocks.tolist(), "eos": tokenizer.eos_token_id, "ready": packer.take_blocks().shape[0],
    "fertility": report.fertility, "messages": messages, "missing": missing, "loaded": loaded,
    "typed": importlib.util.find_spec("gristmill").submodule_search_locations[0],
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), "."]
    subprocess.run(command, cwd=REPOSITORY, check=True, timeout=900)
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.timeout(1200)
def test_the_wheel_is_abi3_and_whole(wheel: Path) -> None:
    assert "-cp311-abi3-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    data = ("report_page/page.css", "report_page/page.js")
    for name in ("__init__.py", "py.typed", "_native.pyi", "_native.abi3.so", *data):
        assert f"gristmill/{name}" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.timeout(1200)
def test_base_install_packs_and_measures_without_torch(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "bare"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True, timeout=900)
    run = subprocess.run(
        [python, "-c", BARE_SCRIPT], cwd=tmp_path, check=True, timeout=300, stdout=subprocess.PIPE, text=True
    )
    result = json.loads(run.stdout.splitlines()[-1])
    assert sum(block.count(result["eos"]) for block in result["blocks"]) >= 3
    assert result["ready"] >= 1
    assert result["fertility"] > 0
    assert set(result["messages"]) == {"ConstantLengthDataset", "model_size"}
    assert all("gristmill[train]" in message for message in result["messages"].values())
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert result["missing"] == []
    assert result["loaded"] == []
    assert Path(result["typed"]).joinpath("py.typed").is_file()

    command_line = subprocess.run(
        [environment / "bin" / "gristmill", "--version"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert command_line.stdout.startswith("gristmill ")
