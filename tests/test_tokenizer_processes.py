"""`Tokenizer` across processes: pickling, one hash everywhere, the cache of `datasets`, forks, Ctrl-C."""

from __future__ import annotations

import copy
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import datasets
import numpy as np
import pytest
from tests import samples

from gristmill.tokenizer import Tokenizer

REPOSITORY = Path(__file__).resolve().parent.parent
ROADS = ("tiny_tokenizer", "word_piece_tokenizer")
TEXTS = ["def f(x):", "", "return None # é", "it's"] * 25

HASH_SCRIPT = """
import json, sys
from datasets.fingerprint import Hasher
from gristmill.tokenizer import Tokenizer
tokenizer = Tokenizer.from_pretrained(sys.argv[1])
def use(row):
    return {"ids": tokenizer.encode(row["text"])}
before = Hasher.hash(tokenizer)
tokenizer.encode_batch(["some", "work"]), tokenizer.fingerprint, tokenizer.token_byte_lengths()
tokenizer.decode([1]), tokenizer.encode("<|endoftext|>", allow_special=True)
assert Hasher.hash(tokenizer) == before
print(json.dumps([before, Hasher.hash(use), tokenizer.fingerprint, hash(tokenizer)]))
"""

CTRL_C_SCRIPT = """
import sys, time
from gristmill.tokenizer import Tokenizer
from tests import samples
tokenizer = Tokenizer.from_file(sys.argv[1])
texts = [text for text in samples.standard_library()[0]] * int(sys.argv[2])
tokenizer.encode_batch(texts[:20])
print("ready", flush=True)
started = time.monotonic()
try:
    tokenizer.encode_batch(texts, num_threads=2)
except KeyboardInterrupt:
    interrupted = time.monotonic()
    assert tokenizer.encode("still works").size
    print(interrupted, flush=True)
else:
    print("finished after", time.monotonic() - started, flush=True)
"""


@pytest.fixture(params=ROADS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    found: Tokenizer = request.getfixturevalue(request.param)
    return found


def encode_all(tokenizer: Tokenizer) -> list[list[int]]:
    return [ids.tolist() for ids in tokenizer.encode_batch(TEXTS, num_threads=2)]


def test_pickle(tokenizer: Tokenizer) -> None:
    tokenizer.encode_batch(TEXTS)  # what was built by using it does not travel
    for again in (pickle.loads(pickle.dumps(tokenizer)), copy.deepcopy(tokenizer), copy.copy(tokenizer)):  # noqa: S301
        assert again == tokenizer
        assert again.roles == tokenizer.roles
        assert encode_all(again) == encode_all(tokenizer)
    assert len(pickle.dumps(tokenizer)) < len(tokenizer.to_str().encode()) + 1000


# From Python 3.12 on, a fork beside threads warns; on the slow road there are those of `tokenizers`.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize(("method", "times"), [("fork", 8), ("forkserver", 2), ("spawn", 2)])
def test_in_other_processes_after_use(
    tokenizer: Tokenizer, method: str, times: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """8 forks, 2 processes for each other way to start them, after threads were used here."""
    expected = encode_all(tokenizer)
    with multiprocessing.get_context(method).Pool(2, maxtasksperchild=1) as pool:
        results = pool.map_async(encode_all, [tokenizer] * times, chunksize=1).get(timeout=120)
    assert results == [expected] * times
    assert "forked" not in capfd.readouterr().err


def test_hash_is_the_same_in_every_process(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """2 processes, with different seeds of Python's own hash and from different folders."""
    results = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        tokenizer.save_pretrained(folder)
        run = subprocess.run(
            [sys.executable, "-c", HASH_SCRIPT, folder],
            env=os.environ | {"PYTHONHASHSEED": seed, "HF_HOME": str(tmp_path / "home")},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            timeout=120,
        )
        results.append(json.loads(run.stdout))
    assert results[0] == results[1]
    assert results[0][0] == datasets.fingerprint.Hasher.hash(tokenizer)
    assert results[0][2] == tokenizer.fingerprint


def test_different_tokenizers_hash_differently(tiny_tokenizer: Tokenizer, gpt2_tokenizer: Tokenizer) -> None:
    other_eos = Tokenizer.from_str(tiny_tokenizer.to_str(), eos_token="!")
    hashes = {datasets.fingerprint.Hasher.hash(each) for each in (tiny_tokenizer, gpt2_tokenizer, other_eos)}
    assert len(hashes) == 3


def test_map_takes_its_second_run_from_the_cache(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """`Dataset.map(num_proc=2)`: the second run makes no new files and gives the same ids."""
    rows = datasets.Dataset.from_dict({"text": TEXTS})
    rows.save_to_disk(tmp_path / "rows")
    runs = []
    for _ in range(2):
        tokenizer = pickle.loads(pickle.dumps(tokenizer))  # noqa: S301, another object each time
        source = datasets.load_from_disk(tmp_path / "rows")
        mapped = source.map(
            lambda batch: {"ids": list(tokenizer.encode_batch(batch["text"]))},  # noqa: B023
            batched=True,
            batch_size=10,
            num_proc=2,
        )
        files = sorted(Path(file["filename"]) for file in mapped.cache_files)
        runs.append((files, [file.stat().st_mtime_ns for file in files], mapped["ids"][:]))
    assert runs[0] == runs[1]
    assert len(runs[0][0]) == 2
    assert runs[0][2] == encode_all(tokenizer)


@pytest.mark.parametrize(("road", "repeats"), [("tokenizer_2500", 30), ("word_piece_tokenizer", 1)])
def test_ctrl_c_ends_a_batch_within_a_second(
    road: str, repeats: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """3 processes for each road. On the slow one this is no promise: `tokenizers` cannot be interrupted."""
    path = tmp_path / "tokenizer.json"
    path.write_text(request.getfixturevalue(road).to_str(), encoding="utf-8")
    for delay in (0.05, 0.2, 0.4):
        process = subprocess.Popen(
            [sys.executable, "-c", CTRL_C_SCRIPT, path, str(repeats)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(delay)
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert float(output) - sent < 1.0


def test_ids_are_plain_arrays_that_pickle(tokenizer: Tokenizer) -> None:
    batch = tokenizer.encode_batch(TEXTS)
    again = pickle.loads(pickle.dumps(batch))  # noqa: S301
    assert np.array_equal(again.ids, batch.ids)
    assert np.array_equal(again.offsets, batch.offsets)


def test_ids_outlive_the_batch(tiny_tokenizer: Tokenizer) -> None:
    expected = samples.reference_ids(samples.reference(tiny_tokenizer.to_str()), TEXTS[:4])
    arrays = [tiny_tokenizer.encode_batch([text])[0] for text in TEXTS[:4]]
    assert [ids.tolist() for ids in arrays] == expected
