"""Attaching to a run: the state as it is now, and what follows, as if the engine were in this process."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

from atts_core import events as ev
from atts_core.errors import RunError
from atts_core.runs import commands, schema
from atts_core.runs.details import read_details
from atts_core.runs.file import AT_ONCE, About, RunFile
from atts_core.runs.presence import Life
from atts_core.state import ProblemState, RunState

POLL_SECONDS = 0.1
"""Between two looks into the file: the engine writes as often."""
LOOK_SECONDS = 1.0
"""Between two looks for the engine."""


class RunReader:
    """A viewer of a run file, with the interface of `bus.Subscription`.

    `state` is the state at the moment of opening; folding what `drain` gives into it keeps it up to date.
    Any number of viewers may read while the engine writes; none waits for another.
    """

    def __init__(self, file: RunFile) -> None:
        """Attach to an open file, which belongs to the reader from now on."""
        self._file = file
        last = file.last()
        self.state, self._gate = file.state_and_gate(last)
        self._ordinal = last.ordinal
        self._pending: list[ev.Stamped] = []
        self._engine: Life = file.engine
        self._looked_at = time.monotonic()
        self.closed = False

    @classmethod
    def open(cls, path: Path) -> "RunReader":
        """Attach to a run file.

        Raises:
            SettingsError: there is none, it is no run file, it is of a newer version, or another machine
                writes it.
        """
        return cls(RunFile.open_here(path))

    @property
    def about(self) -> About:
        """What the run is."""
        return self._file.about

    @property
    def trouble(self) -> str:
        """Where and why a damaged file ends; empty for a whole one."""
        return self._file.trouble

    @property
    def engine(self) -> Life:
        """What has become of the engine, as of the last second."""
        if time.monotonic() - self._looked_at >= LOOK_SECONDS:
            self._engine, self._looked_at = self._file.engine, time.monotonic()
        return self._engine

    def __len__(self) -> int:
        """Events waiting."""
        if self.closed:
            return len(self._pending)
        self._poll()
        behind = self._file.last().ordinal - self._ordinal if len(self._pending) >= AT_ONCE else 0
        return len(self._pending) + max(behind, 0)

    def drain(self) -> list[ev.Stamped]:
        """What waits, oldest first, at most `AT_ONCE` events; never blocks."""
        if not self.closed:
            self._poll()
        pending, self._pending = self._pending, []
        return pending

    async def batches(self) -> AsyncIterator[list[ev.Stamped]]:
        """Non-empty batches as they come, until the engine ended or is gone and all is read."""
        while not self.closed:
            over = self._file.engine in ("ended", "gone")
            if batch := self.drain():
                yield batch
            elif over:
                return
            else:
                await asyncio.sleep(POLL_SECONDS)

    def details(self, state: RunState, problem: int) -> ProblemState | None:
        """A problem's turns and texts, which `state` has put away; None where the file cannot give them."""
        return read_details(self._file, state, problem)

    def close(self) -> None:
        """Let the file go; what waits can still be drained."""
        if not self.closed:
            self.closed = True
            self._file.close()

    def send(self, command: commands.AnyCommand) -> None:
        """Ask something of the engine, which answers in the event stream.

        Raises:
            RunError: there is no engine that could hear it, or the file cannot be written.
        """
        send(self._file, command)

    def _poll(self) -> None:
        if len(self._pending) < AT_ONCE:
            stamps = self._file.read(self._ordinal, self._gate, limit=AT_ONCE - len(self._pending))
            self._ordinal += len(stamps)
            self._pending += stamps


def send(file: RunFile, command: commands.AnyCommand) -> None:
    """Leave a wish in a run file for its engine.

    Raises:
        RunError: there is no engine that could hear it, or the file cannot be written.
    """
    if file.engine not in ("alive", "stalled"):
        raise RunError(f"The engine of {file.path.stem} is not running; nobody would hear this.")
    try:
        connection = schema.open_for_writing(file.path)
        try:
            connection.execute(
                "INSERT INTO commands (asked, body) VALUES (?, ?)", (time.time(), commands.encode(command))
            )
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise RunError(f"The wish cannot be left in {file.path}: {schema.reason(error)}.") from None
