"""Keyframes: the folded state at some events, so that attaching and seeking do not fold from the beginning.

A keyframe stores the head of the state and refers to pieces, one a problem and one a sample. Only what an
event named since the last keyframe is stored again, so that all keyframes together cost little more than the
last one. A sample that ended lives on as its piece only: memory stays that of the samples still running.
"""

import sqlite3
import zlib
from collections.abc import Callable, Iterable

import msgspec

from atts_core import events as ev
from atts_core.runs import snapshot
from atts_core.runs.file import Keyframe, Place
from atts_core.state import RunState

EVERY = 10_000
"""Events from one keyframe to the next: folding so many takes a twentieth of a second."""
AT_ONCE = 16
"""Pieces written before the other threads are let run: a fraction of a millisecond."""
_FAST = 1
"""zlib's level: a head shrinks to a fifth at any level."""

_encode = msgspec.msgpack.Encoder().encode


class Keyframer:
    """Folds what is written and stores a keyframe now and then. One a file, used by its writer only."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        breathe: Callable[[], None] = lambda: None,
        keyframe: Keyframe | None = None,
    ) -> None:
        """Goes on from the file's newest keyframe; `breathe` is called every fraction of a millisecond."""
        self._connection = connection
        self._breathe = breathe
        self._state = keyframe.state if keyframe else RunState()
        self._pieces = keyframe.pieces if keyframe else []
        self._events = 0
        self._changed: set[tuple[int, int]] = set()
        """Problem and sample; -1 is the problem itself."""
        self._put_away: set[tuple[int, int]] = set()
        """Samples that live on as their pieces only."""
        self._put_away_whole: set[int] = set()
        """Problems of which that is true of all samples, by the fold's own doing."""

    def use(self, connection: sqlite3.Connection) -> None:
        """Go on with another connection to the same file."""
        self._connection = connection

    @property
    def state(self) -> RunState:
        """The state so far, without the contents of samples that ended."""
        return self._state

    @property
    def due(self) -> bool:
        """Whether enough happened since the last keyframe."""
        return self._events >= EVERY

    @property
    def fresh(self) -> bool:
        """Whether nothing happened since the last keyframe."""
        return not self._events

    def fold(self, stamps: Iterable[ev.Stamped]) -> None:
        """Take events that were written."""
        for stamped in stamps:
            event = stamped.event
            problem = getattr(event, "problem", None)
            if problem is not None and type(event) is not ev.ProblemAdded:
                sample = getattr(event, "sample", None)
                self._changed.add((problem, -1))
                if problem in self._put_away_whole:
                    self._bring_back_whole(problem)
                if sample is not None:
                    self._changed.add((problem, sample))
                    if (problem, sample) in self._put_away:
                        self._bring_back(problem, sample)
            detailed = set(self._state.overview.detailed) if type(event) is ev.ProblemFinished else set()
            self._state.apply(stamped)
            self._events += 1
            for index in detailed.difference(self._state.overview.detailed):
                self._store_whole(index)
            if type(event) is ev.ProblemAdded:
                self._pieces.append([0] * (1 + len(self._state.problems[-1].samples)))
                self._changed.add((event.problem, -1))
            elif type(event) is ev.RunStarted:
                self._changed.update(
                    (problem.index, number)
                    for problem in self._state.problems
                    for sample in problem.samples
                    if sample.phase not in ("pending", "ended")
                    for number in (-1, sample.index)
                )

    def write(self, place: Place) -> None:
        """Store a keyframe of the state, which is that of the event at `place`. Raises sqlite3.Error."""
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        try:
            ended = []
            for count, (index, number) in enumerate(sorted(self._changed), start=1):
                problem = self._state.problems[index]
                if problem.put_away and number >= 0:
                    continue  # written with the problem
                if number < 0:
                    body = snapshot.problem_bytes(problem)
                else:
                    sample = problem.samples[number]
                    body = snapshot.sample_bytes(sample)
                    if sample.phase == "ended":
                        ended.append((index, number))
                new = run("INSERT INTO pieces (body) VALUES (?)", (body,)).lastrowid
                self._pieces[index][number + 1] = new or 0
                if count % AT_ONCE == 0:
                    self._breathe()
            run(
                "INSERT OR REPLACE INTO keyframes VALUES (?, ?, ?, ?, ?, ?)",
                (
                    *place,
                    snapshot.fold_version(),
                    zlib.compress(snapshot.head_bytes(self._state), _FAST),
                    zlib.compress(_encode(self._pieces), _FAST),
                ),
            )
            run("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                run("ROLLBACK")
            raise
        for index, number in self._changed:
            if number < 0 and self._state.problems[index].put_away:
                self._state.problems[index].samples = []
                self._put_away_whole.add(index)
        self._changed.clear()
        self._events = 0
        for index, number in ended:
            self._state.problems[index].samples[number].put_away()
            self._put_away.add((index, number))

    def _store_whole(self, index: int) -> None:
        """The fold itself has put a problem away: from now on its samples are stored with it."""
        self._changed.add((index, -1))
        for number in range(len(self._state.problems[index].samples)):
            self._put_away.discard((index, number))
            self._pieces[index][number + 1] = 0

    def _bring_back_whole(self, index: int) -> None:
        row = self._connection.execute(
            "SELECT body FROM pieces WHERE id = ?", (self._pieces[index][0],)
        ).fetchone()
        self._state.problems[index] = snapshot.problem_from(row[0])
        self._put_away_whole.discard(index)

    def _bring_back(self, problem: int, number: int) -> None:
        piece = self._pieces[problem][number + 1]
        row = self._connection.execute("SELECT body FROM pieces WHERE id = ?", (piece,)).fetchone()
        self._state.problems[problem].samples[number] = snapshot.sample_from(row[0])
        self._put_away.discard((problem, number))
