"""The text of the selected sample: who wrote each step, what was decided about it, what was discarded."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import ClassVar

from rich.cells import cell_len
from rich.style import Style
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.geometry import Size
from textual.strip import Strip

from atts_core.events import VerdictReached
from atts_core.state import SampleState, Step
from atts_tui import words
from atts_tui.latex import readable
from atts_tui.text import boxed_spans, clean, clean_line, shorten, wrap
from atts_tui.view import View
from atts_tui.widgets.rows import Part, Row, Rows, paragraph, strip_of
from atts_tui.widgets.scroll_rows import ScrollRows

MARGIN = 13
"""Cells left of the text: turn, who wrote it, and a bar in the colour of the model."""
NARROW_MARGIN = 5
NARROW_BELOW = 66

LONG_VERDICTS_FROM = 96
"""Cells of width from which a verdict is written out beside the step."""


AWAY = "  the text is in the run file only, and cannot be read there now"


@dataclass(slots=True)
class Block:
    """Rows of one step or of the end, and what they were made from."""

    key: Hashable
    rows: list[Row] = field(default_factory=list)


class StepText(ScrollRows):
    """The steps, one after the other; follows the end of the text only while the end is in sight."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "up", show=False),
        Binding("down", "move(1)", "down", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._blocks: list[Block] = []
        self._rows: list[Row] = []
        self._frame: tuple[object, ...] = ()
        self._touched = -1

    def row_count(self) -> int:
        """Lines of the wrapped text."""
        return len(self._rows)

    def show(self, view: View) -> None:
        """Make the blocks again that changed, and show the end if it was in sight."""
        sample = view.sample
        touched = sample.touched if sample is not None else 0
        looked_at = (view.problem_index, view.sample_index)
        frame = (*looked_at, self.extent, id(view.palette), view.glyphs.plain, view.raw)
        if frame == self._frame and touched == self._touched:
            return
        follows = self.at_end or frame[:2] != self._frame[:2]
        if frame != self._frame:
            self._blocks.clear()
            self.refresh()
        self._frame, self._touched = frame, touched
        before = len(self._rows)
        first = self._rebuild(view, sample)
        count = max(len(self._rows), before)
        self.refresh_rows(first, count - first)
        if follows:
            self.show_end()
        elif count != before:
            self.refresh()  # the bar

    def row_strip(self, row: int, width: int) -> Strip:
        """One line of text."""
        assert self.view is not None  # noqa: S101  # without a view there are no rows
        return strip_of(self._rows[row], width, self.base, self.view.glyphs)

    def _rebuild(self, view: View, sample: SampleState | None) -> int:
        """Bring blocks and rows up to date; returns the first row that changed."""
        wanted = _outline(sample) if sample is not None else []
        kept = 0
        while kept < min(len(wanted), len(self._blocks)) and self._blocks[kept].key == wanted[kept][0]:
            kept += 1
        first = sum(len(block.rows) for block in self._blocks[:kept])
        del self._blocks[kept:], self._rows[first:]
        for key, step, verdict in wanted[kept:]:
            assert sample is not None  # noqa: S101  # without one nothing is wanted
            if step is not None:
                rows = self.step_rows(view, sample, step, verdict)
            else:
                rows = end_rows(view, sample, self.row_width)
            self._blocks.append(Block(key, rows))
            self._rows.extend(rows)
        if not self._rows:
            self._rows.append(((_nothing_yet(view, sample), view.palette.muted),))
        return first

    def step_rows(
        self, view: View, _sample: SampleState, step: Step, verdict: VerdictReached | None
    ) -> list[Row]:
        """The lines of one step."""
        return step_rows(view, step, verdict, self.row_width)


Wanted = tuple[Hashable, Step | None, VerdictReached | None]


def _outline(sample: SampleState) -> list[Wanted]:
    """What stands below what: each step, a draft's with the verdict about it, and the end."""
    wanted: list[Wanted] = []
    for step in sample.steps:
        verdict = None
        if step.role == "draft" and step.turn < len(sample.turns):
            verdict = sample.turns[step.turn].verdict
        key = (id(step), step.tokens, len(step.text), step.complete, step.discarded, verdict is not None)
        wanted.append((key, step, verdict))
    if sample.end is not None:
        wanted.append((("end", sample.end, sample.answer, sample.correct), None, None))
    return wanted


def _nothing_yet(view: View, sample: SampleState | None) -> str:
    if sample is None:
        return f"  the text of a sample appears here {view.glyphs.more}"
    if sample.digest is not None:
        return AWAY
    return f"  sample {sample.index + 1} has not begun"


def step_rows(view: View, step: Step, verdict: VerdictReached | None, width: int) -> list[Row]:
    """One step: a margin that says who wrote it, its text wrapped beside it, the verdict at its end."""
    palette, glyphs = view.palette, view.glyphs
    narrow = width < NARROW_BELOW
    margin = NARROW_MARGIN if narrow else MARGIN
    text, boxes = shown_text(view, step)
    style = palette.discarded if step.discarded else palette.text
    bar = palette.draft if step.role == "draft" else palette.target
    edge = glyphs.margin
    if step.discarded:
        bar, edge = palette.muted, glyphs.margin_discarded
    label_style = palette.muted if step.discarded else bar
    spans = wrap(text, width - margin - 1)
    rows: list[Row] = []
    for number, (start, end) in enumerate(spans):
        name = step.role[0] if narrow else f"{step.role:<7}"
        turn = f"{step.turn + 1:>2} " if step.role == "draft" else "   "
        label = (turn + name).ljust(margin - 2) if not number else " " * (margin - 2)
        parts: list[Part] = [(label, label_style), (edge, bar), (" ", palette.text)]
        parts += highlit(text, start, end, boxes, style, palette.boxed if not step.discarded else style)
        if number == len(spans) - 1 and not step.complete:
            parts.append((glyphs.cursor, bar))
        rows.append(tuple(parts))
    if verdict is not None:
        _append_verdict(view, rows, verdict, width, (edge, bar))
    return rows


def shown_text(view: View, step: Step) -> tuple[str, list[tuple[int, int]]]:
    """A step's text as it is shown, and where boxed answers stand in it."""
    text = clean(step.text).strip("\n").rstrip()
    if view.raw or view.glyphs.plain:
        return text, boxed_spans(text)
    text, boxes = readable(text)
    return text.rstrip(), boxes


def _append_verdict(view: View, rows: list[Row], verdict: VerdictReached, width: int, edge: Part) -> None:
    """Write the verdict to the right of the step's last line, or below it where there is no room."""
    palette = view.palette
    long, short = verdict_notes(view, verdict)
    noted = long if width >= LONG_VERDICTS_FROM else short
    size = 1 + sum(cell_len(text) for text, _ in noted)
    space = width - size - sum(cell_len(text) for text, _ in rows[-1])
    if space < 2:
        margin = " " * ((NARROW_MARGIN if width < NARROW_BELOW else MARGIN) - 2)
        rows.append(((margin, palette.muted), edge))
        space = max(width - size - len(margin) - 1, 1)
    rows[-1] = (*rows[-1], (" " * space, palette.muted), *noted)


def verdict_notes(view: View, verdict: VerdictReached) -> tuple[Row, Row]:
    """What was decided about a draft's step, long and short."""
    palette, glyphs = view.palette, view.glyphs
    if verdict.verdict == "unverifiable":
        sign: Part = (glyphs.unverifiable, palette.warning)
        return ((sign, (" could not be checked: target takes over", palette.muted)), (sign,))
    if verdict.p is None:
        accepted = verdict.verdict == "accept"
        sign = (glyphs.accept, palette.draft) if accepted else (glyphs.take_over, palette.target)
        found = words.judged_by(verdict)
        if verdict.ppl is not None:
            found = f"PPL {words.ppl(verdict.ppl)}  {found}"
        return (
            ((f"{found} ", palette.muted), sign, (f" {words.outcome_of(verdict):<17}", palette.muted)),
            ((f"{words.judged_by(verdict)} ".lstrip(), palette.muted), sign),
        )
    p, ppl = words.probability(verdict.p), words.ppl(verdict.ppl)
    if verdict.verdict == "accept":
        sign = (glyphs.accept, palette.draft)
        below = "<" if verdict.rule == "reference" else "<=" if glyphs.plain else "≤"
        compared, outcome = f"p {p} {below} {words.probability(verdict.alpha)}", " accepted"
    else:
        sign = (glyphs.take_over, palette.target)
        above = (">=" if glyphs.plain else "≥") if verdict.rule == "reference" else ">"
        compared, outcome = (
            f"p {p} {above} {words.probability(verdict.alpha)}",
            (" drawn again" if verdict.again else " target takes over"),
        )
    return (
        ((f"PPL {ppl}  {compared} ", palette.muted), sign, (f"{outcome:<18}", palette.muted)),
        ((f"p {p} ", palette.muted), sign),
    )


def highlit(
    text: str, start: int, end: int, boxes: list[tuple[int, int]], style: Style, boxed: Style
) -> list[Part]:
    """A piece of text with what is boxed in it marked."""
    parts: list[Part] = []
    place = start
    for box_start, box_end in boxes:
        if box_end <= start or box_start >= end:
            continue
        parts.append((text[place : max(box_start, place)], style))
        parts.append((text[max(box_start, start) : min(box_end, end)], boxed))
        place = min(box_end, end)
    parts.append((text[place:end], style))
    return [part for part in parts if part[0]]


def end_rows(view: View, sample: SampleState, width: int) -> list[Row]:
    """How the sample ended."""
    palette, glyphs = view.palette, view.glyphs
    margin = " " * ((NARROW_MARGIN if width < NARROW_BELOW else MARGIN) - 2)
    away: list[Row] = [((AWAY, palette.muted),)] if sample.digest is not None and not sample.steps else []
    if sample.end == "failed":
        return [*away, ((shorten(f"{margin}failed: {clean_line(sample.message)}", width), palette.error),)]
    long, _ = words.phase_words(sample)
    said = long if sample.answer is None else f"answered {clean_line(sample.answer)}"
    if sample.answer is not None and sample.end != "answered":
        said += f" ({long})"
    mark = {True: f" {glyphs.right}", False: f" {glyphs.wrong}", None: ""}[sample.correct]
    style = {True: palette.right, False: palette.wrong, None: palette.strong}[sample.correct]
    return [*away, ((margin, palette.muted), (shorten(said, width - len(margin) - 3), style), (mark, style))]


class VerdictLine(Rows):
    """The last verdict of the selected sample in plain words."""

    DEFAULT_CSS = """
    VerdictLine { height: 2; background: $background; }
    """

    def key(self, view: View) -> Hashable:
        """Changes with the sample's verdicts."""
        sample = view.sample
        return (view.problem_index, view.sample_index, sample.decisions if sample else -1)

    def build(self, view: View, size: Size) -> list[Row]:
        """The longer sentence, wrapped, where it fits."""
        width = size.width
        palette = view.palette
        sample = view.sample
        verdict = sample.last_verdict if sample is not None else None
        if verdict is None:
            return [(("", palette.muted),)]
        said = words.explain(verdict)
        if len(wrap(said, width)) > size.height:
            said = words.explain_short(verdict)
        style = palette.draft if verdict.verdict == "accept" else palette.target
        return paragraph(said, width, style)[: size.height]


class TextPane(Vertical):
    """The text, and below it the last verdict in plain words."""

    DEFAULT_CSS = """
    TextPane {
        border: round $border-blurred; border-title-color: $atts-title; padding: 0 1; background: $background;
    }
    TextPane:focus-within { border: round $border; }
    TextPane StepText { height: 1fr; }
    TextPane.-compact VerdictLine { display: none; }
    TextPane.-compact { border: none; border-top: solid $border-blurred; padding: 0; }
    TextPane.-compact:focus-within { border-top: solid $border; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._text, self._verdict = StepText(id="text-rows"), VerdictLine()

    def compose(self) -> ComposeResult:
        """Two widgets, however long the text is."""
        yield from (self._text, self._verdict)

    def sync(self, view: View) -> None:
        """Show the view."""
        sample = view.sample
        title = "Text" if sample is None else f"Sample {sample.index + 1}"
        verdict = sample.last_verdict if sample is not None else None
        if self.has_class("-compact") and verdict is not None:
            said = words.explain_short(verdict)
            title += view.glyphs.safe(f", {said[0].lower()}{said[1:]}")
        elif sample is not None and view.follow and view.problem is not None and not view.problem.finished:
            title += ", following the newest take-over"
        if self.border_title != title:
            self.border_title = title
        self._text.sync(view)
        self._verdict.sync(view)
