"""Metrics over problems, against brute force."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atts_core.problems.metrics import accuracy, pass_at


@given(st.lists(st.booleans(), min_size=1, max_size=7), st.data())
def test_pass_at_k_is_the_mean_over_all_choices(right: list[bool], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(right)))
    choices = [any(choice) for choice in combinations(right, k)]
    assert pass_at(k, len(right), sum(right)) == pytest.approx(sum(choices) / len(choices))


def test_the_case_that_a_biased_estimate_gets_wrong() -> None:
    assert pass_at(3, 16, 3) == pytest.approx(0.489, abs=5e-4)


def test_accuracy_over_problems() -> None:
    result = accuracy([[True, True], [True, False], [False, False]], [True, True, False])
    assert result.sample.value == 0.5
    assert result.majority.value == pytest.approx(2 / 3)
    assert [round(e.value or 0, 3) for e in result.pass_at_k] == [0.5, 0.667]
    assert result.majority.low is not None
    assert result.majority.low < 2 / 3 < (result.majority.high or 0)


def test_nothing_known_is_nothing_and_not_zero() -> None:
    result = accuracy([], [])
    assert (result.problems, result.sample.value, result.pass_at_k) == (0, None, ())
