"""Tokens per second of both models over time, one band a model, both on the same scale."""

from collections.abc import Hashable
from itertools import pairwise

from textual.geometry import Size

from atts_core.meters import BIN_SECONDS
from atts_tui import words
from atts_tui.view import View
from atts_tui.widgets.blocks import block_lines
from atts_tui.widgets.rows import Row, Rows
from atts_tui.widgets.time_axis import axis_labels, window

Y_LABEL = 6


class RateChart(Rows):
    """Two bands of blocks: their height is comparable, and they need no colour to be told apart."""

    DEFAULT_CSS = """
    RateChart { border: round $border-blurred; border-title-color: $atts-title; padding: 0 1; }
    RateChart:focus { border: round $border; }
    """
    can_focus = True

    def key(self, view: View) -> Hashable:
        """Changes each half second of run time: the bins of the meter."""
        state = view.state
        return (int(state.now / BIN_SECONDS), state.finished is not None, state.run is None)

    def build(self, view: View, size: Size) -> list[Row]:
        """The draft's band, the target's band, the times."""
        width, height = size
        if self.border_title != "Tokens per second":
            self.border_title = "Tokens per second"
        palette = view.palette
        columns = width - Y_LABEL - 1
        bands = (height - 1) // 2
        if columns < 8 or bands < 1:
            return []
        now = view.state.now
        shown = window(now)
        draft, target = (self._columns(view, kind, columns) for kind in ("draft", "target"))
        top = max(*draft, *target, 1.0)
        rows = self._band(view, "draft", draft, top, bands)
        rows += self._band(view, "target", target, top, bands)
        rows += [(("", palette.text),)] * (height - 1 - 2 * bands)
        rows.append(((" " * (Y_LABEL + 1), palette.muted), (axis_labels(shown, columns), palette.muted)))
        return rows

    def _columns(self, view: View, kind: str, columns: int) -> list[float]:
        """Mean rate under each column; zero before the run and after now."""
        now = view.state.now
        shown = window(now)
        bins = int(shown.span / BIN_SECONDS)
        first = int(shown.start / BIN_SECONDS)
        last = int(now / BIN_SECONDS)
        history = view.state.rates.history(kind, now, bins)
        rates = [
            history[k - last + bins] if last - bins <= k < last else 0.0 for k in range(first, first + bins)
        ]
        if columns >= bins:
            known = rates[: last - first]
            return [_between(known, (column + 0.5) / columns * bins) for column in range(columns)]
        cuts = [column * bins // columns for column in range(columns + 1)]
        return [sum(rates[start:end]) / (end - start) for start, end in pairwise(cuts)]

    def _band(self, view: View, name: str, values: list[float], top: float, rows: int) -> list[Row]:
        palette, glyphs = view.palette, view.glyphs
        style = palette.draft if name == "draft" else palette.target
        fill = palette.accept[1] if name == "draft" else palette.take_over[1]
        rate = view.state.rates.rate(name, view.state.now) if view.state.finished is None else 0.0
        labels = [name.ljust(Y_LABEL), words.number(rate).ljust(Y_LABEL)]
        if view.state.finished is not None:
            labels[1] = " " * Y_LABEL
        found: list[Row] = []
        for row, line in enumerate(block_lines(values, top, rows, glyphs)):
            label = labels[row] if row < len(labels) else " " * Y_LABEL
            found.append(
                (
                    (label, style if row == 0 else palette.strong),
                    (glyphs.axis_vertical, palette.faint),
                    (line, fill),
                )
            )
        return found


def _between(rates: list[float], place: float) -> float:
    """The rate at a place counted in bins, by a straight line between the middles of two bins."""
    if not rates or place >= len(rates):
        return 0.0
    left = place - 0.5
    index = int(left // 1)
    before = rates[max(index, 0)]
    after = rates[min(index + 1, len(rates) - 1)]
    return before + (after - before) * (left - index)
