"""Validity by simulation: each mode keeps its promise under its own kind of exchangeability.

Every test fixes its seed; tolerances are four standard errors of the simulation.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from atts_core.conformal import Calibration, ConformalSettings, Decider, flat_calibration
from atts_core.conformal.guarantees import takeover_bounds

ALPHAS = np.array([0.05, 0.1, 0.3, 0.5, 0.6, 0.75, 0.9, 0.95])
Floats = NDArray[np.float64]


def _shares(p: Floats) -> tuple[Floats, Floats]:
    """P(p <= alpha) for every alpha, and four standard errors of it."""
    shares = np.array([(p <= alpha).mean() for alpha in ALPHAS])
    return shares, 4 * np.sqrt(ALPHAS * (1 - ALPHAS) / len(p))


def _assert_valid(p: Floats, size: int) -> None:
    """Super-uniform, and at most 1/(N+1) below uniform (no ties)."""
    shares, slack = _shares(p)
    assert (shares <= ALPHAS + slack).all()
    assert (shares >= ALPHAS - 1 / (size + 1) - slack).all()


def _assert_uniform(p: Floats) -> None:
    """Kolmogorov-Smirnov at a level of 1 in 10,000."""
    ordered = np.sort(p)
    steps = np.arange(len(p) + 1) / len(p)
    assert max((steps[1:] - ordered).max(), (ordered - steps[:-1]).max()) < 2.23 / np.sqrt(len(p))


def _decided(
    calibration: Calibration | None, steps: list[tuple[str, int, float, float]], **settings: Any
) -> Floats:
    decider = Decider(ConformalSettings(**settings), calibration)
    return np.array([decider.decide(*step).p for step in steps])


def test_marginal() -> None:
    rng = np.random.default_rng(1)
    draws = 1 + rng.gamma(2, 0.4, (6000, 13))
    p = [_decided(flat_calibration(row[1:], 4), [("new", 0, row[0], 1)], mode="marginal")[0] for row in draws]
    _assert_valid(np.array(p), 12)


def test_ties_only_make_p_larger() -> None:
    rng = np.random.default_rng(2)
    draws = 1 + rng.integers(0, 4, (6000, 13)) / 4
    plain, smooth = [], []
    for row in draws:
        calibration = flat_calibration(row[1:], 4)
        plain.append(_decided(calibration, [("new", 0, row[0], 1)], mode="marginal")[0])
        u = 1 - rng.random()
        smooth.append(_decided(calibration, [("new", 0, row[0], u)], mode="marginal", smoothed=True)[0])
    shares, slack = _shares(np.array(plain))
    assert (shares <= ALPHAS + slack).all()
    assert shares[3] < 0.5 - 0.1
    _assert_uniform(np.array(smooth))


def test_conditional_within_each_problem() -> None:
    rng = np.random.default_rng(3)
    p: dict[str, list[float]] = {"0": [], "1": [], "2": []}
    for _ in range(3000):
        level = np.array([0.2, 1.0, 3.0])[:, None]
        draws = 1 + level * rng.gamma(2, 0.4, (3, 9))
        calibration = flat_calibration(draws[:, 1:].ravel(), 8)
        decider = Decider(ConformalSettings(mode="conditional"), calibration)
        for index, (problem, own) in enumerate(p.items()):
            own.append(decider.decide(problem, 0, draws[index, 0]).p or 0.0)
    for own in p.values():
        _assert_valid(np.array(own), 8)


def _turned(rng: np.random.Generator, count: int) -> tuple[NDArray[np.int32], Floats]:
    turn = np.repeat(np.arange(3, dtype=np.int32), count)
    return turn, 1 + (1 + turn) * rng.gamma(2, 0.4, len(turn))


def test_per_turn_within_every_turn() -> None:
    rng = np.random.default_rng(4)
    p: list[list[float]] = [[], [], []]
    for _ in range(2500):
        turn, ppl = _turned(rng, 31)
        index = np.arange(len(turn), dtype=np.int32)
        keep = index % 31 > 0
        calibration = Calibration(ppl, turn, 0 * index, index, ("p",)).select(keep)
        decider = Decider(ConformalSettings(mode="per-turn"), calibration)
        for at in range(3):
            p[at].append(decider.decide("new", at, ppl[31 * at]).p or 0.0)
    for own in p:
        _assert_valid(np.array(own), 30)


def test_pooling_those_turns_would_not_be_valid() -> None:
    """That the test above can fail: the last turn ranked among all turns is taken over far too often."""
    rng = np.random.default_rng(5)
    turn, ppl = _turned(rng, 2000)
    index = np.arange(len(turn), dtype=np.int32)
    calibration = Calibration(ppl, turn, 0 * index, index, ("p",)).select(index % 2 == 0)
    late = ppl[(index % 2 == 1) & (turn == 2)]
    p = _decided(calibration, [("new", 2, value, 1) for value in late], mode="marginal")
    assert (p > 0.6).mean() > 0.6


def _clustered(rng: np.random.Generator, problems: int, samples: int, spread: float = 1.0) -> Floats:
    """log-normal PPLs with an intraclass correlation of about .6 at `spread` 1."""
    level = spread * rng.normal(0, 0.35, (problems, 1))
    return np.asarray(1 + np.exp(level + rng.normal(0, 0.28, (problems, samples))))


@pytest.mark.parametrize("mode", ["marginal", "centred"])
def test_with_exchangeable_problems_within_one_problem_of_alpha(mode: str) -> None:
    """Hierarchical exchangeability: P(p <= alpha) <= alpha + 1/(problems + 1), and as much below."""
    rng = np.random.default_rng(6)
    problems, samples, p = 9, 4, []
    for _ in range(5000):
        # A tenth problem is the run's. Centred modes have its calibration samples too.
        draws = _clustered(rng, problems + 1, samples + 1, spread=3.0)
        stored = draws[:, 1:] if mode == "centred" else draws[1:, 1:]
        calibration = flat_calibration(stored.ravel(), samples)
        p.append(_decided(calibration, [("0", 0, draws[0, 0], 1)], mode=mode)[0])
    shares, slack = _shares(np.array(p))
    assert (abs(shares - ALPHAS) <= 1 / (problems + 1) + 1 / (problems * samples + 1) + slack).all()


def test_the_problem_level_bound_is_reached_by_identical_samples() -> None:
    """Why `describe` lowers the promise for new problems: with samples all alike, one problem decides."""
    rng = np.random.default_rng(7)
    p = []
    for _ in range(5000):
        draws = 1 + rng.gamma(2, 0.4, 10)
        calibration = flat_calibration(np.repeat(draws[1:], 4), 4)
        p.append(_decided(calibration, [("new", 0, draws[0], 1)], mode="marginal")[0])
    assert (np.array(p) <= 0.05).mean() == pytest.approx(0.1, abs=0.02)


def test_online_smoothed_values_are_independent_and_uniform() -> None:
    rng = np.random.default_rng(8)
    ppl = 1 + rng.gamma(2, 0.4, 3000)
    steps = [("p", 0, float(value), 1 - rng.random()) for value in ppl]
    p = _decided(None, steps, mode="online", adapt="off", smoothed=True)
    _assert_uniform(p)
    assert abs(np.corrcoef(p[1:], p[:-1])[0, 1]) < 4 / np.sqrt(len(p))


def test_online_is_valid_at_every_place() -> None:
    rng = np.random.default_rng(9)
    at_third, at_twelfth = [], []
    for _ in range(3000):
        steps = [("p", 0, float(value), 1.0) for value in 1 + rng.gamma(2, 0.4, 12)]
        p = _decided(None, steps, mode="online", adapt="off")
        at_third.append(p[2])
        at_twelfth.append(p[11])
    _assert_valid(np.array(at_third), 2)
    _assert_valid(np.array(at_twelfth), 11)


@pytest.mark.parametrize(("budget", "smoothed"), [(4.0, False), (6.4, False), (1.0, False), (4.0, True)])
def test_a_budget_is_kept_in_expectation(budget: float, smoothed: bool) -> None:
    """At most m/(N+1) above B; exactly B where smoothed. N = 16 as the authors' per-question sets."""
    rng = np.random.default_rng(10)
    samples, taken, rounds = 16, 0, 4000
    settings = ConformalSettings(mode="conditional", budget=budget, samples=samples, smoothed=smoothed)
    for _ in range(rounds):
        draws = 1 + rng.gamma(2, 0.4, 2 * samples)
        decider = Decider(settings, flat_calibration(draws[:samples], samples))
        taken += sum(
            decider.decide("0", 0, float(ppl), 1 - rng.random()).takes_over for ppl in draws[samples:]
        )
    mean, error = taken / rounds, 4 * 4.0 / np.sqrt(rounds)
    assert budget - error <= mean <= budget + (0 if smoothed else samples / 17) + error
    low, high = takeover_bounds(settings, samples)
    assert samples * low - error <= mean <= samples * high + error


def test_the_authors_rule_at_sixteen_scores_exceeds_its_budget_by_a_known_amount() -> None:
    settings = ConformalSettings(mode="conditional", rule="reference", budget=4, samples=16)
    low, high = takeover_bounds(settings, 16)
    assert low == high == pytest.approx(4.705882 / 16, abs=1e-6)
    wide = ConformalSettings(mode="marginal", rule="reference", alpha=0.6)
    assert takeover_bounds(wide, 1600)[0] == pytest.approx(0.4004, abs=5e-5)
    assert takeover_bounds(wide, 16)[0] == pytest.approx(0.4118, abs=5e-5)


@pytest.mark.parametrize("adapt", ["one", "per-turn"])
def test_adapting_holds_the_rate_where_the_calibration_is_simply_wrong(adapt: Any) -> None:
    rng = np.random.default_rng(11)
    wrong = flat_calibration(1 + rng.gamma(2, 0.4, 400), 4)
    steps = [
        ("p", int(turn), 2 + float(ppl), 1.0)
        for turn, ppl in zip(rng.integers(0, 5, 4000), rng.gamma(2, 0.4, 4000), strict=True)
    ]
    fixed = Decider(ConformalSettings(mode="marginal"), wrong)
    held = Decider(ConformalSettings(mode="marginal", adapt=adapt), wrong)
    assert np.mean([fixed.decide(*step).takes_over for step in steps]) > 0.9
    rate = np.mean([held.decide(*step).takes_over for step in steps])
    assert abs(rate - 0.4) <= (0.6 + 0.02) / (0.02 * 4000) * (5 if adapt == "per-turn" else 1)


def test_per_turn_p_values_agree_with_mondrian_ones_of_crepes(
    crepes: Any, make_calibration: Callable[..., Calibration]
) -> None:
    calibration = make_calibration(problems=12)
    rng = np.random.default_rng(12)
    turn, ppl = rng.integers(0, 3, 200), 1 + rng.gamma(2, 0.5, 200)
    theirs = crepes.base.p_values_batch(
        -calibration.ppl, -ppl, bins_cal=calibration.turn, bins_test=turn, smoothing=False
    )
    steps = [("x", int(at), float(value), 1.0) for at, value in zip(turn, ppl, strict=True)]
    assert np.allclose(_decided(calibration, steps, mode="per-turn"), theirs, rtol=0, atol=1e-15)
