"""Shared fixtures: tokenizers trained in-process, GPT-2's own, some on the slow road. Nothing is fetched."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from tests import samples

from gristmill.tokenizer import Tokenizer
from gristmill.tokenizer_training import train_tokenizer

# Properties of text, packing and metrics run at least 1,000 examples; a loaded machine is no failure.
settings.register_profile(
    "gristmill", max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("gristmill")


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Tokenizer:
    """400 tokens, byte-level BPE, own engine; trained in a moment."""
    return train_tokenizer(samples.TINY_CORPUS * 3, 400, show_progress=False)


@pytest.fixture(scope="session")
def tokenizer_2500() -> Tokenizer:
    return train_tokenizer(samples.training_texts(), 2500, show_progress=False)


@pytest.fixture(scope="session")
def tokenizer_5096() -> Tokenizer:
    return train_tokenizer(samples.training_texts(), 5096, show_progress=False)


@pytest.fixture(scope="session")
def gpt2_tokenizer() -> Tokenizer:
    """GPT-2's own vocabulary, 50,257 tokens."""
    return Tokenizer.from_str(samples.gpt2_json())


@pytest.fixture(scope="session")
def word_piece_tokenizer() -> Tokenizer:
    """On the slow road; not byte-level, with an unknown token."""
    return Tokenizer.from_str(samples.word_piece_json(samples.TINY_CORPUS * 3, 300))


@pytest.fixture(scope="session")
def unigram_tokenizer() -> Tokenizer:
    """On the slow road; Metaspace, with an unknown token."""
    return Tokenizer.from_str(samples.unigram_json(samples.TINY_CORPUS * 3, 120))


@pytest.fixture(scope="session")
def split_bpe_tokenizer() -> Tokenizer:
    """On the slow road; byte-level with a pattern of its own and an added token that is not special."""
    return Tokenizer.from_str(samples.split_bpe_json(samples.TINY_CORPUS * 3, 400))
