"""A terminal driver that neither a terminal that is gone nor one that reads nothing can hold up.

Textual's own driver hands at most 30 pieces to a thread that ends with the terminal's first error; the next
piece then stops the event loop for good, and with it the run, its signals and its end.
"""

import contextlib
import os
import select
import signal
import termios
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

if TYPE_CHECKING:
    from textual.app import App

MOST_WAITING: Final = 1_000_000
"""Characters that may wait for the terminal; beyond them pictures are left out until it has read them."""
LOOK_SECONDS: Final = 0.5
"""How often a silent terminal is asked whether it is still there."""
PATIENCE: Final = 1.0
"""Seconds without any progress after which the last words to a terminal are given up."""
PIECE: Final = 4096


class TerminalGone(Message):
    """There is no terminal any more."""


class TerminalCaughtUp(Message):
    """The terminal has read what waited, but not all that was drawn meanwhile: draw everything."""


class Output(Thread):
    """Writes to a terminal from a thread of its own; whoever gives it text never waits."""

    def __init__(self, descriptor: int, tell: Callable[[Message], object]) -> None:
        """`tell` is called, from this thread, with what becomes of the terminal."""
        super().__init__(daemon=True, name="terminal-output")
        self._descriptor = descriptor
        self._tell = tell
        self._queue: SimpleQueue[str | None] = SimpleQueue()
        self._given = self._taken = 0
        self._left_out = False
        self.last_words = False
        """What is given from now on is never left out."""
        self.gone = False

    def write(self, text: str) -> None:
        """Give it text."""
        if self.gone:
            return
        if self._given - self._taken > MOST_WAITING and not self.last_words:
            self._left_out = True
            return
        self._given += len(text)
        self._queue.put(text)

    def stop(self) -> None:
        """Wait until everything is written, as long as the terminal takes any of it."""
        self._queue.put(None)
        taken = -1
        while self.is_alive() and taken != self._taken:
            taken = self._taken
            self.join(PATIENCE)

    def run(self) -> None:
        """The thread."""
        try:
            while self._next():
                pass
        except OSError:
            self.gone = True
            self._tell(TerminalGone())

    def _next(self) -> bool:
        """Write one text; False at the end.

        Raises:
            OSError: the terminal is gone.
        """
        try:
            text = self._queue.get(timeout=LOOK_SECONDS)
        except Empty:
            self._look()
            return True
        if text is None:
            return False
        for start in range(0, len(text), PIECE):
            piece = text[start : start + PIECE]
            self._put(piece.encode(errors="replace"))
            self._taken += len(piece)
        if self._left_out and self._taken == self._given:
            self._left_out = False
            self._tell(TerminalCaughtUp())
        return True

    def _put(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [], LOOK_SECONDS)

    def _look(self) -> None:
        poll = select.poll()
        poll.register(self._descriptor, 0)
        if any(seen & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, seen in poll.poll(0)):
            raise OSError


class TerminalDriver(LinuxDriver):
    """Textual's driver with an `Output`, and with the terminal's title given back at the end."""

    def __init__(
        self, app: "App[Any]", *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        """As Textual makes it."""
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self._output: Output | None = None
        self._title = ""
        self._titled = False

    def write(self, data: str) -> None:
        """Give the terminal text; never waits."""
        if self._output is not None:
            self._output.write(data)

    def entitle(self, said: str) -> None:
        """The terminal's title until the screen is left; the terminal keeps the one that it had (xterm)."""
        self._title = said
        if not self._titled:
            self._titled = True
            self.write("\x1b[22;0t")
        self.write(f"\x1b]2;{said}\x07")

    def start_application_mode(self) -> None:
        """The screen begins, or is there again after it was suspended."""
        assert self._file is not None  # noqa: S101  # the terminal, or this driver would not have been chosen
        if self._output is not None:  # begun in the background, and once more when the shell brought it back
            self._output.stop()
        self._output = Output(self._file.fileno(), self._told)
        self._output.start()
        super().start_application_mode()  # type: ignore[no-untyped-call]
        if self._title:
            self.entitle(self._title)

    def stop_application_mode(self) -> None:
        """The terminal as it was."""
        if self._output is not None:
            self._output.last_words = True
        if self._titled:
            self._titled = False
            self.write("\x1b[23;0t")
        super().stop_application_mode()

    def put_aside(self) -> None:
        """Stop this job, as the terminal would by ctrl-Z, until its shell goes on with it.

        The system stops no job that no shell could bring back: then this returns at once.
        """
        self.suspend_application_mode()
        numbers = (signal.SIGTSTP, signal.SIGCONT)
        heeded = [signal.signal(number, signal.SIG_DFL) for number in numbers]
        os.killpg(0, signal.SIGTSTP)
        for number, handler in zip(numbers, heeded, strict=True):
            signal.signal(number, handler)
        self._must_signal_resume = True
        self.resume_application_mode()

    def close(self) -> None:
        """The last words are said."""
        if self._output is not None:
            self._output.stop()
            if self._output.is_alive():  # what still waits in the kernel must not hold up whoever writes next
                with contextlib.suppress(termios.error):
                    termios.tcflush(self.fileno, termios.TCOFLUSH)
            self._output = None
        super().close()

    def _told(self, message: Message) -> None:
        with contextlib.suppress(RuntimeError):  # its loop is closed: nobody is left to be told
            self._app.post_message(message)
