"""The log of a run: a line an event that a person may care about, newest last."""

from bisect import bisect_left, bisect_right
from collections.abc import Hashable
from typing import Literal, get_args

from textual import events
from textual.message import Message
from textual.strip import Strip

from atts_core.state import LogLine
from atts_core.verdict_words import ACCEPTED, TAKEN_OVER
from atts_tui import words
from atts_tui.text import clean_line, shorten
from atts_tui.view import View
from atts_tui.widgets.rows import Row, paragraph, strip_of
from atts_tui.widgets.scroll_rows import ScrollRows

Levels = Literal["everything", "all but accepted steps", "answers and worse", "warnings and errors"]
LEVELS: tuple[Levels, ...] = get_args(Levels)
_SHOWN: dict[Levels, frozenset[str]] = {
    "everything": frozenset({"info", "accept", "take-over", "answer", "warning", "error"}),
    "all but accepted steps": frozenset({"info", "take-over", "answer", "warning", "error"}),
    "answers and worse": frozenset({"answer", "warning", "error"}),
    "warnings and errors": frozenset({"warning", "error"}),
}
TIME_CELLS, LEVEL_CELLS, PLACE_CELLS, SHORT_PLACE_CELLS = 8, 11, 24, 10
LONG_FROM = 100
"""Columns from which a line says its place in words."""


class LogLines(ScrollRows):
    """Selected by arrows or a click; goes on with the newest line only while that is selected."""

    DEFAULT_CSS = """
    LogLines { border: round $border-blurred; border-title-color: $atts-title; padding: 0 1; }
    LogLines:focus { border: round $border; }
    LogLines.-compact { border: none; border-top: solid $border-blurred; padding: 0; }
    LogLines.-compact:focus { border-top: solid $border; }
    """

    class Picked(Message):
        """A line was pointed at a second time."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.levels: Levels = "all but accepted steps"
        self.wanted = ""
        """Lines that do not hold this are left out."""
        self.total = 0
        """Lines of the levels shown, whatever the filter."""
        self.follows = True
        self.fresh_from = 0
        """Lines after this sequence number had not been seen when the screen was opened."""
        self._lines: list[LogLine] = []
        self._selected = 0
        """Sequence number of the selected line."""
        self._key: Hashable = None
        self._drawn: dict[int, tuple[Hashable, Strip]] = {}
        """By sequence number of a line in sight: what it was made of, and itself."""

    @property
    def selected(self) -> LogLine | None:
        """The line under the cursor."""
        place = self._place()
        return self._lines[place] if self._lines else None

    def _place(self) -> int:
        """Where the selected line is; the one after it where it is gone."""
        place = bisect_left(self._lines, self._selected, key=lambda line: line.seq)
        return min(place, max(len(self._lines) - 1, 0))

    def row_count(self) -> int:
        """Lines that pass, or what is said in their place."""
        return max(len(self._lines), 1)

    def lines(self) -> list[LogLine]:
        """Lines that pass, oldest first."""
        return self._lines

    def after(self, seq: int) -> int:
        """Lines that pass and came after a sequence number."""
        return len(self._lines) - bisect_right(self._lines, seq, key=lambda line: line.seq)

    def show(self, view: View) -> None:
        """Take the lines that pass; stay at the same line, or at the end."""
        log = view.state.log
        newest = log[-1].seq if log else 0
        key = (newest, len(log), view.epoch, self.levels, self.wanted, self.extent, id(view.palette))
        if key == self._key:
            return
        self._key = key
        anchor = self._lines[self.top].seq if self._lines and self.top < len(self._lines) else 0
        levels, wanted = _SHOWN[self.levels], self.wanted.casefold()
        shown = [line for line in log if line.level in levels]
        self.total = len(shown)
        self._lines = [line for line in shown if wanted in _searched(line)] if wanted else shown
        if self.follows:
            self._selected = self._lines[-1].seq if self._lines else 0
            self.top = max(self.row_count() - self.extent.height, 0)
        else:
            top = bisect_left(self._lines, anchor, key=lambda line: line.seq)
            self.top = max(min(top, self.row_count() - self.extent.height), 0)
        seen = [line.seq for line in self._lines[self.top : self.top + self.extent.height]]
        self._drawn = {seq: self._drawn[seq] for seq in seen if seq in self._drawn}
        self.refresh()

    def row_strip(self, row: int, width: int) -> Strip:
        """One line."""
        view = self.view
        assert view is not None  # noqa: S101  # without a view there are no rows
        if not self._lines:
            said = "No line holds that." if self.total else "Nothing has happened yet."
            return strip_of(paragraph(said, width, view.palette.muted)[0], width, self.base, view.glyphs)
        line = self._lines[row]
        chosen = row == self._place()
        fresh = line.seq > self.fresh_from
        made_of = (width, chosen, fresh, id(view.palette), view.epoch)
        drawn = self._drawn.get(line.seq)
        if drawn is None or drawn[0] != made_of:
            base = self.base + view.palette.selected if chosen else self.base
            parts = self._parts(view, line, width, chosen=chosen)
            drawn = self._drawn[line.seq] = (made_of, strip_of(parts, width, base, view.glyphs))
        return drawn[1]

    def _parts(self, view: View, line: LogLine, width: int, *, chosen: bool) -> Row:
        palette, glyphs = view.palette, view.glyphs
        signs = {
            "info": (glyphs.separator, palette.muted),
            "accept": (glyphs.accept, palette.draft),
            "take-over": (glyphs.take_over, palette.target),
            "answer": (glyphs.answer, palette.right),
            "warning": (glyphs.lost, palette.warning),
            "error": (glyphs.wrong, palette.error),
        }
        sign, style = signs[line.level]
        fresh = line.seq > self.fresh_from
        long = width >= LONG_FROM
        place = _place_words(line, long=long)
        mark = glyphs.selected if chosen else glyphs.dot_accept if fresh else " "
        cells = PLACE_CELLS if long else SHORT_PLACE_CELLS
        room = self.row_width - 2 - TIME_CELLS - LEVEL_CELLS - cells - len(sign)
        said = clean_line(line.message)
        if not long and line.level in ("accept", "take-over"):  # the level says what follows as well
            said = said.removesuffix(f" → {ACCEPTED}").removesuffix(f" → {TAKEN_OVER}")
        message = shorten(said, room, glyphs.more)
        loud = line.level in ("warning", "error")
        return (
            (f"{mark} ", palette.accent),
            (words.clock(line.at).ljust(TIME_CELLS), palette.muted),
            (f"{sign} {line.level}".ljust(LEVEL_CELLS + len(sign)), style),
            (f" {place}".ljust(cells), palette.muted),
            (message, style if loud else palette.text),
        )

    def notify_style_update(self) -> None:
        """Colours changed: forget what was made of them."""
        super().notify_style_update()
        self._drawn.clear()

    def move(self, rows: int) -> None:
        """Select a line further up or down; the last one is followed."""
        if self._lines:
            place = max(min(self._place() + rows, len(self._lines) - 1), 0)
            self._selected = self._lines[place].seq
            self.follows = place == len(self._lines) - 1
            self.show_row(place)
            self.refresh()

    def page(self, pages: int) -> None:
        """Select a line a page further."""
        self.move(pages * max(self.extent.height - 1, 1))

    def show_end(self) -> None:
        """Select the newest, and follow."""
        self.move(len(self._lines))

    def show_start(self) -> None:
        """Select the oldest."""
        self.move(-len(self._lines))

    def on_click(self, event: events.Click) -> None:
        """A click selects, a second one opens."""
        place = event.get_content_offset(self)
        if place is None or not self._lines:
            return
        row = self.top + place.y
        if row < len(self._lines):
            again = self._lines[row].seq == self._selected
            self.move(row - self._place())
            if again:
                self.post_message(self.Picked())


class Unread:
    """Counts warnings and errors since the log was last looked at; each line is looked at once."""

    def __init__(self) -> None:
        self._since: Hashable = None
        self._counted = self._news = 0

    def count(self, view: View) -> int:
        """As it stands now."""
        since = (view.epoch, view.log_read)
        if since != self._since:
            self._since, self._counted, self._news = since, view.log_read, 0
        for line in reversed(view.state.log):
            if line.seq <= self._counted:
                break
            self._news += line.level in ("warning", "error")
        if view.state.log:
            self._counted = max(self._counted, view.state.log[-1].seq)
        return self._news


def _place_words(line: LogLine, *, long: bool) -> str:
    if line.problem is None:
        return ""
    if not long:
        return f"{line.problem + 1}" + (f"/{line.sample + 1}" if line.sample is not None else "")
    return f"problem {line.problem + 1}" + (f" sample {line.sample + 1}" if line.sample is not None else "")


def _searched(line: LogLine) -> str:
    where = "" if line.problem is None else f" problem {line.problem + 1}"
    where += "" if line.sample is None else f" sample {line.sample + 1}"
    return f"{line.level}{where} {line.message}".casefold()
