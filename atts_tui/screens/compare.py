"""The Compare screen: one problem in two runs on one time axis, and how the runs differ over all of them."""

from collections.abc import Callable, Hashable
from functools import partial

from textual.widget import Widget

from atts_core.reports.compare import Named, Pairing, Pairs, common_problems, pairing
from atts_core.reports.difference_words import HEADINGS, difference_words, settings_words
from atts_core.state import ProblemState
from atts_tui import words
from atts_tui.layout.compare import arrange_compare
from atts_tui.layout.frame import Rect
from atts_tui.screens.run_screen import RunScreen
from atts_tui.text import clean_line, pad
from atts_tui.view import View
from atts_tui.widgets.row_pane import RowPane
from atts_tui.widgets.rows import Row, paragraph
from atts_tui.widgets.swim_lanes import SwimLanes
from atts_tui.widgets.time_axis import Window
from atts_tui.widgets.time_lens import TimeLens, begin_of


class OtherLanes(SwimLanes):
    """Lanes of a run that is not the one that the app shows."""

    def __init__(self, lens: TimeLens, look: Callable[[View], View], *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(lens, id=id)
        self._look = look

    def sync(self, view: View) -> None:
        """Show the other view."""
        super().sync(self._look(view))


class CompareScreen(RunScreen):
    """Two runs that have ended, or are taken as they stood when this was opened."""

    PAGE = "compare"

    def make_panes(self) -> dict[str, Widget]:
        """The table has the focus: lanes are moved by keys of their own."""
        self.lens = TimeLens()
        self.at = 0
        """Which of the common problems is looked at."""
        self._found: Pairing | None = None
        self._pairs: Pairs = []
        self._views: dict[int, View] = {}
        self.lanes = [
            OtherLanes(self.lens, partial(self._look, side), id=name) for side, name in enumerate(SIDES)
        ]
        for side, lanes in enumerate(self.lanes):
            lanes.title_of = partial(self._title, side)
            lanes.rows.longest = self._longest
            lanes.axis.relative = True
        self.lanes[0].add_class("-no-legend")  # that of the second is for both
        table = RowPane(self._table, lambda view: view.beside is None, title="How they differ", id="table")
        return {"table": table, **dict(zip(SIDES, self.lanes, strict=True))}

    def depends(self, view: View) -> Hashable:
        """How many samples there are."""
        return self._samples(view)

    def place(self, view: View, body: Rect, *, compact: bool) -> dict[str, Rect]:
        """As many lanes as there are samples, as far as they fit."""
        return arrange_compare(body, self._samples(view), compact=compact)

    def sync(self, view: View) -> None:
        """Compare, the first time; then show."""
        if self._found is None and view.beside is not None:
            self._pairs = sorted(
                common_problems(*(run.state for run in view.beside))[0], key=lambda pair: pair[0].index
            )
            self._found = pairing(*view.beside)
        super().sync(view)

    def _run(self, side: int) -> Named | None:
        return self.view.beside[side] if self.view is not None and self.view.beside is not None else None

    def _problem(self, side: int) -> ProblemState | None:
        if self._pairs:
            return self._pairs[self.at][side]
        run = self._run(side)
        return run.state.problems[0] if run is not None and run.state.problems else None

    def _samples(self, view: View) -> int:
        runs = view.beside or ()
        return max((run.state.run.samples for run in runs if run.state.run is not None), default=16)

    def _look(self, side: int, view: View) -> View:
        """The view of one of the runs, at the problem looked at."""
        run, problem = self._run(side), self._problem(side)
        if run is None:
            return view
        own = self._views.setdefault(side, View(run.state, view.palette, view.glyphs))
        own.palette, own.glyphs, own.unhurried = view.palette, view.glyphs, view.unhurried
        own.problem_index = problem.index if problem is not None else 0
        own.sample_index = -1
        return own

    def _longest(self, _: View) -> float:
        """Both axes are as long as the longer of the two."""
        return max((_seconds(self._problem(side)) for side in range(2)), default=0.0)

    def _title(self, side: int, _: View) -> str:
        run, problem = self._run(side), self._problem(side)
        if run is None or problem is None:
            return SIDES[side]
        began = run.state.run
        how = f"{began.strategy}, {began.takeover}" if began is not None else ""
        seconds = f"{_seconds(problem):.1f} s" if _seconds(problem) else "not finished"
        said = f"{SIDES[side]}: {clean_line(run.name)} ({how}), {clean_line(problem.id)[:24]}: {seconds}"
        return said.replace("[", "(")

    def _table(self, view: View, width: int) -> list[Row]:
        if self._found is None:
            return paragraph(
                "Only one run is open: atts runs compare A B --screen.", width, view.palette.muted
            )
        return table_rows(view, self._found, width)

    def action_previous_problem(self) -> None:
        """Show the previous problem that both have."""
        self._move(-1)

    def action_next_problem(self) -> None:
        """Show the next problem that both have."""
        self._move(1)

    def _move(self, step: int) -> None:
        wanted = self.at + step
        if 0 <= wanted < len(self._pairs):
            self.at = wanted
            self.lens.follow()
        else:
            self.say("There is no other common problem in this direction.")
        self.redraw()

    def action_zoom_in(self) -> None:
        """Half the time in the same room."""
        self._lens(self.lens.change, 1)

    def action_zoom_out(self) -> None:
        """Twice the time in the same room."""
        self._lens(self.lens.change, -1)

    def action_earlier(self) -> None:
        """Move both windows back."""
        self._lens(self.lens.move, -1)

    def action_later(self) -> None:
        """Move both windows on."""
        self._lens(self.lens.move, 1)

    def _lens(self, move: Callable[[int, Window, float], None], amount: int) -> None:
        shown, problem = self.lanes[0].rows.shown, self._problem(0)
        if shown is not None and problem is not None:
            move(amount, shown, begin_of(problem, 0.0))
            self.redraw()


SIDES = ("first", "second")


def table_rows(view: View, found: Pairing, width: int) -> list[Row]:
    """Every measure of both runs, then what differs and what these numbers cannot say."""
    palette = view.palette
    columns = (26, 11, 11, 22, 28)
    if width < sum(columns):
        columns = (21, 9, 9, 16, max(width - 55, 0))
    rows: list[Row] = [
        (("".join(pad(name, size) for name, size in zip(HEADINGS, columns, strict=True)), palette.muted),)
    ]
    for difference in found.differences:
        cells = [pad(cell, size) for cell, size in zip(difference_words(difference), columns, strict=True)]
        sure = palette.strong if difference.sure else palette.text
        rows.append(
            (
                (cells[0], palette.text),
                (cells[1] + cells[2], palette.muted),
                (cells[3], sure),
                (cells[4], palette.muted),
            )
        )
    rows.append(((f"Over {words.number(found.common)} problems that both finished.", palette.muted),))
    rows += paragraph(clean_line(settings_words(found)), width, palette.text)
    for caution in found.cautions:
        rows += paragraph(f"! {clean_line(caution)}", width, palette.warning)
    return rows


def _seconds(problem: ProblemState | None) -> float:
    if problem is None or problem.started_at is None or problem.finished_at is None:
        return 0.0
    return problem.finished_at - problem.started_at
