"""The line in which a filter is typed, and which says how many rows pass it."""

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input

from atts_tui.view import View
from atts_tui.widgets.rows import Row, Rows


class FilterBar(Horizontal):
    """Shown while something is typed and while a filter holds; at most three widgets."""

    DEFAULT_CSS = """
    FilterBar { background: $panel; padding: 0 1; }
    FilterBar Input, FilterBar Input:focus {
        border: none; height: 1; padding: 0; background: $panel; color: $foreground; width: 1fr;
    }
    FilterBar Said { width: 2; background: $panel; }
    FilterBar #filter-count { width: 34; background: $panel; }
    """

    class Changed(Message):
        """The filter is another one."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Left(Message):
        """Enter: the rows have the keys again, and the filter stays."""

    def __init__(self, fields: str, *, id: str | None = None) -> None:  # noqa: A002
        """`fields` says what is searched."""
        super().__init__(id=id)
        self._input = Input(placeholder=fields, compact=True)
        self._count = Said(id="filter-count")

    def compose(self) -> ComposeResult:
        """The sign, the text, the count."""
        yield from (Said("/ "), self._input, self._count)

    def sync(self, view: View) -> None:
        """Colours may have changed."""
        for said in self.query(Said):
            said.sync(view)

    def start(self) -> None:
        """Type here."""
        self._input.focus()

    def clear(self) -> None:
        """No filter."""
        self._input.value = ""

    @property
    def typing(self) -> bool:
        """Whether keys go into the text."""
        return self._input.has_focus

    def count(self, passing: int, of: int) -> None:
        """Say how many rows pass."""
        self._count.said = f"{passing:,} of {of:,}".rjust(18) + "   esc clears"

    def on_input_changed(self, event: Input.Changed) -> None:
        """Each letter narrows."""
        event.stop()
        self.post_message(self.Changed(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        event.stop()
        self.post_message(self.Left())


class Said(Rows):
    """A few words."""

    def __init__(self, said: str = "", *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.said = said

    def key(self, _view: View) -> str:
        """The words."""
        return self.said

    def build(self, view: View, _size: object) -> list[Row]:
        """The words."""
        return [((self.said, view.palette.accent),)]
