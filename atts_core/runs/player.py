"""Replaying a run at any speed, from any moment. Pure logic: time comes from a clock that is passed in.

A player is a source of events like a live run. Whoever shows it folds what `drain` gives into `state`; after
a jump there is a new `state` and a new `epoch`, and what was drained before no longer counts.
"""

import asyncio
import bisect
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from atts_core import events as ev
from atts_core.runs.details import read_details
from atts_core.runs.file import AT_ONCE, BEGINNING, About, Place, RunFile
from atts_core.runs.gate import Gate
from atts_core.runs.keyframes import EVERY
from atts_core.runs.reader import POLL_SECONDS
from atts_core.state import ProblemState, RunState

PATIENCE = 1.0
"""Seconds for which time goes on though nobody has taken what is due: a screen looks before it takes."""

SPEEDS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


class Player:
    """Plays one run file. Begins paused at the beginning; one thread at a time."""

    def __init__(self, file: RunFile, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds; the file belongs to the player from now on."""
        self._file = file
        self._clock = clock
        self.playing = False
        self.speed = 1.0
        self.loop = False
        """Begin again at the end."""
        self.epoch = 0
        """Counts the jumps."""
        self.state = RunState()
        """What to fold on from, since the last jump."""
        self._gate = Gate()
        self._given = BEGINNING
        self._pending: list[ev.Stamped] = []
        self._at = 0.0
        self._as_of = self._due_since = clock()
        self._end = file.last()
        self.closed = False

    @classmethod
    def open(cls, path: Path, clock: Callable[[], float] = time.monotonic) -> "Player":
        """Open a run file, finished or still growing, for replay.

        Raises:
            SettingsError: there is none, it is no run file, it is of a newer version, or another machine
                writes it.
        """
        return cls(RunFile.open_here(path), clock)

    @property
    def about(self) -> About:
        """What the run is."""
        return self._file.about

    @property
    def trouble(self) -> str:
        """Where and why a damaged file ends; empty for a whole one."""
        return self._file.trouble

    @property
    def duration(self) -> float:
        """Run time of the last event, seconds; grows while the run does."""
        return self._end.at

    @property
    def at(self) -> float:
        """Run time that is being shown, seconds."""
        self._tick()
        return self._at

    @property
    def ended(self) -> bool:
        """Whether everything has been given."""
        self._tick()
        return self._given.ordinal >= self._end.ordinal and not self._pending

    def play(self) -> None:
        """Let time run; from the beginning where it stands at the end."""
        if self.ended and not self.playing:
            self.seek(0.0)
        self._tick()
        self.playing = True

    def pause(self) -> None:
        """Hold time."""
        self._tick()
        self.playing = False

    def toggle(self) -> None:
        """Play, or pause."""
        if self.playing:
            self.pause()
        else:
            self.play()

    def faster(self) -> None:
        """The next speed up."""
        self.set_speed(SPEEDS[min(bisect.bisect_right(SPEEDS, self.speed), len(SPEEDS) - 1)])

    def slower(self) -> None:
        """The next speed down."""
        self.set_speed(SPEEDS[max(bisect.bisect_left(SPEEDS, self.speed) - 1, 0)])

    def set_speed(self, speed: float) -> None:
        """Seconds of the run in a second, brought into the range of `SPEEDS`."""
        self._tick()
        self.speed = min(max(speed, SPEEDS[0]), SPEEDS[-1])

    def seek(self, at: float) -> None:
        """Jump to a run time, seconds: `state` is that after every event up to it."""
        self._end = self._file.last()
        at = min(max(at, 0.0), self._end.at)
        self._jump(self._file.place_at(at), at)

    def seek_percent(self, percent: float) -> None:
        """Jump to a share of the duration, 0 to 100."""
        self._end = self._file.last()
        self.seek(self._end.at * percent / 100)

    def skip(self, seconds: float) -> None:
        """Jump by so many seconds of the run, back where negative."""
        self.seek(self.at + seconds)

    def next_verdict(self) -> bool:
        """Pause just after the next verdict; false where none follows."""
        return self._step(lambda _: True)

    def previous_verdict(self) -> bool:
        """Pause just after the verdict before the one last given; false where there is none."""
        before = self._file.verdicts(self._shown().ordinal, backwards=True)
        place = next((place for place, _ in before), None)
        self.pause()
        if place is None:
            return False
        self._jump(place, place.at)
        return True

    def next_take_over(self) -> bool:
        """Pause just after the next verdict that is not an accept; false where none follows."""
        return self._step(lambda verdict: verdict.verdict != "accept")

    def __len__(self) -> int:
        """Events due."""
        self._tick()
        return len(self._pending)

    def drain(self) -> list[ev.Stamped]:
        """The events due since, oldest first, at most `AT_ONCE`; never blocks."""
        self._tick()
        pending, self._pending = self._pending, []
        return pending

    async def batches(self) -> AsyncIterator[list[ev.Stamped]]:
        """Non-empty batches as they are due, until the end, or for ever where it loops."""
        while not self.closed:
            if batch := self.drain():
                yield batch
            elif self.playing and self.ended and not self.loop:
                return
            else:
                await asyncio.sleep(POLL_SECONDS)

    def details(self, state: RunState, problem: int) -> ProblemState | None:
        """A problem's turns and texts, which `state` has put away; None where the file cannot give them."""
        return read_details(self._file, state, problem)

    def close(self) -> None:
        """Let the file go."""
        if not self.closed:
            self.playing, self.closed = False, True
            self._file.close()

    def _tick(self) -> None:
        """Move on to now and take up what is due."""
        now = self._clock()
        passed, self._as_of = now - self._as_of, now
        if not self.playing or (self._pending and now - self._due_since > PATIENCE):
            return  # somebody does not keep up: time stands still, nothing is skipped
        self._at += passed * self.speed
        if self._pending:
            return
        stamps = self._file.read(self._given.ordinal, self._gate, until=self._at)
        if stamps:
            self._due_since = now
            self._took(stamps)
            if len(stamps) == AT_ONCE:
                self._at = min(self._at, self._given.at)
        elif self._at >= self._end.at:
            self._end = self._file.last()
            if self._given.ordinal >= self._end.ordinal:
                self._at = self._end.at
                if self.loop and self._end.ordinal:
                    self._jump(BEGINNING, 0.0)

    def _shown(self) -> Place:
        """The last event that was given; what is still pending counts as given, for it will be folded."""
        self._tick()
        return self._given

    def _step(self, wanted: Callable[[ev.VerdictReached], bool]) -> bool:
        after = self._shown().ordinal
        self.pause()
        place = next((place for place, verdict in self._file.verdicts(after) if wanted(verdict)), None)
        if place is None:
            return False
        if place.ordinal - after > EVERY:
            self._jump(place, place.at)
            return True
        while self._given.ordinal < place.ordinal:
            stamps = self._file.read(
                self._given.ordinal, self._gate, limit=place.ordinal - self._given.ordinal
            )
            if not stamps:
                return False
            self._took(stamps)
        self._at = place.at
        return True

    def _took(self, stamps: list[ev.Stamped]) -> None:
        self._given = Place(self._given.ordinal + len(stamps), stamps[-1].seq, stamps[-1].at)
        self._pending += stamps
        if self._given.ordinal >= self._end.ordinal:
            self._end = self._file.last()

    def _jump(self, place: Place, at: float) -> None:
        self.state, self._gate = self._file.state_and_gate(place)
        self._given, self._pending, self._at, self._as_of = place, [], at, self._clock()
        self.epoch += 1
