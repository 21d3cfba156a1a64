"""How surprising steps were: the calibration's above, the run's own below, cut in two by the threshold."""

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.style import Style
from textual.geometry import Size

from atts_core.conformal.live import known_histogram
from atts_tui import words
from atts_tui.figures import CalibrationFigures
from atts_tui.view import View
from atts_tui.widgets.rows import Part, Row, Rows, joined, paragraph

TALLEST = 3.0
"""A column more than so many times as high as the next is cut off, and its count said: the embedded pair's
steps are half of them no surprise at all, and would leave nothing to see of the others."""


class PplHistogram(Rows):
    """Two bands of columns over one PPL axis, equal in width on a logarithmic scale."""

    DEFAULT_CSS = """
    PplHistogram { border: round $border-blurred; border-title-color: $atts-title; padding: 0 1; }
    PplHistogram:focus { border: round $border; }
    PplHistogram.-compact { border: none; border-top: solid $border-blurred; padding: 0; }
    """
    can_focus = True

    def __init__(self, figures: CalibrationFigures, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._figures = figures
        self.border_title = "How surprising steps are (PPL)"

    def key(self, _: View) -> Hashable:
        """Changes when the figures do."""
        return self._figures.version

    def build(self, view: View, size: Size) -> list[Row]:
        """A band each, the axis with the threshold under them, and what the sides of it mean."""
        width, height = size
        palette = view.palette
        card = view.state.run.calibration if view.state.run is not None else None
        known = known_histogram(card)
        if self._figures.behind:
            return paragraph(self._figures.why_empty, width, palette.muted)
        own = self._figures.tally.range()
        if known is None and own is None:
            said = "The run has not begun." if view.state.run is None else "No step has been scored yet."
            return paragraph(said, width, palette.muted)
        label = 12 if width >= 50 else 0
        columns = width - label
        low, high = _limits(known.edges if known is not None else None, own)
        edges = np.exp(np.linspace(math.log(low), math.log(high), columns + 1))
        edges[0], edges[-1] = low, high
        cut = _column(self._figures.divide, low, high, columns)
        bands: list[tuple[str, str, Sequence[float]]] = []
        if known is not None:
            calibration = _rebinned(known.edges, known.counts, edges)
            bands.append(("calibration", words.number(sum(known.counts)), calibration))
        counts, below, above = self._figures.tally.histogram(edges)
        values = counts.astype(float)
        values[0] += below
        values[-1] += above
        bands.append(("this run", words.number(values.sum()), values.tolist()))
        rows: list[Row] = []
        for place, (name, count, heights) in enumerate(bands):
            room = max((height - 2 - len(rows)) // (len(bands) - place), 1)
            rows += self._band(view, (name, count), heights, room, cut, label)
        rows.append(self._axis(view, low, high, columns, cut, label))
        rows.append(self._sides(view, width, cut))
        return rows[:height]

    def _band(
        self,
        view: View,
        named: tuple[str, str],
        values: Sequence[float],
        rows: int,
        cut: int | None,
        label: int,
    ) -> list[Row]:
        palette, glyphs = view.palette, view.glyphs
        name, count = named
        ranked = sorted(values, reverse=True)
        top = max(ranked[0], 1.0)
        clipped = len(ranked) > 1 and ranked[0] > TALLEST * max(ranked[1], 1.0)
        if clipped:
            top = TALLEST / 2 * max(ranked[1], 1.0)
        steps = len(glyphs.blocks) - 1
        labels = [name, f"{count} steps", *(["top cut off"] if clipped else [])]
        found: list[Row] = []
        for row in range(rows):
            level = rows - 1 - row
            line: list[Part] = []
            for column, value in enumerate(values):
                filled = min(max(math.ceil(value / top * rows * steps) - level * steps, 0), steps)
                style = palette.draft if cut is None or column < cut else palette.target
                glyph = glyphs.blocks[filled]
                if cut is not None and column == cut and not filled:
                    glyph, style = glyphs.tick, palette.threshold
                line.append((glyph, style))
            head = labels[row] if row < len(labels) else ""
            found.append(((head.ljust(label)[:label], palette.muted), *joined(line)))
        return found

    def _axis(self, view: View, low: float, high: float, columns: int, cut: int | None, label: int) -> Row:
        """The ends of the axis, and the threshold where it is; it goes before an end that is too near."""
        palette = view.palette
        left, right = words.ppl(low), words.ppl(high)
        line = list(left.ljust(columns - len(right)) + right)
        styles: list[Style] = [palette.muted] * columns
        divide = self._figures.divide
        if cut is not None and divide is not None:
            said = words.ppl(divide)
            start = min(max(cut - len(said) // 2, 0), columns - len(said))
            if start <= len(left):  # half a number would be another one
                line[: len(left)] = " " * len(left)
            if start + len(said) >= columns - len(right):
                line[columns - len(right) :] = " " * len(right)
            for place, character in enumerate(said, start):
                line[place], styles[place] = character, palette.threshold
        return ((" " * label, palette.muted), *joined(list(zip(line, styles, strict=True))))

    def _sides(self, view: View, width: int, cut: int | None) -> Row:
        palette, glyphs = view.palette, view.glyphs
        figures = self._figures
        if figures.divide is None or cut is None:
            why = "the threshold is another one for each turn or problem" if figures.tally.count else ""
            return ((why[:width], palette.muted),)
        about = " (of the newest step)" if figures.thresholds_differ and figures.chosen is None else ""
        parts: list[Part] = [
            (f"{glyphs.left_right[:1]} accepted", palette.draft),
            ("   ", palette.muted),
            (f"{glyphs.tick} threshold{about}", palette.threshold),
            ("   ", palette.muted),
            (f"target takes over {glyphs.left_right[-1:]}", palette.target),
        ]
        room = width - sum(len(text) for text, _ in parts)
        return tuple(parts) if room < 0 else ((" " * (room // 2), palette.muted), *parts)


def _limits(edges: Sequence[float] | None, own: tuple[float, float] | None) -> tuple[float, float]:
    """What the axis spans: the calibration without its last, widest bin, or the run's own steps."""
    if edges is not None:
        low, high = edges[0], edges[-2] if len(edges) > 3 else edges[-1]
    else:
        assert own is not None  # noqa: S101  # there is one of the two
        low, high = own
    low = max(low, 1.0)
    return low, max(high, low * 1.01)


def _column(value: float | None, low: float, high: float, columns: int) -> int | None:
    """The first column above a PPL; None where all are on one side of it, or it is not known."""
    if value is None or value < low:
        return None
    place = math.log(value / low) / math.log(high / low) * columns
    return min(math.ceil(place), columns - 1)


def _rebinned(edges: Sequence[float], counts: Sequence[int], wanted: NDArray[np.float64]) -> list[float]:
    """Counts of other bins, those of one bin spread evenly over its logarithmic width; what lies above the
    last is in the last."""
    total = np.concatenate(([0.0], np.cumsum(counts)))
    upto = np.interp(np.log(wanted), np.log(edges), total)
    upto[-1] = total[-1]
    return np.diff(upto).tolist()  # type: ignore[no-any-return]
