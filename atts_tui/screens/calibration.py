"""The Calibration screen: what is promised, what came of it, what another alpha would have done."""

from typing import ClassVar

from rich.style import Style
from textual.widget import Widget

from atts_core.conformal.intervals import Estimate, number_interval
from atts_core.events import CalibrationCard
from atts_core.percent import percent
from atts_tui import words
from atts_tui.figures import CalibrationFigures
from atts_tui.layout.calibration import arrange_calibration
from atts_tui.layout.frame import Rect
from atts_tui.screens.measured import MeasuredScreen
from atts_tui.text import clean_line
from atts_tui.view import View
from atts_tui.widgets.alpha_slider import AlphaSlider
from atts_tui.widgets.ppl_histogram import PplHistogram
from atts_tui.widgets.row_pane import RowPane
from atts_tui.widgets.rows import Row, paragraph
from atts_tui.widgets.share_history import ShareHistory

BAR_CELLS = 24
TERM = 10
"""Cells of the words before what they stand for."""
FAR = 10
"""Hundredths that the far keys move alpha by."""


class CalibrationScreen(MeasuredScreen):
    """Histogram and slider, rates by turn and over time, identity, and whether to trust it."""

    PAGE = "calibration"
    QUICK: ClassVar[frozenset[str]] = frozenset()

    def make_panes(self) -> dict[str, Widget]:
        """The slider has the focus."""
        self.figures = CalibrationFigures()
        self._compact = False
        return {
            "slider": AlphaSlider(self.figures, id="slider"),
            "histogram": PplHistogram(self.figures, id="histogram"),
            "turns": RowPane(self._turns, self._key, title="Taken over by turn", id="turns"),
            "history": ShareHistory(self.figures, id="history"),
            "identity": RowPane(self._identity, self._key, title="The calibration", id="identity"),
            "trust": RowPane(self._trust, self._key, title="Can it be trusted?", id="trust"),
        }

    def place(self, _view: View, body: Rect, *, compact: bool) -> dict[str, Rect]:
        """Without frames the words share one pane."""
        if compact != self._compact:
            self._compact = compact
            self.figures.version += 1
        return arrange_calibration(body, compact=compact)

    def measure(self, view: View) -> bool:
        """Take in what was decided."""
        self.figures.measure(view)
        return self.figures.behind > 0

    def _key(self, _: View) -> int:
        return self.figures.version

    def _turns(self, view: View, width: int) -> list[Row]:
        return turn_rows(view, self.figures, width)

    def _identity(self, view: View, width: int) -> list[Row]:
        return identity_rows(view, width)

    def _trust(self, view: View, width: int) -> list[Row]:
        rows = trust_rows(view, self.figures, width)
        if self._compact:
            rows += [(("", view.palette.text),), *identity_rows(view, width)]
        return rows

    def action_alpha_down(self) -> None:
        """One hundredth lower."""
        self._step(-1)

    def action_alpha_up(self) -> None:
        """One hundredth higher."""
        self._step(1)

    def action_alpha_down_far(self) -> None:
        """A tenth lower."""
        self._step(-FAR)

    def action_alpha_up_far(self) -> None:
        """A tenth higher."""
        self._step(FAR)

    def action_alpha_own(self) -> None:
        """Back to the run's own."""
        self.figures.choose(None)
        self.redraw()

    def on_alpha_slider_moved(self, message: AlphaSlider.Moved) -> None:
        """The mouse points at an alpha."""
        self.figures.choose(message.alpha)
        self.redraw()

    def _step(self, steps: int) -> None:
        self.figures.step(steps)
        self.redraw()


def turn_rows(view: View, figures: CalibrationFigures, width: int) -> list[Row]:
    """Realised against nominal, overall and turn by turn, with intervals by problem."""
    palette = view.palette
    found = figures.realised
    card = _card(view)
    if figures.behind or found is None or not found.decisions or card is None:
        return paragraph(figures.why_empty, width, palette.muted)
    nominal = card.nominal
    bar = min(max(width - 38, 0), 40)
    head = "".ljust(9) + "steps".rjust(7) + "share".rjust(8) + "  95 % interval"
    rows: list[Row] = [((head[: max(width, 0)], palette.muted),)]
    rows.append(_share_row(view, "all", found.decisions, found.overall, nominal, bar))
    rows += [
        _share_row(view, f"turn {turn.turn + 1}", turn.decisions, turn.share, nominal, bar)
        for turn in found.by_turn
    ]
    return rows


def _share_row(view: View, name: str, count: int, share: Estimate, nominal: float, cells: int) -> Row:
    """A rate, its interval, and both as a bar with a mark where the nominal rate is."""
    palette, glyphs = view.palette, view.glyphs
    label = name.ljust(9) + words.number(count).rjust(7)
    if share.value is None or share.low is None or share.high is None:
        return ((label, palette.muted),)
    held = share.low <= nominal <= share.high
    interval = f"{share.low * 100:.0f} to {share.high * 100:.0f} %".rjust(13)
    row: list[tuple[str, Style]] = [
        (label, palette.muted),
        (f"{share.value * 100:>6.1f} %", palette.strong if held else palette.warning),
        (interval + (" " if held else view.glyphs.lost), palette.text if held else palette.warning),
    ]
    if cells >= 8:
        bar = [glyphs.bar_rest] * cells
        low, high = (min(int(edge * cells), cells - 1) for edge in (share.low, share.high))
        bar[low : high + 1] = [glyphs.bar] * (high - low + 1)
        mark = min(int(nominal * cells), cells - 1)
        row += [
            (" " + "".join(bar[:mark]), palette.target),
            (glyphs.tick, palette.threshold),
            ("".join(bar[mark + 1 :]), palette.target),
        ]
    return tuple(row)


def trust_rows(view: View, figures: CalibrationFigures, width: int) -> list[Row]:
    """Whether calibration and run belong together, and whether PPL says anything of a chain."""
    palette, state = view.palette, view.state
    blank: Row = (("", palette.text),)
    rows: list[Row] = []
    card = _card(view)
    if state.drift is not None:
        rows.append(((f"{view.glyphs.lost} drift", palette.error),))
        rows += paragraph(clean_line(state.drift.message), width, palette.error)
    elif card is not None and card.size:
        rows.append(((f"{view.glyphs.right} no drift seen", palette.right),))
        said = "Tested on the first step of every sample: are calibration and run exchangeable?"
        rows += paragraph(said, width, palette.muted)
    else:
        rows.append((("drift is not tested", palette.muted),))
        rows += paragraph("There is no calibration that the run could differ from.", width, palette.muted)
    rows += [blank, (("Does PPL tell wrong chains from right ones?", palette.strong),)]
    signal = figures.signal
    if signal is None:
        return [*rows, *paragraph("Not known before the first samples have ended.", width, palette.muted)]
    rows += paragraph(signal.verdict, width, palette.text)
    if signal.auroc.value is None:
        return rows
    over, inside = number_interval(signal.auroc), signal.auroc_within
    within = "not known" if inside.value is None else number_interval(inside)
    said = (
        f"AUROC {over} over all, {within} within problems (0.5 is chance); {signal.chains:,} chains, judged"
        f" by {figures.judged_by}."
    )
    return [*rows, *paragraph(said, width, palette.muted)]


def identity_rows(view: View, width: int) -> list[Row]:
    """What is promised, and what the scores are, as far as they say."""
    palette = view.palette
    card = _card(view)
    if card is None:
        none = "The run has not begun: there is nothing to rank steps against yet."
        if view.state.run is not None:
            none = "This run collects scores and decides nothing."
        return paragraph(none, width, palette.muted)
    rows: list[Row] = []
    for term, said in _terms(card):
        lines = paragraph(clean_line(said), width - TERM, palette.text)
        rows.append(((term.ljust(TERM), palette.muted), *lines[0]))
        rows += [((" " * TERM, palette.muted), *line) for line in lines[1:]]
    return rows


def _terms(card: CalibrationCard) -> list[tuple[str, str]]:
    adapts = {"off": "fixed", "one": "adapts", "per-turn": "adapts for each turn"}.get(card.adaptation, "")
    size = f"{card.size:,} of {card.problems:,} problems" if card.size else "those of this run only"
    known = card.identity

    def told(*names: str) -> str:
        return ", ".join(str(known[name]) for name in names if name in known)

    found = [
        ("alpha", f"{card.alpha:g}, {adapts}: take over {percent(card.nominal)} of the steps"),
        ("mode", f"{card.mode}, rule {card.rule}"),
        ("scores", size),
        ("from", f"{card.source}" + (f", {card.created}" if card.created else "")),
        ("hash", card.fingerprint),
        ("data set", told("dataset", "dataset_fingerprint")),
        ("models", f"{told('draft_model')} → {told('target_model')}" if "draft_model" in known else ""),
        ("template", " / ".join(str(known[f"{role}_tokenizer"])[:12] for role in ("draft", "target")
                                if f"{role}_tokenizer" in known)),
        ("tokens", f"{told('draft_tokens')} draft, {told('target_tokens')} target a step"
                   if "draft_tokens" in known else ""),
        ("settings", f"temperature {told('temperature')}" if "temperature" in known else ""),
        ("take-over", told("takeover")),
        ("promise", f"{card.promise} {card.limits}"),
    ]  # fmt: skip
    return [(term, said) for term, said in found if said.strip()]


def _card(view: View) -> CalibrationCard | None:
    return view.state.run.calibration if view.state.run is not None else None
