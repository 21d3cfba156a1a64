"""Sampling: what each parameter rules out, and that a draw depends on nothing but its own key."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atts_core.embedded.sampling import (
    SamplingParams,
    choose,
    log_softmax,
    penalise,
    temper,
    top,
    uniform,
)

PROBS = np.array([0.05, 0.5, 0.15, 0.3], np.float32)


def drawn(params, draws):
    rows = np.repeat(np.log(PROBS)[None], len(draws), axis=0)
    return choose(rows, [params] * len(draws), draws)


LEVELS = np.linspace(0, 1, 2000, endpoint=False).tolist()


def shares(params):
    """Share of each token among evenly spaced draws."""
    return np.bincount(drawn(params, LEVELS), minlength=4) / len(LEVELS)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (SamplingParams(), PROBS),
        (SamplingParams(temperature=0.0), [0, 1, 0, 0]),
        (SamplingParams(top_k=1), [0, 1, 0, 0]),
        (SamplingParams(top_k=2), [0, 0.625, 0, 0.375]),
        (SamplingParams(top_p=0.4), [0, 1, 0, 0]),
        (SamplingParams(top_p=0.6), [0, 0.625, 0, 0.375]),
        (SamplingParams(top_p=0.81), [0, 0.5 / 0.95, 0.15 / 0.95, 0.3 / 0.95]),
        (SamplingParams(min_p=0.5), [0, 0.625, 0, 0.375]),
        (SamplingParams(min_p=0.09), PROBS),
        (SamplingParams(top_k=3, min_p=0.5, top_p=0.99), [0, 0.625, 0, 0.375]),
    ],
)
def test_filters_rule_out_what_sglang_rules_out(params, expected):
    assert shares(params) == pytest.approx(expected, abs=2e-3)


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 3))
def test_an_impossible_token_is_never_drawn(draw, hole):
    log_probs = np.full((1, 4), np.log(1 / 3), np.float32)
    log_probs[0, hole] = -np.inf
    assert choose(log_probs, [SamplingParams()], [draw]) != [hole]
    last = 1 - 2.0**-53
    assert choose(log_probs, [SamplingParams(top_k=2)], [last]) != [hole]


@given(st.lists(st.tuples(st.floats(0.05, 2), st.floats(0, 0.999)), min_size=2, max_size=6), st.randoms())
def test_a_row_is_chosen_alike_in_any_company(rows, random):
    logits = np.random.default_rng(5).standard_normal((len(rows), 50)).astype(np.float32) * 3

    def run(order):
        params = [SamplingParams(temperature=rows[i][0], top_p=0.9) for i in order]
        log_probs = log_softmax(temper(logits[order], params))
        return dict(
            zip(
                order,
                zip(
                    choose(log_probs, params, [rows[i][1] for i in order]), map(bytes, log_probs), strict=True
                ),
                strict=True,
            )
        )

    order = list(range(len(rows)))
    together = run(order)
    random.shuffle(order)
    assert run(order) == together
    assert {i: run([i])[i] for i in order} == together


def test_log_probabilities_sum_to_one_and_respect_temperature():
    logits = np.array([[1.0, 2.0, -3.0], [1.0, 2.0, -3.0]], np.float32)
    params = [SamplingParams(temperature=0.5), SamplingParams(temperature=0.0)]
    found = log_softmax(temper(logits.copy(), params))
    assert np.exp(found).sum(-1) == pytest.approx([1, 1], abs=1e-6)
    assert found[0, 1] - found[0, 0] == pytest.approx(2.0, abs=1e-6)
    assert found[1, 1] - found[1, 0] == pytest.approx(1.0, abs=1e-6)


def test_draws_are_spread_evenly_and_keyed_by_all_three_numbers():
    draws = [uniform(seed, copy, index) for seed in range(20) for copy in range(10) for index in range(50)]
    assert len(set(draws)) == len(draws)
    counts, _ = np.histogram(draws, bins=20, range=(0, 1))
    assert np.abs(counts - 500).max() < 5 * np.sqrt(500)
    assert uniform(2**63 - 1, 0, 0) == uniform(2**63 - 1, 0, 0)


def test_this_seed_has_always_drawn_these_numbers():
    """A change here changes the text of every recorded seed."""
    assert [round(uniform(1, 0, i), 6) for i in range(3)] == [0.337761, 0.571306, 0.347398]


def test_penalties_lower_what_was_written():
    logits = np.zeros(3, np.float32)
    penalise(logits, np.array([0, 1, 3], np.int32), SamplingParams(frequency_penalty=0.5, presence_penalty=1))
    assert logits.tolist() == [0.0, -1.5, -2.5]


def test_the_likeliest_come_first_and_ties_go_by_id():
    found = top(np.log(np.array([0.25, 0.5, 0.25], np.float32)), 3)
    assert [token for _, token in found] == [1, 0, 2]
    assert found[0][0] == pytest.approx(np.log(0.5))
