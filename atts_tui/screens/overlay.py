"""Pages over a screen: scrollable lines of styled parts in a frame, made of the same rows as the panes."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.geometry import Size
from textual.screen import ModalScreen

from atts_tui.view import View
from atts_tui.widgets.rows import Row, Rows


class Page(Rows):
    """All lines of a page, as high as they are many."""

    DEFAULT_CSS = """
    Page { background: $panel; width: 1fr; }
    """

    def __init__(self, view: View, rows: list[Row]) -> None:
        super().__init__()
        self.view = view
        self._page = rows
        self.styles.height = len(rows)

    def build(self, _view: View, _size: Size) -> list[Row]:
        """The lines as given."""
        return self._page


class Overlay(ModalScreen[bool]):
    """A page in the middle of the screen; escape closes it."""

    DEFAULT_CSS = """
    Overlay { align: center middle; background: $background 70%; }
    Overlay > VerticalScroll {
        border: round $border; border-title-color: $atts-title; background: $panel; padding: 1 1 1 2;
        scrollbar-size-vertical: 1; scrollbar-gutter: stable;
        max-width: 96%; max-height: 96%; height: auto;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss(False)", "close"),
    ]

    def __init__(self, view: View, title: str, rows: list[Row], width: int) -> None:
        super().__init__()
        self._view = view
        self._title = title
        self._page_rows = rows
        self._page_width = width

    def compose(self) -> ComposeResult:
        """A scrolling frame with the page in it."""
        with VerticalScroll(classes="framed") as frame:
            frame.styles.width = self._page_width + 7
            frame.border_title = self._title
            yield Page(self._view, self._page_rows)
