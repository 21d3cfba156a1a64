"""The decider: verdicts as recorded, nothing unverifiable accepted, the same again after a resume."""

import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atts_core.conformal import (
    Calibration,
    ConformalSettings,
    Decider,
    DeciderState,
    flat_calibration,
)
from atts_core.conformal.records import RecordedRun
from atts_core.conformal.scaling import scaled_threshold
from atts_core.errors import SettingsError

Make = Callable[..., Calibration]

MODES: list[dict[str, Any]] = [
    {"mode": "marginal"},
    {"mode": "marginal", "rule": "reference"},
    {"mode": "marginal", "adapt": "one", "smoothed": True},
    {"mode": "conditional"},
    {"mode": "conditional", "rule": "reference", "budget": 4, "samples": 9},
    {"mode": "per-turn", "adapt": "per-turn", "gamma": 0.3},
    {"mode": "centred"},
    {"mode": "online"},
    {"mode": "online", "adapt": "off", "smoothed": True},
    {"mode": "online", "adapt": "per-turn", "gamma": 0.5, "window": 30},
]
_INDEX = np.arange(54, dtype=np.int32)
_CALIBRATION = Calibration(
    ppl=1 + np.random.default_rng(4).gamma(2, 0.4, 54),
    turn=_INDEX % 3,
    problem=_INDEX // 27,
    sample=_INDEX % 27 // 3,
    problems=("p0", "p1"),
)


@pytest.mark.parametrize(
    ("run", "array", "steps"),
    [
        ("math500_ct0_dev48", "math500_qwq32b_rllama8b_ct0", 2741),
        ("math500_ct1_dev48", "math500_qwq32b_rllama8b_ct1_feb23", 2828),
    ],
)
def test_the_reference_rule_replays_the_recorded_runs_exactly(
    recorded: Callable[[str], RecordedRun],
    stored: Callable[[str], Calibration],
    run: str,
    array: str,
    steps: int,
) -> None:
    decider = Decider(ConformalSettings(mode="marginal", rule="reference", alpha=0.6), stored(array))
    own = recorded(run).steps
    assert len(own) == steps
    for step in own:
        decision = decider.decide(step.problem, step.turn, step.ppl)
        assert decision.p == step.p
        assert decision.takes_over == step.taken_over
        assert step.ppl is not None
        assert decision.threshold is not None
        assert decision.takes_over == (step.ppl > decision.threshold)


@pytest.mark.parametrize("ppl", [None, math.nan, math.inf, -math.inf, 0.0, -2.0, 0.99])
@pytest.mark.parametrize("settings", MODES, ids=str)
def test_what_was_not_verified_is_never_accepted_and_teaches_nothing(
    make_calibration: Make, settings: dict[str, Any], ppl: float | None
) -> None:
    decider = Decider(ConformalSettings(**settings), make_calibration())
    other = Decider(ConformalSettings(**settings), make_calibration())
    decision = decider.decide("p1", 1, ppl, 0.5)
    assert decision.verdict == "unverifiable"
    assert decision.takes_over
    assert (decision.ppl, decision.p) == (None, None)
    assert (decider.decided, decider.unverifiable) == (1, 1)
    assert decider.decide("p1", 1, 2.0, 0.5) == other.decide("p1", 1, 2.0, 0.5)


_steps = st.lists(
    st.tuples(
        st.sampled_from(["p0", "p1"]), st.integers(0, 3), st.floats(1, 4) | st.none(), st.floats(0.01, 1)
    ),
    min_size=2,
    max_size=60,
)


@given(steps=_steps, cut=st.integers(0, 60), settings=st.sampled_from(MODES))
def test_resumed_from_its_state_it_decides_the_same(
    steps: list[tuple[str, int, float | None, float]], cut: int, settings: dict[str, Any]
) -> None:
    calibration, chosen = _CALIBRATION, ConformalSettings(**settings)
    whole = Decider(chosen, calibration)
    expected = [whole.decide(*step) for step in steps]
    begun = Decider(chosen, calibration)
    found = [begun.decide(*step) for step in steps[:cut]]
    state = msgspec.json.decode(msgspec.json.encode(begun.export_state()), type=DeciderState)
    resumed = Decider.resume(chosen, calibration, state)
    found += [resumed.decide(*step) for step in steps[cut:]]
    assert found == expected
    assert resumed.export_state() == whole.export_state()
    for decision in expected:
        if decision.ppl is not None:
            assert decision.takes_over == (
                decision.threshold is not None and decision.ppl > decision.threshold
            )
            assert decision.p is not None
            # What is recorded says the same as what was decided.
            if decision.rule == "conformal":
                assert decision.takes_over == (decision.p > decision.alpha)


def test_a_state_of_something_else_is_refused(make_calibration: Make) -> None:
    settings = ConformalSettings()
    state = Decider(settings, make_calibration()).export_state()
    with pytest.raises(SettingsError, match="other calibration settings"):
        Decider.resume(ConformalSettings(alpha=0.5), make_calibration(), state)
    with pytest.raises(SettingsError, match="another calibration file"):
        Decider.resume(settings, make_calibration(seed=1), state)
    with pytest.raises(SettingsError, match="another calibration file"):
        Decider.resume(settings, None, state)


def test_a_decision_shows_what_it_was_made_of() -> None:
    calibration = flat_calibration(np.array([1.1, 1.2, 1.3, 1.4]), 1)
    decider = Decider(ConformalSettings(mode="marginal", takeover_rate=0.4), calibration)
    accepted, taken = decider.decide("x", 0, 1.25), decider.decide("x", 0, 1.3)
    assert (accepted.verdict, accepted.p, accepted.alpha, accepted.size) == ("accept", 0.6, 0.6, 4)
    assert (taken.verdict, taken.p, taken.u) == ("take-over", 0.8, None)
    assert accepted.threshold == taken.threshold == math.nextafter(1.3, 0)


def test_smoothing_needs_its_random_number_and_records_it(make_calibration: Make) -> None:
    decider = Decider(ConformalSettings(mode="marginal", smoothed=True), make_calibration())
    assert decider.decide("p0", 0, 2.0, 0.25).u == 0.25
    for u in (None, 0.0, 1.5, math.nan):
        with pytest.raises(ValueError, match=r"\(0, 1\]"):
            decider.decide("p0", 0, 2.0, u)


def test_online_starts_from_nothing_by_taking_over() -> None:
    decider = Decider(ConformalSettings(adapt="off"))
    first = decider.decide("p", 0, 1.5)
    assert (first.verdict, first.p, first.size) == ("take-over", 1.0, 0)
    assert decider.decide("p", 0, 1.2).size == 1
    assert decider.decide("p", 5, 1.2).size == 2


@given(edge=st.floats(0.3, 5), scale=st.floats(1, 4))
def test_a_threshold_survives_its_scale_to_the_last_bit(edge: float, scale: float) -> None:
    ppl = scaled_threshold(edge, scale)
    assert ppl is not None
    assert ppl / scale <= edge < math.nextafter(ppl, 9e9) / scale
    assert (scaled_threshold(None, scale), scaled_threshold(0.0, scale)) == (None, 0.0)


def test_a_centred_threshold_is_a_ppl_of_this_problem(make_calibration: Make) -> None:
    decider = Decider(ConformalSettings(mode="centred"), make_calibration())
    edges = [decider.decide(problem, 0, 2.0).threshold for problem in ("p0", "p1", "p2")]
    assert len(set(edges)) == 3
    for problem, edge in zip(("p0", "p1", "p2"), edges, strict=True):
        assert edge is not None
        assert not decider.decide(problem, 0, edge).takes_over
        assert decider.decide(problem, 0, math.nextafter(edge, 9)).takes_over
