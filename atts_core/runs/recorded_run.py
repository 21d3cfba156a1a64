"""A run of ours as the decisions and chains that an audit judges again."""

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from atts_core import events as ev
from atts_core.conformal import ConformalSettings
from atts_core.conformal.records import RecordedChain, RecordedRun, RecordedStep
from atts_core.errors import SettingsError
from atts_core.runs.file import RunFile


def recorded_run(stamps: Iterable[ev.Stamped]) -> tuple[RecordedRun, dict[str, str]]:
    """Steps in the order of their verdicts, chains in the order in which they ended, and the gold answers.

    Raises:
        SettingsError: the events are not those of a run.
    """
    problems: dict[int, ev.ProblemAdded] = {}
    steps: list[RecordedStep] = []
    chains: list[RecordedChain] = []
    started: dict[tuple[int, int], float] = {}
    samples = 0
    for stamped in stamps:
        match stamped.event:
            case ev.RunStarted() as run:
                samples = run.samples
            case ev.ProblemAdded() as added:
                problems[added.problem] = added
            case ev.SampleStarted() as sample:
                started[sample.problem, sample.sample] = stamped.at
            case ev.VerdictReached() as verdict:
                steps.append(
                    RecordedStep(
                        problem=problems[verdict.problem].id,
                        sample=verdict.sample,
                        turn=verdict.turn,
                        ppl=verdict.ppl,
                        p=verdict.p,
                        taken_over=verdict.verdict != "accept",
                        repeats=problems[verdict.problem].repeats,
                    )
                )
            case ev.SampleFinished() as ended if ended.end not in ("failed", "stopped", "decided"):
                began = started.get((ended.problem, ended.sample))
                chains.append(
                    RecordedChain(
                        problem=problems[ended.problem].id,
                        sample=ended.sample,
                        answer=ended.answer,
                        question=problems[ended.problem].question,
                        seconds=None if began is None else stamped.at - began,
                        correct=ended.correct,
                    )
                )
            case _:
                pass
    if not samples:
        raise SettingsError("These events do not begin with a run; there is nothing to audit.")
    gold = {added.id: added.gold for added in problems.values() if added.gold is not None}
    return RecordedRun(steps=steps, chains=chains, samples=samples), gold


def without_grades(run: RecordedRun) -> RecordedRun:
    """The same run with nothing said of what is right, so that it can be graded by other answers."""
    chains = [msgspec.structs.replace(chain, correct=None) for chain in run.chains]
    return msgspec.structs.replace(run, chains=chains)


def load_events(path: Path) -> list[ev.Stamped]:
    """The events of a file that `--events` wrote, one JSON line each.

    Raises:
        SettingsError: the file cannot be read, or a line is no event.
    """
    stamps = []
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                stamps.append(_event(line, f"{path} line {number}"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from None
    return stamps


def events_of_run(path: Path) -> list[ev.Stamped]:
    """The events of a run file, as far as it can be read.

    Raises:
        SettingsError: it is no run file.
    """
    with contextlib.closing(RunFile.open(path)) as file:
        return [stamped for stamps in file.events() for stamped in stamps]


def decided_by(stamps: Sequence[ev.Stamped]) -> ConformalSettings | None:
    """How a run of ours decided; None where its events do not say."""
    for stamped in stamps:
        if isinstance(stamped.event, ev.RunStarted):
            try:
                return msgspec.convert(stamped.event.settings.get("conformal"), ConformalSettings)
            except msgspec.ValidationError:
                return None
    return None


def begins_with_an_event(path: Path) -> bool:
    """Whether a file is one of events, by its first line."""
    try:
        with path.open("rb") as file:
            return file.read(7) == b'{"seq":'
    except OSError:
        return False


def _event(line: bytes, place: str) -> ev.Stamped:
    try:
        return ev.decode(line)
    except msgspec.MsgspecError as error:
        raise SettingsError(f"{place} is no event of atts: {error}.") from None
