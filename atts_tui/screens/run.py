"""The Run screen: a long evaluation at a glance, and the way to any problem of it."""

from collections.abc import Hashable

from textual.widget import Widget

from atts_tui.layout.frame import Rect
from atts_tui.layout.run import arrange_run
from atts_tui.problem_list import FILTER_WORDS
from atts_tui.screens.run_screen import RunScreen
from atts_tui.text import clean_line
from atts_tui.view import View
from atts_tui.widgets.problem_table import ProblemTable, TablePane
from atts_tui.widgets.rate_chart import RateChart
from atts_tui.widgets.run_panes import LookPane, ScorePane, SharePane
from atts_tui.widgets.scroll_rows import ScrollRows


class RunOverview(RunScreen):
    """All problems, what they came to so far, and which of them need a look."""

    PAGE = "run"
    FILTERS = FILTER_WORDS

    def make_panes(self) -> dict[str, Widget]:
        """Arrows move in the table first."""
        self._table = TablePane(id="table")
        return {
            "table": self._table,
            "scores": ScorePane(id="scores"),
            "shares": SharePane(id="shares"),
            "rates": RateChart(id="rates"),
            "looks": LookPane(id="looks"),
        }

    def place(self, _view: View, body: Rect, *, compact: bool) -> dict[str, Rect]:
        """The table takes what the others leave."""
        return arrange_run(body, compact=compact)

    def depends(self, _view: View) -> Hashable:
        """Nothing but the size."""
        return None

    def sync(self, view: View) -> None:
        """Show the view through the filter."""
        self._table.table.list.wanted = self.filter
        super().sync(view)

    def counted(self, view: View) -> tuple[int, int]:
        """Problems that pass the filter."""
        return len(self._table.table.list.rows), len(view.state.problems)

    def scroller(self) -> ScrollRows | None:
        """The list of what needs a look while it has the focus, else the table."""
        return self.focused if isinstance(self.focused, LookPane) else self._table.table

    def action_up(self) -> None:
        """Select the problem above."""
        self._move(-1)

    def action_down(self) -> None:
        """Select the problem below."""
        self._move(1)

    def _move(self, rows: int) -> None:
        table = self._table.table
        if self.view is None or not table.list.rows:
            return
        if isinstance(self.focused, LookPane):
            self.focused.move_to(self.focused.top + rows)
            return
        place = table.place
        last = len(table.list.rows) - 1
        self.view.look_at(table.list.rows[0 if place is None else min(max(place + rows, 0), last)])
        self.redraw()

    def action_next_look(self) -> None:
        """Select the next problem that needs a look."""
        if self.view is None:
            return
        found = list(reversed(self.view.state.overview.looks))
        if not found:
            self.say("No problem needs a look.")
            return
        here = self.view.problem_index
        self.view.look_at(found[(found.index(here) + 1) % len(found)] if here in found else found[0])
        self.redraw()

    def action_sort(self) -> None:
        """Change the order of the problems."""
        self._table.table.list.next_sort()
        self._table.table.move_to(0)
        self.redraw()

    def action_open(self) -> None:
        """Go to the samples of the selected problem."""
        if self.view is not None and self.view.problem is not None:
            self.view.look_at(self.view.problem_index)
            self.open("solve")

    def action_copy(self) -> None:
        """Copy the selected problem."""
        problem = (
            self.view.state.problems[self.view.problem_index] if self.view and self.view.problem else None
        )
        if problem is None:
            self.say("There is no problem to copy yet.")
            return
        said = [clean_line(problem.question), f"answer: {clean_line(problem.answer or 'none')}"]
        if problem.gold is not None:
            said.append(f"right: {clean_line(problem.gold)}")
        self.copy(f"problem {problem.index + 1}", "\n".join(said))

    def on_problem_table_picked(self, message: ProblemTable.Picked) -> None:
        """A click selects, a second one opens."""
        if self.view is not None:
            self.view.look_at(message.problem)
            self.redraw()
            if message.again:
                self.action_open()
