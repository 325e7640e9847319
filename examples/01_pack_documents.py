"""Documents to constant-length blocks of token ids. Needs the base install alone (numpy, tokenizers).

python examples/01_pack_documents.py
"""

import json
from pathlib import Path

from gristmill import Packer, measure_tokenizer, pack, train_tokenizer

# The corpus: the files of one standard module. Any iterable of texts will do, a stream as well.
documents = [file.read_text(encoding="utf-8") for file in sorted(Path(json.__file__).parent.glob("*.py"))]

tokenizer = train_tokenizer(documents, vocab_size=1000, show_progress=False)
print(measure_tokenizer(tokenizer, documents))

# All at once: every document encoded, EOS after each, joined, chopped. The end is padded and counted.
packed = pack(documents, tokenizer, seq_length=256, final="pad")
print(f"\n{packed.blocks.shape} {packed.blocks.dtype}, the last block with {packed.num_valid[-1]} real ids")
print(packed.ledger)

# Piece by piece, in bounded memory: the same blocks, whatever the batches are.
packer = Packer(tokenizer, seq_length=256, final="pad")
num_blocks = 0
for document in documents:
    packer.push([document])
    for block in packer.take_blocks():
        assert (block == packed.blocks[num_blocks]).all()
        num_blocks += 1
last_blocks = packer.finish().blocks
assert num_blocks + len(last_blocks) == len(packed.blocks)

# Nothing is lost: the blocks decode to the documents, with one EOS after each.
ids = packed.blocks.ravel()[: packed.ledger.tokens]
assert tokenizer.decode(ids) == "".join(f"{document}<|endoftext|>" for document in documents)
print("the blocks decode to the documents")
