"""SortedScores does what a sorted list does, however scores come and go."""

from bisect import bisect_left, bisect_right

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atts_core.conformal import sorted_scores
from atts_core.conformal.sorted_scores import SortedScores

# Few distinct values, so that ties reach over the borders of blocks.
_score = st.integers(1, 9).map(float)
_moves = st.lists(st.tuples(st.booleans(), _score), max_size=120)


@given(start=st.lists(_score, max_size=60), moves=_moves, probe=st.lists(_score, min_size=3, max_size=3))
def test_counts_and_order_equal_a_plain_sorted_list(
    start: list[float], moves: list[tuple[bool, float]], probe: list[float]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorted_scores, "_BLOCK", 4)
        scores, plain = SortedScores(start), sorted(start)
        for grows, score in moves:
            if grows:
                scores.add(score)
                plain.insert(bisect_right(plain, score), score)
            elif score in plain:
                scores.remove(score)
                plain.remove(score)
            else:
                with pytest.raises(ValueError, match="to remove"):
                    scores.remove(score)
            assert len(scores) == len(plain)
            for value in (*probe, score - 0.5):
                assert scores.below(value) == bisect_left(plain, value)
                assert scores.up_to(value) == bisect_right(plain, value)
        assert scores.to_array().tolist() == plain
        assert [scores.smallest(k) for k in range(1, len(plain) + 1)] == plain


def test_many_scores_split_blocks_and_stay_sorted() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(3, 1, 20_000)
    scores = SortedScores(values[:5000])
    for value in values[5000:]:
        scores.add(float(value))
    assert np.array_equal(scores.to_array(), np.sort(values))
    assert scores.smallest(10_000) == np.sort(values)[9_999]


def test_no_score_has_no_k_th() -> None:
    with pytest.raises(IndexError):
        SortedScores().smallest(1)
    with pytest.raises(IndexError):
        SortedScores([1.0]).smallest(0)
