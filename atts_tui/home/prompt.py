"""Where a problem is typed, and what would be made of it."""

from collections.abc import Callable
from typing import NamedTuple

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.geometry import Size
from textual.message import Message
from textual.widgets import Input

from atts_tui.text import clean_line
from atts_tui.view import View
from atts_tui.widgets.rows import Row, Rows, paragraph

READING_LINES = 2


class Reading(NamedTuple):
    """What is made of a problem."""

    said: str
    good: bool | None
    """False: it cannot be solved at all; None: nothing speaks for or against it."""


class PromptPane(Vertical):
    """A line to type in, and below it what the models would make of that."""

    DEFAULT_CSS = """
    PromptPane {
        border: round $border-blurred; border-title-color: $atts-title; padding: 0 1; background: $background;
    }
    PromptPane:focus-within { border: round $border; }
    PromptPane.-compact { border: none; border-top: solid $border-blurred; }
    PromptPane.-compact:focus-within { border-top: solid $border; }
    PromptPane Input, PromptPane Input:focus {
        border: none; height: 1; padding: 0; background: $panel; color: $foreground;
    }
    PromptPane ReadingLines { height: 2; }
    """

    class Asked(Message):
        """Enter was pressed."""

        def __init__(self, problem: str) -> None:
            super().__init__()
            self.problem = problem

    def __init__(self, read: Callable[[str], Reading], example: str, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.border_title = "A problem to solve"
        self._read, self._example = read, example
        self.input = Input(placeholder=example, compact=True, id="problem")
        self.input.cursor_blink = False  # it cost three quarters of what this screen does while nobody types
        self.reading = ReadingLines()
        self._view: View | None = None

    def compose(self) -> ComposeResult:
        """The line, and what is made of it."""
        yield from (self.input, self.reading)

    def sync(self, view: View) -> None:
        """Colours may have changed."""
        self._view = view
        if not self.reading.said.said:
            self._say("")
        self.reading.sync(view)

    def _say(self, text: str) -> None:
        if text.strip():
            self.reading.said = self._read(text)
        else:
            self.reading.said = Reading("enter solves the problem above, live; or type your own", None)
        if self._view is not None:
            self.reading.sync(self._view)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Each letter is read."""
        event.stop()
        self._say(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Solve it, or the example."""
        event.stop()
        self.post_message(self.Asked(event.value.strip() or self._example))


class ReadingLines(Rows):
    """Two lines."""

    def __init__(self) -> None:
        super().__init__()
        self.said = Reading("", None)

    def key(self, _view: View) -> Reading:
        """The words."""
        return self.said

    def build(self, view: View, size: Size) -> list[Row]:
        """As much as fits."""
        palette, glyphs = view.palette, view.glyphs
        said, good = self.said
        style = {True: palette.right, False: palette.error, None: palette.muted}[good]
        sign = {True: f"{glyphs.right} ", False: f"{glyphs.wrong} ", None: ""}[good]
        return paragraph(sign + clean_line(said), size.width, style)[: size.height]
