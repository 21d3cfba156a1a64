"""The Log screen: what happened, searchable; a line leads to its sample."""

from textual.widget import Widget

from atts_tui.layout.frame import Rect
from atts_tui.layout.log import arrange_log
from atts_tui.screens.run_screen import RunScreen
from atts_tui.text import clean
from atts_tui.view import View
from atts_tui.widgets.log_lines import LEVELS, LogLines
from atts_tui.widgets.scroll_rows import ScrollRows


class LogScreen(RunScreen):
    """The newest lines of the run; its file holds them all."""

    PAGE = "log"
    FILTERS = "a word, a level, sample 3, problem 2"

    def make_panes(self) -> dict[str, Widget]:
        """Only lines."""
        self._rows = LogLines(id="lines")
        return {"lines": self._rows}

    def place(self, _view: View, body: Rect, *, compact: bool) -> dict[str, Rect]:  # noqa: ARG002
        """The lines fill the body."""
        return arrange_log(body)

    def counted(self, _view: View) -> tuple[int, int]:
        """Lines that pass, of those of the levels shown."""
        return len(self._rows.lines()), self._rows.total

    def on_screen_resume(self) -> None:
        """What came since the last look is marked."""
        if self.view is not None:
            self._rows.fresh_from = self.view.log_read
        super().on_screen_resume()

    def sync(self, view: View) -> None:
        """Show the view; what is in sight is read."""
        rows = self._rows
        rows.wanted = self.filter.strip()
        super().sync(view)
        newest = view.state.log[-1].seq if view.state.log else 0
        if rows.follows or view.log_read > newest:
            view.log_read = newest
        new = rows.after(view.log_read)
        title = f"Log: {rows.levels}"
        title += f", {new:,} new below" if new and not rows.follows else ""
        if rows.border_title != title:
            rows.border_title = title

    def scroller(self) -> ScrollRows | None:
        """The lines."""
        return self._rows

    def action_up(self) -> None:
        """Select the line above."""
        self._rows.move(-1)

    def action_down(self) -> None:
        """Select the line below."""
        self._rows.move(1)

    def action_levels(self) -> None:
        """Show more lines, or fewer."""
        self._rows.levels = LEVELS[(LEVELS.index(self._rows.levels) + 1) % len(LEVELS)]
        self.redraw()

    def action_copy(self) -> None:
        """Copy the lines that pass."""
        said = [f"{line.at:9.1f}  {line.level:<9}  {line.message}" for line in self._rows.lines()]
        self.copy(f"the {len(said):,} lines of the log", clean("\n".join(said)))

    def action_open(self) -> None:
        """Go to the sample of the line."""
        line, view = self._rows.selected, self.view
        if view is None or line is None:
            return
        if line.problem is None:
            self.say("This line is about no problem.")
            return
        view.look_at(line.problem, line.sample)
        self.open("solve")

    def on_log_lines_picked(self) -> None:
        """A second click opens."""
        self.action_open()
