"""The drift alarm: quiet at its stated rate on sound runs, however alike samples are; quick otherwise."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from atts_core.conformal import Calibration, DriftMonitor, flat_calibration
from atts_core.conformal.drift import JumperMartingale
from atts_core.conformal.records import RecordedRun

Floats = NDArray[np.float64]


def test_the_martingale_is_the_simple_jumper_of_crepes(crepes: Any) -> None:
    from crepes.martingales import EpsilonBettingFunction, SimpleJumper

    p = np.concatenate([np.random.default_rng(1).random(300), np.random.default_rng(2).beta(3, 1, 200)])
    theirs = SimpleJumper(J=0.01, bf=EpsilonBettingFunction(E=[-1.9, -1, 0, 1, 1.9])).apply(p)
    ours, found = JumperMartingale(), []
    for value in p:
        ours.update(float(value))
        found.append(ours.log10)
    assert np.allclose(found, np.log10(theirs))
    assert found[-1] > 5


def _clustered(rng: np.random.Generator, problems: int, samples: int, level: Floats | None = None) -> Floats:
    """log PPLs with an intraclass correlation of .6, as recorded ones have."""
    own = rng.normal(0, 0.35, problems) if level is None else level
    return np.asarray(own[:, None] + rng.normal(0, 0.28, (problems, samples)))


def _watch(
    calibration: Calibration, logs: Floats, *, same: bool, first: int = 0, order: Any = None
) -> DriftMonitor:
    problems, samples = logs.shape
    names = [str(first + index) for index in range(problems)]
    monitor = DriftMonitor(calibration, names, samples, same_problems=same, false_alarm=0.05)
    for at in range(problems * samples) if order is None else order:
        problem, sample = divmod(int(at), samples)
        monitor.update(names[problem], sample, 0, float(1 + np.exp(logs[problem, sample])))
    return monitor


def _flat(logs: Floats) -> Calibration:
    return flat_calibration(1 + np.exp(logs).ravel(), logs.shape[1])


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("by_score", [False, True])
def test_false_alarms_stay_at_the_stated_rate(same: bool, by_score: bool) -> None:
    """Sound runs of 30 problems against 30 calibrated ones: at most 5 % alarms at a stated 5 %.

    `by_score`: perplexing steps arrive last, as long ones do. A martingale on the pooled p-values of these
    very runs raises the alarm in most of them, which is the reason for not doing that.
    """
    rng = np.random.default_rng(3)
    alarms = pooled_alarms = 0
    rounds = 150
    for _ in range(rounds):
        level = rng.normal(0, 0.35, 30)
        calibration = _clustered(rng, 30, 8, level)
        run = _clustered(rng, 30, 8, level if same else None)
        order = np.argsort(run.ravel()) if by_score else None
        monitor = _watch(_flat(calibration), run, same=same, first=0 if same else 100, order=order)
        assert monitor.alarm or monitor.compared == (240 if same else 30)
        alarms += monitor.alarm is not None
        pooled = JumperMartingale()
        reached = False
        ranks = np.searchsorted(np.sort(calibration.ravel()), _clustered(rng, 30, 8).ravel())
        for rank in ranks:
            pooled.update((rank + rng.random()) / 241)
            reached = reached or pooled.log10 >= np.log10(20)
        pooled_alarms += reached
    assert alarms / rounds <= 0.05
    assert pooled_alarms / rounds > 0.5


def test_other_problems_of_another_kind_are_noticed_by_problem() -> None:
    rng = np.random.default_rng(4)
    monitor = _watch(_flat(_clustered(rng, 100, 8)), _clustered(rng, 60, 8) + 0.6, same=False, first=100)
    assert monitor.alarm is not None
    assert monitor.alarm.direction == "higher"
    assert 5 < monitor.alarm.compared < 40
    assert monitor.alarm.at == 8 * monitor.alarm.compared


def test_a_change_that_comes_late_is_noticed() -> None:
    rng = np.random.default_rng(5)
    level = rng.normal(0, 0.35, 60)
    run = _clustered(rng, 60, 8, level)
    run[40:] -= 0.4
    monitor = _watch(_flat(_clustered(rng, 60, 8, level)), run, same=True)
    assert monitor.alarm is not None
    assert monitor.alarm.direction == "lower"
    assert 320 < monitor.alarm.at < 420
    assert "lower than calibrated" in monitor.alarm.sentence


def test_the_order_of_arrival_changes_nothing() -> None:
    rng = np.random.default_rng(6)
    level = rng.normal(0, 0.35, 10)
    calibration, run = _flat(_clustered(rng, 10, 6, level)), _clustered(rng, 10, 6, level)
    for same in (True, False):
        found = {
            _watch(calibration, run, same=same, first=0 if same else 50, order=order).evidence
            for order in (None, np.arange(60)[::-1], rng.permutation(60))
        }
        assert len(found) == 1


def test_samples_that_never_come_do_not_hold_up_the_others() -> None:
    calibration = _flat(_clustered(np.random.default_rng(7), 4, 6))
    monitor = DriftMonitor(calibration, ["0", "1"], 6, same_problems=True)
    monitor.update("0", 1, 0, 1.8)
    monitor.update("0", 2, 1, 9.9)
    assert monitor.compared == 0
    monitor.missing("0", 0)
    assert monitor.compared == 1
    monitor.update("0", 2, 0, None)
    monitor.update("0", 3, 0, 1.9)
    assert (monitor.compared, monitor.seen) == (2, 4)
    monitor.update("0", 3, 0, 1.9)
    assert monitor.compared == 2


def test_a_problem_with_an_unverified_step_is_left_out_where_problems_are_compared() -> None:
    calibration = _flat(_clustered(np.random.default_rng(8), 9, 2))
    monitor = DriftMonitor(calibration, ["a", "b"], 2, same_problems=False)
    for sample, ppl in ((0, 1.5), (1, None)):
        monitor.update("a", sample, 0, ppl)
    assert monitor.compared == 0
    for sample in (1, 0):
        monitor.update("b", sample, 0, 1.5)
    assert monitor.compared == 1


def _replay(run: RecordedRun, calibration: Calibration, *, same: bool = True) -> DriftMonitor:
    problems = list(dict.fromkeys(step.problem for step in run.steps))
    monitor = DriftMonitor(calibration, problems, run.samples, same_problems=same)
    for step in run.steps:
        monitor.update(step.problem, step.sample, step.turn, step.ppl)
    return monitor


@pytest.mark.parametrize(
    ("run", "array", "within"),
    [
        ("olympiad_all119", "mislabelled_olympiad_1600", 200),
        ("olympiad_all119", "math500_qwq32b_rllama8b_ct0", 200),
        # An array of the same problems from before a change of the prompt: a far smaller difference.
        ("math500_ct1_dev48", "math500_qwq32b_rllama8b_ct1_feb22", 700),
    ],
)
def test_fires_on_recorded_runs_with_a_wrong_array(
    recorded: Callable[[str], RecordedRun],
    stored: Callable[[str], Calibration],
    run: str,
    array: str,
    within: int,
) -> None:
    monitor = _replay(recorded(run), stored(array))
    assert monitor.alarm is not None
    assert monitor.alarm.at <= within


@pytest.mark.parametrize(
    ("run", "array"),
    [
        ("olympiad_all119", "olympiad_qwq32b_rllama8b_feb04"),
        ("math500_ct0_dev48", "math500_qwq32b_rllama8b_ct0"),
        ("math500_ct1_dev48", "math500_qwq32b_rllama8b_ct1_feb23"),
    ],
)
def test_quiet_on_recorded_runs_with_their_array(
    recorded: Callable[[str], RecordedRun], stored: Callable[[str], Calibration], run: str, array: str
) -> None:
    monitor = _replay(recorded(run), stored(array))
    assert monitor.alarm is None
    assert monitor.compared > 100
    assert _replay(recorded(run), stored(array), same=False).alarm is None
