"""What a barrier would have cost: the recorded stages of a run laid out with and without one.

A simulation, and said to be one wherever its numbers are shown. Every stage keeps the duration that it was
recorded with, and every server the number of requests that it takes at a time. Without a barrier a sample
goes on as soon as there is a place for its next stage. With one, the target begins to write in a turn only
when every sample of the problem has been scored in it (a rank among all samples needs all scores), and the
next turn begins only when the target has written its last step of this one.

What it leaves out: a real server is slower when it holds more requests, and a barrier makes it hold many and
then few. Both layouts leave this out alike, so that their quotient says what waiting alone does.
"""

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from atts_core.reports.timeline import Interval
from atts_core.state import ProblemState, SampleState

Stage = Literal["draft", "verify", "target"]
Job = tuple[Stage, float]
Chain = list[list[Job]]
"""Of one sample: of each turn the stages with their seconds."""


class Layout(NamedTuple):
    """`makespan`: seconds until the last stage ends. `chains`: by problem and sample what each did when."""

    makespan: float
    chains: list[list[list[Interval]]]


class BarrierCost(NamedTuple):
    """Both layouts of the same stages. `problems` and `stages`: how many were laid out."""

    free: float
    barrier: float
    problems: int
    stages: int

    @property
    def speed_up(self) -> float | None:
        """How many times as long a barrier takes; None where nothing was laid out."""
        return self.barrier / self.free if self.free > 0 else None


def recorded_chain(sample: SampleState) -> Chain:
    """The finished stages of a sample, turn by turn."""
    turns: dict[int, list[Job]] = {}
    for turn, span in sample.stages():
        if span.end is not None:
            turns.setdefault(turn, []).append((span.stage, max(span.end - span.start, 0.0)))
    return list(turns.values())


def barrier_cost(
    problems: Sequence[ProblemState], draft_places: int, target_places: int, most_stages: int = 2000
) -> BarrierCost:
    """Both layouts of the first problems that together have `most_stages` stages at most, or of one.

    Raises:
        ValueError: a server has no place.
    """
    chosen: list[list[Chain]] = []
    stages = 0
    for problem in problems:
        chains = [recorded_chain(sample) for sample in problem.samples]
        count = sum(len(turn) for chain in chains for turn in chain)
        if not count:
            continue
        if chosen and stages + count > most_stages:
            break
        chosen.append(chains)
        stages += count
    free = lay_out(chosen, draft_places, target_places, barrier=False).makespan
    barrier = lay_out(chosen, draft_places, target_places, barrier=True).makespan
    return BarrierCost(free, barrier, len(chosen), stages)


def lay_out(
    problems: Sequence[Sequence[Chain]], draft_places: int, target_places: int, *, barrier: bool
) -> Layout:
    """Every stage at the earliest moment that the places and, where there is one, the barrier allow.

    As the engine does: while fewer samples are alive than both servers take requests, more begin; scoring
    goes before writing, an earlier problem before a later one, and then who came first. With a barrier the
    samples of a problem begin together, even where that makes them more than the servers take.

    Raises:
        ValueError: a server has no place.
    """
    if draft_places < 1 or target_places < 1:
        raise ValueError("a server without places never answers")
    return _Schedule(problems, draft_places, target_places, barrier=barrier).run()


class _Schedule:
    """One layout in the making. A sample's stages are cut into phases, which a barrier stands between."""

    def __init__(
        self, problems: Sequence[Sequence[Chain]], draft_places: int, target_places: int, *, barrier: bool
    ) -> None:
        self._barrier = barrier
        self._phases = [[list(_phases(chain)) for chain in chains] for chains in problems]
        self._free = {"draft": draft_places, "target": target_places}
        self._alive = draft_places + target_places
        self._waiting: dict[str, list[tuple[int, int, int, int, Stage, float]]] = {"draft": [], "target": []}
        self._left: dict[tuple[int, int], deque[Job]] = {}
        """Stages of the phase that each sample is in."""
        self._phase = [0] * len(problems)
        self._open = [0] * len(problems)
        """With a barrier: samples of a problem that are not through with its phase."""
        self._ready_at: dict[tuple[int, int], float] = {}
        self._events: list[tuple[float, int, int, int, str]] = []
        self._arrivals = 0
        self._now = 0.0
        self._chains: list[list[list[Interval]]] = [[[] for _ in chains] for chains in problems]
        self._to_begin = deque(self._admissions())

    def _admissions(self) -> Iterator[list[tuple[int, int]]]:
        """What begins together: one sample, or with a barrier all of a problem."""
        for problem, chains in enumerate(self._phases):
            places = [(problem, sample) for sample, phases in enumerate(chains) if phases]
            if self._barrier:
                if places:
                    yield places
            else:
                yield from ([place] for place in places)

    def run(self) -> Layout:
        alive = 0
        while True:
            while self._to_begin and alive < self._alive:
                group = self._to_begin.popleft()
                alive += len(group)
                for place in group:
                    self._ready_at[place] = self._now
                if self._barrier:
                    self._enter_phase(group[0][0])
                else:
                    for problem, sample in group:
                        jobs = [job for phase in self._phases[problem][sample] for job in phase]
                        self._left[problem, sample] = deque(jobs)
                        self._queue(problem, sample)
            self._start_what_can()
            if not self._events:
                return Layout(self._now, self._chains)
            self._now, _, problem, sample, server = heapq.heappop(self._events)
            self._free[server] += 1
            self._ready_at[problem, sample] = self._now
            alive -= self._went_on(problem, sample)

    def _went_on(self, problem: int, sample: int) -> int:
        """A stage ended: queue the next; how many samples ended by it."""
        if self._left[problem, sample]:
            self._queue(problem, sample)
            return 0
        if not self._barrier:
            return 1
        self._open[problem] -= 1
        if self._open[problem]:
            return 0
        self._phase[problem] += 1
        before = sum(len(phases) >= self._phase[problem] for phases in self._phases[problem])
        self._enter_phase(problem)
        after = sum(len(phases) > self._phase[problem] for phases in self._phases[problem])
        return before - after

    def _enter_phase(self, problem: int) -> None:
        """Everyone who has stages in the phase begins it; one in which nobody has any is passed."""
        phase = self._phase[problem]
        members = [
            sample
            for sample, phases in enumerate(self._phases[problem])
            if len(phases) > phase and phases[phase]
        ]
        if not members and any(len(phases) > phase for phases in self._phases[problem]):
            self._phase[problem] += 1
            self._enter_phase(problem)
            return
        self._open[problem] = len(members)
        for sample in members:
            self._left[problem, sample] = deque(self._phases[problem][sample][phase])
            self._queue(problem, sample)

    def _queue(self, problem: int, sample: int) -> None:
        stage, seconds = self._left[problem, sample].popleft()
        self._arrivals += 1
        entry = (stage != "verify", problem, self._arrivals, sample, stage, seconds)
        heapq.heappush(self._waiting["draft" if stage == "draft" else "target"], entry)

    def _start_what_can(self) -> None:
        for server, waiting in self._waiting.items():
            while waiting and self._free[server]:
                _, problem, arrival, sample, stage, seconds = heapq.heappop(waiting)
                self._free[server] -= 1
                ready, lane = self._ready_at[problem, sample], self._chains[problem][sample]
                if self._now > ready:
                    lane.append(Interval("wait", ready, self._now))
                lane.append(Interval(stage, self._now, self._now + seconds))
                heapq.heappush(self._events, (self._now + seconds, arrival, problem, sample, server))


def _phases(chain: Chain) -> Iterator[list[Job]]:
    """Two for every turn: what comes before the target writes, and from there on; the second may be empty."""
    for turn in chain:
        cut = next((place for place, (stage, _) in enumerate(turn) if stage == "target"), len(turn))
        yield turn[:cut]
        yield turn[cut:]
