"""Going on with a run that stopped: what is finished, what comes next, and whether the settings are the same.

Nothing that is in the file is done again. What was under way when the engine stopped is in no `finished` step
and is done anew; with the same seed and servers that honour it, it comes out as it would have.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from atts_core import events as ev
from atts_core.config import Settings, recorded_settings, said
from atts_core.conformal.calibration import Calibration
from atts_core.conformal.decider import Decider
from atts_core.errors import RunError, SettingsError
from atts_core.problems.problem import Problem
from atts_core.runs.file import About, RunFile

MAY_DIFFER = (
    "draft",
    "target",
    "draft_concurrency",
    "target_concurrency",
    "timeout_connect",
    "timeout_first_token",
    "timeout_between_tokens",
    "timeout_total",
    "patience",
    "at_once",
    "strict",
    "calibration",
)
"""Settings that change how fast a run goes and not what comes out. A calibration file may have moved: what it
holds is compared by its fingerprint."""


class FinishedStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step that its model finished: what `engine.chain.Written` needs."""

    turn: int
    role: ev.Role
    text: str
    ids: tuple[int, ...]
    """Without end-of-text."""
    tokens: int
    """Generated, end-of-text included."""
    ended: bool
    seconds: float
    first_token_seconds: float


Part = FinishedStep | ev.VerdictReached | ev.AttemptKept
"""What of a sample is finished: a text, a decision on one, or one between several."""


class SampleProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a sample got: its finished parts in order, out of which its strategy makes the chain again.

    `answered` is the answer that `AnswerFound` already told of, so that it is not told twice.
    """

    problem: int
    sample: int
    started: bool = False
    parts: tuple[Part, ...] = ()
    answered: str | None = None
    end: ev.SampleEnd | None = None
    answer: str | None = None


class ProblemProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a problem got."""

    problem: Problem
    samples: tuple[SampleProgress, ...]
    voted_on: int = 0
    """Ended samples that the last `VoteChanged` counted."""
    finished: bool = False


class RunProgress(msgspec.Struct, frozen=True, kw_only=True):
    """All that a new engine needs to know of the one before it."""

    about: About
    run: ev.RunStarted
    """As the last engine began it."""
    problems: tuple[ProblemProgress, ...]
    verdicts: tuple[ev.VerdictReached, ...]
    """In the order in which they were reached."""
    paused: bool
    finished: ev.RunFinished | None
    last_seq: int
    last_at: float
    """Run time in seconds; `Bus(first_seq=last_seq + 1, first_at=last_at)` goes on from here."""

    @property
    def settings(self) -> Settings:
        """The settings of the run. Raises SettingsError where this version does not understand them."""
        try:
            return recorded_settings(self.run.settings)
        except msgspec.ValidationError as error:
            raise SettingsError(
                f"The settings of run {self.about.run}, made by atts {self.about.version}, mean nothing to"
                f" this version: {error}."
            ) from None

    @property
    def complete(self) -> bool:
        """Whether there is nothing left to do; failed samples are."""
        return all(
            sample.end not in (None, "failed") for problem in self.problems for sample in problem.samples
        )


@dataclass(slots=True)
class _Sample:
    started: bool = False
    parts: list[Part] = field(default_factory=list)
    answered: str | None = None
    end: ev.SampleEnd | None = None
    answer: str | None = None


@dataclass(slots=True)
class _Problem:
    problem: Problem
    samples: list[_Sample]
    voted_on: int = 0
    finished: bool = False


def read_progress(path: Path) -> RunProgress:
    """What of a run is finished.

    Raises:
        SettingsError: there is no such file, it is no run file, or it is of a newer version.
        RunError: the run stopped before its first event, or was imported, or the file is damaged.
    """
    with contextlib.closing(RunFile.open(path)) as file:
        about = file.about
        reading = _Reading()
        for stamps in file.events():
            for stamped in stamps:
                reading.fold(stamped)
        if file.trouble:
            raise RunError(f"{file.trouble} A damaged run cannot go on.")
    if about.origin:
        raise RunError(
            f"The run {about.run} was imported from {about.origin}; it has no engine to go on with."
        )
    if reading.run is None:
        raise RunError(f"The run {about.run} stopped before its first step; begin it anew.")
    return RunProgress(
        about=about,
        run=reading.run,
        problems=tuple(
            ProblemProgress(
                problem=each.problem,
                samples=tuple(
                    SampleProgress(
                        problem=index,
                        sample=number,
                        started=sample.started,
                        parts=tuple(sample.parts),
                        answered=sample.answered,
                        end=sample.end,
                        answer=sample.answer,
                    )
                    for number, sample in enumerate(each.samples)
                ),
                voted_on=each.voted_on,
                finished=each.finished,
            )
            for index, each in enumerate(reading.problems)
        ),
        verdicts=tuple(reading.verdicts),
        paused=reading.paused,
        finished=reading.finished,
        last_seq=reading.seq,
        last_at=reading.at,
    )


def restore_decider(progress: RunProgress, calibration: Calibration | None) -> Decider | None:
    """A decider that has decided what the run decided, in that order, and goes on from there; None where its
    strategy has none.

    Raises:
        SettingsError: with this calibration it would have decided otherwise, or it cannot decide at all.
    """
    settings = progress.settings
    if not settings.kind.calibrated:
        return None
    decider = Decider(settings.conformal, calibration)
    ids = [problem.problem.id for problem in progress.problems]
    for verdict in progress.verdicts:
        again = decider.decide(ids[verdict.problem], verdict.turn, verdict.ppl, verdict.u)
        if (again.verdict, again.p, again.size) != (verdict.verdict, verdict.p, verdict.size):
            raise SettingsError(
                f"Problem {ids[verdict.problem]}, sample {verdict.sample + 1}, turn {verdict.turn + 1} of run"
                f" {progress.about.run} was judged by other calibration scores than those at hand; resume it"
                " with the calibration that it began with."
            )
    return decider


def differences(progress: RunProgress, now: ev.RunStarted) -> list[str]:
    """In words, what would make the rest of a run another run: other settings, models or calibration."""
    before = progress.run
    found = [
        f"{said(name)} was {_shown(then)} and is {_shown(given)}"
        for name, then, given in _different(_comparable(before), _comparable(now))
        if name not in MAY_DIFFER
    ]
    for old, new in zip(before.models, now.models, strict=True):
        found += [
            f"the {old.role} model's {what} was {then} and is {given}"
            for what, then, given in (
                ("name", old.name, new.name),
                ("tokenizer", old.tokenizer, new.tokenizer),
            )
            if then != given
        ]
    then, given = (run.calibration.fingerprint if run.calibration else "" for run in (before, now))
    if then != given:
        found.append(f"the calibration was {then or 'empty'} and is {given or 'empty'}")
    if before.strategy != now.strategy:
        found.append(f"the strategy was {before.strategy} and is {now.strategy}")
    return found


def refuse_differences(progress: RunProgress, now: ev.RunStarted) -> None:
    """Raise SettingsError, naming the differences, where the rest would be another run than the beginning."""
    found = differences(progress, now)
    if found:
        raise SettingsError(
            f"Run {progress.about.run} cannot go on with other settings: {'; '.join(found)}. Leave them out"
            " to go on as it began, or begin a new run."
        )


class _Reading:
    """Folds events to what is finished."""

    def __init__(self) -> None:
        self.run: ev.RunStarted | None = None
        self.problems: list[_Problem] = []
        self.verdicts: list[ev.VerdictReached] = []
        self.paused = False
        self.finished: ev.RunFinished | None = None
        self.seq = 0
        self.at = 0.0

    def fold(self, stamped: ev.Stamped) -> None:
        self.seq, self.at = stamped.seq, stamped.at
        rule = _RULES.get(type(stamped.event))
        if rule is not None:
            rule(self, stamped.event)

    def sample(self, event: Any) -> _Sample:
        problem: _Problem = self.problems[event.problem]
        sample: _Sample = problem.samples[event.sample]
        return sample

    def _run_started(self, event: ev.RunStarted) -> None:
        self.run, self.finished, self.paused = event, None, False

    def _run_paused(self, _: ev.RunPaused) -> None:
        self.paused = True

    def _run_resumed(self, _: ev.RunResumed) -> None:
        self.paused = False

    def _run_finished(self, event: ev.RunFinished) -> None:
        self.finished = event

    def _problem_added(self, event: ev.ProblemAdded) -> None:
        problem = Problem(
            id=event.id,
            question=event.question,
            gold=event.gold,
            family=event.family,
            grading=event.grading,
            repeats=event.repeats,
        )
        count = self.run.samples if self.run else 0
        self.problems.append(_Problem(problem, [_Sample() for _ in range(count)]))

    def _problem_finished(self, event: ev.ProblemFinished) -> None:
        self.problems[event.problem].finished = True

    def _vote_changed(self, event: ev.VoteChanged) -> None:
        self.problems[event.problem].voted_on = event.ended

    def _sample_started(self, event: ev.SampleStarted) -> None:
        sample = self.sample(event)
        sample.started, sample.end, sample.answer = True, None, None

    def _sample_finished(self, event: ev.SampleFinished) -> None:
        sample = self.sample(event)
        sample.end, sample.answer = event.end, event.answer

    def _draft_finished(self, event: ev.DraftFinished) -> None:
        self.sample(event).parts.append(_step(event, "draft"))

    def _verdict_reached(self, event: ev.VerdictReached) -> None:
        self.sample(event).parts.append(event)
        self.verdicts.append(event)

    def _take_over_finished(self, event: ev.TakeOverFinished) -> None:
        self.sample(event).parts.append(_step(event, "target"))

    def _attempt_kept(self, event: ev.AttemptKept) -> None:
        self.sample(event).parts.append(event)

    def _answer_found(self, event: ev.AnswerFound) -> None:
        self.sample(event).answered = event.answer


_RULES: dict[type[ev.AnyEvent], Callable[[_Reading, Any], None]] = {
    ev.RunStarted: _Reading._run_started,
    ev.RunPaused: _Reading._run_paused,
    ev.RunResumed: _Reading._run_resumed,
    ev.RunFinished: _Reading._run_finished,
    ev.ProblemAdded: _Reading._problem_added,
    ev.ProblemFinished: _Reading._problem_finished,
    ev.VoteChanged: _Reading._vote_changed,
    ev.SampleStarted: _Reading._sample_started,
    ev.SampleFinished: _Reading._sample_finished,
    ev.DraftFinished: _Reading._draft_finished,
    ev.VerdictReached: _Reading._verdict_reached,
    ev.TakeOverFinished: _Reading._take_over_finished,
    ev.AttemptKept: _Reading._attempt_kept,
    ev.AnswerFound: _Reading._answer_found,
}


def _step(event: ev.DraftFinished | ev.TakeOverFinished, role: ev.Role) -> FinishedStep:
    return FinishedStep(
        turn=event.turn,
        role=role,
        text=event.text,
        ids=event.ids,
        tokens=event.tokens,
        ended=event.ended,
        seconds=event.seconds,
        first_token_seconds=event.first_token_seconds,
    )


def _comparable(run: ev.RunStarted) -> dict[str, Any]:
    """Settings by the names that users know, with alpha, rate and budget brought to one."""
    try:
        settings = recorded_settings(run.settings)
    except msgspec.ValidationError:
        return run.settings
    conformal = settings.conformal
    plain = {name: getattr(settings, name) for name in settings.__struct_fields__ if name != "conformal"}
    return plain | {
        "mode": conformal.mode,
        "rule": conformal.rule,
        "takeover_rate": conformal.nominal_rate,
        "adapt": conformal.adaptation,
        "gamma": conformal.gamma,
        "window": conformal.window,
        "smoothed": conformal.smoothed,
    }


def _different(then: dict[str, Any], now: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in sorted(then.keys() | now.keys()):
        if then.get(name) != now.get(name):
            yield name, then.get(name), now.get(name)


def _shown(value: Any) -> str:
    return "unset" if value is None else str(value)
