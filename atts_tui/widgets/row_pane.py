"""A framed pane of lines that scroll: made from the view when what they say has changed."""

from collections.abc import Callable, Hashable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.strip import Strip

from atts_tui.view import View
from atts_tui.widgets.rows import Row, strip_of
from atts_tui.widgets.scroll_rows import ScrollRows


class RowPane(ScrollRows):
    """Draws the rows that `build` makes of the view and a width, again whenever `key` changes."""

    DEFAULT_CSS = """
    RowPane { border: round $border-blurred; border-title-color: $atts-title; padding: 0 1; }
    RowPane:focus { border: round $border; }
    RowPane.-compact { border: none; border-top: solid $border-blurred; padding: 0; }
    RowPane.-compact:focus { border-top: solid $border; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
    ]

    def __init__(
        self,
        build: Callable[[View, int], list[Row]],
        key: Callable[[View], Hashable],
        *,
        title: str = "",
        id: str | None = None,  # noqa: A002
    ) -> None:
        super().__init__(id=id)
        self._build, self._key_of = build, key
        self._key: Hashable = None
        self._rows: list[Row] = []
        self.border_title = title

    def row_count(self) -> int:
        """Lines there are."""
        return len(self._rows)

    def row_strip(self, row: int, width: int) -> Strip:
        """One line."""
        assert self.view is not None  # noqa: S101  # rows were made of it
        return strip_of(self._rows[row], width, self.base, self.view.glyphs)

    def show(self, view: View) -> None:
        """Make the lines again if what they say has changed."""
        key = (self._key_of(view), self.extent, id(view.palette))
        if key == self._key:
            return
        self._key = key
        self._rows = self._build(view, self.row_width)
        self.move_to(self.top)
        self.refresh()
