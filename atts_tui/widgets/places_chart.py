"""How full the servers were: requests at each over time, and samples that waited for a place."""

from collections.abc import Callable, Hashable, Sequence

from rich.style import Style
from textual.geometry import Size

from atts_core.reports.timeline import occupancy, places_of
from atts_tui.figures import StageFigures
from atts_tui.view import View
from atts_tui.widgets.blocks import block_lines
from atts_tui.widgets.rows import Row, Rows, paragraph
from atts_tui.widgets.swim_lanes import END, time_marks
from atts_tui.widgets.time_axis import Window

NAME = 22
"""Cells of the words before a band."""


class PlacesChart(Rows):
    """Three bands over the window of the lanes above: draft, target, waiting; of all problems of the run."""

    DEFAULT_CSS = """
    PlacesChart { border: round $border-blurred; border-title-color: $atts-title; padding: 0 1; }
    PlacesChart:focus { border: round $border; }
    """
    can_focus = True

    def __init__(
        self,
        figures: StageFigures,
        window: Callable[[], Window | None],
        *,
        id: str | None = None,  # noqa: A002
    ) -> None:
        super().__init__(id=id)
        self._figures, self._window = figures, window
        self.border_title = "Places used at each server, all problems"

    def key(self, _: View) -> Hashable:
        """Changes when the figures or the window do."""
        return (self._figures.version, self._window())

    def build(self, view: View, size: Size) -> list[Row]:
        """The bands, as high as there is room for, and the axis."""
        width, height = size
        palette, state, shown = view.palette, view.state, self._window()
        columns = width - NAME - END
        if shown is None or columns < 8 or height < 4:
            return paragraph("No problem has begun.", width, palette.muted)
        found = occupancy(state.problems, state.now, *shown, columns)
        at_target = [sum(pair) for pair in zip(found.verify, found.target, strict=True)]
        draft, target = places_of(state)
        each, more = divmod(height - 1, 3)
        rows: list[Row] = []
        for place, (name, values, most, style) in enumerate(
            (
                ("draft", found.draft, draft, palette.accept[1]),
                ("target", at_target, target, palette.take_over[1]),
                ("waiting", found.wait, None, palette.muted),
            )
        ):
            rows += self._band(view, (name, style), values, most, each + (place < more))
        rows.append(((" " * NAME + time_marks(shown, columns), palette.muted),))
        return rows

    def _band(
        self, view: View, named: tuple[str, Style], values: Sequence[float], most: int | None, rows: int
    ) -> list[Row]:
        palette, glyphs = view.palette, view.glyphs
        name, style = named
        top = max(most or 0, *values, 1.0)
        peak = max(values)
        mean = sum(values) / len(values)
        if name == "waiting":
            said = f"{mean:.1f} (most {peak:.0f})"
        else:
            said = f"{mean:.1f} mean of {most}" if most else f"{mean:.1f} mean"
        labels = [name, said] if rows > 1 else [f"{name} {said}"]
        made: list[Row] = []
        for row, line in enumerate(block_lines(values, top, rows, glyphs)):
            label = labels[row] if row < len(labels) else ""
            made.append(
                (
                    (label.ljust(NAME - 1)[: NAME - 1], palette.text if row == 0 else palette.muted),
                    (glyphs.axis_vertical, palette.faint),
                    (line, style),
                )
            )
        return made
