"""The subscriber of the bus that writes a run to its file, off the event loop's path.

The event loop only hands over what waits, ten times a second; a thread merges, encodes and writes. Events
published together, without the loop coming round between them, are written in one transaction: a run file
never holds a sample's end without the vote that it changed. What cannot be written is kept and tried again,
and the engine is told to pause meanwhile; `written` names the last event that is safe on the disk.
"""

import asyncio
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from atts_core import events as ev
from atts_core.bus import Bus
from atts_core.errors import RunError
from atts_core.runs import schema
from atts_core.runs.commands import AnyCommand
from atts_core.runs.writer import RunWriter

HAND_OVER_SECONDS = 0.1
"""Between two batches: what a kill or a power cut costs at most, besides the write itself."""
BEAT_SECONDS = 1.0
"""Between two signs of life."""
FIRST_RETRY, LAST_RETRY = 0.25, 5.0
"""Seconds before the first and between later attempts to write what could not be written."""
CLOSE_SECONDS = 10.0
"""How long the end of a run waits for a file that cannot be written before it gives up."""
_A_MOMENT = 50e-6
"""Seconds asleep: long enough that the event loop's thread, if it waits, is the next to run."""


def breathe() -> None:
    """Let the other threads run."""
    time.sleep(_A_MOMENT)


class Recorder:
    """Use as an async context around the run, from before its first event; leaving it writes what is left.

    The callbacks run in the event loop. Leaving raises RunError where events could not be written in the end.
    """

    def __init__(
        self,
        bus: Bus,
        writer: RunWriter,
        *,
        on_command: Callable[[AnyCommand], None],
        on_trouble: Callable[[str], None],
        on_cleared: Callable[[], None],
    ) -> None:
        """`on_trouble` is told in a sentence why the file cannot be written: pause the run; `on_cleared` once
        everything is written again. `writer` belongs to the recorder from now on."""
        self._subscription = bus.subscribe()
        self._writer = writer
        self._on_command = on_command
        self._on_trouble = on_trouble
        self._on_cleared = on_cleared
        self._batches: queue.SimpleQueue[list[ev.Stamped] | None] = queue.SimpleQueue()
        self._files: deque[tuple[str, bytes]] = deque()
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._finished = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._came_round = time.monotonic()
        self._beat_at = 0.0
        self._in_trouble = threading.Event()
        self._closing = threading.Event()
        self._give_up_at = float("inf")
        self._failure: str = ""

    @property
    def written(self) -> int:
        """Sequence number of the last event that is on the disk."""
        return self._writer.last.seq

    def keep(self, name: str, body: bytes) -> None:
        """Store a file with the run, such as its calibration, no later than what was published before it."""
        self._files.append((name, body))

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        self._pump = asyncio.create_task(self._hand_over())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._subscription.close()
        self._give_up_at = time.monotonic() + CLOSE_SECONDS
        self._closing.set()
        assert self._pump is not None  # noqa: S101  # set on entering
        self._pump.cancel()
        # Before anything is awaited: a second ctrl-C must not cost the last events.
        self._batches.put(self._subscription.drain())
        self._batches.put(None)
        written = asyncio.ensure_future(self._finished.wait())
        cancelled = False
        while not written.done():
            try:
                await asyncio.shield(written)
            except asyncio.CancelledError:
                cancelled = True
        self._thread.join()
        if self._failure:
            raise RunError(self._failure) from error
        if cancelled and error is None:
            raise asyncio.CancelledError

    async def _hand_over(self) -> None:
        while True:
            self._came_round = time.monotonic()
            # In trouble events stay with the subscription, which merges text and so stays small.
            if len(self._subscription) and not self._in_trouble.is_set():
                self._batches.put(self._subscription.drain())
            await asyncio.sleep(HAND_OVER_SECONDS)

    # From here on: the thread.

    def _work(self) -> None:
        try:
            self._write_all()
        finally:
            self._tell(self._finished.set)

    def _write_all(self) -> None:
        last = False
        while not last:
            stamps, last = self._next()
            if not self._write(ev.merge_tokens(stamps)):
                break
        if self._failure:
            self._writer.abandon()
            return
        try:
            self._writer.close()
        except sqlite3.Error as error:
            self._failure = (
                f"{self._writer.path} holds every event, but could not be closed: {schema.reason(error)}."
            )

    def _next(self) -> tuple[list[ev.Stamped], bool]:
        """What was handed over since, and whether nothing will follow."""
        try:
            batch = self._batches.get(timeout=HAND_OVER_SECONDS)
        except queue.Empty:
            return [], False
        stamps: list[ev.Stamped] = []
        while batch is not None:
            stamps += batch
            try:
                batch = self._batches.get_nowait()
            except queue.Empty:
                return stamps, False
        return stamps, True

    def _write(self, stamps: list[ev.Stamped]) -> bool:
        """Write until it is written; false where that was given up."""
        delay, broken = FIRST_RETRY, False
        while True:
            try:
                if broken:
                    self._writer.reopen()
                # First, so that a run that is known to have begun has its calibration with it.
                while self._files:
                    self._writer.keep(*self._files[0])
                    self._files.popleft()
                self._writer.append(stamps)
                self._routine()
            except RunError as error:
                self._failure = str(error)
                self._in_trouble.set()
                self._tell(self._on_trouble, self._failure)
                return False
            except (sqlite3.Error, OSError) as error:
                broken = True
                cannot = f"{self._writer.path} cannot be written: {schema.reason(error)}."
                if not self._in_trouble.is_set():
                    self._in_trouble.set()
                    self._tell(
                        self._on_trouble,
                        f"{cannot} The run waits, and goes on by itself once it can; nothing is lost.",
                    )
                if time.monotonic() + delay > self._give_up_at:
                    self._failure = (
                        f"{cannot} It ends at event {self._writer.last.seq:,}, and what came later is lost;"
                        " make room and go on with --resume."
                    )
                    return False
                if self._closing.is_set():
                    time.sleep(delay)
                else:
                    self._closing.wait(delay)
                delay = min(2 * delay, LAST_RETRY)
            else:
                if self._in_trouble.is_set():
                    self._in_trouble.clear()
                    self._tell(self._on_cleared)
                return True

    def _routine(self) -> None:
        """Signs of life, and what viewers wish."""
        now = time.monotonic()
        if now - self._beat_at >= BEAT_SECONDS:
            self._writer.beat(self._came_round)
            self._beat_at = now
        for command in self._writer.take_commands():
            self._tell(self._on_command, command)

    def _tell(self, callback: Callable[..., None], *values: object) -> None:
        assert self._loop is not None  # noqa: S101  # set before the thread starts
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback, *values)
