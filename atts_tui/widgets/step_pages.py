"""Every step of one sample in full: who wrote it, how long each stage took, what was decided, its text."""

from bisect import bisect_right

from atts_core.events import VerdictReached
from atts_core.state import SampleState, Step, Turn
from atts_tui import words
from atts_tui.text import shorten, wrap
from atts_tui.view import View
from atts_tui.widgets.rows import Part, Row, paragraph
from atts_tui.widgets.step_text import StepText, highlit, shown_text

INDENT = 2


class StepPages(StepText):
    """The same lines as beside the lanes, with all that is known between them."""

    DEFAULT_CSS = """
    StepPages { border: round $border-blurred; border-title-color: $atts-title; padding: 0 1; }
    StepPages:focus { border: round $border; }
    StepPages.-compact { border: none; border-top: solid $border-blurred; padding: 0; }
    """

    def step_rows(
        self, view: View, sample: SampleState, step: Step, verdict: VerdictReached | None
    ) -> list[Row]:
        """A heading, the text, and what was decided about it."""
        width = self.row_width
        turn = sample.turns[step.turn] if step.turn < len(sample.turns) else Turn()
        rows = [heading(view, step, turn, width), *text_rows(view, step, width)]
        if verdict is not None:
            rows += verdict_rows(view, verdict, width)
        rows.append((("", view.palette.text),))
        return rows

    def _starts(self) -> list[int]:
        """The first row of each block."""
        starts, row = [], 0
        for block in self._blocks:
            starts.append(row)
            row += len(block.rows)
        return starts

    def current(self, sample: SampleState) -> int | None:
        """Which of the sample's steps is at the top of what is in sight; None where there is none."""
        place = bisect_right(self._starts(), self.top) - 1
        return place if 0 <= place < len(sample.steps) else None

    def move_step(self, sample: SampleState, by: int, *, take_overs: bool = False) -> bool:
        """Go to the next step, or to the next that the target wrote; whether there was one."""
        places = [
            row
            for row, step in zip(self._starts(), sample.steps, strict=False)
            if not take_overs or step.role == "target"
        ]
        beyond = [row for row in places if (row > self.top if by > 0 else row < self.top)]
        if not beyond or (by > 0 and self.at_end):
            return False
        self.move_to(beyond[0] if by > 0 else beyond[-1])
        return True


def heading(view: View, step: Step, turn: Turn, width: int) -> Row:
    """Turn, who wrote it, tokens and times."""
    palette, glyphs = view.palette, view.glyphs
    drafted = step.role == "draft"
    style = palette.muted if step.discarded else palette.draft if drafted else palette.target
    sign = (glyphs.draft if drafted else glyphs.target) if not step.complete else glyphs.margin
    who = "draft wrote" if drafted else "target took over and wrote"
    if not step.complete:
        who = "draft writes" if drafted else "target took over and writes"
    said = f"{who} {step.tokens:,} tokens"
    times = [f"{step.seconds:.2f} s"] if step.seconds is not None else []
    if step.first_token_seconds is not None and step.seconds:
        times.append(f"first token after {step.first_token_seconds:.2f} s")
        times.append(f"{step.tokens / step.seconds:,.0f} tokens/s")
    waited = waited_for(turn, "draft" if drafted else "target")
    if waited >= 0.005:
        times.append(f"waited {waited:.2f} s")
    if step.discarded:
        times.append("discarded")
    parts: list[Part] = [
        (f"{sign} turn {step.turn + 1:<3} ", style),
        (said, style),
    ]
    left = width - sum(len(text) for text, _ in parts) - len("   ")
    while times and len(", ".join(times)) > left:
        times.remove(max(times, key=len))  # whole ones, or none
    parts.append((f"   {', '.join(times)}" if times else "", palette.muted))
    room, fitted = width, list[Part]()
    for text, kind in parts:
        fitted.append((shorten(text, max(room, 0)), kind))
        room -= len(text)
    return tuple(fitted)


def waited_for(turn: Turn, stage: str) -> float:
    """Seconds between the stage before in the same turn and this one: for a free place at the server."""
    for before, span in zip(turn.spans, turn.spans[1:], strict=False):
        if span.stage == stage and before.end is not None:
            return span.start - before.end
    return 0.0


def text_rows(view: View, step: Step, width: int) -> list[Row]:
    """The text beside a bar in the colour of its model."""
    palette, glyphs = view.palette, view.glyphs
    text, boxes = shown_text(view, step)
    style = palette.discarded if step.discarded else palette.text
    bar = palette.muted if step.discarded else palette.draft if step.role == "draft" else palette.target
    edge = glyphs.margin_discarded if step.discarded else glyphs.margin
    boxed = style if step.discarded else palette.boxed
    rows: list[Row] = []
    for start, end in wrap(text, max(width - INDENT - 1, 2)):
        rows.append(((edge + " ", bar), *highlit(text, start, end, boxes, style, boxed)))
    if not step.complete and rows:
        rows[-1] = (*rows[-1], (glyphs.cursor, bar))
    return rows


def verdict_rows(view: View, verdict: VerdictReached, width: int) -> list[Row]:
    """The numbers of a decision, and the decision in words."""
    palette, glyphs = view.palette, view.glyphs
    accepted = verdict.verdict == "accept"
    style = palette.draft if accepted else palette.target
    sign = glyphs.accept if accepted else glyphs.take_over
    numbers = [f"PPL {words.ppl(verdict.ppl)}", f"p {_exact(verdict.p)}", f"alpha {verdict.alpha:.3f}"]
    if verdict.threshold is not None:
        numbers.append(f"limit PPL {words.ppl(verdict.threshold)}")
    if verdict.u is not None:
        numbers.append(f"u {verdict.u:.3f}")
    checked = f"{verdict.tokens:,} tokens checked in {verdict.seconds:.2f} s"
    numbers += [checked, f"{verdict.mode} mode, {verdict.size:,} scores"]
    lines = paragraph(words.explain(verdict), width - INDENT, style)
    lines += paragraph("   ".join(numbers), width - INDENT, palette.muted)
    return [((f"{'' if number else sign:<{INDENT}}", style), *line) for number, line in enumerate(lines)]


def _exact(p: float | None) -> str:
    return "–" if p is None else f"{p:.4f}"
