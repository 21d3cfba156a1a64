"""What is promised, word for word, and that the numbers in it are the right ones."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from atts_core.conformal import Calibration, ConformalSettings, describe, flat_calibration
from atts_core.conformal.guarantees import half_width_with, rate_of_this_set

Make = Callable[..., Calibration]


def _calibration() -> Calibration:
    """100 problems of 16 samples whose log PPL has an intraclass correlation of about .6."""
    rng = np.random.default_rng(0)
    logs = rng.normal(0, 0.35, (100, 1)) + rng.normal(0, 0.28, (100, 16))
    return flat_calibration((1 + np.exp(logs)).ravel(), 16)


def test_marginal_says_what_the_paper_proves_and_for_whom() -> None:
    found = describe(ConformalSettings(mode="marginal"), _calibration())
    assert found.promise.startswith(
        "take-over rate ≥ 0.4 and ≤ 0.4006 if each step's score is exchangeable with the calibration scores;"
        " 1,600 scores of 100 problems, effective size about 1"
    )
    assert "All calibration scores are of turn 0; steps of later turns are not exchangeable" in found.limits
    assert "Where only whole problems are exchangeable, as for new problems, it is ≥ 0.3901" in found.limits
    assert (found.low, found.high) == (0.4, pytest.approx(0.4 + 1 / 1601))
    assert found.effective is not None
    assert 130 < found.effective < 190


@pytest.mark.parametrize(
    ("settings", "promise"),
    [
        (
            {"mode": "marginal", "rule": "reference", "alpha": 0.6},
            "take-over rate 0.4004 if each step's score",
        ),
        ({"mode": "marginal", "smoothed": True}, "take-over rate 0.4000 if each step's score"),
        (
            {"mode": "conditional", "budget": 4, "samples": 16},
            (
                "take-over rate ≥ 0.25 and ≤ 0.3088 (an expected 4 to 4.94 of 16 samples a round, not a cap)"
                " if each step's score is exchangeable with its own problem's calibration scores"
            ),
        ),
        (
            {"mode": "per-turn"},
            "take-over rate ≥ 0.4 and ≤ 0.4006 if each step's score is exchangeable with the",
        ),
        ({"mode": "centred"}, "take-over rate ≥ 0.4 and ≤ 0.4006 if each step's score, relative to"),
        ({"adapt": "off"}, "take-over rate ≥ 0.4, and ≤ 0.4 + 1/(N+1)"),
        (
            {},
            (
                "long-run rate: the share of take-overs among the verified steps of the first T steps is"
                " within 31/T of 0.4 for every T, whatever the scores (within 0.031 after 1,000 steps,"
                " 0.0031 after 10,000)."
            ),
        ),
    ],
    ids=str,
)
def test_every_mode_has_its_sentence(settings: dict[str, Any], promise: str) -> None:
    found = describe(ConformalSettings(**settings), _calibration())
    assert promise in found.promise
    assert found.limits.endswith(".")
    assert found.promise.endswith(".")


def test_adapting_says_what_it_does_not_promise() -> None:
    limits = describe(ConformalSettings(), None).limits
    assert limits.startswith("Not promised: that a single verdict is valid, nor the rate of one turn")
    assert "of every turn" in describe(ConformalSettings(adapt="per-turn"), None).promise


def test_ties_widen_the_promise() -> None:
    tied = flat_calibration(np.repeat(1 + np.arange(400) / 100, 4), 4)
    found = describe(ConformalSettings(mode="marginal"), tied)
    assert (found.low, found.high) == (0.4, pytest.approx(0.4 + 5 / 1601))
    authors = describe(ConformalSettings(mode="marginal", rule="reference"), tied)
    assert (authors.low, authors.high) == (
        pytest.approx(0.4004 - 5 / 1601, abs=1e-4),
        pytest.approx(0.4004, abs=1e-4),
    )


def test_turns_that_are_pooled_are_said_to_be(make_calibration: Make) -> None:
    assert "Turns are pooled" in describe(ConformalSettings(mode="marginal"), make_calibration()).limits


def test_one_set_is_off_by_the_noise_of_its_problems() -> None:
    """The stated interval of one set contains the rate it really gives on new problems, 95 times in 100."""
    rng = np.random.default_rng(1)
    fresh = 1 + np.exp(rng.normal(0, 0.35, 100_000) + rng.normal(0, 0.28, 100_000))
    covered, rounds = 0, 300
    for _ in range(rounds):
        logs = rng.normal(0, 0.35, (40, 1)) + rng.normal(0, 0.28, (40, 8))
        calibration = flat_calibration((1 + np.exp(logs)).ravel(), 8)
        rate = (fresh > np.quantile(calibration.ppl, 0.6)).mean()
        stated = rate_of_this_set(calibration, 0.6)
        covered += (stated.low or 0) <= rate <= (stated.high or 0)
    assert 0.91 <= covered / rounds <= 0.99


def test_more_problems_narrow_it_more_samples_do_not() -> None:
    calibration = _calibration()
    now = half_width_with(calibration, 0.6, 100)
    assert half_width_with(calibration, 0.6, 101) < now
    assert half_width_with(calibration, 0.6, 400) == pytest.approx(now / 2)
    fewer = half_width_with(calibration.select(calibration.sample < 4), 0.6, 100)
    assert fewer < 1.2 * now
    few_problems = calibration.select(calibration.problem < 25)
    assert half_width_with(few_problems, 0.6, 25) > 1.5 * now
