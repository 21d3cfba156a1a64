"""`atts audit`: judge every decision of a recorded run again, under any calibration, mode, rule and alpha."""

import argparse
import random
import sys
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec

from atts_core.config import POLICIES
from atts_core.conformal import Calibration, ConformalSettings, load_calibration
from atts_core.conformal.audit import Audit, Correct, audit, cross_audit
from atts_core.conformal.intervals import number_interval, percent_interval
from atts_core.conformal.records import RecordedRun, load_authors_run
from atts_core.conformal.signal import Signal
from atts_core.engine.votes import vote
from atts_core.errors import SettingsError
from atts_core.percent import percent
from atts_core.problems.grading import Grader, by_spelling
from atts_core.runs.folder import SUFFIX, find_run, runs_folder
from atts_core.runs.recorded_run import (
    begins_with_an_event,
    decided_by,
    events_of_run,
    load_events,
    recorded_run,
    without_grades,
)
from atts_tui.commands.gold import read_gold
from atts_tui.commands.kept import kept_calibration
from atts_tui.commands.printing import print_json

SHOWN_TURNS = 40


def run_audit(arguments: argparse.Namespace) -> int:
    """The whole command."""
    run, gold, own, kept = _load(arguments.run, arguments.samples)
    if arguments.gold is not None:
        gold = read_gold(Path(arguments.gold))
        run = without_grades(run)
    correct, judged_by = _correct(run, gold)
    calibration = kept if arguments.folds is None else None
    if arguments.calibration is not None:
        calibration = load_calibration(Path(arguments.calibration))
    settings = _settings(arguments, own, calibration, run.samples)
    numbers = random.Random(arguments.seed or 0)
    uniform = (lambda: 1 - numbers.random()) if settings.smoothed else None
    if arguments.folds is not None:
        if arguments.calibration is not None:
            raise SettingsError(
                "--folds calibrates on the run's own problems: give it, or --calibration, not both."
            )
        report = cross_audit(run, settings, folds=arguments.folds, correct=correct, uniform=uniform)
    else:
        report = audit(
            run,
            settings,
            calibration,
            correct=correct,
            same_problems=not arguments.other_problems,
            uniform=uniform,
        )
    if arguments.json:
        print_json(_as_json(report, judged_by))
    else:
        sys.stdout.write(_as_text(report, judged_by) + "\n")
    return 0


class _Recorded(NamedTuple):
    """A run to audit, and, for one of ours, how it decided and by what."""

    run: RecordedRun
    gold: dict[str, str]
    settings: ConformalSettings | None = None
    calibration: Calibration | None = None


def _load(name: str, samples: int | None) -> _Recorded:
    """A run of ours by name or file, its exported events, or results of the authors' programs."""
    path = Path(name)
    if path.is_dir() or (path.is_file() and path.suffix != SUFFIX):
        if not begins_with_an_event(path):
            return _Recorded(load_authors_run(path, samples), {})
        stamps, calibration = load_events(path), None
    else:
        path = find_run(name, runs_folder())
        stamps, calibration = events_of_run(path), kept_calibration(path)
    run, gold = recorded_run(stamps)
    return _Recorded(run, gold, decided_by(stamps), calibration)


def _correct(run: RecordedRun, gold: dict[str, str]) -> tuple[Correct, str]:
    """Which chains are right, and by what that was judged: the gold answers, else the samples' own vote."""
    if gold:
        if not {chain.problem for chain in run.chains} & gold.keys():
            raise SettingsError("The gold file knows none of the problems of this run: are they named alike?")
        known = [chain for chain in run.chains if chain.problem in gold]
        with closing(Grader(lambda message: sys.stderr.write(f"atts: {message}\n"))) as grader:
            right = {}
            for c in known:
                graded = grader.grade_now(c.answer, gold[c.problem], "math") if c.correct is None else None
                right[c.problem, c.sample] = bool(graded.correct if graded else c.correct)
        return right, "gold answers"
    answers: dict[str, list[str | None]] = defaultdict(list)
    for chain in run.chains:
        answers[chain.problem].append(chain.answer)
    winners = {problem: vote(given).winner for problem, given in answers.items()}
    voted = {
        (c.problem, c.sample): bool(by_spelling(c.answer, winners[c.problem]))
        for c in run.chains
        if winners[c.problem] is not None
    }
    return voted, "the samples' own vote"


def _settings(
    arguments: argparse.Namespace,
    own: ConformalSettings | None,
    calibration: Calibration | None,
    samples: int,
) -> ConformalSettings:
    """What was said, else how the run itself decided, else marginal with scores to rank against."""
    said = {
        name: value
        for name in ("mode", "rule", *POLICIES, "adapt", "gamma", "window", "smoothed")
        if (value := getattr(arguments, name)) is not None
    }
    base: dict[str, object] = {}
    if own is not None:
        base = {name: getattr(own, name) for name in own.__struct_fields__}
        if said.keys() & set(POLICIES):
            base |= dict.fromkeys(POLICIES)
        if said.keys() & {"mode", "rule"}:
            base |= {"adapt": None, "window": None, "smoothed": False}
        if calibration is None and arguments.folds is None and "mode" not in said:
            base |= {"mode": "online", "adapt": None}
    static = calibration is not None or arguments.folds is not None or arguments.rule == "reference"
    usual = {"mode": "marginal" if static else "online", "samples": samples}
    return ConformalSettings(**(usual | base | said))  # type: ignore[arg-type]  # names of its own fields


def _as_json(report: Audit, judged_by: str) -> dict[str, object]:
    """The report with the keys of the command line's contract; `signal` is flat there."""
    result: dict[str, object] = msgspec.to_builtins(report)
    result["signal"] = None
    if report.signal is not None:
        result["signal"] = {
            "auroc": msgspec.to_builtins(report.signal.auroc),
            "auroc_within": msgspec.to_builtins(report.signal.auroc_within),
            "verdict": report.signal.verdict,
            "judged_by": judged_by,
        }
    return result


def _as_text(report: Audit, judged_by: str) -> str:
    how = f"mode {report.mode}, rule {report.rule}, alpha {report.alpha:g}"
    same = f"{report.same_p:,} of {report.recorded_p:,}"
    nominal, recorded = percent(report.nominal, 1), percent(report.recorded, 1)
    lines = [
        f"{report.decisions:,} decisions judged by {how} against {report.calibration_size:,} scores",
        f"taken over: {percent_interval(report.interval)}, nominal {nominal}, was {recorded}",
        f"verdicts that change: {report.changed:,}; recorded p-values that come out equal: {same}",
    ]
    if report.unverifiable:
        lines.append(f"not verifiable, so taken over: {report.unverifiable:,}")
    over = f"{report.turn_deviation:.3f} over turns, {report.problem_deviation:.3f} over problems"
    lines += [
        f"mean distance from nominal: {over}",
        "",
        " turn      n   taken over   95 % by problem    as recorded",
    ]
    lines += [
        f"{rate.turn + 1:5}  {rate.n:5,}        {rate.realised:6.1%}   [{rate.low:6.1%}, {rate.high:6.1%}]"
        f"         {rate.recorded:6.1%}"
        for rate in report.per_turn[:SHOWN_TURNS]
    ]
    if len(report.per_turn) > SHOWN_TURNS:
        lines.append(f"… and {len(report.per_turn) - SHOWN_TURNS} more turns; --json has them all")
    lines += ["", f"guarantee: {report.guarantee.promise}", f"           {report.guarantee.limits}"]
    lines += [f"drift: {report.drift.sentence}"]
    for name, signal in (
        ("mean PPL of a chain", report.signal),
        ("PPL of its first step", report.signal_first),
    ):
        if signal is not None:
            lines.append(_signal(name, signal, judged_by))
    if report.signal is not None:
        lines.append(report.signal.verdict)
    return "\n".join(lines)


def _signal(name: str, signal: Signal, judged_by: str) -> str:
    over, within = number_interval(signal.auroc, 3), number_interval(signal.auroc_within, 3)
    return f"signal: {name} tells wrong chains (by {judged_by}) with AUROC {over}, within problems {within}"
