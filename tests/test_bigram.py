"""The Kneser-Ney bigram: sums to one, equals a plain reference, and a worked example by hand."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from gristmill.demo.bigram import BigramModel


class ReferenceBigram:
    """The formulas of the module, with dicts, one probability at a time."""

    def __init__(self, blocks: list[list[int]], vocab_size: int, discount: float) -> None:
        self.vocab_size, self.discount = vocab_size, discount
        self.pairs: Counter[tuple[int, int]] = Counter()
        for block in blocks:
            self.pairs.update(itertools.pairwise(block))
        self.context_counts: Counter[int] = Counter()
        self.followers: dict[int, set[int]] = defaultdict(set)
        self.predecessors: dict[int, set[int]] = defaultdict(set)
        for (previous, following), count in self.pairs.items():
            self.context_counts[previous] += count
            self.followers[previous].add(following)
            self.predecessors[following].add(previous)

    def continuation(self, following: int) -> float:
        if not self.pairs:
            return 1 / self.vocab_size
        seen = max(len(self.predecessors.get(following, ())) - self.discount, 0)
        left = self.discount * len(self.predecessors)
        return (seen + left / self.vocab_size) / len(self.pairs)

    def probability(self, previous: int, following: int) -> float:
        if previous not in self.context_counts:
            return self.continuation(following)
        count = self.context_counts[previous]
        seen = max(self.pairs[previous, following] - self.discount, 0)
        left = self.discount * len(self.followers[previous])
        return (seen + left * self.continuation(following)) / count


@st.composite
def block_lists(draw: st.DrawFn) -> tuple[list[list[int]], int, NDArray[np.int64]]:
    vocab_size = draw(st.integers(1, 9))
    seq_length = draw(st.integers(2, 7))
    block = st.lists(st.integers(0, vocab_size - 1), min_size=seq_length, max_size=seq_length)
    blocks = draw(st.lists(block, min_size=0, max_size=6))
    num_valid = draw(st.lists(st.integers(0, seq_length), min_size=len(blocks), max_size=len(blocks)))
    return blocks, vocab_size, np.array(num_valid, dtype=np.int64)


def as_array(blocks: list[list[int]]) -> NDArray[np.uint16]:
    return np.array(blocks, dtype=np.uint16) if blocks else np.empty((0, 2), dtype=np.uint16)


@settings(max_examples=1000, deadline=None)
@given(block_lists(), st.sampled_from([0.25, 0.75, 1.0]))
def test_probabilities_sum_to_one_for_every_context(
    case: tuple[list[list[int]], int, NDArray[np.int64]], discount: float
) -> None:
    blocks, vocab_size, num_valid = case
    model = BigramModel(as_array(blocks), vocab_size, num_valid=num_valid, discount=discount)
    for context in range(vocab_size):
        probabilities = model.probabilities(context)
        assert probabilities.min() > 0
        assert math.isclose(probabilities.sum(), 1, rel_tol=1e-12)


@settings(max_examples=1000, deadline=None)
@given(block_lists())
def test_equals_the_plain_reference(case: tuple[list[list[int]], int, NDArray[np.int64]]) -> None:
    blocks, vocab_size, num_valid = case
    model = BigramModel(as_array(blocks), vocab_size, num_valid=num_valid)
    reference = ReferenceBigram(
        [block[:valid] for block, valid in zip(blocks, num_valid, strict=True)], vocab_size, 0.75
    )
    for context in range(vocab_size):
        expected = [reference.probability(context, following) for following in range(vocab_size)]
        np.testing.assert_allclose(model.probabilities(context), expected, rtol=1e-12)


@settings(max_examples=1000, deadline=None)
@given(block_lists(), block_lists())
def test_a_score_is_the_sum_over_predicted_positions(
    training: tuple[list[list[int]], int, NDArray[np.int64]],
    scored: tuple[list[list[int]], int, NDArray[np.int64]],
) -> None:
    vocab_size = max(training[1], scored[1])
    model = BigramModel(as_array(training[0]), vocab_size)
    lengths = np.arange(vocab_size)  # token i stands for i bytes, so id 0 has none, as EOS
    score = model.score(as_array(scored[0]), lengths, scored[2])
    pairs = [
        pair
        for block, valid in zip(scored[0], scored[2], strict=True)
        for pair in itertools.pairwise(block[:valid])
    ]
    bits = -sum(math.log2(model.probabilities(previous)[following]) for previous, following in pairs)
    assert score.num_predicted == len(pairs)
    assert score.num_bytes == sum(following for _, following in pairs)
    assert math.isclose(score.bits, bits, rel_tol=1e-9, abs_tol=1e-9)


def test_worked_example() -> None:
    # Pairs of 0 1 0 1 0: (0,1) twice, (1,0) twice; vocabulary of 3, discount 0.75.
    model = BigramModel(np.array([[0, 1, 0, 1, 0]]), vocab_size=3)
    # q(0) = q(1) = (1 - 0.75)/2 + 0.75*2/2/3 = 0.375; q(2) = 0.25
    # p(1|0) = (2 - 0.75)/2 + 0.75*1/2 * 0.375 = 0.765625
    np.testing.assert_allclose(model.probabilities(0), [0.140625, 0.765625, 0.09375])
    np.testing.assert_allclose(model.probabilities(2), [0.375, 0.375, 0.25])  # a context never seen


def test_pairs_do_not_cross_blocks() -> None:
    model = BigramModel(np.array([[0, 1], [2, 0]]), vocab_size=3)
    joined = BigramModel(np.array([[0, 1, 2, 0]]), vocab_size=3)
    assert model.probabilities(1)[2] < joined.probabilities(1)[2]


@pytest.mark.parametrize(
    ("blocks", "vocab_size", "discount", "message"),
    [
        ([1, 2], 3, 0.75, r"shape \(2,\)"),
        ([[1, 3]], 3, 0.75, "from 1 to 3"),
        ([[1, 2]], 3, 0.0, "discount is 0.0"),
    ],
)
def test_bad_arguments_are_named(
    blocks: list[object], vocab_size: int, discount: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        BigramModel(np.array(blocks), vocab_size, discount=discount)
