"""What a whole run came to so far: scores with intervals, shares of the target, what needs a look."""

from collections.abc import Hashable, Sequence
from itertools import pairwise

from textual import events
from textual.geometry import Size
from textual.strip import Strip

from atts_core.conformal.intervals import Estimate
from atts_core.conformal.live import estimate
from atts_core.forecast import forecast, progress
from atts_core.overview import SHARE_BINS
from atts_core.percent import percent
from atts_tui import words
from atts_tui.text import clean_line, pad, shorten
from atts_tui.view import View
from atts_tui.widgets.problem_table import ProblemTable, look_style
from atts_tui.widgets.rows import Part, Row, Rows, paragraph, strip_of
from atts_tui.widgets.scroll_rows import ScrollRows

TERM = 14
"""Cells of the names left of the numbers."""
LOOKS_AT_MOST = 500


class ScorePane(Rows):
    """Progress, accuracy, take-overs and tokens, each with what it is worth."""

    DEFAULT_CSS = """
    ScorePane { border: round $border-blurred; border-title-color: $atts-title; padding: 0 1; }
    ScorePane:focus { border: round $border; }
    ScorePane.-compact { border: none; border-top: solid $border-blurred; padding: 0; }
    """
    can_focus = True
    BORDER_TITLE = "So far"

    def key(self, view: View) -> Hashable:
        """Changes with what was decided or finished, and each second for the time that is left."""
        state, overview = view.state, view.state.overview
        return (
            overview.finished, overview.turns_done, state.overall.decisions, int(state.now), view.epoch,
            state.finished is not None,
        )  # fmt: skip

    def build(self, view: View, size: Size) -> list[Row]:
        """One line a number, the ones that people look for first."""
        width = size.width
        overview, state = view.state.overview, view.state
        palette = view.palette
        rows: list[Row] = [progress_row(view, width), ((left_words(view, width), palette.muted),)]
        by_vote, by_sample = estimate(overview.by_vote), estimate(overview.right_samples)
        of = f" {overview.by_vote.size:,} problems" if overview.by_vote.size else ""
        rows.append(_share(view, "right by vote", by_vote, of, width))
        rows.append(_share(view, "right samples", by_sample, "", width))
        nominal = state.run.calibration.nominal if state.run and state.run.calibration else None
        asked = f" asked {percent(nominal)}" if nominal is not None else ""
        rows.append(_share(view, "taken over", estimate(overview.taken_over), asked, width))
        total = state.written
        share = "–" if state.target_share is None else percent(state.target_share)
        said = f" of {words.number(total)} tokens"
        rows.append(
            (
                (pad("by target", TERM), palette.muted),
                (f"{share:>7}", palette.target),
                (shorten(said, max(width - TERM - 7, 0)), palette.muted),
            )
        )
        if state.samples_failed or state.retries:
            samples = "sample" if state.samples_failed == 1 else "samples"
            retries = "retry" if state.retries == 1 else "retries"
            said = f"{state.samples_failed:,} {samples}; {state.retries:,} {retries}"
            style = palette.error if state.samples_failed else palette.muted
            rows.append(((pad("failed", TERM), palette.muted), (shorten(said, width - TERM), style)))
        return rows[: size.height]


def progress_row(view: View, width: int) -> Row:
    """The share of the turns that is done, as a bar."""
    palette, glyphs = view.palette, view.glyphs
    share = progress(view.state)
    said = f" {percent(share):>5}"
    cells = max(width - len(said), 1)
    done = int(share * cells)
    return (
        (glyphs.bar * done, palette.accept[2]),
        (glyphs.bar_rest * (cells - done), palette.faint),
        (said, palette.strong),
    )


def left_words(view: View, width: int) -> str:
    """How long it will take, with its range, or what became of the run."""
    state = view.state
    if state.finished is not None:
        return shorten(f"{state.finished.end} after {words.clock(state.now)}", width)
    found = forecast(state)
    if found is None:
        return "no turn has begun yet"
    if found.seconds is None or found.low is None or found.high is None:
        return shorten("time left unknown: no turn was finished in the last ten minutes", width)
    turns = f"{found.done:,} turns done, about {found.left:,.0f} left"
    low, high = words.clock(found.low), words.clock(found.high)
    time = f"{words.clock(found.seconds)} left" + (f" ({low} to {high})" if low != high else "")
    return time if len(time) + len(turns) + 2 > width else f"{time}, {turns}"


def _share(view: View, name: str, value: Estimate, note: str, width: int) -> Row:
    """A rate in percent with its 95 % interval."""
    palette = view.palette
    term: Part = (pad(name, TERM), palette.muted)
    if value.value is None or value.low is None or value.high is None:
        return (term, (f"{'–':>7}", palette.faint))
    parts: list[Part] = [term, (f"{value.value * 100:>5.1f} %", palette.strong)]
    interval = f"  [{value.low * 100:.1f}, {value.high * 100:.1f}]"
    room = width - TERM - 7
    if len(interval) <= room:
        parts.append((interval, palette.text))
        room -= len(interval)
    parts.append((shorten(note, room) if len(note) <= room else "", palette.muted))
    return tuple(parts)


class SharePane(Rows):
    """How the target's share of the tokens is spread over the finished problems."""

    DEFAULT_CSS = """
    SharePane { border: round $border-blurred; border-title-color: $atts-title; padding: 0 1; }
    SharePane:focus { border: round $border; }
    """
    can_focus = True
    BORDER_TITLE = "Target's share of a problem"

    def key(self, view: View) -> Hashable:
        """Changes when a problem finishes."""
        return (view.state.overview.finished, view.epoch)

    def build(self, view: View, size: Size) -> list[Row]:
        """Bars above, shares below."""
        width, height = size
        palette, glyphs = view.palette, view.glyphs
        counts = view.state.overview.shares
        if not sum(counts):
            return paragraph("Drawn once a problem has finished.", width, palette.muted)[:height]
        number = SHARE_BINS if width >= 2 * SHARE_BINS else SHARE_BINS // 2
        cell, bins = max(width // number, 1), _rebinned(counts, number)
        rows = bars(bins, height - 2, glyphs.blocks, cell)
        drawn: list[Row] = [((line, palette.take_over[1]),) for line in rows]
        cells = len(bins) * cell
        drawn.append(((glyphs.axis_horizontal * cells, palette.faint),))
        drawn.append((("0 %" + "50 %".center(cells - 8) + "100 %", palette.muted),))
        most = max(bins)
        title = "Target's share by problem" if width < 34 else f"Target's share by problem, top {most:,}"
        if self.border_title != title:
            self.border_title = title
        return drawn


def bars(values: Sequence[float], rows: int, blocks: str, cell: int = 1) -> list[str]:
    """Upright bars of `rows` lines, each `cell` wide, the highest as high as all of them."""
    steps, most = len(blocks) - 1, max(*values, 1e-9)
    heights = [max(round(value / most * rows * steps), 1 if value else 0) for value in values]
    return [
        "".join(blocks[min(max(height - level * steps, 0), steps)] * cell for height in heights)
        for level in reversed(range(rows))
    ]


def _rebinned(counts: Sequence[int], bins: int) -> list[int]:
    cuts = [place * len(counts) // bins for place in range(bins + 1)]
    return [sum(counts[begin:end]) for begin, end in pairwise(cuts)]


class LookPane(ScrollRows):
    """Problems that need a look, the newest first, each with a sentence why."""

    DEFAULT_CSS = """
    LookPane { border: round $border-blurred; border-title-color: $atts-title; padding: 0 1; }
    LookPane:focus { border: round $border; }
    LookPane.-compact { border: none; border-top: solid $border-blurred; padding: 0; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._found: list[int] = []
        self._key: Hashable = None

    def row_count(self) -> int:
        """One row a problem, or one sentence."""
        return max(len(self._found), 1)

    def show(self, view: View) -> None:
        """Draw again where something was found, or not any more."""
        looks = view.state.overview.looks
        key = (
            len(looks), next(reversed(looks), None), view.state.overview.finished, self.extent,
            id(view.palette), view.epoch, view.state.samples_failed,
        )  # fmt: skip
        if key == self._key:
            return
        self._key = key
        self._found = list(reversed(looks))[:LOOKS_AT_MOST]
        title = f"Needs a look: {len(looks):,}" if looks else "Needs a look"
        if self.border_title != title:
            self.border_title = title
        self.move_to(self.top)
        self.refresh()

    def row_strip(self, row: int, width: int) -> Strip:
        """Number, name and reason."""
        view = self.view
        assert view is not None  # noqa: S101  # without a view there are no rows
        palette = view.palette
        if not self._found:
            said = "Nothing: no failed sample, no unanimous mistake, no tie, none is slow."
            line: Row = ((shorten(said, width), palette.muted),)
            return strip_of(line, width, self.base, view.glyphs)
        problem = view.state.problems[self._found[row]]
        look = view.state.overview.looks.get(problem.index, "slow")
        why = words.look_words(look, problem, view.state.overview.median_seconds)
        name = pad(clean_line(problem.id), 14) if width >= 60 else ""
        head = f"{problem.index + 1:>6} {name} "
        parts: Row = (
            (head, palette.muted),
            (f"{words.LOOKS[look]:<12}", look_style(view, look)),
            (shorten(clean_line(why), max(width - len(head) - 12, 0)), palette.text),
        )
        return strip_of(parts, width, self.base, view.glyphs)

    def on_click(self, event: events.Click) -> None:
        """A click selects the problem, a second one opens it."""
        place = event.get_content_offset(self)
        if place is not None and self.view is not None and self.top + place.y < len(self._found):
            index = self._found[self.top + place.y]
            self.post_message(ProblemTable.Picked(index, again=index == self.view.problem_index))
