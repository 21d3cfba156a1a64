"""Hundreds of samples at a glance: one cell a sample, with the sign and colour of what it last did."""

from collections.abc import Hashable

from textual import events
from textual.geometry import Size

from atts_core.state import SampleState
from atts_tui.view import View
from atts_tui.widgets.rows import Part, Row, Rows
from atts_tui.widgets.sample_cells import SamplePicked, turn_cell

GROUP = 10
"""Cells between two gaps."""
LABEL = 6


def groups(width: int) -> int:
    """Groups of samples that fit into a row."""
    return max((width - LABEL) // (GROUP + 1), 1)


class HeatMap(Rows):
    """The samples in the order of the lanes, in rows of tens; the selected one is reversed."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._first = 0

    def key(self, view: View) -> Hashable:
        """Changes with the state and the selection."""
        return (view.state.seq, view.problem_index, view.sample_index, view.sort, view.epoch)

    def build(self, view: View, size: Size) -> list[Row]:
        """As many rows as fit, the one with the selected sample among them."""
        problem, order = view.problem, view.order()
        if problem is None:
            return []
        each = groups(size.width) * GROUP
        chosen = order.index(view.sample_index) // each if view.sample_index in order else 0
        rows = -(-len(order) // each)
        first = min(max(chosen - size.height // 2, 0), max(rows - size.height, 0))
        self._first = first * each
        return [
            self._row(view, problem.samples, order[row * each : (row + 1) * each], row * each)
            for row in range(first, min(first + size.height, rows))
        ]

    def _row(self, view: View, samples: list[SampleState], order: list[int], start: int) -> Row:
        parts: list[Part] = [(f"{start + 1:>{LABEL - 1}} ", view.palette.muted)]
        for place, index in enumerate(order):
            if place and not place % GROUP:
                parts.append((" ", view.palette.text))
            sign, style = sample_cell(view, samples[index])
            if index == view.sample_index:
                style = style.without_color + view.palette.brand
            parts.append((sign, style))
        return tuple(parts)

    def on_click(self, event: events.Click) -> None:
        """A click selects."""
        if self.view is None or event.x < LABEL:
            return
        group, cell = divmod(event.x - LABEL, GROUP + 1)
        each = groups(self._extent.width)
        place = self._first + event.y * each * GROUP + group * GROUP + cell
        order = self.view.order()
        if cell < GROUP and group < each and place < len(order):
            self.post_message(SamplePicked(order[place]))


def sample_cell(view: View, sample: SampleState) -> Part:
    """One sign for a sample: its last turn while it runs, and how it ended."""
    palette, glyphs = view.palette, view.glyphs
    if sample.end == "failed":
        return glyphs.lost, palette.error
    if sample.end is not None:
        if sample.correct is None:
            return (glyphs.dot_accept if sample.answer is not None else glyphs.separator), palette.muted
        mark = (glyphs.right, palette.right) if sample.correct else (glyphs.wrong, palette.wrong)
        return mark[0][0], mark[1]
    if not sample.turns:
        return glyphs.open_turn, palette.faint
    return turn_cell(view, sample, sample.turns[-1], last=True)
