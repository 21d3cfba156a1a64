"""The audit: what REFERENCE's tables say of the recorded runs comes out again; JSON has the contract's keys.

The published runs of 100 problems are here with 48 of them (math500) and whole (olympiad, 8 problems, 119
chains). Where a table averages over random parts or orders of problems, so do these tests; turns with fewer
than 100 steps of the 48 problems are too noisy to compare and are left out.
"""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from atts_core.conformal import Calibration, ConformalSettings
from atts_core.conformal.audit import Audit, audit, cross_audit
from atts_core.conformal.records import RecordedRun, RecordedStep
from atts_core.errors import SettingsError

Runs = Callable[[str], RecordedRun]
Arrays = Callable[[str], Calibration]
CT0 = ("math500_ct0_dev48", "math500_qwq32b_rllama8b_ct0")
CT1 = ("math500_ct1_dev48", "math500_qwq32b_rllama8b_ct1_feb23")
OLYMPIAD = ("olympiad_all119", "olympiad_qwq32b_rllama8b_feb04")
ENOUGH = 100


def _shuffled(run: RecordedRun, seed: int) -> RecordedRun:
    problems = list(dict.fromkeys(step.problem for step in run.steps))
    random.Random(seed).shuffle(problems)
    place = {problem: at for at, problem in enumerate(problems)}
    steps = sorted(run.steps, key=lambda step: (place[step.problem], step.turn, step.sample))
    return msgspec.structs.replace(run, steps=steps)


def _averaged(judge: Callable[[int], Audit], rounds: int, enough: int = ENOUGH) -> tuple[float, float]:
    """(overall rate, mean deviation per turn), turns averaged over the rounds first."""
    audits = [judge(seed) for seed in range(rounds)]
    turns: dict[int, list[float]] = {}
    for found in audits:
        for turn in found.per_turn:
            if turn.n >= enough:
                turns.setdefault(turn.turn, []).append(turn.realised)
    deviations = [abs(float(np.mean(rates)) - 0.4) for rates in turns.values()]
    return float(np.mean([found.realised for found in audits])), float(np.mean(deviations))


@pytest.mark.parametrize(("run", "array", "decisions"), [(*CT0, 2741), (*CT1, 2828)])
def test_the_reference_rule_changes_nothing(
    recorded: Runs, stored: Arrays, run: str, array: str, decisions: int
) -> None:
    found = audit(
        recorded(run), ConformalSettings(mode="marginal", rule="reference", alpha=0.6), stored(array)
    )
    assert (found.decisions, found.changed, found.unverifiable) == (decisions, 0, 0)
    assert (found.same_p, found.recorded_p) == (decisions, decisions)
    assert found.realised == found.recorded
    assert all(turn.realised == turn.recorded for turn in found.per_turn)
    assert not found.drift.fired
    # One rank above the percentile: p = (1 + c) / (N + 1) > .6 exactly where c / N >= .6 at N = 1,600.
    ours = audit(recorded(run), ConformalSettings(mode="marginal", alpha=0.6), stored(array))
    assert ours.changed == 0


def test_static_sets_on_the_whole_olympiad_run_as_tabulated(recorded: Runs, stored: Arrays) -> None:
    run, array = recorded(OLYMPIAD[0]), stored(OLYMPIAD[1])
    rows = {
        "marginal": (0.367, 0.095, 0.187, 0.247),
        "conditional": (0.546, 0.136, 0.331, 0.225),
    }
    for mode, (overall, turn_deviation, worst, problem_deviation) in rows.items():
        found = audit(run, ConformalSettings(mode=mode, rule="reference"), array)  # type: ignore[arg-type]
        assert found.realised == pytest.approx(overall, abs=5e-4)
        assert found.turn_deviation == pytest.approx(turn_deviation, abs=5e-4)
        assert max(abs(turn.realised - 0.4) for turn in found.per_turn) == pytest.approx(worst, abs=5e-4)
        assert found.problem_deviation == pytest.approx(problem_deviation, abs=5e-4)


def test_adapted_static_sets_on_the_whole_olympiad_run_as_tabulated(recorded: Runs, stored: Arrays) -> None:
    run, array = recorded(OLYMPIAD[0]), stored(OLYMPIAD[1])
    one = audit(run, ConformalSettings(mode="marginal", adapt="one"), array)
    assert one.realised == pytest.approx(0.4, abs=0.003)
    assert one.turn_deviation == pytest.approx(0.057, abs=0.005)
    each = audit(run, ConformalSettings(mode="marginal", adapt="per-turn"), array)
    assert each.realised == pytest.approx(0.386, abs=0.01)
    assert each.turn_deviation == pytest.approx(0.046, abs=0.005)


@pytest.mark.parametrize(("run", "array", "tabulated"), [(*CT0, 0.078), (*CT1, 0.060), (*OLYMPIAD, 0.095)])
def test_scores_of_turn_0_do_not_describe_later_turns(
    recorded: Runs, stored: Arrays, run: str, array: str, tabulated: float
) -> None:
    found = audit(recorded(run), ConformalSettings(mode="marginal"), stored(array))
    assert found.turn_deviation == pytest.approx(tabulated, abs=0.02)


@pytest.mark.parametrize(
    ("run", "enough", "deviation"), [(CT0[0], ENOUGH, 0.01), (CT1[0], ENOUGH, 0.01), (OLYMPIAD[0], 1, 0.012)]
)
def test_mondrian_by_turn_in_five_parts_by_problem(
    recorded: Runs, run: str, enough: int, deviation: float
) -> None:
    """Tabulated .004, .004 and .010; every turn pooled stays at .07 to .09."""
    chains = recorded(run)
    rate, by_turn = _averaged(
        lambda seed: cross_audit(_shuffled(chains, seed), ConformalSettings(mode="per-turn")), 20, enough
    )
    pooled_rate, pooled = _averaged(
        lambda seed: cross_audit(_shuffled(chains, seed), ConformalSettings(mode="marginal")), 20, enough
    )
    assert rate == pytest.approx(0.4, abs=0.01)
    assert pooled_rate == pytest.approx(0.4, abs=0.01)
    assert by_turn < deviation
    assert pooled > 4 * by_turn


@pytest.mark.parametrize(("run", "array", "enough"), [(*CT0, ENOUGH), (*CT1, ENOUGH), (*OLYMPIAD, 1)])
def test_online_per_turn_with_adaptive_alpha_holds_the_rate(
    recorded: Runs, stored: Arrays, run: str, array: str, enough: int
) -> None:
    """Tabulated .398 to .402 overall, .021 to .033 by turn (one alpha), .010 to .023 (an alpha per turn)."""
    chains, calibration = recorded(run), stored(array)
    for seed in range(3):
        found = audit(_shuffled(chains, seed), ConformalSettings(), calibration)
        assert abs(found.realised - 0.4) <= (0.6 + 0.02) / (0.02 * found.decisions)
    rate, one = _averaged(
        lambda seed: audit(_shuffled(chains, seed), ConformalSettings(), calibration), 10, enough
    )
    assert rate == pytest.approx(0.4, abs=0.005)
    assert one < 0.035
    settings = ConformalSettings(adapt="per-turn")
    _, each = _averaged(lambda seed: audit(_shuffled(chains, seed), settings, calibration), 10, enough)
    assert each < 0.025
    assert each < one


def test_the_mislabelled_array(recorded: Runs, stored: Arrays) -> None:
    """70 % instead of 40 % under the authors' rule, unnoticed by it; held and noticed by ours."""
    run, array = recorded(OLYMPIAD[0]), stored("mislabelled_olympiad_1600")
    theirs = audit(run, ConformalSettings(mode="marginal", rule="reference"), array)
    assert theirs.realised == pytest.approx(0.695, abs=5e-4)
    ours = audit(run, ConformalSettings(), array)
    assert ours.realised == pytest.approx(0.4, abs=0.005)
    for found in (theirs, ours):
        assert found.drift.fired
        assert found.drift.at is not None
        assert found.drift.at <= 200
        assert "higher than calibrated" in found.drift.sentence


def _normal(answer: str) -> str:
    for old, new in (
        (" ", ""),
        ("\\left", ""),
        ("\\right", ""),
        ("dfrac", "frac"),
        ("tfrac", "frac"),
        ("\\!", ""),
    ):
        answer = answer.replace(old, new)
    return answer.strip("$.")


def test_ppl_carries_no_signal_within_math500_problems(data: Path, recorded: Runs, stored: Arrays) -> None:
    """REFERENCE, of 100 problems: .61 overall at turn 0, .47 to .49 within a problem."""
    gold = json.loads((data / "gold_math500_dev48.json").read_text())
    run = recorded(CT0[0])
    correct = {
        (chain.problem, chain.sample): _normal(chain.answer or "") == _normal(gold[chain.problem]["gold"])
        for chain in run.chains
    }
    found = audit(run, ConformalSettings(mode="marginal"), stored(CT0[1]), correct=correct)
    assert found.signal is not None
    assert found.signal_first is not None
    assert found.signal.chains == 768
    assert found.signal_first.auroc.value == pytest.approx(0.61, abs=0.08)
    for signal in (found.signal, found.signal_first):
        assert signal.auroc_within.value == pytest.approx(0.48, abs=0.06)
        assert (signal.auroc_within.low or 1) < 0.5 < (signal.auroc_within.high or 0)
        assert "within a problem" in signal.verdict


def _run(rates: dict[str, list[float | None]]) -> RecordedRun:
    steps = [
        RecordedStep(problem=problem, sample=sample, turn=0, ppl=ppl, p=None, taken_over=False)
        for problem, ppls in rates.items()
        for sample, ppl in enumerate(ppls)
    ]
    return RecordedRun(steps=steps, chains=[], samples=max(len(ppls) for ppls in rates.values()))


def test_copies_are_one_cluster_and_never_on_both_sides_of_a_cut(
    make_calibration: Callable[..., Calibration],
) -> None:
    run = _run({"p0": [1.5, 9.0], "p0#2": [1.5, 9.0], "p1": [1.2, 9.0], "p1#2": [9.0, 1.2]})
    steps = [
        msgspec.structs.replace(step, repeats=step.problem[:2] if "#" in step.problem else "")
        for step in run.steps
    ]
    copied = msgspec.structs.replace(run, steps=steps)
    settings = ConformalSettings(mode="marginal")
    alone, together = (audit(one, settings, make_calibration()).interval for one in (run, copied))
    assert alone.value == together.value
    assert together.low is not None
    assert alone.low is not None
    assert together.low < alone.low
    with pytest.raises(SettingsError, match="4 parts cannot be made of 2 problems"):
        cross_audit(copied, settings, folds=4)


def test_json_has_the_keys_of_the_contract(make_calibration: Callable[..., Calibration]) -> None:
    run = _run({"p0": [1.5, 9.0, None], "p1": [1.2, 1.3, 9.0]})
    correct = {("p0", 0): True, ("p0", 1): False, ("p1", 0): False, ("p1", 1): True}
    found: Any = json.loads(
        msgspec.json.encode(
            audit(run, ConformalSettings(mode="marginal"), make_calibration(), correct=correct)
        )
    )
    assert {"decisions", "changed", "nominal", "realised", "per_turn", "drift", "signal"} <= set(found)
    assert (found["decisions"], found["unverifiable"], found["changed"]) == (6, 1, 3)
    assert (found["nominal"], found["realised"]) == (0.4, 0.4)
    assert {"turn", "n", "realised"} <= set(found["per_turn"][0])
    assert {"fired", "at"} <= set(found["drift"])
    assert set(found["signal"]["auroc"]) == set(found["signal"]["auroc_within"]) == {"value", "low", "high"}
    assert found["signal"]["auroc_within"]["value"] == 0.5
    assert {row["problem"]: row["n"] for row in found["per_problem"]} == {"p0": 2, "p1": 3}


def test_nothing_to_audit(make_calibration: Callable[..., Calibration]) -> None:
    with pytest.raises(SettingsError, match="no verified step"):
        audit(_run({"p0": [None]}), ConformalSettings(mode="marginal"), make_calibration())
    with pytest.raises(SettingsError, match="had no calibration"):
        audit(_run({"new": [1.5]}), ConformalSettings(mode="conditional"), make_calibration())


def test_parts_that_cannot_be_made() -> None:
    run = _run({"a": [1.5], "b": [1.6]})
    with pytest.raises(SettingsError, match="3 parts cannot be made of 2 problems"):
        cross_audit(run, ConformalSettings(mode="marginal"), folds=3)
    with pytest.raises(SettingsError, match="needs the same problems calibrated"):
        cross_audit(run, ConformalSettings(mode="conditional"), folds=2)
    assert cross_audit(run, ConformalSettings(mode="marginal"), folds=2).drift.sentence.startswith(
        "Not tested"
    )
