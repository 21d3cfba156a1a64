"""Writing a run file: events in batches, a keyframe now and then, and the engine's mark."""

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from atts_core import events as ev
from atts_core.errors import RunError
from atts_core.runs import commands, schema
from atts_core.runs.file import BEGINNING, About, Place, RunFile
from atts_core.runs.gate import Gate
from atts_core.runs.keyframes import Keyframer
from atts_core.runs.presence import EngineMark, life, mark, written_elsewhere
from atts_core.runs.summary import Summary, Tally

_SHAPES = (64, 8, 1)
"""Rows of one statement. One statement is one wait for the other threads, however many rows it has."""

_encoder = msgspec.json.Encoder()


class RunWriter:
    """The one writer of a run file. One thread at a time."""

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        last: Place,
        keyframer: Keyframer,
        breathe: Callable[[], None],
    ) -> None:
        self.path = path
        self.last = last
        """The last event that is on the disk."""
        self._connection = connection
        self._keyframer = keyframer
        self._tally = Tally.of(keyframer.state)
        self._breathe = breathe
        self._under_way: Sequence[ev.Stamped] = ()
        self._seen_version = -1
        self._seen_command = 0

    @classmethod
    def create(cls, path: Path, about: About, *, breathe: Callable[[], None] = lambda: None) -> "RunWriter":
        """Begin a new run file. `breathe` is called every fraction of a millisecond of work.

        Raises:
            SettingsError: it exists, or the folder cannot be written.
        """
        begins: dict[str, object] = {
            "about": about,
            "version": about.version,
            "summary": Summary(),
            "engine": mark(),
        }

        def fill(connection: sqlite3.Connection) -> None:
            for key, value in begins.items():
                _set(connection, key, value)

        connection = schema.create(path, fill)
        return cls(path, connection, BEGINNING, Keyframer(connection, breathe), breathe)

    @classmethod
    def resume(cls, path: Path, *, breathe: Callable[[], None] = lambda: None) -> "RunWriter":
        """Go on with a run file whose engine is gone; this process is its engine from now on.

        Raises:
            SettingsError: it is no run file, or of a newer version, or it cannot be written.
            RunError: another engine is at work on it, or it is damaged.
        """
        try:
            connection = schema.open_for_writing(path)
        except sqlite3.Error as error:
            raise RunError(f"The run {path} cannot go on: {schema.reason(error)}.") from None
        file = RunFile(path, connection)
        try:
            _claim(connection, path)
            last = file.last()
            frame = file.keyframe(last.ordinal)
            keyframer = Keyframer(connection, breathe, frame)
            ordinal, gate = frame.ordinal, Gate(frame.state)
            while stamps := file.read(ordinal, gate):
                keyframer.fold(stamps)
                ordinal += len(stamps)
            if file.trouble or ordinal < last.ordinal:
                raise RunError(
                    f"{file.trouble or f'{path} is damaged.'} Make a copy of what is left with"
                    f" `atts runs export` and `atts runs import`; a damaged file is not written to."
                )
        except sqlite3.Error as error:
            connection.close()
            raise RunError(f"The run {path} cannot go on: {schema.reason(error)}.") from None
        except BaseException:
            connection.close()
            raise
        writer = cls(path, connection, last, keyframer, breathe)
        # What was wished of an engine that is gone is not wished of this one.
        row = connection.execute("SELECT coalesce(max(id), 0) FROM commands").fetchone()
        writer._seen_command = row[0]
        return writer

    @property
    def summary(self) -> Summary:
        """The run in numbers, as far as it is on the disk."""
        return self._tally.summary(self._keyframer.state, self.last.ordinal)

    def append(self, stamps: Sequence[ev.Stamped]) -> None:
        """Write events; when this returns they are on the disk, and all of them or, if it raises, none are.

        Raises:
            sqlite3.Error: they could not be written; the same call may be made again, after `reopen`.
        """
        if not stamps or stamps[-1].seq <= self.last.seq:
            return
        self._under_way = stamps
        rows: list[Any] = []
        ordinal = self.last.ordinal
        encode = _encoder.encode
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        try:
            begin = 0
            for shape in _SHAPES:
                while len(stamps) - begin >= shape:
                    rows.clear()
                    for stamped in stamps[begin : begin + shape]:
                        event = stamped.event
                        ordinal += 1
                        rows += (
                            ordinal, stamped.seq, stamped.at, type(event).__name__,
                            getattr(event, "problem", None), getattr(event, "sample", None),
                            encode(event).decode(),
                        )  # fmt: skip
                    run(_INSERTS[shape], rows)
                    begin += shape
                    self._breathe()
            run("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        self._written(stamps)

    def _written(self, stamps: Sequence[ev.Stamped]) -> None:
        self.last = Place(self.last.ordinal + len(stamps), stamps[-1].seq, stamps[-1].at)
        for begin in range(0, len(stamps), 64):
            part = stamps[begin : begin + 64]
            self._keyframer.fold(part)
            for stamped in part:
                self._tally.fold(stamped.event)
            self._breathe()
        if self._keyframer.due:
            with contextlib.suppress(
                sqlite3.Error
            ):  # not worth a failure: it comes again with the next batch
                self._keyframer.write(self.last)

    def beat(self, beat: float) -> None:
        """Leave this engine's mark and the run in numbers; `beat` is when its event loop last came round
        (monotonic seconds). Raises sqlite3.Error."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._set("engine", mark(beat))
            self._set("summary", self.summary)
            self._connection.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def take_commands(self) -> list[commands.AnyCommand]:
        """What viewers asked for since the last call, oldest first. Raises sqlite3.Error."""
        run = self._connection.execute
        version = run("PRAGMA data_version").fetchone()[0]
        if version == self._seen_version:
            return []
        rows = run("SELECT id, body FROM commands WHERE id > ? ORDER BY id", (self._seen_command,)).fetchall()
        if rows:
            run("UPDATE commands SET taken = ? WHERE id > ?", (time.time(), self._seen_command))
            self._seen_command = rows[-1][0]
        self._seen_version = version
        taken = []
        for _, body in rows:
            with contextlib.suppress(msgspec.MsgspecError, TypeError):  # nothing of ours: nobody waits for it
                taken.append(commands.decode(body))
        return taken

    def keep(self, name: str, body: bytes) -> None:
        """Store a file with the run, such as its calibration. Raises sqlite3.Error."""
        self._connection.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (name, body))

    def keep_all(self, named: Iterable[tuple[str, bytes]]) -> None:
        """Store many files with the run at once. Raises sqlite3.Error."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?)", named)
            self._connection.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def reopen(self) -> None:
        """Open the file again after an error.

        Raises:
            sqlite3.Error: it still cannot be opened.
            RunError: it is not the file that it was.
        """
        self._connection.close()
        self._connection = schema.open_for_writing(self.path)
        self._keyframer.use(self._connection)
        last = RunFile(self.path, self._connection).last()
        stamps = self._under_way
        if last == self.last:
            return
        if last.ordinal != self.last.ordinal + len(stamps) or not stamps or last.seq != stamps[-1].seq:
            raise RunError(
                f"{self.path} is not the file it was: it ends at event {last.ordinal:,}, and"
                f" {self.last.ordinal:,} were written."
            )
        self._written(stamps)  # the commit had reached the disk although its answer was an error

    def close(self) -> None:
        """Store a last keyframe, mark the engine as ended, make the file one file. Raises sqlite3.Error."""
        try:
            if not self._keyframer.fresh:
                self._keyframer.write(self.last)
            self._set("summary", self.summary)
            self._set("engine", mark(ended=True))
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            # Without the log beside it a file can be copied, and read in a folder that cannot be written.
            # A viewer that is attached just now keeps it as it is, which reads as well.
            with contextlib.suppress(sqlite3.OperationalError):
                self._connection.execute("PRAGMA busy_timeout=0")
                self._connection.execute("PRAGMA journal_mode=DELETE")
        finally:
            self._connection.close()

    def abandon(self) -> None:
        """Let the file go as it is, without a last word: for a file that cannot be written any more."""
        self._connection.close()

    def _set(self, key: str, value: object) -> None:
        _set(self._connection, key, value)

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")


def _set(connection: sqlite3.Connection, key: str, value: object) -> None:
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, _encoder.encode(value).decode()))


def _claim(connection: sqlite3.Connection, path: Path) -> None:
    """Become the engine of a run, unless it has one."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        row = connection.execute("SELECT value FROM meta WHERE key = 'engine'").fetchone()
        engine = None
        with contextlib.suppress(msgspec.MsgspecError, TypeError):
            engine = msgspec.json.decode(row[0], type=EngineMark) if row else None
        if why := written_elsewhere(engine, path.stem):
            raise RunError(why)
        if (
            engine is not None
            and life(engine) in ("alive", "stalled")
            and (engine.pid, engine.process) != (mark().pid, mark().process)
        ):
            raise RunError(
                f"The run {path.stem} is being written by process {engine.pid} on {engine.host}; watch it"
                f" with `atts watch {path.stem}`, or end that process first."
            )
        _set(connection, "engine", mark())
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


_INSERTS = {
    shape: f"INSERT INTO events VALUES {', '.join(['(?, ?, ?, ?, ?, ?, ?)'] * shape)}"  # noqa: S608
    for shape in _SHAPES
}
