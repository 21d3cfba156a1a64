"""The Calibration screen: what is promised, what came of it, and whether PPL tells wrong chains at all."""

from textual.widget import Widget

from atts_core.conformal.intervals import Estimate
from atts_core.conformal.live import realised, signal_so_far
from atts_tui.layout.frame import Rect
from atts_tui.screens.run_screen import RunScreen
from atts_tui.text import clean_line
from atts_tui.view import View
from atts_tui.widgets.row_pane import RowPane
from atts_tui.widgets.rows import Row, paragraph

WIDTH = 92
BAR_CELLS = 24
TURNS_AT_MOST = 40


class CalibrationScreen(RunScreen):
    """One pane of lines."""

    PAGE = "calibration"

    def make_panes(self) -> dict[str, Widget]:
        """All lines scroll together."""
        return {
            "page": RowPane(
                lambda view, width: calibration_rows(view, min(width, WIDTH)),
                lambda view: (view.state.seq, view.epoch),
                title="Calibration",
                id="page",
            )
        }

    def place(self, _view: View, body: Rect, *, compact: bool) -> dict[str, Rect]:  # noqa: ARG002
        """The pane fills the body."""
        return {"page": body}


def calibration_rows(view: View, width: int) -> list[Row]:
    """All lines of the page."""
    palette, state = view.palette, view.state
    card = state.run.calibration if state.run is not None else None
    blank: Row = (("", palette.text),)
    if card is None:
        return paragraph(
            "The run has not begun: there is nothing to rank steps against yet.", width, palette.text
        )
    rows: list[Row] = [(("What is promised", palette.strong),)]
    rows += paragraph(card.promise, width, palette.text)
    rows += paragraph(card.limits, width, palette.muted)
    rows += [blank, (("What steps are ranked against", palette.strong),)]
    size = (
        f"{card.size:,} scores of {card.problems:,} problems" if card.size else "the scores of this run only"
    )
    adaptation = {"off": "fixed", "one": "adapts", "per-turn": "adapts for each turn"}.get(
        card.adaptation, ""
    )
    for term, said in (
        ("mode", f"{card.mode}, rule {card.rule}"),
        ("alpha", f"{card.alpha:g}, {adaptation}: {card.nominal:.0%} of the steps are to be taken over"),
        ("scores", size),
        ("from", clean_line(card.source) + (f", fingerprint {card.fingerprint}" if card.fingerprint else "")),
    ):
        lines = paragraph(said, width - 8, palette.text)
        rows.append(((term.ljust(8), palette.muted), *lines[0]))
        rows += [((" " * 8, palette.muted), *line) for line in lines[1:]]
    rows += [blank, (("Taken over so far, with 95 % intervals over problems", palette.strong),)]
    found = realised(state)
    rows.append(_share_row(view, "all", found.decisions, found.overall, card.nominal))
    rows += [
        _share_row(view, f"turn {turn.turn + 1}", turn.decisions, turn.share, card.nominal)
        for turn in found.by_turn[:TURNS_AT_MOST]
    ]
    rows += [blank, (("Do calibration and run belong together?", palette.strong),)]
    if state.drift is not None:
        rows += paragraph(state.drift.message, width, palette.error)
    else:
        said = (
            "No alarm. The test looks at the first step of every sample and raises one where calibration and "
            "run are not exchangeable."
        )
        rows += paragraph(said, width, palette.text)
    rows += [blank, (("Does PPL tell wrong chains from right ones?", palette.strong),)]
    signal, judged_by = signal_so_far(state)
    if signal is None:
        rows += paragraph("Not known before the first samples have ended.", width, palette.text)
    else:
        over, within = _interval(signal.auroc), _interval(signal.auroc_within)
        rows += paragraph(
            f"AUROC of a chain's mean PPL, judged by {judged_by}: {over} over all, {within} within problems "
            "(0.5 is chance).",
            width,
            palette.text,
        )
        rows += paragraph(signal.verdict, width, palette.text)
    return rows


def _share_row(view: View, name: str, count: int, share: Estimate, nominal: float) -> Row:
    """A rate, its interval, and both as a bar with a mark where the nominal rate is."""
    palette, glyphs = view.palette, view.glyphs
    label = name.ljust(9) + f"{count:>7,} "
    if share.value is None or share.low is None or share.high is None:
        return ((label, palette.muted), ("  no decisions yet", palette.muted))
    cells = [glyphs.bar_rest] * BAR_CELLS
    low, high = (min(int(edge * BAR_CELLS), BAR_CELLS - 1) for edge in (share.low, share.high))
    cells[low : high + 1] = [glyphs.bar] * (high - low + 1)
    mark = min(int(nominal * BAR_CELLS), BAR_CELLS - 1)
    held = share.low <= nominal <= share.high
    return (
        (label, palette.muted),
        (f"{share.value:>5.1%}".rjust(7), palette.strong if held else palette.warning),
        (f"  {share.low:>4.0%} to {share.high:>4.0%}  ", palette.text),
        ("".join(cells[:mark]), palette.target),
        (glyphs.tick, palette.threshold),
        ("".join(cells[mark + 1 :]), palette.target),
        ("" if held else "  off nominal", palette.warning),
    )


def _interval(estimate: Estimate) -> str:
    if estimate.value is None:
        return "not known"
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"
