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

    BINDINGS: ClassVar[list[BindingType]] = [Binding("q", "dismiss(True)", "quit")]

    def __init__(self, view: View) -> None:
        state = view.state
        running = state.samples_total - state.samples_ended
        said = f"{running} of {state.samples_total} samples have not ended. " if state.samples_total else ""
        super().__init__(
            view, "Quit?", said + "Quitting stops the run; what is finished is kept.", "quit", "stay"
        )
