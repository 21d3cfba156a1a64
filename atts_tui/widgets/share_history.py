"""The share taken over, from the run's beginning to now, against what alpha asks for."""

from collections.abc import Hashable, Sequence

from textual.geometry import Size

from atts_core.percent import percent
from atts_tui import words
from atts_tui.figures import CalibrationFigures
from atts_tui.view import View
from atts_tui.widgets.rows import Part, Row, Rows, joined, paragraph
from atts_tui.widgets.time_axis import whole

Y_LABEL = 6
DOTS = 4
"""Dots of a braille character from top to bottom."""
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
SETTLED = 0.1
"""The first part of a run jumps from 0 to 1; the scale is that of what comes after it."""


class ShareHistory(Rows):
    """A line of what came of all decisions so far, and one of what alpha asked for, on one scale."""

    DEFAULT_CSS = """
    ShareHistory { border: round $border-blurred; border-title-color: $atts-title; padding: 0 1; }
    ShareHistory:focus { border: round $border; }
    """
    can_focus = True

    def __init__(self, figures: CalibrationFigures, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._figures = figures
        self.border_title = "Taken over so far, over time"

    def key(self, _: View) -> Hashable:
        """Changes when the figures do."""
        return self._figures.version

    def build(self, view: View, size: Size) -> list[Row]:
        """The chart, its axis, and what the two lines are."""
        width, height = size
        palette, glyphs, state = view.palette, view.glyphs, view.state
        columns, rows = width - Y_LABEL - 1, height - 3
        if self._figures.behind or not self._figures.tally.count or columns < 8 or rows < 2:
            return paragraph(self._figures.why_empty, width, palette.muted)
        shown = whole(state.now, ended=state.finished is not None)
        known = min(max(shown.column(state.now, columns), 1), columns)
        found = self._figures.tally.over_time(shown.start, shown.start + shown.span * known / columns, known)
        asked_low = [None if alpha is None else 1 - alpha for alpha in found.high_alpha]
        asked_high = [None if alpha is None else 1 - alpha for alpha in found.low_alpha]
        settled = [value for value in found.shares[int(known * SETTLED) :] if value is not None]
        asked = [value for value in (*asked_low, *asked_high) if value is not None]
        low, high = _scale([*settled, *asked])
        levels = rows * DOTS
        cells: dict[tuple[int, int], Part] = {}
        for column, (first, last) in enumerate(zip(asked_low, asked_high, strict=True)):
            if first is not None and last is not None:
                top, bottom = (_level(value, low, high, levels) // DOTS for value in (last, first))
                for row in range(top, bottom + 1):
                    cells[column, row] = (glyphs.threshold, palette.threshold)
        for (column, row), glyph in _line(found.shares, low, high, levels, plain=glyphs.plain).items():
            cells[column, row] = (glyph, palette.target)
        made: list[Row] = []
        for row in range(rows):
            label = percent(high) if row == 0 else percent(low) if row == rows - 1 else ""
            line = [cells.get((column, row), (" ", palette.text)) for column in range(columns)]
            made.append(
                (
                    (label.rjust(Y_LABEL - 1) + " ", palette.muted),
                    (glyphs.axis_vertical, palette.faint),
                    *joined(line),
                )
            )
        gap = " " * Y_LABEL
        under = glyphs.axis_corner + glyphs.axis_horizontal * columns
        made.append(((gap, palette.muted), (under, palette.faint)))
        left, right = words.clock(shown.start), words.clock(shown.start + shown.span)
        last = next((value for value in reversed(found.shares) if value is not None), 0.0)
        said = f"{glyphs.threshold} asked for by alpha   "
        now = f"taken over: {percent(last)}"
        room = columns - len(left) - len(right) - len(said) - len(now)
        if room < 2:
            said, room = "", columns - len(left) - len(right) - len(now)
        made.append(
            (
                (gap + " " + left + " " * max(room // 2, 0), palette.muted),
                (said, palette.threshold),
                (now, palette.target),
                (" " * max(room - room // 2, 0) + right, palette.muted),
            )
        )
        return made


def _scale(values: Sequence[float]) -> tuple[float, float]:
    """Whole twentieths around all values, at least three of them."""
    low = max(int(min(values) * 20 - 0.2) / 20, 0.0)
    high = min(-int(-max(values) * 20 - 0.999) / 20, 1.0)
    return (low, high) if high - low > 0.1 else (max(low - 0.05, 0.0), min(high + 0.05, 1.0))


def _level(value: float, low: float, high: float, levels: int) -> int:
    """Dots from the top."""
    place = round((high - value) / (high - low) * (levels - 1))
    return min(max(place, 0), levels - 1)


def _line(
    values: Sequence[float | None], low: float, high: float, levels: int, *, plain: bool
) -> dict[tuple[int, int], str]:
    """Characters of a line by column and row; steps between columns are drawn as risers."""
    bits: dict[tuple[int, int], int] = {}
    before: int | None = None
    for column, value in enumerate(values):
        if value is None:
            continue
        level = _level(value, low, high, levels)
        first, last = sorted((level, level if before is None else before))
        for dot in range(first, last + 1):
            key = (column, dot // DOTS)
            bits[key] = bits.get(key, 0) | _BITS[dot % DOTS][0]
        key = (column, level // DOTS)
        bits[key] = bits.get(key, 0) | _BITS[level % DOTS][1]
        before = level
    return {key: "*" if plain else chr(0x2800 + value) for key, value in bits.items()}
