"""The home screen: type a problem, or choose a run or something to try."""

from collections.abc import Callable, Hashable

from textual.geometry import Size
from textual.message import Message
from textual.widget import Widget

from atts_core.runs.manage import RunInfo
from atts_tui.actions import KeyMap
from atts_tui.home.choices import Choice, Choices, Command
from atts_tui.home.listing import run_choice, tries
from atts_tui.home.prompt import PromptPane, Reading
from atts_tui.home.servers import ServersPane
from atts_tui.layout.frame import PLAIN_BELOW_COLUMNS, PLAIN_BELOW_ROWS, Rect
from atts_tui.layout.home import arrange_home
from atts_tui.screens.run_screen import RunScreen
from atts_tui.text import clean_line, shorten
from atts_tui.view import View
from atts_tui.widgets.rows import Row, Rows, paragraph

FIRST_TIME = (
    "No runs yet. Press enter in the line above: sixteen chains of a small problem race on this machine, "
    "without a GPU and without anything from outside."
)


class HomeScreen(RunScreen):
    """Everything on it ends in a command, which the application returns."""

    PAGE = "home"
    FILTERS = "a word of a run"

    class Chosen(Message):
        """Do this."""

        def __init__(self, command: Command) -> None:
            super().__init__()
            self.command = command

    class Resumable(Message):
        """A run that stopped was chosen: go on with it, or look at it?"""

        def __init__(self, choice: Choice) -> None:
            super().__init__()
            self.choice = choice

    def __init__(
        self, keymap: KeyMap, read: Callable[[str], Reading], example: str, folder: str, servers: int
    ) -> None:
        """`read` judges a problem, `folder` holds the runs, `servers` is how many lines those need."""
        self._read, self._example, self._folder, self._servers = read, example, folder, servers
        self._infos: list[RunInfo] = []
        super().__init__(keymap, replay=False)

    def make_panes(self) -> dict[str, Widget]:
        """The prompt has the keys first."""
        self.prompt = PromptPane(self._read, self._example, id="prompt-pane")
        self.runs = Choices("Recent runs", "Looking for runs …", id="runs")
        self.tries = Choices("To try next", "", id="tries")
        self.tries.offer(tries())
        self.servers = ServersPane(id="servers-pane")
        return {"prompt": self.prompt, "runs": self.runs, "tries": self.tries, "servers": self.servers}

    def make_status(self) -> Widget:
        """No run, no state of it."""
        return HomeStatus(self._folder)

    def make_plain(self) -> Widget:
        """No samples either."""
        return HomePlain()

    def focus_first(self) -> None:
        """Type at once; after a filter choose among what passed."""
        (self.runs if self.filter else self.prompt.input).focus()

    def place(self, _view: View, body: Rect, *, compact: bool) -> dict[str, Rect]:
        """See `layout.home`."""
        return arrange_home(body, len(self.tries.choices), self._servers, compact=compact)

    def depends(self, _view: View) -> Hashable:
        """The list of things to try."""
        return len(self.tries.choices)

    def counted(self, _view: View) -> tuple[int, int]:
        """Runs that hold the words."""
        return len(self.runs.choices), len(self._infos)

    def sync(self, view: View) -> None:
        """Show what there is."""
        self._offer()
        super().sync(view)

    def show_runs(self, infos: list[RunInfo], *, complete: bool) -> None:
        """These runs were found so far."""
        self._infos = infos
        if complete:
            self.runs.say_empty(FIRST_TIME)
        self._offer()

    def _offer(self) -> None:
        wanted = self.filter.strip().casefold()
        found = [info for info in self._infos if wanted in f"{info.run} {info.status}".casefold()]
        if wanted or [info.run for info in found] != [choice.id for choice in self.runs.choices] or found:
            self.runs.offer([run_choice(info) for info in found])

    def _list(self) -> Choices | None:
        return self.focused if isinstance(self.focused, Choices) else None

    def action_up(self) -> None:
        """The row above; from the first one to the prompt."""
        focused = self._list()
        if focused is not None and not focused.move(-1):
            self.focus_first()

    def action_down(self) -> None:
        """The row below; from the prompt to the runs, or to the things to try."""
        focused = self._list()
        if focused is not None:
            if not focused.move(1) and focused is self.runs:
                self.tries.focus()
        elif self.runs.choices:
            self.runs.focus()
        else:
            self.tries.focus()

    def action_open(self) -> None:
        """Do what the row stands for."""
        focused = self._list()
        if focused is not None and focused.chosen is not None:
            self._pick(focused.chosen)

    def on_choices_picked(self, message: Choices.Picked) -> None:
        """A second click does it as well."""
        self._pick(message.choice)

    def _pick(self, choice: Choice) -> None:
        if choice.resumes:
            self.post_message(self.Resumable(choice))
        else:
            self.post_message(self.Chosen(choice.command))

    def action_demo(self) -> None:
        """The demo."""
        self.post_message(self.Chosen(("demo",)))

    def action_resume(self) -> None:
        """Go on with the run under the cursor."""
        choice = self.runs.chosen if self.runs.has_focus else None
        if choice is None or not choice.resumes:
            self.say("Only a run that stopped before its end can go on; choose one in the list.")
        else:
            self.post_message(self.Chosen(choice.resumes))

    def on_prompt_pane_asked(self, message: PromptPane.Asked) -> None:
        """Solve it, unless it is clear that it cannot be."""
        reading = self._read(message.problem)
        if reading.good is False:
            self.say(reading.said)
        else:
            self.post_message(self.Chosen(("solve", "--", message.problem)))


class HomeStatus(Rows):
    """What this is, and where runs are kept."""

    DEFAULT_CSS = """
    HomeStatus { padding: 0 1; background: $panel; }
    """

    def __init__(self, folder: str) -> None:
        super().__init__(id="status")
        self._folder = folder

    def key(self, _view: View) -> str:
        """Never changes."""
        return self._folder

    def build(self, view: View, size: Size) -> list[Row]:
        """As much as fits."""
        palette, width = view.palette, size.width
        said = "a small model writes, a large one checks and takes over"
        if width >= 100:
            said = f"Asynchronous Test-Time Scaling: {said}"
        kept = f"runs are kept in {clean_line(self._folder)}"
        return [
            ((" atts ", palette.brand), ("   " + shorten(said, width - 10, view.glyphs.more), palette.text)),
            ((shorten(kept, width, view.glyphs.more), palette.muted),),
        ][: size.height]


class HomePlain(Rows):
    """In a terminal too small for panes."""

    def key(self, _view: View) -> str:
        """Never changes."""
        return ""

    def build(self, view: View, size: Size) -> list[Row]:
        """What would help, and what works anyhow."""
        said = (
            f"The home screen needs {PLAIN_BELOW_COLUMNS} x {PLAIN_BELOW_ROWS} cells. Make the window "
            "larger, or quit with q and type: atts demo"
        )
        return paragraph(said, size.width, view.palette.text)[: size.height]
