"""Where the time of a run went: the stages of every sample and the waiting between them.

What is measured is what a client of the two servers sees: when a request left and when its last token came. A
sample that has begun and has no request under way waits: for a free place at a server, or because the run is
paused. Nothing else makes it wait.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from atts_core.state import ProblemState, RunState, SampleState

Doing = Literal["draft", "verify", "target", "wait"]
DOING: tuple[Doing, ...] = ("draft", "verify", "target", "wait")
"""The stages in their order, and waiting."""


class Interval(NamedTuple):
    """What a sample did from `start` to `end`, in run seconds."""

    doing: Doing
    start: float
    end: float


def intervals(sample: SampleState, now: float) -> list[Interval]:
    """Everything that a sample did until `now`, without gaps, from its start to its end.

    A stage that is still under way reaches to `now`.
    """
    if sample.started_at is None:
        return []
    found: list[Interval] = []
    at = sample.started_at
    for _, span in sample.stages():
        end = now if span.end is None else span.end
        if span.start > at:
            found.append(Interval("wait", at, span.start))
        if end > span.start:
            found.append(Interval(span.stage, span.start, end))
        at = max(at, end)
    last = now if sample.ended_at is None else sample.ended_at
    if last > at:
        found.append(Interval("wait", at, last))
    return found


def painted(found: Sequence[Interval], start: float, span: float, columns: int) -> list[Doing | None]:
    """What was done for the longest in each of `columns` equal parts of the `span` seconds from `start`.

    None where the sample had not begun, or had ended. A stage shorter than a part is seen where nothing in
    that part lasted longer.
    """
    width = span / columns
    most = [0.0] * columns
    painted: list[Doing | None] = [None] * columns
    for doing, begins, ends in found:
        first = max(int((begins - start) / width), 0)
        last = min(int((ends - start) / width), columns - 1)
        for column in range(first, last + 1):
            left = start + column * width
            share = min(ends, left + width) - max(begins, left)
            if share > most[column]:
                most[column], painted[column] = share, doing
    return painted


class Occupancy(NamedTuple):
    """Mean number of samples that were at each stage, or waited, in equal parts of a window of time."""

    draft: list[float]
    verify: list[float]
    target: list[float]
    wait: list[float]


def occupancy(
    problems: Iterable[ProblemState], now: float, start: float, span: float, columns: int
) -> Occupancy:
    """How full the servers were from `start` on for `span` seconds; only what overlaps the window is read."""
    sums: dict[Doing, list[float]] = {doing: [0.0] * columns for doing in DOING}
    end, width = start + span, span / columns
    for problem in problems:
        if problem.started_at is None or problem.started_at >= end:
            continue
        if problem.finished_at is not None and problem.finished_at <= start:
            continue
        for sample in problem.samples:
            for doing, begins, ends in intervals(sample, now):
                if ends <= start or begins >= end:
                    continue
                into = sums[doing]
                first = max(int((begins - start) / width), 0)
                last = min(int((ends - start) / width), columns - 1)
                for column in range(first, last + 1):
                    left = start + column * width
                    into[column] += max(min(ends, left + width) - max(begins, left), 0.0) / width
    return Occupancy(sums["draft"], sums["verify"], sums["target"], sums["wait"])


class StageTimes(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds by what the samples of a run did, summed over samples, and the time that passed meanwhile.

    Asynchronous arithmetic intensity is r = T_c / (T_m + T_s) in the paper: computing against memory traffic
    and synchronisation. A client sees T_s, the time in which a sample waits, and T_c + T_m together, the time
    of its requests; so `intensity` is (T_c + T_m) / T_s. It is at least r, and close to it where memory
    traffic is small beside waiting.
    """

    draft: float = 0.0
    verify: float = 0.0
    target: float = 0.0
    wait: float = 0.0
    elapsed: float = 0.0
    """From the first sample's start to the last one's end, or to now."""
    draft_places: int | None = None
    target_places: int | None = None
    """Requests that each server is sent at a time; None where the run does not say."""

    @property
    def busy(self) -> float:
        """Seconds of all requests."""
        return self.draft + self.verify + self.target

    @property
    def total(self) -> float:
        """Seconds of all samples."""
        return self.busy + self.wait

    @property
    def intensity(self) -> float | None:
        """(T_c + T_m) / T_s; None where nothing was seen or nothing waited."""
        return self.busy / self.wait if self.busy and self.wait else None

    def share(self, doing: Doing) -> float | None:
        """The share of the samples' time that went into this; None before any."""
        seconds: float = getattr(self, doing)
        return seconds / self.total if self.total else None

    def used(self, role: Literal["draft", "target"]) -> float | None:
        """The share of a server's places that held a request, on average over the time elapsed."""
        places = self.draft_places if role == "draft" else self.target_places
        if not places or not self.elapsed:
            return None
        seconds = self.draft if role == "draft" else self.verify + self.target
        return seconds / (places * self.elapsed)


class StageTally:
    """`StageTimes` of a run, kept up to date: finished problems are added once.

    A replay that jumps needs a new one.
    """

    AT_ONCE = 2000
    """Samples of finished problems added in one call: a few hundredths of a second."""

    def __init__(self) -> None:
        self._finished: set[int] = set()
        self._settled = [0.0, 0.0, 0.0, 0.0]
        self.behind = 0
        """Finished problems that the next calls will add."""

    def update(self, state: RunState) -> StageTimes:
        """The times as they stand; calls again while `behind` is not zero add what is missing."""
        moving = [0.0, 0.0, 0.0, 0.0]
        room, self.behind = self.AT_ONCE, 0
        for problem in state.problems:
            if problem.finished:
                if problem.index in self._finished:
                    continue
                if room <= 0:
                    self.behind += 1
                    continue
                room -= len(problem.samples)
                self._finished.add(problem.index)
                _add(self._settled, problem, state.now)
            elif problem.started_at is not None:
                if problem.index in self._finished:  # a failed sample of it was tried again
                    self._finished.clear()
                    self._settled = [0.0, 0.0, 0.0, 0.0]
                    return self.update(state)
                _add(moving, problem, state.now)
        draft, verify, target, wait = (a + b for a, b in zip(self._settled, moving, strict=True))
        places = places_of(state)
        return StageTimes(
            draft=draft,
            verify=verify,
            target=target,
            wait=wait,
            elapsed=elapsed(state),
            draft_places=places[0],
            target_places=places[1],
        )


def elapsed(state: RunState) -> float:
    """Seconds from the first sample's start to the run's end, or to now."""
    started = [problem.started_at for problem in state.problems if problem.started_at is not None]
    return state.now - min(started) if started else 0.0


def places_of(state: RunState) -> tuple[int | None, int | None]:
    """Requests that draft and target are sent at a time, as the run's settings say."""
    settings: Mapping[str, object] = state.run.settings if state.run is not None else {}

    def known(name: str) -> int | None:
        value = settings.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None

    return known("draft_concurrency"), known("target_concurrency")


def _add(sums: list[float], problem: ProblemState, now: float) -> None:
    for sample in problem.samples:
        for doing, start, end in intervals(sample, now):
            sums[DOING.index(doing)] += end - start
