"""p-values are the paper's, agree with an independent library, and thresholds say the same as they do."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atts_core.conformal import step_ppl
from atts_core.conformal.pvalues import (
    conformal_threshold,
    is_score,
    p_value,
    p_values,
    percentile,
    reference_threshold,
)
from atts_core.conformal.sorted_scores import SortedScores

_ppl = st.floats(1, 4) | st.sampled_from([1.0, 1.25, 1.5, 2.0])
_ppls = st.lists(_ppl, min_size=1, max_size=40)


def _p(scores: SortedScores, ppl: float, u: float = 1.0) -> float:
    below = scores.below(ppl)
    return p_value(below, scores.up_to(ppl) - below, len(scores), u)


def test_the_definition_of_the_paper_counted_by_hand() -> None:
    scores = SortedScores([1.2, 1.5, 1.5, 2.0])
    # s_k <= s_i with s = -PPL: calibration steps at most as perplexing as this one.
    assert [_p(scores, ppl) for ppl in (1.0, 1.2, 1.5, 1.7, 9.0)] == [1 / 5, 2 / 5, 4 / 5, 4 / 5, 5 / 5]
    assert _p(scores, 1.5, u=0.5) == (1 + 0.5 * 3) / 5
    assert [percentile(scores.below(ppl), 4) for ppl in (1.0, 1.5, 9.0)] == [0, 0.25, 1]
    assert _p(SortedScores(), 1.3) == 1.0


@given(scores=_ppls, low=_ppl, high=_ppl, u=st.floats(0.001, 1))
def test_a_more_perplexing_step_never_has_a_lower_p(
    scores: list[float], low: float, high: float, u: float
) -> None:
    low, high = sorted((low, high))
    ordered = SortedScores(scores)
    assert 0 < _p(ordered, low, u) <= _p(ordered, high, u) <= 1


@given(scores=_ppls, ppl=_ppl, data=st.data())
def test_the_order_of_calibration_does_not_matter(
    scores: list[float], ppl: float, data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(scores))
    assert _p(SortedScores(scores), ppl) == _p(SortedScores(shuffled), ppl)


@given(scores=_ppls, ppls=_ppls, u=st.floats(0.001, 1))
def test_in_bulk_as_one_by_one(scores: list[float], ppls: list[float], u: float) -> None:
    ordered = SortedScores(scores)
    assert p_values(np.array(ppls), np.array(scores), u).tolist() == [_p(ordered, ppl, u) for ppl in ppls]


@given(
    scores=_ppls,
    ppls=_ppls,
    alpha=st.floats(-0.02, 1.02) | st.sampled_from([0.2, 0.25, 0.5, 0.6, 0.75]),
    u=st.sampled_from([1.0, 0.3, 0.999]),
)
def test_above_the_threshold_means_taken_over_and_nothing_else_does(
    scores: list[float], ppls: list[float], alpha: float, u: float
) -> None:
    ordered = SortedScores(scores)
    edge, authors = conformal_threshold(ordered, alpha, u), reference_threshold(ordered, max(alpha, 0.01))
    for ppl in [*ppls, *scores, *(math.nextafter(score, 9) for score in scores)]:
        assert (_p(ordered, ppl, u) > alpha) == (edge is not None and ppl > edge)
        taken = percentile(ordered.below(ppl), len(ordered)) >= max(alpha, 0.01)
        assert taken == (authors is not None and ppl > authors)


def test_thresholds_where_alpha_times_n_rounds() -> None:
    # 0.6 * 5 and 0.07 * 100 are not whole in floating point; k / (N + 1) > alpha must be judged as p is.
    for size in range(1, 400):
        scores = SortedScores(np.arange(size) + 2.0)
        for alpha in (0.07, 0.29, 0.57, 0.58, 0.6):
            edge = conformal_threshold(scores, alpha)
            taken = [ppl for ppl in np.arange(size + 1) + 1.5 if _p(scores, ppl) > alpha]
            assert edge is not None
            assert taken == [ppl for ppl in np.arange(size + 1) + 1.5 if ppl > edge]


def test_everything_and_nothing() -> None:
    assert conformal_threshold(SortedScores(), 0.6) == 0.0
    assert conformal_threshold(SortedScores([1.5]), 0.0) == 0.0
    assert conformal_threshold(SortedScores([1.5]), 1.0) is None
    assert reference_threshold(SortedScores([1.5, 1.6]), 1.01) is None


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("smoothing", [False, True])
def test_agrees_with_crepes(crepes: Any, tied: bool, smoothing: bool) -> None:
    rng = np.random.default_rng(7)
    scores, ppls = 1 + rng.gamma(2, 0.3, 500), 1 + rng.gamma(2, 0.4, 300)
    if tied:
        scores, ppls = np.round(scores, 1), np.round(ppls, 1)
    # Their nonconformity grows where our conformity score s = -PPL does: p counts PPL_i <= PPL.
    theirs = crepes.base.p_values_batch(-scores, -ppls, smoothing=smoothing, seed=3)
    np.random.seed(3)
    draws = np.random.rand(len(ppls)) if smoothing else np.ones(len(ppls))
    ordered = SortedScores(scores)
    ours = [_p(ordered, float(ppl), float(u)) for ppl, u in zip(ppls, draws, strict=True)]
    assert np.allclose(ours, theirs, rtol=0, atol=1e-15)
    if not smoothing:
        assert np.array_equal(p_values(ppls, scores), theirs)


def test_ppl_of_log_probabilities() -> None:
    assert step_ppl([-0.5, -1.5]) == pytest.approx(math.e)
    assert step_ppl([0.0, 1e-7]) == 1.0


@pytest.mark.parametrize(
    "logprobs",
    [[], [None], [-1.0, None], [math.nan], [-math.inf], [math.inf], [0.5], [-1.0, math.nan], [-1e6]],
    ids=str,
)
def test_what_was_not_verified_has_no_ppl(logprobs: list[float | None]) -> None:
    assert step_ppl(logprobs) is None


@pytest.mark.parametrize("ppl", [None, math.nan, math.inf, -math.inf, 0.0, 0.5, -3.0])
def test_impossible_perplexities_are_no_scores(ppl: float | None) -> None:
    assert not is_score(ppl)
    with pytest.raises(ValueError, match="no perplexity"):
        p_values(np.array([1.5]), np.array([1.5, math.nan if ppl is None else ppl]))
