"""Asks before an unfinished run is ended."""

from typing import ClassVar

from textual.binding import Binding, BindingType

from atts_tui.screens.overlay import Overlay
from atts_tui.view import View
from atts_tui.widgets.rows import Row, paragraph

WIDTH = 50


class ConfirmQuit(Overlay):
    """True where the person wants to quit; asking to quit a second time says so as well."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "dismiss(True)", "quit"),
        Binding("n,escape", "dismiss(False)", "stay"),
    ]

    def __init__(self, view: View) -> None:
        palette = view.palette
        state = view.state
        running = state.samples_total - state.samples_ended
        said = f"{running} of {state.samples_total} samples have not ended. " if state.samples_total else ""
        rows: list[Row] = paragraph(
            said + "Quitting stops the run; what is finished is kept.", WIDTH, palette.text
        )
        rows.append((("", palette.text),))
        rows.append(
            (
                ("y", palette.accent),
                (" quit     ", palette.text),
                ("n", palette.accent),
                (" stay", palette.text),
            )
        )
        super().__init__(view, "Quit?", rows, WIDTH)
