"""The Pipeline screen: who did what when, how full the servers were, and what a barrier would have cost."""

from collections.abc import Hashable, Sequence
from typing import ClassVar

from rich.style import Style
from textual.widget import Widget

from atts_core.percent import percent
from atts_core.reports.timeline import DOING, Interval
from atts_core.state import SampleState
from atts_tui import words
from atts_tui.figures import StageFigures
from atts_tui.layout.frame import Rect
from atts_tui.layout.pipeline import arrange_pipeline
from atts_tui.screens.measured import MeasuredScreen
from atts_tui.screens.one_problem import OneProblemScreen
from atts_tui.text import clean_line
from atts_tui.view import View
from atts_tui.widgets.places_chart import PlacesChart
from atts_tui.widgets.row_pane import RowPane
from atts_tui.widgets.rows import Row, paragraph
from atts_tui.widgets.swim_lanes import WORDS, SwimLanes, doing_style
from atts_tui.widgets.time_lens import TimeLens, begin_of

TERM = 15
"""Cells of the words before a bar."""
SHIFT = 1
"""Quarters of the window that the keys move it by."""


class PipelineScreen(OneProblemScreen, MeasuredScreen):
    """Lanes of one problem on top; below, the whole run in figures."""

    PAGE = "pipeline"
    QUICK: ClassVar[frozenset[str]] = frozenset()

    def make_panes(self) -> dict[str, Widget]:
        """The lanes have the focus."""
        self.figures = StageFigures()
        self.lens = TimeLens()
        self.barrier = False
        """Whether the lanes show the simulated barrier instead of what happened."""
        self.lanes = SwimLanes(self.lens, self._laid, id="lanes")
        self.lanes.title_of = self._title
        self.lanes.rows.longest = self._longest
        return {
            "lanes": self.lanes,
            "places": PlacesChart(self.figures, lambda: self.lanes.rows.shown, id="places"),
            "times": RowPane(self._times, self._key, title="Where the samples' time went", id="times"),
            "barrier": RowPane(self._barrier, self._key, title="What a barrier would cost", id="barrier"),
        }

    def depends(self, view: View) -> Hashable:
        """How many samples there are."""
        return len(view.problem.samples) if view.problem is not None else 16

    def place(self, view: View, body: Rect, *, compact: bool) -> dict[str, Rect]:
        """As many lanes as there are samples, as far as they fit."""
        samples = len(view.problem.samples) if view.problem is not None else 16
        return arrange_pipeline(body, samples, compact=compact)

    def measure(self, view: View) -> bool:
        """Add up what happened."""
        self.figures.measure(view)
        return self.figures.behind > 0

    def _key(self, _: View) -> Hashable:
        return self.figures.version

    def _times(self, view: View, width: int) -> list[Row]:
        return time_rows(view, self.figures, width)

    def _barrier(self, view: View, width: int) -> list[Row]:
        return barrier_rows(view, self.figures, width)

    # The lanes.

    def _laid(self, view: View, sample: SampleState) -> Sequence[Interval] | None:
        """A sample's stages behind a barrier, from when its problem began."""
        layouts = self.figures.layouts(view) if self.barrier else None
        problem = view.problem
        if layouts is None or problem is None or problem.started_at is None:
            return None
        lane = layouts[1].chains[0][sample.index]
        begun = problem.started_at
        return [Interval(doing, begun + start, begun + end) for doing, start, end in lane]

    def _longest(self, view: View) -> float:
        layouts = self.figures.layouts(view) if self.barrier else None
        return layouts[1].makespan if layouts is not None else 0.0

    def _title(self, view: View) -> str:
        problem = view.problem
        if problem is None:
            return "Samples over time"
        name = clean_line(problem.id)[:24].replace("[", "(")
        if not self.barrier:
            group = self.lanes.rows.group
            each = f", {group} samples a row" if group > 1 else ""
            return f"Samples of {name} over time{each}"
        layouts = self.figures.layouts(view)
        if layouts is None:
            return f"{name}, simulated with a barrier"
        free, barred = (f"{layout.makespan:.1f} s" for layout in layouts)
        return f"{name} alone, SIMULATED with a barrier per turn: {barred}, without: {free}"

    def move(self, rows: int) -> None:
        """Select a sample so many rows below, of which each may stand for several."""
        if self.view is not None and (problem := self.view.problem) is not None:
            step = rows * self.lanes.rows.group
            self.view.select(min(max(self.view.sample_index + step, 0), len(problem.samples) - 1))
            self.redraw()

    def move_problem(self, problems: int) -> None:
        """Show another problem, all of its time."""
        self.lens.follow()
        super().move_problem(problems)

    def action_zoom_in(self) -> None:
        """Half the time in the same room."""
        self._zoom(1)

    def action_zoom_out(self) -> None:
        """Twice the time in the same room."""
        self._zoom(-1)

    def _zoom(self, halvings: int) -> None:
        if (shown := self.lanes.rows.shown) is not None:
            self.lens.change(halvings, shown, self._begun())
            self.redraw()

    def action_earlier(self) -> None:
        """Move the window back."""
        self._shift(-SHIFT)

    def action_later(self) -> None:
        """Move the window on."""
        self._shift(SHIFT)

    def _shift(self, quarters: int) -> None:
        if (shown := self.lanes.rows.shown) is not None:
            if not self.lens.zoom:
                self.say("All of the problem's time is in sight; + shows less of it.")
                return
            self.lens.move(quarters, shown, self._begun())
            self.redraw()

    def _begun(self) -> float:
        problem = self.view.problem if self.view is not None else None
        return begin_of(problem, 0.0) if problem is not None else 0.0

    def action_newest(self) -> None:
        """Follow what is new."""
        self.lens.follow()
        self.redraw()

    def action_condense(self) -> None:
        """All samples in sight, several a row, or one a row again."""
        self.lanes.rows.condensed = not self.lanes.rows.condensed
        self.redraw()

    def action_barrier(self) -> None:
        """Show the same stages as if a barrier stood between turns, or what happened."""
        self.barrier = not self.barrier
        self.lanes.rows.forget()
        self.redraw()


def time_rows(view: View, figures: StageFigures, width: int) -> list[Row]:
    """Shares of the samples' time, places used, and the intensity that follows."""
    palette, glyphs = view.palette, view.glyphs
    times = figures.times
    if not times.total:
        return paragraph("No sample has begun.", width, palette.muted)
    rows: list[Row] = []
    bar = max(width - TERM - 14, 0)
    for doing in DOING:
        share = times.share(doing) or 0.0
        filled = round(share * bar)
        seconds: float = getattr(times, doing)
        rows.append(
            (
                (WORDS[doing].ljust(TERM), palette.text),
                (glyphs.bar * filled, doing_style(view, doing)),
                (glyphs.bar_rest * (bar - filled), palette.faint),
                (f"{percent(share):>6}", palette.strong),
                (words.clock(seconds).rjust(8), palette.muted),
            )
        )
    for role, most in (("draft", times.draft_places), ("target", times.target_places)):
        used = times.used(role)  # type: ignore[arg-type]  # one of the two
        if used is not None:
            idle = f"idle {percent(1 - used)}"
            rows.append(
                (
                    (f"{role} places".ljust(TERM), palette.text),
                    (f"{percent(used)} of {most} used, {idle}", palette.muted),
                )
            )
    r = times.intensity
    said = f"at most {r:.1f}" if r is not None else "without bound: nothing waited"
    rows.append((("intensity r".ljust(TERM), palette.text), (said, palette.strong)))
    rows += paragraph(
        "r = T_c / (T_m + T_s): computing against memory traffic and synchronisation. Seen from here are T_s,"
        " the time in which samples wait, and T_c + T_m together, the time of requests; their quotient is at"
        " least r. T_m by itself cannot be seen by a client."
        + (" Time in which the run was paused counts as waiting." if view.state.paused else ""),
        width,
        palette.muted,
    )
    if figures.behind:
        rows += paragraph(f"Still adding up {figures.behind:,} problems.", width, palette.warning)
    return rows


def barrier_rows(view: View, figures: StageFigures, width: int) -> list[Row]:
    """Both layouts of the recorded stages as bars, and what they are."""
    palette, glyphs = view.palette, view.glyphs
    cost = figures.cost
    if cost is None or cost.speed_up is None:
        return paragraph("No stage has finished.", width, palette.muted)
    bar = max(width - TERM - 9, 4)
    most = max(cost.free, cost.barrier)

    def line(name: str, seconds: float, style: Style) -> Row:
        filled = max(round(seconds / most * bar), 1)
        return (
            (name.ljust(TERM), palette.text),
            (glyphs.bar * filled + " " * (bar - filled), style),
            (f" {words.clock(seconds)}".rjust(9), palette.strong),
        )

    several = "problem" if cost.problems == 1 else "problems"
    rows = [
        line("no barrier", cost.free, palette.draft),
        line("with a barrier", cost.barrier, palette.muted),
        (
            ("so it is ", palette.text),
            (f"{cost.speed_up:.2f} times", palette.strong),
            (" as fast without", palette.text),
        ),
    ]
    rows += paragraph(
        f"Simulated: the recorded stages of {cost.problems:,} {several} ({cost.stages:,} stages), laid out"
        " twice with the same places at each server. With a barrier the target writes in a turn only when"
        " every sample of the problem is scored, and the next turn begins when it is through; problems still"
        " overlap, and one after another would cost more. b shows it in the lanes.",
        width,
        palette.muted,
    )
    return rows
