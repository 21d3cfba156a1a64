"""A run file as its readers see it: events in order, the state at any of them, and what the run is."""

import math
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from atts_core import events as ev
from atts_core.errors import RunError, SettingsError
from atts_core.runs import schema, snapshot
from atts_core.runs.gate import Gate
from atts_core.runs.presence import EngineMark, Life, life, written_elsewhere
from atts_core.state import RunState

T = TypeVar("T")

AT_ONCE = 4096
"""Events read in one query: a few milliseconds."""
_MOST_HEAD = 256_000_000
"""Bytes of a keyframe's head once unpacked."""

_event = msgspec.json.Decoder(ev.AnyEvent)
_pieces = msgspec.msgpack.Decoder(list[list[int]])


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a run file says of its run besides the events."""

    run: str
    command: str
    created: float
    """Seconds since the epoch."""
    version: str
    """Of the atts that made the file."""
    dataset: str = ""
    fingerprint: str = ""
    """Of the data set."""
    origin: str = ""
    """Where an imported run comes from; empty for one that was recorded here."""


class Place(NamedTuple):
    """One event's place: `ordinal` counts from 1 without gaps, `at` is the run's time in seconds."""

    ordinal: int
    seq: int
    at: float


class Keyframe(NamedTuple):
    """A stored state. `pieces`: by problem, the number of its own piece, then of its samples'; 0: none."""

    ordinal: int
    state: RunState
    pieces: list[list[int]]


BEGINNING = Place(0, 0, 0.0)


class RunFile:
    """A run file open for reading. `trouble` says where and why reading ended early; empty where it did not.

    One thread at a time. Reading never waits for the engine and never makes it wait.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self.trouble = ""
        self._connection = connection
        self._whole: int | None = None
        """Where a damaged file ends: ordinal of its last readable event."""

    @classmethod
    def open(cls, path: Path) -> "RunFile":
        """Open a run file.

        Raises:
            SettingsError: there is none, it is no run file, or it is of a newer version.
        """
        file = cls(path, schema.open_for_reading(path))
        try:
            if file._is_short():
                file._found_damage("it is cut off")
        except sqlite3.DatabaseError as error:
            file._found_damage(schema.reason(error))
        return file

    @classmethod
    def open_here(cls, path: Path) -> "RunFile":
        """Open a run file to follow it.

        Raises:
            SettingsError: as `open`, and where an engine on another machine writes the file.
        """
        file = cls.open(path)
        why = written_elsewhere(file.meta("engine", EngineMark), path.stem)
        if why:
            file.close()
            raise SettingsError(why)
        return file

    def close(self) -> None:
        """Let the file go."""
        self._connection.close()

    @property
    def about(self) -> About:
        """What the run is. Raises RunError where the file is too damaged to say."""
        about = self.meta("about", About)
        if about is None:
            raise RunError(f"{self.path} does not say what run it holds: it is damaged.")
        return about

    @property
    def engine(self) -> Life:
        """What has become of the run's engine."""
        return life(self.meta("engine", EngineMark))

    def meta(self, key: str, kind: type[T]) -> T | None:
        """One entry of the meta table, None where there is none that can be read."""
        try:
            row = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
            return None if row is None else msgspec.json.decode(row[0], type=kind)
        except (sqlite3.Error, msgspec.MsgspecError, TypeError):
            return None

    def kept(self, name: str) -> bytes | None:
        """A file that was stored with the run, such as its calibration; None where there is none."""
        try:
            row = self._connection.execute("SELECT body FROM kept WHERE name = ?", (name,)).fetchone()
        except sqlite3.Error:
            return None
        return bytes(row[0]) if row is not None and isinstance(row[0], bytes) else None

    def all_kept(self) -> Iterator[tuple[str, bytes]]:
        """Every file that was stored with the run, by its name."""
        for name, body in self._select("name, body FROM kept", ()):
            if isinstance(name, str) and isinstance(body, bytes):
                yield name, body

    def last(self) -> Place:
        """The last event written by now, `BEGINNING` where there is none."""
        return self._place("ordinal <= ? ORDER BY ordinal DESC", self._whole or 2**62)

    def place_of_ordinal(self, ordinal: int) -> Place:
        """The last event at or before this ordinal."""
        return self._place("ordinal <= ? ORDER BY ordinal DESC", ordinal)

    def place_at(self, at: float) -> Place:
        """The last event at or before this run time (seconds)."""
        low, high = 0, self.last().ordinal
        while low < high:  # times never decrease
            middle = (low + high + 1) // 2
            if self.place_of_ordinal(middle).at <= at:
                low = middle
            else:
                high = middle - 1
        return self.place_of_ordinal(low)

    def verdicts(self, after: int, *, backwards: bool = False) -> Iterator[tuple[Place, ev.VerdictReached]]:
        """Verdicts after (or before, newest first) an event, for stepping through them."""
        compare, order = ("<", "DESC") if backwards else (">", "ASC")
        rows = self._select(
            f"ordinal, seq, at, body FROM events WHERE ordinal {compare} ? AND ordinal <= ?"
            f" AND type = 'VerdictReached' ORDER BY ordinal {order}",
            (after, self._whole or 2**62),
        )
        for ordinal, seq, at, body in rows:
            try:
                event = _event.decode(body)
            except (msgspec.MsgspecError, TypeError, UnicodeDecodeError):
                self._found_damage("an event cannot be read")
                return
            if isinstance(event, ev.VerdictReached):
                yield Place(ordinal, seq, at), event

    def read(
        self, after: int, gate: Gate, *, limit: int = AT_ONCE, until: float = float("inf")
    ) -> list[ev.Stamped]:
        """The next events after an ordinal, at most `limit`, none later than `until` (run seconds).

        The n-th has ordinal `after` + n. At damage the list ends, and `trouble` says so.
        """
        stamps: list[ev.Stamped] = []
        if self._whole is not None:
            limit = min(limit, self._whole - after)
        if limit <= 0:
            return stamps
        decode = _event.decode
        why, expected = "", after
        try:
            rows = self._connection.execute(
                "SELECT ordinal, seq, at, body FROM events WHERE ordinal > ? ORDER BY ordinal LIMIT ?",
                (after, limit),
            )
            for ordinal, seq, at, body in rows:
                if type(at) is float and at > until:
                    break
                expected += 1
                if ordinal != expected or type(seq) is not int or type(at) is not float:
                    why = "an event is missing"
                    break
                stamped = ev.Stamped(seq, at, decode(body))
                why = gate.refuses(stamped)
                if why:
                    break
                stamps.append(stamped)
        except (msgspec.MsgspecError, TypeError, UnicodeDecodeError):
            why = "an event cannot be read"
        except sqlite3.OperationalError as error:
            if not _is_locked(error):
                why = schema.reason(error)
        except sqlite3.DatabaseError as error:
            why = schema.reason(error)
        if why:
            self._ends_at(after + len(stamps), why)
        return stamps

    def events_of(self, problem: int, start: float, until: float, seq: int) -> Iterator[ev.Stamped]:
        """One problem's events between two run times (seconds), none later than sequence number `seq`, and
        the starts of engines among them."""
        first, last = self.place_at(math.nextafter(start, -math.inf)), self.place_at(until)
        rows = self._select(
            "seq, at, body FROM events WHERE ordinal > ? AND ordinal <= ? AND seq <= ?"
            " AND (problem = ? AND type != 'ProblemAdded' OR type = 'RunStarted') ORDER BY ordinal",
            (first.ordinal, last.ordinal, seq, problem),
        )
        for found, at, body in rows:
            try:
                yield ev.Stamped(found, at, _event.decode(body))
            except (msgspec.MsgspecError, TypeError, UnicodeDecodeError):
                self._found_damage("an event cannot be read")
                return

    def state(self, place: Place) -> RunState:
        """The state after the event at `place`: the newest keyframe before it, and what followed.

        Where damage comes first, the state at the damage.
        """
        return self.state_and_gate(place)[0]

    def state_and_gate(self, place: Place) -> tuple[RunState, Gate]:
        """The same, and the gate for reading on from there."""
        with snapshot.without_collecting():
            ordinal, state, _ = self.keyframe(place.ordinal)
            gate = Gate(state)
            while ordinal < place.ordinal:
                stamps = self.read(ordinal, gate, limit=min(AT_ONCE, place.ordinal - ordinal))
                if not stamps:
                    break
                state.fold(stamps)
                ordinal += len(stamps)
        return state, gate

    def events(self) -> Iterator[list[ev.Stamped]]:
        """All events written by now, in lists, oldest first."""
        ordinal, gate = 0, Gate()
        while stamps := self.read(ordinal, gate):
            yield stamps
            ordinal += len(stamps)

    def keyframe(self, ordinal: int) -> Keyframe:
        """The newest keyframe at or before an ordinal that this program can use, or an empty one at 0."""
        rows = self._select(
            "ordinal, body, pieces FROM keyframes WHERE ordinal <= ? AND fold = ? ORDER BY ordinal DESC",
            (ordinal, snapshot.fold_version()),
        )
        for found, body, pieces in rows:
            try:
                state = snapshot.head_from(_unpacked(body))
                numbered = _pieces.decode(_unpacked(pieces))
                for numbers in numbered:
                    problem = snapshot.problem_from(self._piece(numbers[0]))
                    if problem.index != len(state.problems):
                        break
                    if not problem.put_away:
                        problem.samples = [
                            snapshot.sample_from(self._piece(number)) if number else snapshot.untouched(index)
                            for index, number in enumerate(numbers[1:])
                        ]
                    state.problems.append(problem)
                else:
                    return Keyframe(found, state, numbered)
            except (sqlite3.Error, msgspec.MsgspecError, zlib.error, TypeError, IndexError, ValueError):
                continue  # a keyframe is only a shorter way: an older one, or the beginning, leads there too
        return Keyframe(0, RunState(), [])

    def _piece(self, number: int) -> bytes:
        row = self._connection.execute("SELECT body FROM pieces WHERE id = ?", (number,)).fetchone()
        return row[0]  # type: ignore[no-any-return]  # TypeError where there is none, caught above

    def _place(self, where: str, *values: object) -> Place:
        whole = self._whole
        for row in self._select(f"ordinal, seq, at FROM events WHERE {where} LIMIT 1", values):
            if all(isinstance(value, int | float) for value in row):
                return Place(*row)
        if self._whole is not None and self._whole != whole:
            return self.place_of_ordinal(self._whole)  # damage was met on the way: what is before it counts
        return BEGINNING

    def _select(self, what: str, values: tuple[object, ...]) -> Iterator[tuple[Any, ...]]:
        """Rows, until there are no more or the file is damaged."""
        try:
            yield from self._connection.execute(f"SELECT {what}", values)
        except sqlite3.OperationalError as error:
            if not _is_locked(error):
                self._found_damage(schema.reason(error))
        except sqlite3.DatabaseError as error:
            self._found_damage(schema.reason(error))

    def _is_short(self) -> bool:
        page = self._connection.execute("PRAGMA page_size").fetchone()[0]
        pages = self._connection.execute("PRAGMA page_count").fetchone()[0]
        wal = self.path.with_name(self.path.name + "-wal")
        return not wal.exists() and self.path.stat().st_size < page * pages

    def _found_damage(self, why: str) -> None:
        """Find the last event before which all are whole, by reading from the first."""
        if self._whole is not None:
            return
        ordinal, gate = 0, Gate()
        while stamps := self.read(ordinal, gate):
            ordinal += len(stamps)
        self._whole = None
        self._ends_at(ordinal, why)

    def _ends_at(self, ordinal: int, why: str) -> None:
        if self._whole is None or ordinal < self._whole:
            self._whole = ordinal
            self.trouble = (
                f"{self.path} is damaged ({why}); it can be read up to its event {ordinal:,}, and what came"
                " later is lost."
            )


def _is_locked(error: sqlite3.OperationalError) -> bool:
    """Whether it passes. Text that is no UTF-8 is an error without a code."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _unpacked(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    unpacked = unpacker.decompress(data, _MOST_HEAD)
    if not unpacker.eof:
        raise ValueError("too large")
    return unpacked
