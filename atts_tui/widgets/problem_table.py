"""The problems of a run, one row each: only rows in sight are ever made, however many there are."""

from collections.abc import Hashable
from dataclasses import dataclass

from rich.style import Style
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from atts_core.percent import percent
from atts_core.state import ProblemState
from atts_tui import words
from atts_tui.problem_list import ProblemList, elapsed
from atts_tui.text import clean_line, pad, shorten
from atts_tui.view import View
from atts_tui.widgets.rows import Part, Row, Rows, strip_of
from atts_tui.widgets.scroll_rows import ScrollRows


@dataclass(frozen=True, slots=True)
class Columns:
    """How wide each column is; 0 leaves one out."""

    state: int
    bar: int
    count: int
    accept: int
    target: int
    tokens: int
    time: int
    answer: int
    gold: int
    note: int


def columns(width: int, samples: int) -> Columns:
    """The columns for rows of `width` cells and problems of so many samples."""
    count = 2 * len(str(samples)) + 2
    left = width - 2 - 6 - 10 - 3 - count - 9  # mark, number, state, mark of the answer, samples, accepted
    answer = 10
    left -= answer
    target = 9 if left >= 9 else 0
    left -= target
    time = 9 if left >= 9 else 0
    left -= time
    gold = 10 if left >= 10 else 0
    left -= gold
    tokens = 8 if left >= 8 else 0
    left -= tokens
    bar = min(samples, 16) + 1 if left >= min(samples, 16) + 1 else 0
    left -= bar
    if left > 30:
        answer, gold, left = answer + 4, gold + 4, left - 8
    note = left if left >= 22 else 0
    answer += min(left, 4) if not note else 0
    return Columns(10, bar, count, 9, target, tokens, time, answer, gold, note)


class TableHeader(Rows):
    """The names of the columns."""

    def key(self, view: View) -> Hashable:
        """Changes with the size."""
        return _samples(view)

    def build(self, view: View, size: Size) -> list[Row]:
        """One line."""
        cut = columns(size.width - 1, _samples(view))
        parts = [
            "      # ",
            pad("state", cut.state),
            pad("samples" if cut.bar + cut.count > 7 else "done", cut.bar + cut.count),
        ]
        parts.append(pad("accepted", cut.accept - 1, right=True) + " ")
        for name, cells in (("target", cut.target), ("tokens", cut.tokens), ("time", cut.time)):
            if cells:
                parts.append(pad(name, cells - 1, right=True) + " ")
        parts.append(" " + pad("answer", cut.answer) + (pad("gold", cut.gold) if cut.gold else "") + "   ")
        if cut.note:
            parts.append("why it needs a look")
        return [((shorten("".join(parts), size.width), view.palette.muted),)]


class ProblemTable(ScrollRows):
    """The rows. What is in sight stays in sight when others come and go above it."""

    class Picked(Message):
        """A row was pointed at; `again` where it was the selected one."""

        def __init__(self, problem: int, *, again: bool) -> None:
            super().__init__()
            self.problem, self.again = problem, again

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.list = ProblemList()
        self.built = 0
        """Rows made so far, for the benchmark."""
        self._drawn: dict[int, tuple[Hashable, Strip]] = {}
        """By row in sight: what it was made of, and itself."""
        self._frame: Hashable = None
        self._selected = -1
        self._total = 0

    def row_count(self) -> int:
        """Problems that pass, or what is said in their place."""
        return max(len(self.list.rows), 1)

    @property
    def place(self) -> int | None:
        """The row of the selected problem."""
        return self.list.rows.index(self._selected) if self._selected in self.list.rows else None

    def show(self, view: View) -> None:
        """Bring the order up to date, and draw rows in sight that changed."""
        anchor = self.list.rows[self.top] if 0 < self.top < len(self.list.rows) else None
        self._total = len(view.state.problems)
        anew = self.list.update(view.state, view.epoch)
        if anew:
            if anchor is not None and anchor in self.list.rows:
                self.top = self.list.rows.index(anchor)
            self.top = max(min(self.top, self.row_count() - self.extent.height), 0)
        frame = (self.extent, id(view.palette), view.glyphs.plain, self.top)
        if anew or frame != self._frame:
            self._frame = frame
            self._drawn.clear()
            self.refresh()
        if view.problem_index != self._selected:
            self._selected = view.problem_index
            if (place := self.place) is not None:
                self.show_row(place)
        rows = self.list.rows
        for row in range(self.top, min(self.top + self.extent.height, len(rows))):
            drawn = self._drawn.get(row)
            if drawn is not None and drawn[0] != self._key(view, rows[row]):
                del self._drawn[row]
                self.refresh_rows(row, 1)

    def _key(self, view: View, index: int) -> Hashable:
        problem = view.state.problems[index]
        return (
            index, index == self._selected, problem.touched, problem.tokens, problem.accepted,
            problem.taken_over, problem.ended, problem.failed, view.state.overview.looks.get(index),
            None if problem.finished or problem.started_at is None else int(view.state.now),
        )  # fmt: skip

    def row_strip(self, row: int, width: int) -> Strip:
        """One problem, made again only where it changed."""
        view = self.view
        assert view is not None  # noqa: S101  # without a view there are no rows
        if not self.list.rows:
            said = "No problem passes the filter." if self._total else "No problem has been added yet."
            return strip_of(((said, view.palette.muted),), width, self.base, view.glyphs)
        index = self.list.rows[row]
        key = self._key(view, index)
        drawn = self._drawn.get(row)
        if drawn is None or drawn[0] != key:
            self.built += 1
            chosen = index == self._selected
            base = self.base + view.palette.selected if chosen else self.base
            parts = problem_row(view, view.state.problems[index], self.row_width, chosen=chosen)
            drawn = self._drawn[row] = (key, strip_of(parts, width, base, view.glyphs))
        return drawn[1]

    def notify_style_update(self) -> None:
        """Colours changed: forget what was made of them."""
        super().notify_style_update()
        self._drawn.clear()

    def on_click(self, event: events.Click) -> None:
        """A click selects, a second one opens."""
        row = self.top + event.y
        if 0 <= row < len(self.list.rows):
            index = self.list.rows[row]
            self.post_message(self.Picked(index, again=index == self._selected))


class TablePane(Vertical):
    """The table with the names of its columns above."""

    DEFAULT_CSS = """
    TablePane {
        border: round $border-blurred; border-title-color: $atts-title; padding: 0 1; background: $background;
    }
    TablePane:focus-within { border: round $border; }
    TablePane ProblemTable { height: 1fr; }
    TablePane TableHeader { height: 1; }
    TablePane.-compact { border: none; border-top: solid $border-blurred; padding: 0; }
    TablePane.-compact:focus-within { border-top: solid $border; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._header, self.table = TableHeader(), ProblemTable(id="problems")

    def compose(self) -> ComposeResult:
        """Two widgets, however many problems there are."""
        yield from (self._header, self.table)

    def sync(self, view: View) -> None:
        """Show the view."""
        self._header.sync(view)
        self.table.sync(view)
        shown, total = len(self.table.list.rows), len(view.state.problems)
        count = f"{shown:,} of {total:,} problems" if shown != total else f"{total:,} problems"
        title = f"{count}, {self.table.list.sort}"
        if self.border_title != title:
            self.border_title = title


def _samples(view: View) -> int:
    return view.state.run.samples if view.state.run is not None else 16


def problem_row(view: View, problem: ProblemState, width: int, *, chosen: bool) -> Row:
    """The row of one problem."""
    palette, glyphs = view.palette, view.glyphs
    cut = columns(width, _samples(view))
    state, style = state_words(view, problem)
    parts: list[Part] = [
        (glyphs.selected if chosen else " ", palette.accent),
        (f"{problem.index + 1:>6} ", palette.strong if chosen else palette.muted),
        (pad(state, cut.state), style),
    ]
    total = max(len(problem.samples), 1)
    if cut.bar:
        done = round(problem.ended / total * (cut.bar - 1))
        parts += [
            (glyphs.line * done, palette.muted if problem.finished else palette.accept[2]),
            (glyphs.open_turn * (cut.bar - 1 - done) + " ", palette.faint),
        ]
    parts.append((pad(f"{problem.ended}/{total}", cut.count), palette.muted))
    cells = [(percent(problem.accept_share), cut.accept, palette.draft)]
    if cut.target:
        cells.append((percent(problem.target_share), cut.target, palette.target))
    if cut.tokens:
        cells.append((words.number(problem.tokens) if problem.tokens else "–", cut.tokens, palette.muted))
    if cut.time:
        seconds = elapsed(view.state, problem)
        cells.append(
            (words.clock(seconds) if problem.started_at is not None else "–", cut.time, palette.muted)
        )
    for said, size, said_style in cells:
        nothing = said == "–"
        parts.append((pad(said, size - 1, right=True) + " ", palette.faint if nothing else said_style))
    answer = problem.answer if problem.finished else (problem.tally[0][0] if problem.tally else None)
    answer_style = palette.strong if problem.finished else palette.muted
    said = clean_line(answer) if answer is not None else ""
    parts.append((" " + pad(said, cut.answer - 1) + " ", answer_style))
    if cut.gold:
        gold = clean_line(problem.gold) if problem.gold is not None else ""
        parts.append((pad(gold, cut.gold - 1) + " ", palette.muted))
    mark = {True: (glyphs.right, palette.right), False: (glyphs.wrong, palette.wrong)}.get(
        problem.correct if problem.finished else None,  # type: ignore[arg-type]  # None is in no entry
        ("", palette.muted),
    )
    parts.append((pad(mark[0], 3), mark[1]))
    look = view.state.overview.looks.get(problem.index)
    if cut.note and look is not None:
        note = words.look_words(look, problem, view.state.overview.median_seconds)
        parts.append((shorten(clean_line(note), cut.note), look_style(view, look)))
    return tuple(parts)


def state_words(view: View, problem: ProblemState) -> tuple[str, Style]:
    """A problem's state in a word, and its style."""
    palette = view.palette
    if problem.failed and not problem.finished:
        return "failing", palette.error
    if not problem.finished:
        return ("running", palette.draft) if problem.started_at is not None else ("waiting", palette.faint)
    if problem.failed:
        return "failed", palette.error
    if problem.answer is None or (problem.tied and problem.correct is not True):
        return "undecided", palette.warning
    calm = Style(bold=False)  # most rows say this
    return {
        True: ("right", palette.right + calm),
        False: ("wrong", palette.wrong + calm),
        None: ("done", palette.text),
    }[problem.correct]


def look_style(view: View, look: str) -> Style:
    """How grave a reason to look is."""
    palette = view.palette
    return palette.muted if look == "slow" else palette.error if look == "failed" else palette.warning
