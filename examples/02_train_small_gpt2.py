"""Train a very small GPT-2 on a few standard modules and let it write: under a minute. Needs [train].

python examples/02_train_small_gpt2.py [FOLDER]
"""

import email
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from gristmill import train_tokenizer
from gristmill.generate import format_side_by_side, sample_text

folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="gristmill-"))

# The corpus: any source of `datasets` will do; here a JSONL file with a column "text".
files = sorted(Path(email.__file__).parent.rglob("*.py"))
texts = [file.read_text(encoding="utf-8") for file in files]
folder.mkdir(parents=True, exist_ok=True)
(folder / "corpus.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")

train_tokenizer(texts, vocab_size=512, show_progress=False).save_pretrained(folder / "tokenizer")

# The whole configuration; what is not said has a default (gristmill train --help). JSON is YAML.
config = {
    "model": {"n_layer": 2, "n_head": 2, "n_embd": 64},
    "data": {
        "tokenizer": str(folder / "tokenizer"),
        "train": {"path": "json", "data_files": str(folder / "corpus.jsonl")},
        "seq_length": 64,
    },
    "training": {
        "output_dir": str(folder / "run"),
        "max_steps": 100,
        "global_batch_size": 8,
        "learning_rate": 2e-3,
        "warmup_steps": 20,
        "device": "cpu",
    },
}
(folder / "run.yaml").write_text(json.dumps(config, indent=2), encoding="utf-8")

# One process. For more: torchrun --nproc-per-node 2 -m gristmill.train --config run.yaml
subprocess.run([sys.executable, "-m", "gristmill.train", "--config", str(folder / "run.yaml")], check=True)

print(format_side_by_side(sample_text(folder / "run" / "model", ["def get_", "import "])))
print(f"\neverything lies in {folder}")
