"""Taking something away from the screen: text into the clipboard, a picture or a long text into a file."""

import re
from io import StringIO
from pathlib import Path

from atts_core.state import RunState
from atts_tui.screens.run_screen import RunScreen
from atts_tui.themed import Themed

CLIPBOARD_AT_MOST = 74_000
"""Bytes of text that the copy sequence (OSC 52) carries in common terminals; more goes to a file."""

NAME_AT_MOST = 80
"""Letters of a run's name in the name of a file; a run file may hold any name."""


class TakeAway(Themed):
    """The part of the application that knows of clipboard and files."""

    state: RunState
    _export_folder: Path | None

    def on_run_screen_said(self, message: RunScreen.Said) -> None:
        """A screen has something to say."""
        self._say(message.said)

    def on_run_screen_copied(self, message: RunScreen.Copied) -> None:
        """A screen has something to copy."""
        name, text = message.name, message.text
        if not text:
            self._say("There is no text to copy yet.")
            return
        if len(text.encode()) > CLIPBOARD_AT_MOST:
            self._write(name.replace(" ", "-"), "txt", text, f"{name} is too long for the clipboard")
            return
        self.copy_to_clipboard(text)
        self._say(
            f"Sent {name} ({len(text):,} characters) to the terminal's clipboard. If pasting gives something "
            "else, the terminal does not allow it (in tmux: set -g set-clipboard on)."
        )

    def action_export(self) -> None:
        """Save a picture of the screen."""
        self._write("screen", "svg", self.export_screenshot(title="atts"), "Picture")

    def _write(self, what: str, ending: str, text: str, said: str) -> None:
        """Write a new file beside those that exist, and say where."""
        run = self.state.run.run if self.state.run is not None else "run"
        safe = re.sub(r"[^A-Za-z0-9_.-]", "-", run)[:NAME_AT_MOST]
        if self.is_web:  # the files of this machine are not those of who looks
            self.deliver_text(StringIO(text), save_filename=f"atts-{safe}-{what}.{ending}")
            self._say(f"{said}: sent to the browser, which keeps it among its downloads.")
            return
        folder = self._export_folder if self._export_folder is not None else Path.cwd()
        path, number = folder, 1
        try:
            folder.mkdir(parents=True, exist_ok=True)
            while (path := folder / f"atts-{safe}-{what}-{number}.{ending}").exists():
                number += 1
            path.write_text(text, "utf-8")
        except OSError as error:
            self.notify(f"{path} could not be written: {error.strerror}", severity="error", markup=False)
        else:
            self._say(f"{said}: written to {path}")
