"""The time that both charts show: the whole run while it is short, then a window that moves in quarters.

A window that grows by steps and moves rarely keeps points where they are, so that nothing crawls.
"""

from typing import NamedTuple

from atts_tui import words

SPANS = (5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0, 600.0)
"""Seconds a window may be wide: the widest is what the rate meter remembers."""


class Window(NamedTuple):
    """Run time from `start` over `span` seconds."""

    start: float
    span: float

    def column(self, at: float, columns: int) -> int:
        """The column of a moment; outside 0 … columns − 1 where it is not in the window."""
        return int((at - self.start) / self.span * columns // 1)


def window(now: float) -> Window:
    """The window at run time `now`."""
    for span in SPANS:
        if now < span:
            return Window(0.0, span)
    widest = SPANS[-1]
    quarter = widest / 4
    return Window((now - widest) // quarter * quarter + quarter, widest)


WHOLE_SPANS = (*SPANS, 1200.0, 1800.0, 3600.0, 7200.0, 14_400.0, 28_800.0, 43_200.0, 86_400.0)
"""Seconds that a window over everything may be wide; beyond, it grows by days."""


def whole(now: float, start: float = 0.0, *, ended: bool = False) -> Window:
    """All time from `start` to `now`: with room to grow by steps, unless nothing more will come."""
    length = max(now - start, 0.0)
    if ended:
        return Window(start, max(length, 0.001))
    day = WHOLE_SPANS[-1]
    return Window(start, next((span for span in WHOLE_SPANS if length < span), (length // day + 1) * day))


def axis_labels(shown: Window, columns: int, word: str = "") -> str:
    """The line under a chart: when it begins, a word in the middle, when it ends."""
    left, right = words.clock(shown.start), words.clock(shown.start + shown.span)
    middle = max(columns - len(left) - len(right), 0)
    return (left + word.center(middle) + right)[:columns]
