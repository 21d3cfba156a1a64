"""The top of the screen: which run and problem, in what state, and the numbers that sum it up."""

from collections.abc import Hashable

from rich.cells import cell_len
from rich.style import Style
from textual.geometry import Size

from atts_core.forecast import progress
from atts_core.percent import percent
from atts_tui import words
from atts_tui.pages import page
from atts_tui.text import clean_line, shorten
from atts_tui.view import View
from atts_tui.widgets.rows import Part, Row, Rows

BAR_CELLS = 16


def fit(items: list[list[Row]], width: int, gap: int, order: tuple[int, ...] = ()) -> list[Row]:
    """Pick of each item the longest form such that all fit side by side.

    Each item lists its forms from long to short; an empty form leaves it out. `order` names the items that
    give way one after the other, first to last, by one form each time; without it the last gives way first.
    """
    chosen = [0] * len(items)
    giving = order or tuple(reversed(range(len(items))))

    def total() -> int:
        shown = [items[k][chosen[k]] for k in range(len(items)) if items[k][chosen[k]]]
        return sum(length(row) for row in shown) + gap * max(len(shown) - 1, 0)

    while total() > width:
        shrinkable = [k for k in giving if chosen[k] < len(items[k]) - 1]
        if not shrinkable:
            break
        chosen[min(shrinkable, key=lambda k: (chosen[k], giving.index(k)))] += 1
    return [items[k][chosen[k]] for k in range(len(items)) if items[k][chosen[k]]]


def length(row: Row) -> int:
    """Cells of a row."""
    return sum(cell_len(text) for text, _ in row)


def spread(left: Row, right: Row, width: int, style: Style) -> Row:
    """Both ends of a line."""
    space = max(width - length(left) - length(right), 1)
    return (*left, (" " * space, style), *right)


class StatusBar(Rows):
    """Two lines, or one in a small terminal."""

    DEFAULT_CSS = """
    StatusBar { padding: 0 1; background: $panel; }
    """

    def __init__(self, shown: str, *, id: str | None = None) -> None:  # noqa: A002
        """`shown` is the page it stands on."""
        super().__init__(id=id)
        self._about = page(shown).about

    def key(self, view: View) -> Hashable:
        """Changes with every event and every choice of the person."""
        state = view.state
        return (
            (state.seq, view.epoch, view.problem_index, view.frozen, view.waiting, view.follow),
            (view.notice, view.life),
        )

    def build(self, view: View, size: Size) -> list[Row]:
        """The first line places the run, the second counts it."""
        width, height = size
        if height == 1:
            return [self._one_line(view, width)]
        return [self._first(view, width), self._second(view, width)]

    def _badge(self, view: View) -> Row:
        palette, glyphs = view.palette, view.glyphs
        word = view.badge
        if view.frozen:
            note = f" {words.number(view.waiting)} events wait" if view.waiting else " nothing new"
            return ((" FROZEN ", palette.badges["FROZEN"]), (note, palette.accent))
        sign = {"LIVE": glyphs.live, "PAUSED": glyphs.paused, "LOST": glyphs.lost, "DONE": glyphs.right}.get(
            word, ""
        )
        text = "SERVER LOST" if word == "LOST" else word
        return ((f" {sign} {text} " if sign else f" {text} ", palette.badges[word]),)

    def _place(self, view: View, *, long: bool) -> Row:
        palette, state = view.palette, view.state
        problem = view.problem
        if problem is None:
            return ()
        if self._about == "run":
            ended = state.overview.finished
            of = f"{ended} of {len(state.problems)}" if long else f"{ended}/{len(state.problems)}"
            return ((f"{of} problems finished" if long else f"{of} problems", palette.text),)
        parts: list[Part] = []
        if len(state.problems) > 1:
            between = " of " if long else "/"
            parts.append((f"problem {view.problem_index + 1}{between}{len(state.problems)}", palette.text))
        if long and problem.id:
            separator = f" {view.glyphs.separator} " if parts else ""
            parts.append((separator + shorten(clean_line(problem.id), 24), palette.muted))
        return tuple(parts)

    def _turn(self, view: View, *, long: bool) -> Row:
        problem, run = view.problem, view.state.run
        if problem is None or run is None or self._about == "run":
            return ()
        palette = view.palette
        if problem.finished or all(sample.end is not None for sample in problem.samples):
            return ((f"all {len(problem.samples)} samples ended", palette.text),) if long else ()
        turn = max((sample.turn_count for sample in problem.samples if sample.end is None), default=0)
        if not turn:
            return ()
        return ((f"turn {turn} of {run.turns}" if long else f"turn {turn}/{run.turns}", palette.text),)

    def _progress(self, view: View) -> Row:
        glyphs, palette = view.glyphs, view.palette
        share = progress(view.state)
        done = int(share * BAR_CELLS)
        return (
            (glyphs.bar_rest * done if not glyphs.plain else glyphs.bar * done, palette.accent),
            (glyphs.bar_rest * (BAR_CELLS - done), palette.faint),
            (f" {percent(share):>5}", palette.muted),
        )

    def _solved(self, view: View) -> Row:
        """How many of the finished problems were answered right, of those that the Run screen counts."""
        votes = view.state.overview.by_vote
        if len(view.state.problems) < 2 or not votes.size:
            return ()
        said = f"{votes.hits:,} of {votes.size:,} right"
        return ((said, view.palette.right if votes.hits else view.palette.text),)

    def _first(self, view: View, width: int) -> Row:
        palette = view.palette
        title = shorten(clean_line(view.title), 30)
        brand: Row = ((f" atts {title} " if title else " atts ", palette.brand),)
        end: Row = ((words.clock(view.state.now), palette.strong),)
        left_items = [
            [brand],
            [self._badge(view)],
            [self._place(view, long=True), self._place(view, long=False)],
            [self._turn(view, long=True), self._turn(view, long=False)],
        ]
        right_items = [[end], [self._solved(view), ()], [self._progress(view), ()]]
        if width < 110:
            right_items.pop()
        right = _joined(list(reversed(fit(right_items, width // 2, 3))), 3, palette.text)
        left = _joined(fit(left_items, width - length(right) - 2, 3), 3, palette.text)
        return spread(left, right, width, palette.text)

    def _rate(self, view: View, *, long: bool) -> Row:
        state, palette = view.state, view.palette
        nominal = state.run.calibration.nominal if state.run and state.run.calibration else None
        parts: list[Part] = [
            ("taken over ", palette.muted),
            (percent(state.overall.realised), palette.target),
        ]
        if long:
            parts.append((f" of {words.number(state.overall.decisions)} steps", palette.muted))
        if nominal is not None:
            parts.append((f" (asked {percent(nominal)})", palette.muted))
        return tuple(parts)

    def _limit(self, view: View, *, long: bool) -> Row:
        state, palette = view.state, view.palette
        card = state.run.calibration if state.run else None
        alpha, threshold = (card.alpha if card else None), None
        if state.decisions:
            verdict = state.decisions[-1].verdict
            if verdict.p is None and verdict.ppl is not None and verdict.threshold is not None:
                return (("cut at PPL ", palette.muted), (words.ppl(verdict.threshold), palette.threshold))
            alpha, threshold = verdict.alpha, verdict.threshold
            if verdict.rating is not None:
                return (("rated from ", palette.muted), (str(verdict.least_rating), palette.threshold))
        if alpha is None:
            return ()
        parts: list[Part] = [("alpha ", palette.muted), (f"{alpha:.2f}", palette.threshold)]
        if threshold is not None and long:
            parts += [(" = PPL ", palette.muted), (words.ppl(threshold), palette.threshold)]
        return tuple(parts)

    def _speed(self, view: View) -> Row:
        state, palette = view.state, view.palette
        if state.finished is not None:
            return ()
        draft, target = (words.number(state.rates.rate(kind, state.now)) for kind in ("draft", "target"))
        return (
            ("tokens/s: draft ", palette.muted),
            (f"{draft:<5}", palette.draft),
            (" target ", palette.muted),
            (f"{target:<5}", palette.target),
        )

    def _tokens(self, view: View, *, long: bool) -> Row:
        state, palette = view.state, view.palette
        total = state.written
        share = "–" if state.target_share is None else percent(state.target_share)
        if long:
            return (
                (words.number(total), palette.text),
                (" tokens, ", palette.muted),
                (share, palette.target),
                (" by the target", palette.muted),
            )
        return (("target wrote ", palette.muted), (share, palette.target))

    def _second(self, view: View, width: int) -> Row:
        palette = view.palette
        lost = words.lost_words(view.state)
        if lost:
            return ((shorten(clean_line(lost), width), palette.error),)
        if view.state.run is None:
            said = words.waiting_words(view.state, clean_line(view.notice))
            return ((shorten(said, width), palette.muted),)
        if view.state.drift is not None:
            return ((shorten(clean_line(f"drift: {view.state.drift.message}"), width), palette.warning),)
        items = [
            [self._rate(view, long=True), self._rate(view, long=False)],
            [self._limit(view, long=True), self._limit(view, long=False)],
            [self._speed(view), ()],
            [self._tokens(view, long=True), self._tokens(view, long=False), ()],
        ]
        return _joined(fit(items, width, 3, order=(0, 3, 1, 2)), 3, palette.text)

    def _one_line(self, view: View, width: int) -> Row:
        palette = view.palette
        lost = words.lost_words(view.state)
        end: Row = ((words.clock(view.state.now), palette.strong),)
        items: list[list[Row]] = [[self._badge(view)]]
        if lost:
            items.append([((shorten(clean_line(lost), width - 26), palette.error),)])
        elif view.state.run is None:
            said = words.waiting_words(view.state, clean_line(view.notice))
            items.append([((shorten(said, width - 20), palette.muted),)])
        else:
            items += [
                [self._place(view, long=False), ()],
                [self._turn(view, long=False), ()],
                [self._rate(view, long=False)],
                [self._solved(view), ()],
                [self._limit(view, long=False), ()],
            ]
        left = _joined(fit(items, width - length(end) - 2, 2), 2, palette.text)
        return spread(left, end, width, palette.text)


def _joined(rows: list[Row], gap: int, style: Style) -> Row:
    parts: list[Part] = []
    for row in rows:
        if parts:
            parts.append((" " * gap, style))
        parts.extend(row)
    return tuple(parts)
