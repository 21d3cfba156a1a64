"""What a person must be told wherever they look: errors, warnings, drift, the end. Holds no screen."""

from typing import Literal, NamedTuple

from atts_core.runs.presence import Life
from atts_core.state import RunState
from atts_tui import words
from atts_tui.text import clean

ERRORS_AT_ONCE = 3
"""Errors told one by one; of more that come together only their number is."""


class Alert(NamedTuple):
    """One passing note."""

    severity: Literal["information", "warning", "error"]
    title: str
    message: str
    loud: bool
    """Rings the bell where that is wanted."""


class Alerts:
    """Tells each thing once; what lay in the past when it began is not told."""

    def __init__(self, state: RunState) -> None:
        self.skip(state)
        self._life: Life | Literal[""] = ""

    def skip(self, state: RunState) -> None:
        """What the state holds is known."""
        self._warned = len(state.warnings)
        self._drifted = state.drift is not None
        self._seq = state.seq
        self._finished = state.finished is not None

    def of(self, state: RunState) -> list[Alert]:
        """What has happened since the last call."""
        found = [Alert("warning", "", clean(said), True) for said in state.warnings[self._warned :]]
        if state.drift is not None and not self._drifted:
            found.append(Alert("error", "Drift", clean(state.drift.message), True))
        errors = []
        for line in reversed(state.log):
            if line.seq <= self._seq:
                break
            if line.level == "error":
                place = "" if line.sample is None else f"sample {line.sample + 1}: "
                errors.append(Alert("error", "", place + clean(line.message), True))
        errors.reverse()
        found += errors[:ERRORS_AT_ONCE]
        if more := len(errors[ERRORS_AT_ONCE:]):
            found.append(Alert("error", "", f"{more:,} more errors: the log (6) has them.", True))
        if state.finished is not None and not self._finished:
            end = state.finished.end
            said = f"The run is {end} after {words.clock(state.now)}."
            if state.finished.message:
                said = f"{said} {clean(state.finished.message)}"
            found.append(Alert("information" if end == "done" else "warning", "", said, True))
        self.skip(state)
        return found

    def of_engine(self, life: Life | Literal[""]) -> list[Alert]:
        """What has become of an engine in another process."""
        before, self._life = self._life, life
        if life == before or life not in ("gone", "stalled"):
            return []
        said = {
            "gone": "The engine is gone before the end of the run; --resume goes on with it.",
            "stalled": "The engine does not come round: its process is there, but has stopped working.",
        }[life]
        return [Alert("error", "", said, True)]
