"""Swim lanes: what every sample of a problem did when, one row a sample, on one time axis."""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from itertools import groupby

from rich.style import Style
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.geometry import Size
from textual.strip import Strip

from atts_core.reports.timeline import DOING, Doing, Interval, intervals, painted
from atts_core.state import ProblemState, SampleState
from atts_tui import words
from atts_tui.palette import SHADES
from atts_tui.view import View
from atts_tui.widgets.rows import Part, Row, Rows, joined, paragraph, runs, strip_of
from atts_tui.widgets.sample_cells import SamplePicked
from atts_tui.widgets.scroll_rows import ScrollRows
from atts_tui.widgets.time_axis import Window
from atts_tui.widgets.time_lens import TimeLens, begin_of

LABEL = 6
"""Cells before a lane: the mark of the selected sample, its number, a space."""
END = 2
"""Cells behind it: whether its answer is right."""

WORDS: dict[Doing, str] = {
    "draft": "draft writes",
    "verify": "target checks",
    "target": "target writes",
    "wait": "waits",
}


SHORT: dict[Doing, str] = {"draft": "draft", "verify": "checks", "target": "target", "wait": "waits"}


def doing_part(view: View, doing: Doing | None, share: float = 1.0) -> Part:
    """The glyph and the style of what a sample does; `share` of a group does the same."""
    palette, glyphs = view.palette, view.glyphs
    if doing is None:
        return " ", palette.text
    shade = min(int(share * SHADES), SHADES - 1)
    return {
        "draft": (glyphs.lane_draft, palette.accept[2] if share >= 1 else palette.accept[shade]),
        "verify": (glyphs.lane_verify, palette.text),
        "target": (glyphs.lane_target, palette.take_over[2] if share >= 1 else palette.take_over[shade]),
        "wait": (glyphs.lane_wait, palette.faint),
    }[doing]


def doing_style(view: View, doing: Doing) -> Style:
    """The style of the words for what a sample does."""
    palette = view.palette
    return {
        "draft": palette.draft,
        "verify": palette.text,
        "target": palette.target,
        "wait": palette.muted,
    }[doing]


Laid = Callable[[View, SampleState], Sequence[Interval] | None]
"""What is shown of a sample instead of what it did; None: what it did."""


class LaneRows(ScrollRows):
    """The rows; only those in sight are ever painted, and again only when something moved in them."""

    def __init__(self, lens: TimeLens, laid: Laid, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._lens = lens
        self._laid = laid
        self.longest: Callable[[View], float] = lambda _: 0.0
        """Seconds that the axis has to have room for."""
        self.condensed = False
        """Whether neighbouring samples share a row, so that all are in sight."""
        self.shown: Window | None = None
        self._problem: ProblemState | None = None
        self._drawn: dict[int, tuple[Hashable, Strip]] = {}
        self._frame: Hashable = None
        self._selected: Hashable = None

    @property
    def group(self) -> int:
        """Samples in a row."""
        if self._problem is None or not self.condensed or not self.extent.height:
            return 1
        return max(-(-len(self._problem.samples) // self.extent.height), 1)

    def row_count(self) -> int:
        """One row a sample, or a group of them."""
        return -(-len(self._problem.samples) // self.group) if self._problem is not None else 0

    def lane_width(self) -> int:
        """Cells of the lanes themselves."""
        return max(self.row_width - LABEL - END, 1)

    def show(self, view: View) -> None:
        """Draw again what moved since the last call."""
        self._problem = problem = view.problem
        if problem is None:
            self.shown = None
            return
        self.shown = self._lens.window(problem, view.state.now, self.longest(view))
        drawn_by = (id(view.palette), view.glyphs.plain)
        frame = (problem.index, self.extent, self.shown, self.group, view.epoch, drawn_by)
        if frame != self._frame:
            self._frame = frame
            self._drawn.clear()
            self.move_to(self.top)
            self.refresh()
        else:
            stale = [row for row in sorted(self._drawn) if self._drawn[row][0] != self._row_key(view, row)]
            for row in stale:
                del self._drawn[row]
            for first, count in runs(stale):
                self.refresh_rows(first, count)
        selected = (problem.index, view.sample_index)
        if selected != self._selected:
            self._selected = selected
            self.show_row(view.sample_index // self.group)

    def _members(self, row: int) -> list[SampleState]:
        assert self._problem is not None  # noqa: S101  # without a problem there are no rows
        return self._problem.samples[row * self.group : (row + 1) * self.group]

    def _row_key(self, view: View, row: int) -> Hashable:
        assert self.shown is not None  # noqa: S101
        members = self._members(row)
        column = None
        if any(sample.end is None and sample.started_at is not None for sample in members):
            column = self.shown.column(view.state.now, self.lane_width())
        return (
            max(sample.touched for sample in members),
            column,
            any(sample.index == view.sample_index for sample in members),
        )

    def row_strip(self, row: int, width: int) -> Strip:
        """The lane of a sample, or of a group."""
        view = self.view
        assert view is not None  # noqa: S101  # without a view there are no rows
        key = self._row_key(view, row)
        kept = self._drawn.get(row)
        if kept is None or kept[0] != key:
            chosen = any(sample.index == view.sample_index for sample in self._members(row))
            base = self.base + view.palette.selected if chosen else self.base
            kept = (key, strip_of(self._row(view, row, chosen=chosen), width, base, view.glyphs))
            self._drawn[row] = kept
        return kept[1]

    def _row(self, view: View, row: int, *, chosen: bool) -> Row:
        palette, glyphs = view.palette, view.glyphs
        members, columns = self._members(row), self.lane_width()
        assert self.shown is not None  # noqa: S101
        painting = []
        for sample in members:
            found = self._laid(view, sample)
            done = intervals(sample, view.state.now) if found is None else found
            painting.append(painted(done, *self.shown, columns))
        line: list[Part] = []
        for column, same in groupby(zip(*painting, strict=True)):
            glyph, style = doing_part(view, *_most(column))
            line.append((glyph * sum(1 for _ in same), style))
        label = f"{members[0].index + 1:>4} "
        mark, style = "", palette.text
        if len(members) == 1 and members[0].correct is not None:
            right = members[0].correct
            mark, style = (glyphs.right, palette.right) if right else (glyphs.wrong, palette.wrong)
        elif len(members) == 1 and members[0].end == "failed":
            mark, style = glyphs.lost, palette.error
        return (
            (glyphs.selected if chosen else " ", palette.accent),
            (label, palette.strong if chosen else palette.muted),
            *joined(line),
            (" " + mark, style),
        )

    def forget(self) -> None:
        """Draw all rows again: something else is to be seen in them."""
        self._frame = None

    def notify_style_update(self) -> None:
        """Colours changed: forget what was made of them."""
        super().notify_style_update()
        self._drawn.clear()

    def on_click(self, event: events.Click) -> None:
        """A click selects."""
        row = self.top + event.y
        if 0 <= row < self.row_count():
            self.post_message(SamplePicked(row * self.group))


def _most(column: Sequence[Doing | None]) -> tuple[Doing | None, float]:
    """What most samples of a group did, and the share of them that did; among equals the busier."""
    if len(column) == 1:
        return column[0], 1.0
    counts = Counter(column)
    best = max(counts, key=lambda doing: (counts[doing] if doing is not None else 0, doing != "wait"))
    if best is None:
        return None, 1.0
    return best, counts[best] / len(column)


class LaneAxis(Rows):
    """When the window begins and ends, and what the colours mean."""

    def __init__(self, lanes: LaneRows) -> None:
        super().__init__()
        self._lanes = lanes
        self.relative = False
        """Whether times count from the problem's beginning, not from the run's."""

    def key(self, view: View) -> Hashable:
        """Changes with the window."""
        return (self._lanes.shown, view.problem is None, view.state.run is None)

    def build(self, view: View, size: Size) -> list[Row]:
        """Times with marks between them, and the legend."""
        width, height = size
        palette = view.palette
        shown = self._lanes.shown
        if shown is None:
            return paragraph("No problem has begun.", width, palette.muted)
        columns = self._lanes.lane_width()
        problem = view.problem
        begun = begin_of(problem, 0.0) if self.relative and problem is not None else 0.0
        marked = Window(shown.start - begun, shown.span)
        rows: list[Row] = [((" " * LABEL + time_marks(marked, columns), palette.muted),)]
        legend: list[Part] = []
        for doing in DOING:
            glyph, style = doing_part(view, doing)
            legend += [(glyph * 2, style), (f" {WORDS[doing]}   ", palette.muted)]
        if sum(len(text) for text, _ in legend) > width:
            legend = [
                part
                for doing in DOING
                for part in (
                    doing_part(view, doing),
                    (f" {WORDS[doing].replace('target ', '')}  ", palette.muted),
                )
            ]
        rows.append((((" " * LABEL if width > 90 else " "), palette.muted), *legend))
        return rows[:height]


def time_marks(shown: Window, columns: int) -> str:
    """Times over the columns, at round distances, the first at its left end."""
    step = next((step for step in _ROUND if step / shown.span * columns >= 12), _ROUND[-1])
    line = [" "] * columns
    at = shown.start - shown.start % step
    while at <= shown.start + shown.span:
        if at >= shown.start:
            said = words.clock(at) if step >= 1 else f"{at:.1f} s"
            column = round((at - shown.start) / shown.span * columns)
            if column + len(said) + 1 < columns and all(
                cell == " " for cell in line[max(column - 1, 0) : column]
            ):
                line[column : column + len(said) + 1] = f"╷{said}"
        at += step
    return "".join(line)[:columns]


_ROUND = (
    0.1,
    0.2,
    0.5,
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    14_400,
    43_200,
    86_400,
)


class SwimLanes(Vertical):
    """Lanes with their axis below."""

    DEFAULT_CSS = """
    SwimLanes {
        border: round $border-blurred; border-title-color: $atts-title; padding: 0 1; background: $background;
    }
    SwimLanes:focus-within { border: round $border; }
    SwimLanes LaneRows { height: 1fr; }
    SwimLanes LaneAxis { height: 2; }
    SwimLanes.-no-legend LaneAxis { height: 1; }
    SwimLanes.-compact { border: none; border-top: solid $border-blurred; padding: 0; }
    SwimLanes.-compact:focus-within { border-top: solid $border; }
    """

    def __init__(
        self,
        lens: TimeLens,
        laid: Laid = lambda _view, _sample: None,
        *,
        id: str | None = None,  # noqa: A002
    ) -> None:
        super().__init__(id=id)
        self.rows = LaneRows(lens, laid)
        self.axis = LaneAxis(self.rows)
        self.title_of: Callable[[View], str] = lambda _: ""
        self._titled = ""

    def compose(self) -> ComposeResult:
        """Two widgets, however many samples there are."""
        yield from (self.rows, self.axis)

    def sync(self, view: View) -> None:
        """Show the view."""
        self.rows.sync(view)
        self.axis.sync(view)
        title = self.title_of(view)
        if title != self._titled:
            self.border_title = self._titled = title
