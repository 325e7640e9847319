"""gristmill: raw text to a trained GPT-2.

    documents ──► Tokenizer ──► Packer ──► ConstantLengthDataset ──► Trainer ──► checkpoint ──► generate
     (corpus)   train, measure   EOS-join,   order, lanes, state      DDP, eval    HF format     sample
                encode           chop

Names load on first use, so that `import gristmill` costs little and works without torch and `datasets`:
a name that needs an extra says which one when it is missing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gristmill.comparison import (
        TokenizerComparison as TokenizerComparison,
        compare_tokenizers as compare_tokenizers,
    )
    from gristmill.corpus import take as take
    from gristmill.dataset import ConstantLengthDataset as ConstantLengthDataset
    from gristmill.errors import (
        BadDocumentError as BadDocumentError,
        CheckpointError as CheckpointError,
        ConfigError as ConfigError,
        DivergedError as DivergedError,
        EmptyCorpusError as EmptyCorpusError,
        FileFormatError as FileFormatError,
        GristmillError as GristmillError,
        MissingColumnError as MissingColumnError,
        MissingExtraError as MissingExtraError,
        RankError as RankError,
        ResumeError as ResumeError,
        SourceError as SourceError,
        TokenizerError as TokenizerError,
        TrainingMemoryError as TrainingMemoryError,
        UnsupportedTokenizerError as UnsupportedTokenizerError,
    )
    from gristmill.inspection import TextInspection as TextInspection, inspect_text as inspect_text
    from gristmill.metrics import (
        TokenizerReport as TokenizerReport,
        estimate_chars_per_token as estimate_chars_per_token,
        measure_tokenizer as measure_tokenizer,
    )
    from gristmill.packing import (
        BlockBatch as BlockBatch,
        Ledger as Ledger,
        PackedBlocks as PackedBlocks,
        Packer as Packer,
        pack as pack,
    )
    from gristmill.report_page.build import (
        write_advice_page as write_advice_page,
        write_report_page as write_report_page,
    )
    from gristmill.tokenizer import TokenBatch as TokenBatch, Tokenizer as Tokenizer
    from gristmill.tokenizer_training import (
        train_tokenizer as train_tokenizer,
        training_engine as training_engine,
    )
    from gristmill.train.model import model_size as model_size
    from gristmill.vocabulary_advice import (
        ModelShape as ModelShape,
        VocabularyAdvice as VocabularyAdvice,
        advise_vocab_size as advise_vocab_size,
    )
    from gristmill.vocabulary_cut import cut_vocabulary as cut_vocabulary

    __version__: str

# public name -> the module that defines it, in the order of the flow
_HOME = {
    "take": "corpus",
    "Tokenizer": "tokenizer",
    "TokenBatch": "tokenizer",
    "train_tokenizer": "tokenizer_training",
    "training_engine": "tokenizer_training",
    "inspect_text": "inspection",
    "TextInspection": "inspection",
    "measure_tokenizer": "metrics",
    "TokenizerReport": "metrics",
    "estimate_chars_per_token": "metrics",
    "compare_tokenizers": "comparison",
    "TokenizerComparison": "comparison",
    "write_report_page": "report_page.build",
    "write_advice_page": "report_page.build",
    "advise_vocab_size": "vocabulary_advice",
    "VocabularyAdvice": "vocabulary_advice",
    "ModelShape": "vocabulary_advice",
    "cut_vocabulary": "vocabulary_cut",
    "pack": "packing",
    "Packer": "packing",
    "BlockBatch": "packing",
    "PackedBlocks": "packing",
    "Ledger": "packing",
    "ConstantLengthDataset": "dataset",
    "model_size": "train.model",
    "GristmillError": "errors",
    "TokenizerError": "errors",
    "UnsupportedTokenizerError": "errors",
    "BadDocumentError": "errors",
    "MissingColumnError": "errors",
    "EmptyCorpusError": "errors",
    "FileFormatError": "errors",
    "SourceError": "errors",
    "ConfigError": "errors",
    "ResumeError": "errors",
    "CheckpointError": "errors",
    "TrainingMemoryError": "errors",
    "MissingExtraError": "errors",
    "DivergedError": "errors",
    "RankError": "errors",
    "__version__": "_native",
}

# optional package -> the extra that has it
_EXTRA_OF = {
    "datasets": "data",
    "pyarrow": "data",
    "safetensors": "train",
    "torch": "train",
    "transformers": "train",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'gristmill' has no attribute {name!r}")
    try:
        module = importlib.import_module(f"gristmill.{home}")
    except ModuleNotFoundError as error:
        extra = _EXTRA_OF.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        from gristmill.errors import require_extra

        raise require_extra(error.name or "", extra, name) from error
    value = getattr(module, name)
    globals()[name] = value  # the next look-up does not come here
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_HOME))
