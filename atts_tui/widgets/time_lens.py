"""Which part of a problem's time is looked at: all of it, or a piece that follows what is new or stands."""

from atts_core.state import ProblemState
from atts_tui.widgets.time_axis import Window, whole

MOST_ZOOM = 10
"""Halvings: a window of an hour goes down to four seconds."""
STEPS = 4
"""Parts of a window by which it is moved."""


class TimeLens:
    """Zoomed by halves. Moved, it stands; else it follows the end of what has happened."""

    def __init__(self) -> None:
        self.zoom = 0
        self._after: float | None = None
        """Where it stands, in seconds after the problem began, as two runs can share; None: it follows."""

    def window(self, problem: ProblemState, now: float, longest: float = 0.0) -> Window:
        """The window over a problem at run time `now`; `longest`: seconds that it must have room for."""
        begun = begin_of(problem, now)
        end = max(problem.finished_at if problem.finished_at is not None else now, begun + longest)
        every = whole(end, begun, ended=problem.finished)
        if not self.zoom:
            return every
        span = every.span / 2**self.zoom
        if self._after is None:
            quarter = span / STEPS
            return Window(max((end - span - begun) // quarter * quarter + quarter, 0.0) + begun, span)
        return Window(begun + min(max(self._after, 0.0), every.span - span), span)

    def change(self, halvings: int, shown: Window, begun: float) -> None:
        """Zoom in (or out), around the middle of what was shown where it stands."""
        before = self.zoom
        self.zoom = min(max(before + halvings, 0), MOST_ZOOM)
        if self._after is not None:
            middle = shown.start + shown.span / 2 - begun
            self._after = middle - shown.span / 2 ** (self.zoom - before) / 2

    def move(self, steps: int, shown: Window, begun: float) -> None:
        """Look at what was before, or after."""
        self._after = shown.start - begun + steps * shown.span / STEPS

    def follow(self) -> None:
        """Look at what is new again."""
        self._after = None


def begin_of(problem: ProblemState, now: float) -> float:
    """When a problem began; now, where it has not."""
    return problem.started_at if problem.started_at is not None else now
