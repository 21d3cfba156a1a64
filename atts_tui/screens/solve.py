"""The Solve screen: samples race, the target checks and takes over, the vote forms."""

from textual import events
from textual.app import ComposeResult
from textual.widget import Widget

from atts_tui.layout import MAXIMISABLE, Arrangement, Pane, arrange, is_compact
from atts_tui.screens.run_screen import RunScreen
from atts_tui.text import wrap
from atts_tui.view import View
from atts_tui.widgets.key_bar import KeyBar
from atts_tui.widgets.plain_view import PlainView
from atts_tui.widgets.question_bar import QUESTION_MARGIN, QuestionBar, question_text
from atts_tui.widgets.rate_chart import RateChart
from atts_tui.widgets.rows import Rows
from atts_tui.widgets.sample_lanes import LanesPane, SampleLanes
from atts_tui.widgets.server_line import ServerLine
from atts_tui.widgets.status_bar import StatusBar
from atts_tui.widgets.step_text import StepText, TextPane
from atts_tui.widgets.threshold_chart import ThresholdChart
from atts_tui.widgets.transport_bar import TransportBar
from atts_tui.widgets.vote_panel import VotePanel

QUICK: tuple[Pane, ...] = ("lanes", "text", "question", "keys", "vote", "transport")
"""Panes drawn each frame; the others hold numbers and charts that nobody reads ten times a second."""


class SolveScreen(RunScreen):
    """One problem at a time: its samples, their text, the decisions, the vote."""

    DEFAULT_CSS = """
    SolveScreen { layout: vertical; overflow: hidden; background: $background; }
    SolveScreen > .pane { position: absolute; }
    """

    BLANK = True  # nothing is drawn behind the panes

    def __init__(self) -> None:
        super().__init__()
        self.maximised: Pane | None = None
        self._view: View | None = None
        self._arranged: tuple[int, int, int, bool, Pane | None] | None = None
        self._arrangement: Arrangement | None = None
        self._panes: dict[Pane, Widget] = {
            "status": StatusBar(id="status"),
            "question": QuestionBar(id="question"),
            "lanes": LanesPane(id="lanes"),
            "text": TextPane(id="text"),
            "vote": VotePanel(id="vote"),
            "chart": ThresholdChart(id="chart"),
            "rates": RateChart(id="rates"),
            "servers": ServerLine(id="servers"),
            "transport": TransportBar(id="transport"),
            "keys": KeyBar(id="keys"),
        }
        self._plain = PlainView(id="plain")
        for widget in (*self._panes.values(), self._plain):
            widget.add_class("pane")
        for pane in MAXIMISABLE:
            self._panes[pane].add_class("framed")

    def compose(self) -> ComposeResult:
        """One widget a pane, however much is in it."""
        yield from self._panes.values()
        yield self._plain

    def on_mount(self) -> None:
        """Arrows move in the lanes first."""
        self.query_one(SampleLanes).focus()

    def on_resize(self, _: events.Resize) -> None:
        """Lay out for the new size."""
        if self._view is not None:
            self._view.unhurried = True
            self.sync(self._view)

    def sync(self, view: View) -> None:
        """Show the view in the panes that are on the screen."""
        self._view = view
        arrangement = self._arrange(view)
        if arrangement.plain:
            self._plain.sync(view)
            return
        for pane, widget in self._panes.items():
            if pane in arrangement.panes and (view.unhurried or pane in QUICK):
                assert isinstance(widget, Rows | LanesPane | TextPane)  # noqa: S101  # all that __init__ made
                widget.sync(view)

    def _arrange(self, view: View) -> Arrangement:
        width, height = self.size
        problem = view.problem
        wanted = (width, height, view.problem_index, problem is None, self.maximised)
        if wanted == self._arranged and self._arrangement is not None:
            return self._arrangement
        self._arranged = wanted
        samples, lines, room = 16, 2, width - QUESTION_MARGIN
        if problem is not None and room > 0:
            samples = len(problem.samples)
            lines = len(wrap(question_text(problem, compact=is_compact(width, height)), room))
        self._arrangement = arrangement = arrange(
            width, height, samples, lines, self.maximised, transport=view.player is not None
        )
        self._plain.display = arrangement.plain
        self._plain.styles.width, self._plain.styles.height = width, height
        for pane, widget in self._panes.items():
            rect = arrangement.panes.get(pane)
            widget.display = rect is not None
            widget.set_class(arrangement.compact, "-compact")
            if rect is not None:
                widget.styles.offset = (rect.x, rect.y)
                widget.styles.width, widget.styles.height = rect.width, rect.height
                widget.set_class(pane == "lanes" and rect.height < samples + 5, "-short")
        return arrangement

    @property
    def focused_pane(self) -> Pane | None:
        """The pane that holds the focus."""
        for pane, widget in self._panes.items():
            if self.focused is not None and widget in self.focused.ancestors_with_self:
                return pane
        return None

    def toggle_maximised(self) -> Pane | None:
        """Show the focused pane alone, or all again; returns the pane shown alone."""
        focused = self.focused_pane
        if self.maximised is None and focused in MAXIMISABLE:
            self.maximised = focused
        else:
            self.maximised = None
        if self._view is not None:
            self._view.unhurried = True
            self.sync(self._view)
        return self.maximised

    @property
    def text(self) -> StepText:
        """The text of the selected sample."""
        return self.query_one(StepText)
