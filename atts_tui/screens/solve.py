"""The Solve screen: samples race, the target checks and takes over, the vote forms."""

from collections.abc import Hashable
from typing import ClassVar

from textual.widget import Widget

from atts_tui.layout.frame import Rect
from atts_tui.layout.solve import arrange_solve
from atts_tui.screens.one_problem import OneProblemScreen
from atts_tui.text import clean, wrap
from atts_tui.view import View
from atts_tui.widgets.question_bar import QUESTION_MARGIN, QuestionBar, question_text
from atts_tui.widgets.rate_chart import RateChart
from atts_tui.widgets.sample_lanes import LanesPane
from atts_tui.widgets.scroll_rows import ScrollRows
from atts_tui.widgets.server_line import ServerLine
from atts_tui.widgets.step_text import StepText, TextPane
from atts_tui.widgets.threshold_chart import ThresholdChart
from atts_tui.widgets.vote_panel import VotePanel


class SolveScreen(OneProblemScreen):
    """One problem at a time: its samples, their text, the decisions, the vote."""

    PAGE = "solve"
    QUICK: ClassVar[frozenset[str]] = frozenset({"lanes", "text", "question", "vote"})

    def make_panes(self) -> dict[str, Widget]:
        """Arrows move in the lanes first."""
        return {
            "lanes": LanesPane(id="lanes"),
            "text": TextPane(id="text"),
            "vote": VotePanel(id="vote"),
            "chart": ThresholdChart(id="chart"),
            "rates": RateChart(id="rates"),
        }

    def make_bars(self) -> dict[str, Widget]:
        """The problem above, the servers below."""
        return {"question": QuestionBar(id="question"), "servers": ServerLine(id="servers")}

    def depends(self, view: View) -> Hashable:
        """How long the question is, and how many samples there are."""
        return (view.problem_index, view.problem is None)

    def place(self, view: View, body: Rect, *, compact: bool) -> dict[str, Rect]:
        """As many lanes as there are samples, as far as they fit."""
        problem = view.problem
        samples, lines, room = 16, 2, body.width - QUESTION_MARGIN
        if problem is not None and room > 0:
            samples = len(problem.samples)
            lines = len(wrap(question_text(problem, compact=compact), room))
        return arrange_solve(body, samples, lines, compact=compact)

    def placed(self, view: View, rects: dict[str, Rect]) -> None:
        """Lanes that do not all fit need the room of the legend."""
        if "lanes" in rects:
            samples = len(view.problem.samples) if view.problem is not None else 16
            self.panes["lanes"].set_class(rects["lanes"].height < samples + 5, "-short")

    def scroller(self) -> ScrollRows | None:
        """Always the text: the lanes scroll with the selection."""
        return self.query_one(StepText)

    def action_follow(self) -> None:
        """Follow the newest take-over, or stop."""
        if self.view is not None:
            self.view.toggle_follow()
            self.view.advance()
            self.redraw()

    def action_heat_map(self) -> None:
        """Show a cell a sample, or a row each."""
        if self.view is not None:
            self.view.condense = not self.view.condensed
            self.redraw()

    def action_measure(self) -> None:
        """Show every decision's PPL in the chart, or its p."""
        if self.view is not None:
            self.view.chart_of = "ppl" if self.view.chart_of == "p" else "p"
            self.redraw()

    def action_raw(self) -> None:
        """Show LaTeX as the models wrote it, or readable again."""
        if self.view is not None:
            self.view.raw = not self.view.raw
            self.redraw()

    def action_open(self) -> None:
        """Every step of the selected sample."""
        if self.view is not None and self.view.sample is not None:
            self.view.follow = False
            self.open("sample")

    def action_sort(self) -> None:
        """Change the order of the samples."""
        if self.view is not None:
            self.view.next_sort()
            self.redraw()

    def action_copy(self) -> None:
        """Copy the text of the selected sample."""
        sample = self.view.sample if self.view is not None else None
        if sample is None:
            self.say("There is no text to copy yet.")
        else:
            self.copy(f"sample {sample.index + 1}", clean(sample.text).strip())
