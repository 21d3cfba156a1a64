"""Intervals by problem: they cover, where naive ones do not, and survive 0 of 0 and n of n."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atts_core.conformal import Calibration
from atts_core.conformal.intervals import (
    NOTHING,
    Estimate,
    effective_size,
    number_interval,
    percent_interval,
    rate_interval,
    t_quantile,
)


def test_nothing_and_one_problem() -> None:
    assert rate_interval([], []) == NOTHING
    one = rate_interval([True, False, True, True], ["a"] * 4)
    assert (one.value, one.low, one.high) == (0.75, 0.0, 1.0)


def test_none_and_all_of_them_are_not_certain() -> None:
    none = rate_interval([False] * 160, list(range(10)) * 16)
    every = rate_interval([True] * 160, list(range(10)) * 16)
    assert none.value == none.low == 0
    assert none.high == pytest.approx(0.34, abs=0.01)
    assert every.value == every.high == 1
    assert every.low == pytest.approx(1 - (none.high or 0))


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=60),
)
def test_always_an_interval_around_the_rate(pairs: list[tuple[bool, int]]) -> None:
    found = rate_interval([hit for hit, _ in pairs], [cluster for _, cluster in pairs])
    assert found.value == pytest.approx(sum(hit for hit, _ in pairs) / len(pairs))
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1


@pytest.mark.parametrize("problems", [10, 50])
@pytest.mark.parametrize("rate", [0.1, 0.4])
def test_coverage_where_samples_of_a_problem_are_alike(problems: int, rate: float) -> None:
    """Problem rates of a Beta distribution with intraclass correlation .5; 16 samples each, some missing."""
    rng = np.random.default_rng(2)
    covered = naive = 0
    rounds = 1500
    for _ in range(rounds):
        sizes = rng.integers(8, 17, problems)
        own = rng.beta(rate, 1 - rate, problems)
        clusters = np.repeat(np.arange(problems), sizes)
        hits = rng.random(len(clusters)) < own[clusters]
        found = rate_interval(hits, clusters.tolist())
        covered += (found.low or 0) <= rate <= (found.high or 0)
        half = 1.96 * np.sqrt(hits.mean() * (1 - hits.mean()) / len(hits))
        naive += abs(hits.mean() - rate) <= half
    assert covered / rounds > (0.93 if problems == 50 else 0.88)
    assert covered / rounds < 0.99
    assert naive / rounds < 0.65


def test_quantiles_of_student() -> None:
    known = {1: 12.7062, 2: 4.3027, 3: 3.1824, 9: 2.2622, 30: 2.0423, 99: 1.9842, 10**6: 1.95996}
    for degrees, quantile in known.items():
        assert t_quantile(degrees) == pytest.approx(quantile, abs=5e-5)


def test_effective_size_of_alike_and_of_independent_samples() -> None:
    rng = np.random.default_rng(3)
    clusters = np.repeat(np.arange(200, dtype=np.int32), 10)
    alike = np.repeat(rng.normal(0, 1, 200), 10)
    assert effective_size(alike, clusters) == (1.0, 200.0)
    correlation, size = effective_size(rng.normal(0, 1, 2000), clusters)
    assert correlation < 0.03
    assert size > 1500
    correlation, size = effective_size(alike + rng.normal(0, 1, 2000), clusters)
    assert correlation == pytest.approx(0.5, abs=0.06)
    assert size == pytest.approx(2000 / (1 + 9 * correlation))
    assert effective_size(np.ones(4), np.zeros(4, np.int32)) == (1.0, 1.0)
    assert effective_size(np.arange(4.0), np.arange(4, dtype=np.int32)) == (0.0, 4.0)


@pytest.mark.parametrize(
    ("array", "effective"),
    [
        ("math500_qwq32b_rllama8b_ct0", 160),
        ("math500_qwq32b_rllama8b_ct1_feb23", 165),
        ("olympiad_qwq32b_rllama8b_feb04", 69),
    ],
)
def test_effective_sizes_of_the_published_arrays(stored: object, array: str, effective: float) -> None:
    calibration = stored(array)  # type: ignore[operator]
    assert isinstance(calibration, Calibration)
    correlation, size = effective_size(np.log(calibration.ppl), calibration.problem)
    assert 0.55 < correlation < 0.72
    assert size == pytest.approx(effective, abs=8)


def test_in_words() -> None:
    found = Estimate(0.836, 0.761, 0.892)
    assert percent_interval(found) == "83.6 % [76.1, 89.2]"
    assert number_interval(found) == "0.84 [0.76, 0.89]"
    assert number_interval(found, 3) == "0.836 [0.761, 0.892]"
    assert number_interval(Estimate(0.836, None, None)) == "0.84"
    assert percent_interval(NOTHING) == number_interval(NOTHING) == "–"
