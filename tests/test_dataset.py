"""The torch face of the block order: samples, ranks, resuming, DataLoader and Trainer, pickling."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from hypothesis import given, strategies as st
from tests import block_order
from tests.block_order import Options, Rows
from torch.utils.data import DataLoader

from gristmill.dataset import IGNORED_LABEL, ConstantLengthDataset
from gristmill.errors import BadDocumentError, ConfigError, EmptyCorpusError, ResumeError, SourceError
from gristmill.packing import pack
from gristmill.tokenizer import Tokenizer

ROWS = [f"document number {number}" for number in range(60)]
TEXT_ROWS = st.lists(block_order.texts, min_size=1, max_size=14)
Sample = dict[str, torch.Tensor]


def of_options(
    documents: object, tokenizer: Tokenizer, options: Options, **more: Any
) -> ConstantLengthDataset:
    return ConstantLengthDataset(
        documents,
        tokenizer,
        options.seq_length,
        num_lanes=options.num_lanes,
        shuffle=options.window is not None,
        seed=options.seed,
        shuffle_window=options.window or 4096,
        **{"final": options.final, "num_threads": 1, "buffer_sequences": 3} | more,
    )


def shuffled(tokenizer: Tokenizer, documents: object = ROWS, **more: Any) -> ConstantLengthDataset:
    options = {"num_lanes": 3, "shuffle": True, "shuffle_window": 16, "seed": 4, "buffer_sequences": 4}
    return ConstantLengthDataset(documents, tokenizer, 8, **options | more)


def ids_of(samples: Any) -> list[list[int]]:
    return [sample["input_ids"].tolist() for sample in samples]


def num_valid(sample: Sample) -> int:
    """How many ids are real; checks that labels say the same."""
    ids, labels = sample["input_ids"], sample["labels"]
    assert ids.dtype == labels.dtype == torch.int64
    assert ids.shape == labels.shape
    real = int((labels != IGNORED_LABEL).sum())
    assert torch.equal(labels[:real], ids[:real])
    return real


# Samples -----------------------------------------------------------------------------------------------


def test_samples_are_what_trainers_expect(tiny_tokenizer: Tokenizer) -> None:
    data = ConstantLengthDataset(["a"], tiny_tokenizer, 5, final="pad")
    a, eos = tiny_tokenizer.token_to_id("a"), tiny_tokenizer.require_eos()
    (sample,) = data
    assert {name: tensor.tolist() for name, tensor in sample.items()} == {
        "input_ids": [a, eos, eos, eos, eos],
        "labels": [a, eos, -100, -100, -100],
    }
    assert num_valid(sample) == 2
    assert data.ledger.check().tokens_padding == 3
    assert isinstance(data, torch.utils.data.IterableDataset)
    with pytest.raises(TypeError):
        len(data)  # type: ignore[arg-type]


@given(
    texts=TEXT_ROWS, length=st.integers(2, 9), final=st.sampled_from(["drop", "pad"]), stream=st.booleans()
)
def test_one_lane_without_shuffling_equals_pack(
    tiny_tokenizer: Tokenizer, texts: list[str], length: int, final: str, stream: bool
) -> None:
    documents = Rows({"text": text} for text in texts) if stream else texts
    data = ConstantLengthDataset(
        documents, tiny_tokenizer, length, num_lanes=1, final=final, buffer_sequences=2, num_threads=1
    )
    samples = list(data)
    packed = pack(texts, tiny_tokenizer, length, final)
    assert ids_of(samples) == packed.blocks.tolist()
    assert list(map(num_valid, samples)) == packed.num_valid.tolist()
    assert data.ledger == packed.ledger


# Ranks -------------------------------------------------------------------------------------------------


@given(texts=TEXT_ROWS, options=block_order.orders, sizes=st.lists(st.integers(1, 3), min_size=1, max_size=3))
def test_ranks_share_the_global_order_and_resume_at_other_world_sizes(
    tiny_tokenizer: Tokenizer, texts: list[str], options: Options, sizes: list[int]
) -> None:
    """Two samples a rank at each world size in turn, then the rest at the last one."""
    expected = list(of_options(texts, tiny_tokenizer, options))
    together: list[Sample] = []
    state: dict[str, Any] | None = None
    for stage, world_size in enumerate(sizes):
        last = stage == len(sizes) - 1
        ranks = []
        states = []
        for rank in range(world_size):
            data = of_options(texts, tiny_tokenizer, options, rank=rank, world_size=world_size)
            if state is not None:
                data.load_state_dict(state)
            ranks.append(list(islice(iter(data), None if last else 2)))
            states.append(data.state_dict())
        assert all(each == states[0] for each in states)
        assert len({len(samples) for samples in ranks}) == 1
        state = json.loads(json.dumps(states[0]))
        assert state is not None
        first = len(together)
        assert state["next_block"] == min(first + len(ranks[0]) * world_size, len(expected))
        for group in zip(*ranks, strict=True):
            # Block n goes to rank n mod world_size, wherever the group begins.
            order = sorted(range(world_size), key=lambda rank: (rank - first) % world_size)
            together += [group[rank] for rank in order]
    real, fillers = together[: len(expected)], together[len(expected) :]
    assert ids_of(real) == ids_of(expected)
    assert list(map(num_valid, real)) == list(map(num_valid, expected))
    assert len(fillers) < max(sizes)
    assert all(num_valid(sample) == 0 for sample in fillers)
    filler = [tiny_tokenizer.require_eos()] * options.seq_length
    assert ids_of(fillers) == [filler] * len(fillers)


def test_the_state_is_free_of_the_world_size(tiny_tokenizer: Tokenizer) -> None:
    states = []
    for rank, world_size, count in ((0, 1, 12), (1, 2, 6), (2, 3, 4), (5, 6, 2)):
        data = shuffled(tiny_tokenizer, infinite=True, rank=rank, world_size=world_size)
        list(islice(data, count))
        states.append(data.state_dict())
    assert all(state == states[0] for state in states)
    assert states[0]["next_block"] == 12


@pytest.mark.parametrize(
    ("rank", "world_size", "error"),
    [
        (1, 1, ConfigError),
        (-1, 2, ConfigError),
        (0, 0, ConfigError),
        (True, 2, TypeError),
        (0, "2", TypeError),
    ],
)
def test_ranks_that_are_none_are_refused(
    tiny_tokenizer: Tokenizer, rank: Any, world_size: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match=r"rank|world_size"):
        shuffled(tiny_tokenizer, rank=rank, world_size=world_size)


# Resuming ----------------------------------------------------------------------------------------------


# Fault 4, the data's part: each of these places, resumed once, twice and three times.
@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("place", ["start", "one step", "mid-epoch", "end of epoch", "later"])
@pytest.mark.parametrize("infinite", [False, True])
def test_resumed_equals_unbroken(
    tiny_tokenizer: Tokenizer, infinite: bool, place: str, times: int, world_size: int
) -> None:
    def data() -> ConstantLengthDataset:
        return shuffled(tiny_tokenizer, infinite=infinite, rank=world_size - 1, world_size=world_size)

    whole = data()
    epochs = []
    expected = []
    for sample in islice(whole, 400):
        expected.append(sample)
        epochs.append(whole.epoch)
    assert infinite == (epochs[-1] > 1)
    end_of_epoch = epochs.index(1) if infinite else len(expected)
    count = {
        "start": 0,
        "one step": 1,
        "mid-epoch": end_of_epoch // 2,
        "end of epoch": end_of_epoch,
        "later": end_of_epoch + 5 if infinite else end_of_epoch - 1,
    }[place]
    running = data()
    samples = list(islice(running, count)) if count else []
    for _ in range(times):
        state = json.loads(json.dumps(running.state_dict()))
        running = data()
        running.load_state_dict(state)
        assert running.state_dict() == state
        samples += list(islice(running, 1))
        count = len(samples)
    assert ids_of(samples) == ids_of(expected[: len(samples)])
    state = running.state_dict()
    running = data()
    running.load_state_dict(state)
    samples += list(islice(running, 400 - count))
    assert ids_of(samples) == ids_of(expected)
    if not infinite:
        assert running.ledger.check() == whole.ledger


def test_iterating_again_starts_anew_unless_a_state_was_loaded(tiny_tokenizer: Tokenizer) -> None:
    data = shuffled(tiny_tokenizer)
    expected = ids_of(data)
    assert ids_of(data) == expected
    first = iter(data)
    assert ids_of(islice(first, 4)) == expected[:4]
    data.load_state_dict(data.state_dict())
    assert ids_of(data) == expected[4:]
    assert ids_of(data) == expected
    assert ids_of(first) == expected[4:]
    data.set_epoch(1)
    assert ids_of(data) != expected
    assert data.epoch == 1
    data.set_epoch(0)
    assert ids_of(data) == expected


def test_streams_of_datasets_resume_on_two_ranks(tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Shuffled, infinite, two files, past the end of an epoch; the state is small and holds no text."""
    files = []
    for part in range(2):
        files.append(str(tmp_path / f"{part}.jsonl"))
        lines = [json.dumps({"content": text, "n": 1}) + "\n" for text in ROWS[part::2]]
        Path(files[-1]).write_text("".join(lines), encoding="utf-8")

    def data(rank: int) -> ConstantLengthDataset:
        stream = datasets.load_dataset(
            "json", data_files=files, split="train", streaming=True, cache_dir=str(tmp_path / "cache")
        )
        return shuffled(tiny_tokenizer, stream, infinite=True, text_column="content", rank=rank, world_size=2)

    for rank in range(2):
        whole = data(rank)
        expected = ids_of(islice(whole, 120))
        assert whole.epoch > 0
        for count in (7, 65, 111):
            running = data(rank)
            list(islice(running, count))
            text = json.dumps(running.state_dict())
            assert len(text) < 4096
            assert "document number" not in text
            resumed = data(rank)
            resumed.load_state_dict(json.loads(text))
            assert ids_of(islice(resumed, 120 - count)) == expected[count:]


def test_a_state_of_another_data_set_is_refused(tiny_tokenizer: Tokenizer) -> None:
    state = shuffled(tiny_tokenizer).state_dict()
    with pytest.raises(ResumeError, match="seed = 4, but here it is 5"):
        shuffled(tiny_tokenizer, seed=5).load_state_dict(state)
    generator = shuffled(tiny_tokenizer, (row for row in ROWS))
    with pytest.raises(SourceError, match="cannot be resumed"):
        generator.load_state_dict(state)


# Bad input ---------------------------------------------------------------------------------------------


def test_bad_rows_and_empty_corpora_are_named(tiny_tokenizer: Tokenizer) -> None:
    with pytest.raises(EmptyCorpusError):
        next(iter(shuffled(tiny_tokenizer, [], infinite=True)))
    rows = [*ROWS, 7, "a\ud800", None, b"\xff"]
    with pytest.raises(BadDocumentError, match=r"documents \(list\), row 6[0-3]: "):
        list(shuffled(tiny_tokenizer, rows))
    data = shuffled(tiny_tokenizer, rows, on_bad="skip", final="pad")
    list(data)
    assert data.ledger.check().documents_skipped == {
        "invalid UTF-8": 1,
        "lone surrogate": 1,
        "null": 1,
        "wrong type": 1,
    }
    with pytest.raises(SourceError, match="second epoch"):
        shuffled(tiny_tokenizer, iter(ROWS), infinite=True)
    with pytest.raises(TypeError, match="one str"):
        shuffled(tiny_tokenizer, "one text")


def test_without_torch_the_extra_is_named() -> None:
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "import gristmill\n"
        "try:\n    gristmill.ConstantLengthDataset\n"
        "except gristmill.MissingExtraError as error:\n    print(error)"
    )
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=60)
    assert run.stdout.decode().strip() == (
        "ConstantLengthDataset needs the package 'torch', which is not installed: "
        "pip install 'gristmill[train]'"
    )


# DataLoader and Trainer --------------------------------------------------------------------------------


def test_in_a_data_loader(tiny_tokenizer: Tokenizer) -> None:
    data = shuffled(tiny_tokenizer)
    expected = ids_of(data)
    loader: DataLoader[Sample] = DataLoader(data, batch_size=4)
    batches = list(loader)
    assert [row for batch in batches for row in batch["input_ids"].tolist()] == expected
    assert batches[0]["labels"].shape == (4, 8)
    assert len(list(loader)) == len(batches)


def test_in_a_loader_worker_it_refuses_by_name(
    tiny_tokenizer: Tokenizer, capfd: pytest.CaptureFixture[str]
) -> None:
    stream = datasets.Dataset.from_dict({"text": ROWS}).to_iterable_dataset()
    data = shuffled(tiny_tokenizer, stream)
    with pytest.raises(SourceError, match=r"DataLoader worker \d of 2.*expected num_workers=0"):
        list(DataLoader(data, batch_size=4, num_workers=2))
    output = capfd.readouterr()
    assert "Too many dataloader workers" not in output.out + output.err


def test_in_a_trainer(tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    """`transformers.Trainer` as it is: two passes, the second in the order of the second epoch."""
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

    data = shuffled(tiny_tokenizer, ROWS[:20])
    passes = []
    for epoch in range(2):
        data.set_epoch(epoch)
        passes.append(ids_of(data))
    assert passes[0] != passes[1]
    data.set_epoch(0)

    seen: list[list[int]] = []
    eos = tiny_tokenizer.require_eos()
    config = GPT2Config(
        vocab_size=400, n_positions=8, n_embd=8, n_layer=1, n_head=1, bos_token_id=eos, eos_token_id=eos
    )
    model = GPT2LMHeadModel(config)
    model.register_forward_pre_hook(
        lambda _, args, inputs: seen.extend(inputs["input_ids"].tolist()), with_kwargs=True
    )
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=2 * -(-len(passes[0]) // 4),
        per_device_train_batch_size=4,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the Trainer warns of is not ours
        Trainer(model=model, args=arguments, train_dataset=data).train()
    assert seen == [*passes[0], *passes[1]]


# Pickling ----------------------------------------------------------------------------------------------


def test_it_pickles_with_a_state_that_was_loaded(tiny_tokenizer: Tokenizer) -> None:
    data = shuffled(tiny_tokenizer, infinite=True, rank=1, world_size=2)
    data.set_epoch(2)
    expected = ids_of(islice(data, 30))
    copied = pickle.loads(pickle.dumps(data))  # noqa: S301
    assert ids_of(islice(copied, 30)) == expected
    first = iter(data)
    list(islice(first, 9))
    data.load_state_dict(data.state_dict())
    copied = pickle.loads(pickle.dumps(data))  # noqa: S301
    assert pickle.dumps(copied) == pickle.dumps(data)
    assert ids_of(islice(copied, 21)) == expected[9:]
    with pytest.raises(TypeError, match="generator"):
        pickle.dumps(shuffled(tiny_tokenizer, (row for row in ROWS)))


MAP_SCRIPT = """
import json, pickle, sys
import datasets
from datasets.fingerprint import Hasher

with open(sys.argv[1], "rb") as file:
    packer, data = pickle.load(file)

def count(row, packer, data):
    import copy
    own = copy.deepcopy(packer)
    own.push([row["text"]])
    return {"tokens": own.ledger.tokens, "seq_length": data.seq_length}

datasets.disable_progress_bars()
rows = datasets.load_dataset("json", data_files=sys.argv[2], split="train", cache_dir=sys.argv[3])
mapped = rows.map(count, num_proc=2, fn_kwargs={"packer": packer, "data": data})
print(json.dumps([Hasher.hash(packer), Hasher.hash(data), mapped["tokens"][:], mapped._fingerprint,
                  sorted(file["filename"] for file in mapped.cache_files)]))
"""


def test_map_takes_its_second_run_from_the_cache(tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Two runs, each of which starts two processes."""
    from gristmill.packing import Packer

    packer = Packer(tiny_tokenizer, 8)
    packer.push(["a b c"])
    (tmp_path / "objects").write_bytes(pickle.dumps((packer, shuffled(tiny_tokenizer))))
    (tmp_path / "map.py").write_text(MAP_SCRIPT, encoding="utf-8")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in ROWS[:8]))
    results: list[Any] = []
    written: list[dict[str, int]] = []
    for _ in range(2):
        run = subprocess.run(
            [sys.executable, "map.py", "objects", "rows.jsonl", "cache"],
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
            timeout=240,
        )
        results.append(json.loads(run.stdout.splitlines()[-1]))
        written.append({name: Path(name).stat().st_mtime_ns for name in _existing(tmp_path, results[-1][4])})
    assert results[0] == results[1]
    assert written[0] == written[1]
    assert results[0][2] == [packer.ledger.tokens + len(tiny_tokenizer.encode(text)) + 1 for text in ROWS[:8]]


def _existing(folder: Path, names: list[str]) -> Iterator[str]:
    for name in names:
        path = folder / name
        assert path.is_file()
        yield str(path)
