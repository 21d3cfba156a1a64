"""Rows to choose from: what each shows, and the command that it stands for."""

from collections.abc import Callable
from dataclasses import dataclass

from textual import events
from textual.message import Message
from textual.strip import Strip

from atts_tui.view import View
from atts_tui.widgets.rows import Row, paragraph, strip_of
from atts_tui.widgets.scroll_rows import ScrollRows

Command = tuple[str, ...]
"""A command line of `atts`, without the program's name."""


@dataclass(frozen=True)
class Choice:
    """One row. `id` tells it from others while the list changes."""

    id: str
    draw: Callable[[View, int], Row]
    command: Command
    resumes: Command = ()
    """A command that goes on with it, where it is a run that stopped."""


class Choices(ScrollRows):
    """A framed list with a cursor, which stays on its row while the list changes."""

    DEFAULT_CSS = """
    Choices { border: round $border-blurred; border-title-color: $atts-title; padding: 0 1; }
    Choices:focus { border: round $border; }
    Choices.-compact { border: none; border-top: solid $border-blurred; padding: 0 1; }
    Choices.-compact:focus { border-top: solid $border; }
    """

    class Picked(Message):
        """A row was chosen."""

        def __init__(self, choice: Choice) -> None:
            super().__init__()
            self.choice = choice

    def __init__(self, title: str, empty: str, *, id: str | None = None) -> None:  # noqa: A002
        """`empty` is said where there is nothing to choose."""
        super().__init__(id=id)
        self.border_title = title
        self._empty = empty
        self.choices: list[Choice] = []
        self._at = ""
        self._drawn: dict[int, tuple[Row, bool]] = {}
        """By row: what is on the screen."""
        self._drawn_for = self.extent

    @property
    def chosen(self) -> Choice | None:
        """The row under the cursor."""
        return self.choices[self._place()] if self.choices else None

    def _place(self) -> int:
        return next((n for n, choice in enumerate(self.choices) if choice.id == self._at), 0)

    def offer(self, choices: list[Choice]) -> None:
        """Show these."""
        before, self.choices = self.choices, choices
        self.move_to(self.top)
        if len(before) != len(choices):
            self.refresh()
        elif self.view is not None:
            self.show(self.view)

    def say_empty(self, said: str) -> None:
        """Say something else where there is nothing to choose."""
        if said != self._empty:
            self._empty = said
            self.refresh()

    def show(self, view: View) -> None:
        """Draw the rows that differ from what is on the screen."""
        if self.extent != self._drawn_for:
            self._drawn_for = self.extent
            self.refresh()
            return
        for row in range(self.top, min(self.top + self.extent.height, self.row_count())):
            if self._drawn.get(row) != self._line(view, row):
                self.refresh_rows(row, 1)

    def row_count(self) -> int:
        """Rows there are."""
        return max(len(self.choices), 3)

    def row_strip(self, row: int, width: int) -> Strip:
        """One row."""
        view = self.view
        assert view is not None  # noqa: S101  # without a view nothing is drawn
        parts, chosen = self._drawn[row] = self._line(view, row)
        base = self.base + view.palette.selected if chosen else self.base
        return strip_of(parts, width, base, view.glyphs)

    def _line(self, view: View, row: int) -> tuple[Row, bool]:
        """What a row says, and whether the cursor is on it."""
        if not self.choices:
            lines = paragraph(self._empty, self.row_width, view.palette.muted)
            return (lines[row] if row < len(lines) else ()), False
        if row >= len(self.choices):
            return (), False
        chosen = self.has_focus and row == self._place()
        mark = view.glyphs.selected if chosen else " "
        said = self.choices[row].draw(view, self.row_width - 2)
        return ((f"{mark} ", view.palette.accent), *said), chosen

    def move(self, rows: int) -> bool:
        """Move the cursor; says whether there was room."""
        if not self.choices:
            return False
        wanted = self._place() + rows
        place = max(min(wanted, len(self.choices) - 1), 0)
        self._at = self.choices[place].id
        self.show_row(place)
        self.refresh()
        return wanted == place

    def on_focus(self) -> None:
        """The cursor is seen."""
        self.refresh()

    def on_blur(self) -> None:
        """The cursor is not seen."""
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """A click chooses, a second one opens."""
        place = event.get_content_offset(self)
        if place is None or self.top + place.y >= len(self.choices):
            return
        choice = self.choices[self.top + place.y]
        if choice.id == self._at:
            self.post_message(self.Picked(choice))
        self._at = choice.id
        self.refresh()
