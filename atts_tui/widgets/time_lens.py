"""Which part of a problem's time is looked at: all of it, or a piece that follows what is new or stands."""

from atts_core.state import ProblemState
from atts_tui.widgets.time_axis import Window, whole

MOST_ZOOM = 10
"""Halvings: a window of an hour goes down to four seconds."""
STEPS = 4
"""Parts of a window by which it is moved."""


class TimeLens:
    """Zoomed by halves. Moved, it stands; at the end of what has happened it follows."""

    def __init__(self) -> None:
        self.zoom = 0
        self.start: float | None = None
        """Where it stands, in run seconds; None: it follows."""

    def window(self, problem: ProblemState, now: float, longest: float = 0.0) -> Window:
        """The window over a problem at run time `now`; `longest`: seconds that it must have room for."""
        begun = problem.started_at if problem.started_at is not None else now
        end = problem.finished_at if problem.finished_at is not None else now
        every = whole(max(end, begun + longest), begun, ended=problem.finished)
        if not self.zoom:
            return every
        span = every.span / 2**self.zoom
        if self.start is None:
            quarter = span / STEPS
            late = (max(end, begun + longest) - span - begun) // quarter * quarter + quarter + begun
            return Window(max(late, begun), span)
        return Window(min(max(self.start, begun), every.start + every.span - span), span)

    def change(self, halvings: int, shown: Window) -> None:
        """Zoom in (or out), around the middle of what was shown where it stands."""
        before = self.zoom
        self.zoom = min(max(before + halvings, 0), MOST_ZOOM)
        if self.start is not None:
            middle = shown.start + shown.span / 2
            self.start = middle - shown.span / 2 ** (self.zoom - before) / 2

    def move(self, steps: int, shown: Window) -> None:
        """Look at what was before, or after."""
        self.start = shown.start + steps * shown.span / STEPS

    def follow(self) -> None:
        """Look at what is new again."""
        self.start = None
