"""A viewer's end of the pipes to its web server: where those close, the screen ends."""

import contextlib
import os
from functools import partial
from typing import TYPE_CHECKING, Any

from textual.drivers.web_driver import WebDriver

from atts_tui.driver import TerminalGone

if TYPE_CHECKING:
    from textual.app import App


class ViewerDriver(WebDriver):
    """Textual's driver stops listening when its server is gone, and leaves the process there for good."""

    def __init__(
        self, app: "App[Any]", *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        """As Textual makes it."""
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self._write = partial(self._put)

    def _put(self, data: bytes) -> int:
        with contextlib.suppress(BrokenPipeError):  # the other pipe says so as well, and ends the screen
            return os.write(self.fileno, data)
        return 0

    def run_input_thread(self) -> None:
        """Listen until the screen ends, or the server does."""
        super().run_input_thread()
        if not self.exit_event.is_set():
            with contextlib.suppress(RuntimeError):  # its loop is closed: nobody is left to be told
                self._app.post_message(TerminalGone())
