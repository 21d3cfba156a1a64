"""The help screen: what is seen, and every key, from the registry of actions."""

from typing import ClassVar

from rich.style import Style
from textual.binding import Binding, BindingType

from atts_tui.actions import GROUPS, Bound
from atts_tui.pages import page
from atts_tui.screens.overlay import Overlay
from atts_tui.view import View
from atts_tui.widgets.rows import Row, paragraph

WIDTH = 84
KEY_CELLS = 12


class HelpScreen(Overlay):
    """Closed by the key that opened it, by escape and by `q`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,f1", "dismiss(False)", "close"),
    ]

    def __init__(self, view: View, shown: str, actions: list[Bound], width: int) -> None:
        """`shown` is the page that is explained, `actions` what can be done there."""
        room = max(min(WIDTH, width - 12), 30)
        super().__init__(view, f"Help: {page(shown).title}", help_rows(view, shown, actions, room), room)


def help_rows(view: View, shown: str, actions: list[Bound], width: int) -> list[Row]:
    """All lines of the help for a page."""
    palette, glyphs = view.palette, view.glyphs
    blank: Row = (("", palette.text),)
    rows: list[Row] = [(("This screen", palette.strong),)]
    rows += paragraph(page(shown).help, width, palette.text)
    rows += [blank, (("What happens", palette.strong),)]
    explained = (
        "A small, fast draft model reasons step by step, in many samples at once. A large target model reads "
        "each step once and measures how surprising it finds it. A step that is more surprising than most of "
        "those it was calibrated on is not trusted: the target takes over and writes on its own. All other "
        "steps are accepted as they are. So most words come from the cheap model, and the costly one steps "
        "in where it matters. Each sample that finds an answer votes; the answer with most votes wins."
    )
    rows += paragraph(explained, width, palette.text)
    rows.append(blank)
    signs = (
        (glyphs.accept, palette.draft, "the draft's step was accepted; brighter: more surprising"),
        (glyphs.take_over, palette.target, "the target took over; brighter: more surprising"),
        (glyphs.unverifiable, palette.warning, "the step could not be checked, so the target took over"),
        (glyphs.draft, palette.draft, "the draft writes"),
        (glyphs.verify, palette.text, "the target checks"),
        (glyphs.target, palette.target, "the target writes"),
        (glyphs.queued, palette.muted, "waits for a free place at a server"),
        (glyphs.threshold, palette.threshold, "alpha: steps with a p above it are taken over"),
    )
    for glyph, style, said in signs:
        rows += _explained(glyph.ljust(4), style, said, width, palette.text)
    rows.append(blank)
    words = (
        ("p", "the share of calibration steps that surprised the target no more than it"),
        ("PPL", "perplexity: how surprising the target finds a step; 1 is not at all"),
        ("alpha", "the p above which the target takes over; 1 - alpha is the rate asked for"),
    )
    for term, said in words:
        rows += _explained(term.ljust(8), palette.strong, said, width, palette.text)
    for group in GROUPS:
        listed = [bound for bound in actions if bound.keys and bound.action.group == group]
        if listed:
            rows += [blank, ((group, palette.strong),)]
        for bound in listed:
            keys = glyphs.safe(bound.shown).ljust(KEY_CELLS)
            rows += _explained(keys, palette.accent, bound.action.help, width, palette.text)
    return rows


def _explained(term: str, style: Style, said: str, width: int, plain: Style) -> list[Row]:
    """A term, and beside it as many lines as it takes to say what it means."""
    first, *others = paragraph(said, width - len(term), plain)
    return [((term, style), *first), *(((" " * len(term), plain), *line) for line in others)]
