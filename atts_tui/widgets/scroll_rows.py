"""Rows that scroll: an offset and a bar of one column, with nothing of Textual's layout involved.

Textual's own scroll views lay out the whole screen again when their content grows, which a text that streams
does several times a second; that cost a quarter of the screen's time.
"""

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from atts_tui.view import View

WHEEL_ROWS = 3


class ScrollRows(Widget):
    """Base of panes with more rows than they are high. Subclasses say how many, and draw one."""

    DEFAULT_CSS = """
    ScrollRows { background: $background; color: $foreground; }
    """
    can_focus = True

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.view: View | None = None
        self.top = 0
        """The first row in sight."""
        self.extent = Size(0, 0)
        """The size of this widget, kept because asking Textual for it costs more than drawing a line."""
        self._base: Style | None = None

    def sync(self, view: View) -> None:
        """Show the view."""
        self.view = view
        if view.unhurried:
            self.extent = self.content_size
        if self.extent:
            self.show(view)

    def show(self, view: View) -> None:
        """Bring the rows up to date, and draw those that changed."""
        raise NotImplementedError

    def row_count(self) -> int:
        """Rows there are."""
        raise NotImplementedError

    def row_strip(self, row: int, width: int) -> Strip:
        """One row in exactly `width` cells, of which the last may be covered by the bar."""
        raise NotImplementedError

    @property
    def row_width(self) -> int:
        """Cells that a row may use: the last column is the bar's."""
        return max(self.extent.width - 1, 0)

    @property
    def base(self) -> Style:
        """Foreground and background of this widget."""
        if self._base is None:
            self._base = self.rich_style
        return self._base

    @property
    def at_end(self) -> bool:
        """Whether the last row is in sight."""
        return self.top >= self.row_count() - self.extent.height

    def render_line(self, y: int) -> Strip:
        """One line of the screen: a row and its piece of the bar; blank before there is anything to show."""
        width = self.extent.width
        if self.view is None:  # Textual may draw a screen before it was shown the view
            return Strip.blank(width, self.base)
        row, count = self.top + y, self.row_count()
        strip = self.row_strip(row, width) if row < count else Strip.blank(width, self.base)
        if count <= self.extent.height or width < 2:
            return strip
        return Strip([*strip.crop(0, width - 1), self._bar(y, self.view)], width)

    def _bar(self, y: int, view: View) -> Segment:
        count, height = self.row_count(), self.extent.height
        thumb = max(height * height // count, 1)
        start = round(self.top / (count - height) * (height - thumb))
        on = start <= y < start + thumb
        glyph = view.glyphs.scroll_thumb if on else view.glyphs.scroll_track
        return Segment(glyph, self.base + (view.palette.muted if on else view.palette.faint))

    def refresh_rows(self, first: int, count: int) -> None:
        """Draw rows again, those of them that are in sight."""
        start = max(first - self.top, 0)
        end = min(first + count - self.top, self.extent.height)
        if start < end:
            self.refresh(Region(0, start, self.extent.width, end - start))

    def move_to(self, top: int) -> None:
        """Show the rows from `top` on, as far as there are so many."""
        top = max(min(top, self.row_count() - self.extent.height), 0)
        if top != self.top:
            self.top = top
            self.refresh()

    def show_row(self, row: int) -> None:
        """Move as little as it takes to have a row in sight."""
        if row < self.top:
            self.move_to(row)
        elif row >= self.top + self.extent.height:
            self.move_to(row - self.extent.height + 1)

    def show_start(self) -> None:
        """Have the first row in sight."""
        self.move_to(0)

    def show_end(self) -> None:
        """Have the last row in sight."""
        self.move_to(self.row_count())

    def page(self, pages: int) -> None:
        """Scroll by what is in sight, less one row to keep the thread."""
        self.move_to(self.top + pages * max(self.extent.height - 1, 1))

    def action_move(self, rows: int) -> None:
        """Scroll by rows."""
        self.move_to(self.top + rows)

    def notify_style_update(self) -> None:
        """Colours changed: forget what was made of them."""
        super().notify_style_update()
        self._base = None

    def on_resize(self, _: events.Resize) -> None:
        """Draw for the new size."""
        self.extent = self.content_size
        if self.view is not None:
            self.sync(self.view)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The wheel moves the rows."""
        event.stop()
        self.move_to(self.top + WHEEL_ROWS)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The wheel moves the rows."""
        event.stop()
        self.move_to(self.top - WHEEL_ROWS)
