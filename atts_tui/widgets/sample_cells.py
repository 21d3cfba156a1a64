"""The sign of one turn of a sample, which lanes, heat map and plain list have in common."""

from textual.message import Message

from atts_core.state import SampleState, Turn
from atts_core.verdict_words import suspicion
from atts_tui.palette import Glyphs
from atts_tui.view import View
from atts_tui.widgets.rows import Part


class SamplePicked(Message):
    """The person pointed at a sample."""

    def __init__(self, sample: int) -> None:
        super().__init__()
        self.sample = sample


def turn_cell(view: View, sample: SampleState, turn: Turn, *, last: bool) -> Part:
    """The glyph of one turn and its style."""
    palette, glyphs = view.palette, view.glyphs
    verdict = turn.verdict
    if verdict is not None:
        style = palette.shade(verdict.verdict, *suspicion(verdict))
        if verdict.verdict == "accept":
            return glyphs.accept, style
        if last and sample.end is None and sample.phase in {"target", "between", "queued"}:
            return glyphs.target, style
        return (glyphs.take_over if verdict.verdict == "take-over" else glyphs.unverifiable), style
    if not last or sample.end is not None:
        return _unjudged(view, turn)
    return _running(glyphs, sample), palette.muted if sample.phase != "draft" else palette.accept[1]


def _unjudged(view: View, turn: Turn) -> Part:
    """A finished turn without a verdict: by whom it was written, where the strategy has none at all."""
    palette, glyphs = view.palette, view.glyphs
    if any(span.stage == "target" for span in turn.spans):
        return glyphs.take_over, palette.target
    if turn.spans and view.state.run is not None and view.state.run.calibration is None:
        return glyphs.accept, palette.draft
    return (glyphs.scored if turn.spans else glyphs.open_turn), palette.muted


def _running(glyphs: Glyphs, sample: SampleState) -> str:
    return {"draft": glyphs.draft, "verify": glyphs.verify, "target": glyphs.target}.get(
        sample.phase, glyphs.queued if sample.phase == "queued" else glyphs.draft
    )
