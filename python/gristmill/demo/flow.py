"""The demo from start to end; see the package's docstring for the map.

Every stage goes on from what is there: the corpus and the tokenizer are kept with a key of their inputs, the
trainer resumes from its newest checkpoint, and what takes a second (packing, the bigram, completions) is done
anew.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from gristmill import durable
from gristmill.demo.corpus import CorpusFigures, collect_corpus, write_corpus
from gristmill.demo.settings import DemoSettings
from gristmill.demo.stages import Stages, sole_use
from gristmill.errors import require_extra

if TYPE_CHECKING:
    from gristmill.tokenizer import Tokenizer

# A change of the rules by which files are chosen asks for a new corpus.
CORPUS_RULES = 1
EXIT_NOT_LOWER = 1
OUTPUTS = ("corpus", "tokenizer", "run", "stages", "run.yaml")


def run_demo(folder: Path, settings: DemoSettings, *, restart: bool = False) -> int:
    """Go from the Python files of this machine to a trained, measured and sampled GPT-2 in `folder`.

    Returns 0 if the GPT-2 has fewer validation bits per byte than the bigram model, else 1.

    Raises:
        MissingExtraError: the extra [train] is not installed.
        FolderInUseError: another demo works in the folder.
        TrainingFailedError: the trainer ended without a result.
        KeyboardInterrupt: it was interrupted; run again, it goes on.

    Example:
        >>> run_demo(Path("gristmill-demo"), DemoSettings())  # doctest: +SKIP
        0
    """
    for module in ("torch", "transformers", "datasets", "safetensors", "jsonargparse", "yaml", "rich"):
        if importlib.util.find_spec(module) is None:
            raise require_extra(module, "train", "gristmill demo")
    # Nothing here needs a network; told so, the libraries do not look for one. The ranks inherit it.
    os.environ.update({"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"})
    started = time.monotonic()
    with sole_use(folder) as lock:
        # Only now: torch takes seconds to import, and a second demo should be refused at once.
        from gristmill.demo.figures import compare
        from gristmill.demo.training import show_completions, train

        if restart:
            remove_outputs(folder)
        stages = Stages(folder)
        with _stage(1, "corpus: Python files of this machine, split by package"):
            make_corpus(folder, settings, stages)
        with _stage(2, "tokenizer: a byte-level BPE, trained and measured"):
            tokenizer = make_tokenizer(folder, settings, stages)
        with _stage(3, "blocks: documents joined with EOS and chopped (here in the order of the files)"):
            show_ledgers(folder, settings, tokenizer)
        with _stage(4, "GPT-2: trained through torchrun"):
            train(folder, settings, tokenizer, stages, lock)
        with _stage(5, "completions of the trained model"):
            show_completions(folder, settings)
        with _stage(6, "the figure: validation bits per byte, beside a bigram's"):
            comparison = compare(folder, tokenizer)
            print(comparison)
        show_places(folder)
        print(f"\n{comparison.verdict}\nfinished in {time.monotonic() - started:.0f} s")
    return 0 if comparison.is_lower else EXIT_NOT_LOWER


def make_corpus(folder: Path, settings: DemoSettings, stages: Stages) -> None:
    """Collect and write the corpus, unless one of these settings is there."""
    inputs = {
        "megabytes": settings.corpus_megabytes,
        "python": platform.python_version(),
        "rules": CORPUS_RULES,
    }
    key = stages.key(inputs)
    found = stages.found("corpus", key)
    if found is not None:
        print("(found, not collected again)")
        print(CorpusFigures(**found))
        return
    corpus = collect_corpus(settings.corpus_megabytes)
    write_corpus(corpus, folder / "corpus")
    stages.finish("corpus", key, asdict(corpus.figures))
    print(corpus.figures)


def make_tokenizer(folder: Path, settings: DemoSettings, stages: Stages) -> Tokenizer:
    """Train the tokenizer, unless one for this corpus and vocabulary is there; measure it on both parts."""
    from gristmill.metrics import measure_tokenizer
    from gristmill.tokenizer import Tokenizer
    from gristmill.tokenizer_training import train_tokenizer

    place = folder / "tokenizer"
    train_file = folder / "corpus" / "train.jsonl"
    key = stages.key({"vocab_size": settings.vocab_size, "corpus": durable.sha256_file(train_file)})
    if stages.found("tokenizer", key) is not None:
        print("(found, not trained again)")
        tokenizer = Tokenizer.from_pretrained(place)
    else:
        tokenizer = train_tokenizer(read_texts(train_file), settings.vocab_size, show_progress=False)
        tokenizer.save_pretrained(place)
        stages.finish("tokenizer", key, {"vocab_size": tokenizer.vocab_size})
    print(measure_tokenizer(tokenizer, read_texts(folder / "corpus" / "validation.jsonl")))
    return tokenizer


def show_ledgers(folder: Path, settings: DemoSettings, tokenizer: Tokenizer) -> None:
    """Pack both parts and print where every document, byte and token went."""
    from gristmill.packing import pack

    # The last training block is dropped; the validation part is measured to its last token.
    for part, final in (("train", "drop"), ("validation", "pad")):
        texts = read_texts(folder / "corpus" / f"{part}.jsonl")
        packed = pack(texts, tokenizer, settings.seq_length, final=final)
        print(f"{part}: {len(packed.blocks):,} blocks of {settings.seq_length} tokens")
        print(packed.ledger)


def show_places(folder: Path) -> None:
    """Print where everything lies."""
    print("\nwhere everything lies")
    for name, what in (
        ("corpus/", "train.jsonl, validation.jsonl: text, path, package"),
        ("tokenizer/", "tokenizer.json, as transformers reads it"),
        ("run.yaml", "the training's configuration"),
        ("run/log.jsonl", "loss and speed of every step"),
        ("run/checkpoints/", "to resume from"),
        ("run/model/", "the model, for AutoModelForCausalLM and `gristmill generate --model`"),
    ):
        print(f"  {f'{folder}/{name}':<36} {what}")


def read_texts(file: Path) -> list[str]:
    """Read the text column of a JSONL file."""
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


def remove_outputs(folder: Path) -> None:
    """Remove what the demo writes, and nothing else that may lie in the folder."""
    for name in OUTPUTS:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def _stage(number: int, title: str) -> Iterator[None]:
    print(f"\n[{number}/6] {title}", flush=True)
    started = time.monotonic()
    yield
    print(f"      {time.monotonic() - started:.1f} s", flush=True)
