"""One line for each server that is starting: for how long, and what it does."""

import shutil
import time
from types import TracebackType
from typing import Self, TextIO

from atts_tui.text import clean_line, shorten

REDRAW = 0.2
"""Seconds between redraws on a terminal."""
WIDTH = 100
"""Columns at most; a line that wraps could not be drawn over."""


class Starting:
    """On a terminal the lines are redrawn in place; elsewhere one is printed when it says something new."""

    def __init__(self, labels: list[str], out: TextIO) -> None:
        self._words = dict.fromkeys(labels, "waits")
        self._out = out
        self._began = time.monotonic()
        self._until: dict[str, float] = {}
        self._live = out.isatty()
        self._drawn = 0.0
        self._lines = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._draw()

    def tell(self, label: str, words: str) -> None:
        """What a server does now."""
        words = clean_line(words)
        new = self._words[label] != words
        self._words[label] = words
        if new and words == "answering":
            self._until[label] = time.monotonic()
        if not self._live:
            if new:
                self._out.write(f"{self._line(label)}\n")
                self._out.flush()
        elif time.monotonic() - self._drawn >= REDRAW:
            self._draw()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        up = f"\x1b[{self._lines}A" if self._lines else ""
        self._out.write(up + "".join(f"\r\x1b[2K{self._line(label)}\n" for label in self._words))
        self._out.flush()
        self._lines = len(self._words)

    def _line(self, label: str) -> str:
        width = max(map(len, self._words))
        seconds = self._until.get(label, time.monotonic()) - self._began
        line = f"{label:<{width}}  {seconds:4.0f} s  {self._words[label]}"
        most = min(WIDTH, shutil.get_terminal_size().columns - 1) if self._live else WIDTH
        return shorten(line, most)
