"""Asks before something is done that cannot be undone."""

from typing import ClassVar

from textual.binding import Binding, BindingType

from atts_tui.screens.overlay import Overlay
from atts_tui.view import View
from atts_tui.widgets.rows import Row, paragraph

WIDTH = 50


class Confirm(Overlay):
    """A question; the screen's result is True for yes, False for no, and None where it was not answered."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "dismiss(True)", "yes"),
        Binding("n", "dismiss(False)", "no"),
        Binding("escape,q", "dismiss(None)", "neither"),
    ]

    def __init__(self, view: View, title: str, question: str, yes: str, no: str) -> None:
        palette = view.palette
        rows: list[Row] = paragraph(question, WIDTH, palette.text)
        rows.append((("", palette.text),))
        rows.append(
            (
                ("y", palette.accent),
                (f" {yes}     ", palette.text),
                ("n", palette.accent),
                (f" {no}", palette.text),
            )
        )
        super().__init__(view, title, rows, WIDTH)


class ConfirmQuit(Confirm):
    """Whether to quit and so end the run; asking to quit a second time says yes as well."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "dismiss(True)", "quit"),
        Binding("d", "let_go", "let it go on by itself"),
    ]

    def __init__(self, view: View) -> None:
        state = view.state
        self.lets_go = False
        """Whether, with a yes, the run is to go on without this screen."""
        self._begun = state.run is not None
        running = state.samples_total - state.samples_ended
        said = f"{running} of {state.samples_total} samples have not ended. " if state.samples_total else ""
        super().__init__(
            view, "Quit?", said + "Quitting stops the run; what is finished is kept.", "quit", "stay"
        )
        palette = view.palette
        if self._begun:
            self._page_rows.append(
                (("d", palette.accent), (" let it go on by itself, for `atts watch`", palette.text))
            )
        else:
            said = "It has not begun, so it cannot go on by itself yet."
            self._page_rows += paragraph(said, WIDTH, palette.muted)

    def action_let_go(self) -> None:
        """Quit, and let the run go on by itself."""
        if self._begun:
            self.lets_go = True
            self.dismiss(True)
