"""Every decision over time: its p against the threshold alpha, below it accepted, above it taken over."""

import math
from collections.abc import Hashable, Iterable

from rich.style import Style
from textual.geometry import Size

from atts_core.state import Decision
from atts_core.verdict_words import suspicion
from atts_tui import words
from atts_tui.view import View
from atts_tui.widgets.rows import Part, Row, Rows, joined
from atts_tui.widgets.time_axis import Window, axis_labels, window

Y_LABEL = 4
"""Cells of the numbers left of the axis."""


class ThresholdChart(Rows):
    """A scatter plot that takes in only the new decisions of each frame."""

    DEFAULT_CSS = """
    ThresholdChart { border: round $border-blurred; border-title-color: $atts-title; padding: 0 1; }
    ThresholdChart:focus { border: round $border; }
    ThresholdChart.-compact { border: none; border-top: solid $border-blurred; padding: 0; }
    """
    can_focus = True

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._plotted = 0
        """Sequence number of the newest decision in the grid."""
        self._plot_of = (0, 0, 0, 0.0)
        """Columns, rows and epoch of what is plotted, and the highest PPL on the scale, 0 for p-values."""
        self._window: Window | None = None
        self._cells: dict[tuple[int, int], list[int]] = {}
        """Column and row of the plot: decisions accepted, taken over, unverifiable."""
        self._alphas: dict[int, float] = {}
        self._drawn: dict[int, Row] = {}
        """Rows as last drawn, less those with a new decision."""
        self._drawn_alpha: tuple[object, ...] = ()

    def key(self, view: View) -> Hashable:
        """Changes with each decision, and when the window of time does."""
        state = view.state
        newest = state.decisions[-1].seq if state.decisions else 0
        return (newest, view.epoch, window(state.now), state.run is None, view.chart_of)

    def build(self, view: View, size: Size) -> list[Row]:
        """Plot above, axis with the times below."""
        width, height = size
        title = "Surprise (p) of every step" if width > 30 else "p of every step"
        if view.chart_of == "ppl":
            title = "Surprise (PPL) of every step" if width > 30 else "PPL of every step"
        if self.border_title != title:
            self.border_title = title
        columns, rows = width - Y_LABEL - 1, height - 2
        if columns < 4 or rows < 3:
            return []
        self._take_in(view, columns, rows)
        alpha = self._alpha(view)
        if alpha != self._drawn_alpha:
            self._drawn.clear()
            self._drawn_alpha = alpha
        for row in range(rows):
            if row not in self._drawn:
                self._drawn[row] = self._row(view, row, columns, rows)
        shown = [self._drawn[row] for row in range(rows)]
        palette, glyphs = view.palette, view.glyphs
        shown.append(
            (
                (" " * Y_LABEL, palette.muted),
                (glyphs.axis_corner + glyphs.axis_horizontal * columns, palette.faint),
            )
        )
        shown.append(((" " * (Y_LABEL + 1), palette.muted), *self._axis(view, columns)))
        return shown

    def _take_in(self, view: View, columns: int, rows: int) -> None:
        state = view.state
        now = window(state.now)
        high = 0.0 if view.chart_of == "p" else _top(state.decisions)
        plot = (columns, rows, view.epoch, high)
        if now != self._window or plot != self._plot_of:
            self._window, self._plot_of = now, plot
            self._cells.clear()
            self._alphas.clear()
            self._drawn.clear()
            self._plotted = 0
        fresh: list[Decision] = []
        for decision in reversed(state.decisions):
            if decision.seq <= self._plotted:
                break
            fresh.append(decision)
        for decision in reversed(fresh):
            self._plot(decision, now, columns, rows, high)
        if fresh:
            self._plotted = fresh[0].seq

    def _plot(self, decision: Decision, now: Window, columns: int, rows: int, high: float) -> None:
        column = now.column(decision.at, columns)
        if not 0 <= column < columns:
            return
        verdict = decision.verdict
        place, limit = suspicion(verdict)
        if high:
            place = None if verdict.ppl is None else _on_scale(verdict.ppl, high)
            limit = 1.0 if verdict.threshold is None else _on_scale(verdict.threshold, high)
        row = _row_of(place if place is not None else 1.0, rows)
        if place is not None:
            row = _own_side(row, _row_of(limit, rows), accepted=verdict.verdict == "accept", rows=rows)
        counts = self._cells.setdefault((column, row), [0, 0, 0])
        counts[("accept", "take-over", "unverifiable").index(verdict.verdict)] += 1
        self._alphas[column] = limit
        self._drawn.pop(row, None)

    def _row(self, view: View, row: int, columns: int, rows: int) -> Row:
        palette, glyphs = view.palette, view.glyphs
        label, label_style = self._label(view, row, rows)
        line: list[tuple[str, Style]] = []
        alpha: float | None = self._first_alpha(view)
        for column in range(columns):
            alpha = self._alphas.get(column, alpha)
            counts = self._cells.get((column, row))
            if counts is not None:
                line.append(_dot(view, counts))
            elif alpha is not None and _row_of(alpha, rows) == row:
                line.append((glyphs.threshold, palette.threshold))
            else:
                line.append((" ", palette.text))
        return ((label, label_style), (glyphs.axis_vertical, palette.faint), *joined(line))

    def _alpha(self, view: View) -> tuple[object, ...]:
        """What all rows depend on: where the threshold runs, and the colours."""
        moved: list[tuple[int, float]] = []
        for column, alpha in sorted(self._alphas.items()):
            if not moved or alpha != moved[-1][1]:
                moved.append((column, alpha))
        return (tuple(moved), self._first_alpha(view), id(view.palette), view.glyphs.plain)

    def _first_alpha(self, view: View) -> float | None:
        if self._alphas:
            return self._alphas[min(self._alphas)]
        if view.chart_of == "ppl":
            return None
        run = view.state.run
        return run.calibration.alpha if run is not None and run.calibration is not None else None

    def _label(self, view: View, row: int, rows: int) -> tuple[str, Style]:
        palette, high = view.palette, self._plot_of[3]
        alpha = self._alphas[max(self._alphas)] if self._alphas else self._first_alpha(view)
        if alpha is not None and _row_of(alpha, rows) == row:
            if high:
                return f"{high**alpha:.2f}"[:Y_LABEL].ljust(Y_LABEL), palette.threshold
            return words.probability(alpha).rjust(Y_LABEL - 1) + " ", palette.threshold
        if row == 0:
            return (
                "1.0 " if not high else f"{high:.3g}"[: Y_LABEL - 1].rjust(Y_LABEL - 1) + " "
            ), palette.muted
        if row == rows - 1:
            return "  0 " if not high else "  1 ", palette.muted
        return " " * Y_LABEL, palette.muted

    def _axis(self, view: View, columns: int) -> Row:
        """When the window begins and ends, and between them what the signs mean."""
        palette, glyphs = view.palette, view.glyphs
        assert self._window is not None  # noqa: S101  # _take_in set it
        shown = self._window
        left, right = words.clock(shown.start), words.clock(shown.start + shown.span)
        signs = (glyphs.dot_take_over, " taken over  ", glyphs.dot_accept, " accepted")
        space = columns - len(left) - len(right) - sum(len(sign) for sign in signs)
        if space < 4:
            return ((axis_labels(shown, columns), palette.muted),)
        return (
            (left + " " * (space // 2), palette.muted),
            (signs[0], palette.target),
            (signs[1], palette.muted),
            (signs[2], palette.draft),
            (signs[3] + " " * (space - space // 2) + right, palette.muted),
        )


def _top(decisions: Iterable[Decision]) -> float:
    """The PPL at the top of the chart: a power of the square root of two above the highest shown."""
    highest = max((d.verdict.ppl for d in decisions if d.verdict.ppl is not None), default=2.0)
    top = 2.0
    while top < min(highest, 1e6):
        top *= math.sqrt(2)
    return top


def _on_scale(ppl: float, high: float) -> float:
    """A PPL from 1 to `high` as a share of the chart's height, by its logarithm."""
    return min(max(math.log(max(ppl, 1.0)) / math.log(high), 0.0), 1.0)


def _row_of(p: float, rows: int) -> int:
    """The row of a p-value, 1 at the top."""
    return min(max(rows - 1 - round(p * (rows - 1)), 0), rows - 1)


def _own_side(row: int, threshold: int, *, accepted: bool, rows: int) -> int:
    """Where a point falls on the row of the threshold itself, the side that it was decided to be on."""
    if accepted and row <= threshold:
        return min(threshold + 1, rows - 1)
    if not accepted and row >= threshold:
        return max(threshold - 1, 0)
    return row


def _dot(view: View, counts: list[int]) -> Part:
    palette, glyphs = view.palette, view.glyphs
    accepted, taken, unverifiable = counts
    crowd = min(sum(counts), 3)
    if unverifiable:
        return glyphs.dot_unverifiable, palette.warning
    if taken:
        return glyphs.dot_take_over, palette.take_over[crowd]
    return glyphs.dot_accept, palette.accept[crowd if accepted else 0]
