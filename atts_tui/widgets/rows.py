"""The base of our own widgets: rows of styled parts, of which only those that changed are drawn again."""

from collections.abc import Hashable, Sequence
from functools import lru_cache

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from atts_tui.palette import Glyphs
from atts_tui.text import wrap
from atts_tui.view import View

Part = tuple[str, Style]
Row = tuple[Part, ...]
"""One line of the screen: pieces of text, each with its style."""


@lru_cache(4096)
def _over(base: Style, style: Style) -> Style:
    return base + style


def strip_of(row: Row, width: int, base: Style, glyphs: Glyphs) -> Strip:
    """A strip of exactly `width` cells over the base style, which gives the background."""
    segments = [Segment(glyphs.safe(text), _over(base, style)) for text, style in row if text]
    length = sum([cell_len(segment.text) for segment in segments])
    if length > width:
        return Strip(segments, length).adjust_cell_length(width, base)
    if length < width:
        segments.append(Segment(" " * (width - length), base))
    return Strip(segments, width)


def paragraph(text: str, width: int, style: Style) -> list[Row]:
    """Lines of wrapped text."""
    return [((text[start:end], style),) for start, end in wrap(text, width)]


def joined(line: Sequence[Part]) -> list[Part]:
    """The same line in as few parts as its styles allow; blanks take the style of what stands before them."""
    parts: list[Part] = []
    text, current = "", line[0][1] if line else Style.null()
    for more, style in line:
        if style is not current and (current.underline or not more.isspace()):
            parts.append((text, current))
            text, current = "", style
        text += more
    parts.append((text, current))
    return parts


def runs(lines: Sequence[int]) -> list[tuple[int, int]]:
    """Sorted line numbers as runs (first, count) of neighbours."""
    found: list[tuple[int, int]] = []
    for line in lines:
        if found and found[-1][0] + found[-1][1] == line:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((line, 1))
    return found


class Rows(Widget):
    """A widget whose `build` gives all its rows; `sync` draws those that differ from what is shown."""

    DEFAULT_CSS = """
    Rows { background: $background; color: $foreground; }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self.view: View | None = None
        self._rows: list[Row] = []
        self._key: Hashable = None
        self._base: Style | None = None
        self._extent = Size(0, 0)
        """The size of the content, kept because asking Textual for it costs more than drawing a line."""

    def build(self, view: View, size: Size) -> list[Row]:
        """All rows for a content of `size` cells."""
        raise NotImplementedError

    def key(self, view: View) -> Hashable:
        """What `build` depends on: while it stays the same nothing is built."""
        return view.state.seq

    def sync(self, view: View) -> None:
        """Show the view; costs next to nothing where nothing changed."""
        self.view = view
        if view.unhurried:
            self._extent = self.content_size
        size = self._extent
        if not size:
            return
        key = (self.key(view), size, id(view.palette), view.glyphs.plain)
        if key == self._key:
            return
        self._key = key
        self._show(self.build(view, size))

    def _show(self, rows: list[Row]) -> None:
        old, self._rows = self._rows, rows
        count = max(len(old), len(rows))
        dirty = [
            y
            for y in range(count)
            if y >= len(old) or y >= len(rows) or (old[y] is not rows[y] and old[y] != rows[y])
        ]
        if dirty:
            width = self._extent.width
            self.refresh(*(Region(0, y, width, lines) for y, lines in runs(dirty)))

    def render_line(self, y: int) -> Strip:
        """One row of what was shown last."""
        base = self.base
        width = self._extent.width
        if y >= len(self._rows) or self.view is None:
            return Strip.blank(width, base)
        return strip_of(self._rows[y], width, base, self.view.glyphs)

    @property
    def base(self) -> Style:
        """Foreground and background of this widget."""
        if self._base is None:
            self._base = self.rich_style
        return self._base

    def notify_style_update(self) -> None:
        """Colours changed: forget what was made of them."""
        super().notify_style_update()
        self._base = None

    def on_resize(self, _: events.Resize) -> None:
        """Build again for the new size."""
        self._extent = self.content_size
        if self.view is not None:
            self.sync(self.view)
