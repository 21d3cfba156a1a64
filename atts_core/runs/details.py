"""Turns and texts of a problem that RunState has put away, folded again from its part of the run file."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from atts_core.errors import SettingsError
from atts_core.runs.file import RunFile
from atts_core.runs.gate import Gate
from atts_core.state import ProblemState, RunState, SampleState


def read_details(file: RunFile, state: RunState, index: int) -> ProblemState | None:
    """A problem as it was when `state` was folded, with everything; None where the file does not hold it.

    Costs the reading of all events from the problem's first to its last, of which a run that works on few
    problems at a time has few others in between.
    """
    known = state.problems[index]
    if known.started_at is None or state.run is None:
        return None
    scratch = RunState()
    scratch.run = state.run
    whole = ProblemState(
        index, known.id, known.question, known.gold, known.family,
        [SampleState(number) for number in range(len(known.samples))], known.repeats,
    )  # fmt: skip
    nobody = ProblemState(0, "", "", None, "", [])  # those before it are never named
    scratch.problems = [*[nobody] * index, whole]
    gate = Gate(scratch)
    until = known.finished_at if known.finished_at is not None else state.now
    for stamped in file.events_of(index, known.started_at, until, state.seq):
        if gate.refuses(stamped):
            return None
        scratch.apply(stamped)
    whole.touched = known.touched
    for told, sample in zip(known.samples, whole.samples, strict=True):
        sample.judgements = told.judgements  # these came after the problem's end
    return whole if whole.ended >= known.ended else None


class LateDetails:
    """The same for a run of this process, whose file is made after the screen is there."""

    def __init__(self, files: list[Path]) -> None:
        """`files` holds the run's file once there is one."""
        self._files = files

    def __call__(self, state: RunState, index: int) -> ProblemState | None:
        """As `read_details`."""
        if not self._files:
            return None
        try:
            file = RunFile.open(self._files[0])
        except SettingsError:
            return None
        with contextlib.closing(file):
            return read_details(file, state, index)


Details = Callable[[RunState, int], ProblemState | None]
"""Where a screen gets a problem's details from once its state has put them away."""
