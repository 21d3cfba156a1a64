"""What-if: every decision of a recorded run again, under another calibration, mode, rule or alpha.

The texts stay as they were recorded. Where a verdict changes, the chain would have gone on differently; the
audit does not know how, and says only what the verdict on the recorded step would have been.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np

from atts_core.conformal.calibration import Calibration
from atts_core.conformal.decider import Decider, Decision
from atts_core.conformal.drift import FALSE_ALARM, DriftMonitor
from atts_core.conformal.guarantees import Guarantee, describe
from atts_core.conformal.intervals import Estimate, rate_interval
from atts_core.conformal.pvalues import is_score
from atts_core.conformal.records import RecordedRun, RecordedStep, calibration_from
from atts_core.conformal.settings import ConformalSettings
from atts_core.conformal.signal import Signal, measure_signal
from atts_core.errors import SettingsError
from atts_core.percent import percent

Correct = Mapping[tuple[str, int], bool]
"""(problem, sample) -> whether the chain's answer is right; chains that are not in it count for nothing."""


class TurnRate(msgspec.Struct, frozen=True, kw_only=True):
    """`n` verified steps of a turn: the share taken over with its interval by problem, and as recorded."""

    turn: int
    n: int
    realised: float
    low: float
    high: float
    recorded: float


class ProblemRate(msgspec.Struct, frozen=True, kw_only=True):
    """`n` verified steps of a problem: the share taken over, and as recorded."""

    problem: str
    n: int
    realised: float
    recorded: float


class DriftReport(msgspec.Struct, frozen=True, kw_only=True):
    """`at`: the decision that raised the alarm, None where none did. `evidence`: decimal logarithm, at the
    end or at the alarm. `compared`: p-values bet on. `sentence`: in words.
    """

    fired: bool
    at: int | None
    evidence: float | None
    compared: int
    false_alarm: float
    sentence: str


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """The whole report; its JSON has the keys of the command line's contract.

    `decisions`: steps judged, `unverifiable` of them not rankable. `changed`: verdicts that differ from the
    recorded ones. `same_p`: recorded p-values that came out exactly equal, of `recorded_p`. `realised`: the
    share taken over of the verified steps, `interval` by problem. `turn_deviation`, `problem_deviation`: mean
    absolute distance from nominal over turns and over problems, each counted once. `signal`: PPL averaged
    over a chain's steps; `signal_first`: its first step's, which no take-over has touched.
    """

    decisions: int
    unverifiable: int
    changed: int
    same_p: int
    recorded_p: int
    nominal: float
    realised: float
    interval: Estimate
    recorded: float
    per_turn: list[TurnRate]
    per_problem: list[ProblemRate]
    turn_deviation: float
    problem_deviation: float
    drift: DriftReport
    signal: Signal | None
    signal_first: Signal | None
    guarantee: Guarantee
    mode: str
    rule: str
    alpha: float
    calibration_size: int
    fingerprint: str | None


def audit(
    run: RecordedRun,
    settings: ConformalSettings,
    calibration: Calibration | None,
    *,
    correct: Correct | None = None,
    same_problems: bool = True,
    uniform: Callable[[], float] | None = None,
) -> Audit:
    """Judges the run's steps in their order with one decider.

    `correct` makes the signal known. `same_problems`: whether ids of calibration and run name the same
    problems (`drift`). `uniform`: numbers in (0, 1], needed for smoothed settings. SettingsError as
    `Decider`.
    """
    decider = Decider(settings, calibration)
    decisions = [
        decider.decide(step.problem, step.turn, step.ppl, uniform() if uniform else None)
        for step in run.steps
    ]
    return _report(run, settings, calibration, decisions, correct, same_problems)


def cross_audit(
    run: RecordedRun,
    settings: ConformalSettings,
    *,
    folds: int = 5,
    correct: Correct | None = None,
    uniform: Callable[[], float] | None = None,
) -> Audit:
    """Judges every step by a calibration made of the run's OTHER problems, in `folds` parts by problem.

    What a calibration on all turns of other problems would have done; problem i goes to part i mod `folds`,
    its copies with it.
    SettingsError for fewer problems than parts, and for modes that rank within a problem.
    """
    problems = list(dict.fromkeys(step.cluster for step in run.steps))
    if not 2 <= folds <= len(problems):
        raise SettingsError(
            f"{folds} parts cannot be made of {len(problems)} problems; choose 2 to {len(problems)}."
        )
    if settings.mode in ("conditional", "centred"):
        raise SettingsError(f"Mode {settings.mode} needs the same problems calibrated; parts leave them out.")
    part = {problem: index % folds for index, problem in enumerate(problems)}
    deciders = [
        Decider(settings, calibration_from(step for step in run.steps if part[step.cluster] != fold))
        for fold in range(folds)
    ]
    decisions = [
        deciders[part[step.cluster]].decide(step.problem, step.turn, step.ppl, uniform() if uniform else None)
        for step in run.steps
    ]
    return _report(run, settings, calibration_from(run.steps), decisions, correct, None)


def _report(
    run: RecordedRun,
    settings: ConformalSettings,
    calibration: Calibration | None,
    decisions: list[Decision],
    correct: Correct | None,
    same_problems: bool | None,
) -> Audit:
    pairs = list(zip(run.steps, decisions, strict=True))
    verified = [(step, decision) for step, decision in pairs if decision.p is not None]
    if not verified:
        raise SettingsError("The run holds no verified step; there is nothing to audit.")
    nominal = settings.nominal_rate
    interval = rate_interval(
        [decision.takes_over for _, decision in verified], [step.cluster for step, _ in verified]
    )
    per_turn, per_problem = _turn_rates(verified), _problem_rates(verified)
    recorded = [(step.p, decision.p) for step, decision in verified if step.p is not None]
    return Audit(
        decisions=len(pairs),
        unverifiable=len(pairs) - len(verified),
        changed=sum(step.taken_over != decision.takes_over for step, decision in pairs),
        same_p=sum(was == now for was, now in recorded),
        recorded_p=len(recorded),
        nominal=nominal,
        realised=sum(decision.takes_over for _, decision in verified) / len(verified),
        interval=interval,
        recorded=sum(step.taken_over for step, _ in verified) / len(verified),
        per_turn=per_turn,
        per_problem=per_problem,
        turn_deviation=float(np.mean([abs(turn.realised - nominal) for turn in per_turn])),
        problem_deviation=float(np.mean([abs(problem.realised - nominal) for problem in per_problem])),
        drift=_drift(run, calibration, same_problems),
        signal=_signal(run.steps, correct, first=False),
        signal_first=_signal(run.steps, correct, first=True),
        guarantee=describe(settings, calibration),
        mode=settings.mode,
        rule=settings.rule,
        alpha=settings.nominal_alpha,
        calibration_size=len(calibration) if calibration else 0,
        fingerprint=calibration.fingerprint if calibration else None,
    )


def _turn_rates(verified: Sequence[tuple[RecordedStep, Decision]]) -> list[TurnRate]:
    by_turn: dict[int, list[tuple[RecordedStep, Decision]]] = defaultdict(list)
    for step, decision in verified:
        by_turn[step.turn].append((step, decision))
    rates = []
    for turn, own in sorted(by_turn.items()):
        share = rate_interval([decision.takes_over for _, decision in own], [step.cluster for step, _ in own])
        rates.append(
            TurnRate(
                turn=turn,
                n=len(own),
                realised=share.value or 0.0,
                low=share.low or 0.0,
                high=share.high or 0.0,
                recorded=sum(step.taken_over for step, _ in own) / len(own),
            )
        )
    return rates


def _problem_rates(verified: Sequence[tuple[RecordedStep, Decision]]) -> list[ProblemRate]:
    counts: dict[str, list[int]] = {}
    for step, decision in verified:
        count = counts.setdefault(step.problem, [0, 0, 0])
        count[0] += 1
        count[1] += decision.takes_over
        count[2] += step.taken_over
    return [
        ProblemRate(problem=problem, n=n, realised=taken / n, recorded=was / n)
        for problem, (n, taken, was) in counts.items()
    ]


def _drift(run: RecordedRun, calibration: Calibration | None, same_problems: bool | None) -> DriftReport:
    if calibration is None or same_problems is None:
        reason = (
            "there is no calibration" if calibration is None else "every part is calibrated by the others"
        )
        return DriftReport(
            fired=False,
            at=None,
            evidence=None,
            compared=0,
            false_alarm=FALSE_ALARM,
            sentence=f"Not tested: {reason}.",
        )
    problems = list(dict.fromkeys(step.problem for step in run.steps))
    monitor = DriftMonitor(calibration, problems, run.samples, same_problems=same_problems)
    have = {(step.problem, step.sample) for step in run.steps if step.turn == 0}
    for problem in problems:
        for sample in range(run.samples):
            if (problem, sample) not in have:
                monitor.missing(problem, sample)
    for step in run.steps:
        if monitor.update(step.problem, step.sample, step.turn, step.ppl):
            break
    alarm = monitor.alarm
    quiet = (
        f"No drift seen in {monitor.compared:,} comparisons of first steps (at most {percent(FALSE_ALARM)} of"
        " sound runs ever raise the alarm)."
    )
    return DriftReport(
        fired=alarm is not None,
        at=alarm.at if alarm else None,
        evidence=monitor.evidence,
        compared=monitor.compared,
        false_alarm=FALSE_ALARM,
        sentence=alarm.sentence if alarm else quiet,
    )


def _signal(steps: Sequence[RecordedStep], correct: Correct | None, *, first: bool) -> Signal | None:
    if correct is None:
        return None
    chains: dict[tuple[str, int], list[float]] = defaultdict(list)
    clusters: dict[str, str] = {}
    for step in steps:
        if step.ppl is not None and is_score(step.ppl) and (step.turn == 0 or not first):
            chains[step.problem, step.sample].append(step.ppl)
            clusters[step.problem] = step.cluster
    known = [chain for chain in chains if chain in correct]
    if not known:
        return None
    return measure_signal(
        np.array([float(np.mean(chains[chain])) for chain in known]),
        np.array([not correct[chain] for chain in known]),
        [clusters[problem] for problem, _ in known],
    )
