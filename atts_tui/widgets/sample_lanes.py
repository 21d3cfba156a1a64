"""One row a sample: what it does now, one cell a turn, its last p, tokens and answer."""

from collections.abc import Hashable
from dataclasses import dataclass

from rich.style import Style
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.geometry import Size
from textual.strip import Strip

from atts_core.percent import percent
from atts_core.state import SampleState
from atts_core.verdict_words import suspicion
from atts_tui import words
from atts_tui.text import clean_line, pad, shorten
from atts_tui.view import View
from atts_tui.widgets.heat_map import HeatMap
from atts_tui.widgets.rows import Part, Row, Rows, paragraph, runs, strip_of
from atts_tui.widgets.sample_cells import SamplePicked, turn_cell
from atts_tui.widgets.scroll_rows import ScrollRows

P_BAR = 10
"""Cells of the bar that shows the last p against alpha, in a wide terminal."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns fit, and how wide; 0 leaves one out."""

    state: int
    turn: int
    """Cells of one turn, 2 or 1."""
    turns: int
    """Turns shown; older ones make room for newer."""
    bar: int
    p: int
    tokens: int
    share: int
    answer: int


def columns(width: int, turns: int) -> Columns:
    """The columns for a row of `width` cells and samples of at most `turns` turns."""
    left = width - 5  # mark, number and the space after it
    state = 14 if left >= 54 else 7
    answer = 8
    left -= state + answer
    p = 5 if left >= turns + 6 else 0
    left -= p
    tokens = 7 if left >= turns + 8 else 0
    left -= tokens
    turn = 2 if left >= turns * 2 + 1 else 1
    shown = max(min(turns, (left - 1) // turn), 1)
    left -= shown * turn + 1
    bar = P_BAR + 2 if left >= P_BAR + 8 else 0
    left -= bar
    share = 10 if left >= 16 else 0
    left -= share
    return Columns(state, turn, shown, bar, p, tokens, share, answer + max(left, 0))


class LaneHeader(Rows):
    """The names of the columns."""

    def key(self, view: View) -> Hashable:
        """Changes with the size and the number of turns."""
        return _turns(view)

    def build(self, view: View, size: Size) -> list[Row]:
        """One line."""
        width = size.width
        cut = columns(width - 1, _turns(view))
        muted = view.palette.muted
        turns = shorten("who wrote each turn", cut.turns * cut.turn)
        if cut.turns * cut.turn < 19:
            turns = shorten("turns", cut.turns * cut.turn)
        text = "  # " + " " + pad("now", cut.state) + pad(turns, cut.turns * cut.turn + 1)
        if cut.bar:
            text += pad("surprise", cut.bar)
        if cut.p:
            text += pad("p", cut.p - 1, right=True) + " "
        if cut.tokens:
            text += pad("tokens", cut.tokens - 1, right=True) + " "
        if cut.share:
            text += pad("by target", cut.share - 1, right=True) + " "
        return [((text + "answer", muted),)]


class Legend(Rows):
    """What the glyphs of the lanes mean."""

    def key(self, _: View) -> Hashable:
        """Never changes but for size and colours."""
        return 0

    def build(self, view: View, size: Size) -> list[Row]:
        """The glyphs, and above them, where there is room, the method in one sentence."""
        width, height = size
        rows: list[Row] = [legend(view, width)]
        if height > 1:
            rows.insert(0, ((shorten(words.WHAT_HAPPENS, width), view.palette.muted),))
        return rows


def legend(view: View, width: int) -> Row:
    """As much of the legend as fits, the two verdicts first."""
    palette, glyphs = view.palette, view.glyphs
    entries: list[tuple[str, Style, str, str]] = [
        (glyphs.accept, palette.draft, "draft's step accepted", "accepted"),
        (glyphs.take_over, palette.target, "target took over", "target took over"),
        (f"{glyphs.draft} {glyphs.target}", palette.muted, "being written", "writing"),
        (glyphs.verify, palette.muted, "being checked", "checking"),
    ]
    for form in (2, 3):
        size = sum(len(entry[0]) + 1 + len(str(entry[form])) + 3 for entry in entries) - 3
        if size <= width:
            break
    parts: list[Part] = []
    used = 0
    for glyph, style, long, short in entries:
        text = long if form == 2 else short
        size = len(glyph) + 1 + len(text) + 3
        if used + size - 3 > width:
            break
        used += size
        parts += [(glyph, style), (f" {text}   ", palette.muted)]
    return tuple(parts)


class SampleLanes(ScrollRows):
    """The rows; scrolls beyond its height. A row is made again only when its sample was touched."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._keys: list[tuple[object, ...] | None] = []
        """What each row shows; token counts, which grow each frame, are drawn only in unhurried ones."""
        self._order: list[int] = []
        self._before: list[Row] = []
        """What is said while there is no sample."""
        self._strips: dict[int, Strip] = {}
        self._frame: Hashable = None
        self._selected: Hashable = None

    def row_count(self) -> int:
        """One row a sample."""
        return len(self._order) or len(self._before)

    def show(self, view: View) -> None:
        """Draw again what was touched since the last call."""
        problem = view.problem
        samples = problem.samples if problem is not None else []
        self._order = order = view.order()
        self._before = _before_the_first(view, self.row_width) if not order else []
        frame = (
            view.problem_index,
            self.extent,
            len(order),
            id(view.palette),
            view.glyphs.plain,
            len(self._before),
        )
        if frame != self._frame or not order:
            self._frame = frame
            self._keys = [None] * len(order)
            self._strips.clear()
            self.move_to(self.top)
            self.refresh()
        dirty: list[int] = []
        for row, index in enumerate(order):
            sample, old = samples[index], self._keys[row]
            shown = (index, index == view.sample_index, sample.phase, sample.queued_for, len(sample.turns))
            key = (*shown, sample.decisions, sample.answer, sample.end, sample.touched)
            if key != old and (view.unhurried or old is None or key[:-1] != old[:-1]):
                self._keys[row] = key
                if self._strips.pop(row, None) is not None:
                    dirty.append(row)
        for start, count in runs(dirty):
            self.refresh_rows(start, count)
        selected = (view.problem_index, view.sample_index, view.sort)
        if selected != self._selected and view.sample_index in order:
            self._selected = selected
            self.show_row(order.index(view.sample_index))

    def row_strip(self, row: int, width: int) -> Strip:
        """The lane of a sample."""
        view = self.view
        assert view is not None  # noqa: S101  # without a view there are no rows
        problem = view.problem
        if not self._order or problem is None:
            return strip_of(self._before[row], width, self.base, view.glyphs)
        strip = self._strips.get(row)
        if strip is None:
            index = self._order[row]
            chosen = index == view.sample_index
            base = self.base + view.palette.selected if chosen else self.base
            parts = lane(view, problem.samples[index], self.row_width, chosen=chosen)
            strip = strip_of(parts, width, base, view.glyphs)
            self._strips[row] = strip
        return strip

    def notify_style_update(self) -> None:
        """Colours changed: forget what was made of them."""
        super().notify_style_update()
        self._strips.clear()

    def on_click(self, event: events.Click) -> None:
        """A click selects."""
        row = self.top + event.y
        if 0 <= row < len(self._order):
            self.post_message(SamplePicked(self._order[row]))


class LanesPane(Vertical):
    """Lanes with their column names above and their legend below."""

    DEFAULT_CSS = """
    LanesPane {
        border: round $border-blurred; border-title-color: $atts-title; padding: 0 1; background: $background;
    }
    LanesPane:focus-within { border: round $border; }
    LanesPane SampleLanes { height: 1fr; }
    LanesPane HeatMap { height: 1fr; display: none; }
    LanesPane.-condensed HeatMap { display: block; }
    LanesPane.-condensed SampleLanes { display: none; }
    LanesPane.-condensed LaneHeader { display: none; }
    LanesPane LaneHeader { height: 1; }
    LanesPane Legend { height: 2; }
    LanesPane.-short Legend { height: 1; }
    LanesPane.-compact { border: none; border-top: solid $border-blurred; padding: 0; }
    LanesPane.-compact:focus-within { border-top: solid $border-blurred; }
    LanesPane.-compact LaneHeader { display: none; }
    LanesPane.-compact Legend { display: none; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._titled = ""
        self._header, self._lanes, self._legend = LaneHeader(), SampleLanes(id="lanes-rows"), Legend()
        self._map = HeatMap(id="heat-map")

    def compose(self) -> ComposeResult:
        """Four widgets, however many samples there are."""
        yield from (self._header, self._lanes, self._map, self._legend)

    def sync(self, view: View) -> None:
        """Show the view."""
        self._retitle(view)
        condensed = view.condensed
        if self.has_class("-condensed") != condensed:
            self.set_class(condensed, "-condensed")
        for shown in (self._map,) if condensed else (self._header, self._lanes):
            shown.sync(view)
        self._legend.sync(view)

    def _retitle(self, view: View) -> None:
        title = "Samples"
        problem = view.problem
        if problem is not None:
            title = f"{len(problem.samples):,} samples"
            if view.condensed:
                title += ", one cell each (h: rows)"
            if view.sort != "number":
                title += f", by {view.sort}" if view.sort != "running first" else ", running first"
        if self.has_class("-compact"):
            glyphs = view.glyphs
            title = (
                f"[$atts-accept]{glyphs.accept}[/] accepted"
                f"  [$atts-take-over]{glyphs.take_over}[/] target took over"
                f"  {glyphs.draft}{glyphs.target} writing"
            )
        if title != self._titled:
            self.border_title = self._titled = title


def _before_the_first(view: View, width: int) -> list[Row]:
    """What there will be to see."""
    palette = view.palette
    room = min(width - 6, 76)
    rows: list[Row] = [(("", palette.text),)]
    for said in words.WHAT_WILL_HAPPEN:
        rows += [(("   ", palette.text), *line) for line in paragraph(said, room, palette.text)]
        rows.append((("", palette.text),))
    began = view.state.run is not None
    waiting = (
        "waiting for the first problem" if began else words.waiting_words(view.state, clean_line(view.notice))
    )
    rows.append((("   ", palette.text), (f"{shorten(waiting, room)} {view.glyphs.more}", palette.muted)))
    return rows


def _turns(view: View) -> int:
    return view.state.run.turns if view.state.run is not None else 15


def lane(view: View, sample: SampleState, width: int, *, chosen: bool) -> Row:
    """The row of one sample."""
    palette, glyphs = view.palette, view.glyphs
    cut = columns(width, _turns(view))
    long, short = words.phase_words(sample)
    parts: list[Part] = [
        (glyphs.selected if chosen else " ", palette.accent),
        (f"{sample.index + 1:>3} ", palette.strong if chosen else palette.muted),
        (" ", palette.text),
        (pad(long if cut.state > 8 else short, cut.state), _phase_style(view, sample)),
    ]
    parts += turn_cells(view, sample, cut)
    verdict = sample.last_verdict
    if cut.bar:
        parts += _bar(view, *suspicion(verdict)) if verdict else [(" " * cut.bar, palette.text)]
    if cut.p:
        style = palette.muted
        if verdict is not None:
            style = palette.draft if verdict.verdict == "accept" else palette.target
        text = words.probability(verdict.p) if verdict else ""
        parts.append((pad(text, cut.p - 1, right=True) + " ", style))
    if cut.tokens:
        total = sample.draft_tokens + sample.target_tokens
        parts.append(
            (pad(words.number(total) if total else "", cut.tokens - 1, right=True) + " ", palette.muted)
        )
    if cut.share:
        total = sample.draft_tokens + sample.target_tokens
        text = percent(sample.target_tokens / total) if total else ""
        parts.append((pad(text, cut.share - 1, right=True) + " ", palette.muted))
    parts += _answer(view, sample, cut.answer)
    return tuple(parts)


def turn_cells(view: View, sample: SampleState, cut: Columns) -> list[Part]:
    """One cell a turn: who wrote it, how surprising it was, what is under way, what is still allowed."""
    palette, glyphs = view.palette, view.glyphs
    gap = " " * (cut.turn - 1)
    first = max(len(sample.turns) - cut.turns, 0)
    parts: list[Part] = []
    for index, turn in enumerate(sample.turns[first:], first):
        glyph, style = turn_cell(view, sample, turn, last=index == len(sample.turns) - 1)
        if first and index == first:
            glyph, style = glyphs.more, palette.muted
        if parts and parts[-1][1] is style:
            parts[-1] = (parts[-1][0] + glyph + gap, style)
        else:
            parts.append((glyph + gap, style))
    rest = cut.turns - len(sample.turns) + first
    open_turns = glyphs.open_turn if sample.end is None else " "
    parts.append(((open_turns + gap) * rest + " ", palette.faint))
    return parts


def _phase_style(view: View, sample: SampleState) -> Style:
    palette = view.palette
    if sample.end == "failed":
        return palette.error
    if sample.end is not None:
        return palette.muted
    return {"draft": palette.draft, "target": palette.target, "verify": palette.text}.get(
        sample.phase, palette.muted
    )


def _bar(view: View, p: float | None, alpha: float) -> list[Part]:
    """The last p as a bar with a tick where alpha is."""
    palette, glyphs = view.palette, view.glyphs
    filled = round((p if p is not None else 1.0) * P_BAR)
    tick = min(round(alpha * P_BAR), P_BAR - 1)
    style = palette.accept[1] if p is not None and p <= alpha else palette.take_over[2]
    parts: list[Part] = [(glyphs.line * min(filled, tick), style)]
    if filled < tick:
        parts.append((glyphs.open_turn * (tick - filled), palette.faint))
    parts.append((glyphs.tick, palette.threshold))
    after = max(filled - tick - 1, 0)
    parts.append((glyphs.line * after, style))
    parts.append((glyphs.open_turn * (P_BAR - tick - 1 - after) + "  ", palette.faint))
    return parts


def _answer(view: View, sample: SampleState, width: int) -> list[Part]:
    """The answer with its mark; where a sample failed, why."""
    palette, glyphs = view.palette, view.glyphs
    if sample.end == "failed":
        return [(shorten(clean_line(sample.message), width), palette.error)]
    if sample.answer is None:
        return []
    if sample.correct is None:
        return [(shorten(clean_line(sample.answer), width), palette.strong)]
    mark = glyphs.right if sample.correct else glyphs.wrong
    style = palette.right if sample.correct else palette.wrong
    return [
        (shorten(clean_line(sample.answer), width - len(mark) - 1), palette.strong),
        (" ", palette.text),
        (mark, style),
    ]
