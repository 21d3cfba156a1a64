"""Numbers of a whole run, kept as it is folded, so that nobody has to look at all problems to show them.

Every change costs the same however many problems there are. What is counted when a problem finishes is taken
back when one of its samples begins again.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

from atts_core.state_parts import ProblemState, SampleState

Look = Literal["failed", "wrong", "undecided", "slow"]
"""Why a problem needs a look: samples failed; all voted for the same wrong answer; the vote is tied or nobody
answered; it took `SLOW` times as long as the middle one of those before it."""

SHARE_BINS = 20
"""Bins of the target's share of a finished problem's tokens, each of 5 %."""
SLOW = 3.0
SLOW_AFTER = 8
"""Finished problems before one can be called slow."""
STEP = 1.05
"""Durations are counted in bins that are 5 % wide, so that their middle is known to 5 %."""
DETAILS_BYTES = 2_000_000
"""Of finished problems' texts and turns that stay in memory; older ones are read from the run file again."""
TURN_BYTES = 1000
"""What a turn weighs besides its text, about: its verdict, its spans, its steps."""


@dataclass(slots=True)
class Sums:
    """Hits among observations that come in clusters, for the ratio estimator (`conformal.live.estimate`)."""

    clusters: int = 0
    hits: int = 0
    size: int = 0
    hits_squared: int = 0
    crossed: int = 0
    """Sum over clusters of hits times size."""
    size_squared: int = 0
    copied: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Hits and size so far, of clusters that are of several problems."""

    def add(self, hits: int, size: int, sign: int = 1, cluster: str = "") -> None:
        """Count what a problem came to, or with `sign` −1 take it back.

        It is a cluster by itself, or belongs to the one of this name.
        """
        if cluster:
            before = self.copied.get(cluster, (0, 0))
            self._add(*before, -1)
            hits, size = before[0] + sign * hits, before[1] + sign * size
            self.copied[cluster] = (hits, size)
            sign = 1
        self._add(hits, size, sign)

    def _add(self, hits: int, size: int, sign: int) -> None:
        if size:  # an empty cluster says nothing
            self.clusters += sign
            self.hits += sign * hits
            self.size += sign * size
            self.hits_squared += sign * hits * hits
            self.crossed += sign * hits * size
            self.size_squared += sign * size * size


@dataclass(slots=True)
class Overview:
    """What a run came to so far."""

    samples: int = 0
    """Of all problems added."""
    reached: list[int] = field(default_factory=list)
    """By turn from 0: samples that began it."""
    ended_after: list[int] = field(default_factory=list)
    """By turn from 0: samples of which it was the last."""
    ended_unbegun: int = 0
    """Samples that ended without a turn."""
    running: dict[int, None] = field(default_factory=dict)
    """Problems begun and not finished, in the order in which they began."""
    finished: int = 0
    by_sample: Sums = field(default_factory=Sums)
    """Right samples of the finished problems whose gold answer is known; see `right_samples`."""
    by_vote: Sums = field(default_factory=Sums)
    """Right votes of the same."""
    stopped_early: int = 0
    """Of the same, problems whose vote was decided before all samples had ended."""
    written: int = 0
    """Tokens of all samples."""
    taken_over: Sums = field(default_factory=Sums)
    """Steps taken over, by problem, of all that were decided."""
    shares: list[int] = field(default_factory=lambda: [0] * SHARE_BINS)
    """Finished problems by the target's share of their tokens."""
    durations: dict[int, int] = field(default_factory=dict)
    """Finished problems by duration: bin i begins at `STEP` to the power i seconds."""
    looks: dict[int, Look] = field(default_factory=dict)
    """Problems that need a look and the gravest reason, in the order in which it was found."""
    detailed: list[int] = field(default_factory=list)
    """Finished problems whose turns and texts are in memory, oldest first."""
    weight: int = 0
    """What these weigh, bytes."""
    copied: dict[str, None] = field(default_factory=dict)
    """Problems of which there are copies: together they are one cluster."""

    @property
    def right_samples(self) -> Sums:
        """`by_sample`; nothing where a vote was decided early: which samples ended was not left to chance."""
        return Sums() if self.stopped_early else self.by_sample

    def problem_added(self, repeats: str, samples: int) -> None:
        """A problem with so many samples, and what it is a copy of; all are added before any is decided."""
        self.samples += samples
        if repeats:
            self.copied[repeats] = None

    @property
    def turns_done(self) -> int:
        """Turns that are over, of all samples."""
        return sum(self.reached[1:]) + sum(self.ended_after)

    @property
    def unbegun(self) -> int:
        """Samples without a turn that have not ended."""
        return self.samples - self.ended_unbegun - (self.reached[0] if self.reached else 0)

    @property
    def median_seconds(self) -> float | None:
        """The middle duration of the finished problems, to 5 %."""
        if not self.durations:
            return None
        half, seen = sum(self.durations.values()) / 2, 0
        for place in sorted(self.durations):
            seen += self.durations[place]
            if seen >= half:
                return float(STEP ** (place + 0.5))
        raise AssertionError("half of the problems are not among them")

    def turn_began(self, turn: int) -> None:
        """A sample came to a turn for the first time."""
        if turn == len(self.reached):
            self.reached.append(0)
            self.ended_after.append(0)
        self.reached[turn] += 1

    def decided(self, problem: ProblemState, *, taken: bool) -> None:
        """A step of a problem was accepted or taken over."""
        size, hits = problem.accepted + problem.taken_over, problem.taken_over
        cluster = self._cluster(problem)
        self.taken_over.add(hits, size, -1, cluster)
        problem.taken_over += taken
        problem.accepted += not taken
        self.taken_over.add(hits + taken, size + 1, 1, cluster)

    def sample_ended(self, problem: ProblemState, sample: SampleState, sign: int = 1) -> None:
        """A sample ended, or with `sign` −1 begins again."""
        turns = sample.turn_count
        if turns:
            self.ended_after[turns - 1] += sign
        else:
            self.ended_unbegun += sign
        if sample.end == "failed":
            problem.failed += sign
            self._judge(problem)

    def began(self, problem: ProblemState) -> None:
        """A problem's first sample began."""
        self.running[problem.index] = None

    def problem_finished(self, problem: ProblemState) -> None:
        """Count a finished problem, and put the oldest ones' details away where there are too many."""
        slow = self._is_slow(problem)
        self.running.pop(problem.index, None)
        self._count(problem, 1)
        self._judge(problem, slow=slow)
        self.detailed.append(problem.index)
        self.weight += problem.weight

    def begins_again(self, problem: ProblemState) -> None:
        """A sample of a finished problem goes on: the problem is not finished any more."""
        if problem.finished:
            self._count(problem, -1)
            self.running[problem.index] = None
            if problem.index in self.detailed:
                self.detailed.remove(problem.index)
                self.weight -= problem.weight
            self.looks.pop(problem.index, None)

    def put_away(self, problems: list[ProblemState]) -> None:
        """Drop turns and texts of the oldest finished problems until the rest weighs little enough."""
        while self.weight > DETAILS_BYTES and len(self.detailed) > 1:
            problem = problems[self.detailed.pop(0)]
            self.weight -= problem.weight
            problem.put_away, problem.weight = True, 0
            for sample in problem.samples:
                sample.put_away()

    def _count(self, problem: ProblemState, sign: int) -> None:
        self.finished += sign
        known = [sample.correct for sample in problem.samples if sample.correct is not None]
        stopped = sum(sample.end == "decided" for sample in problem.samples)
        if problem.correct is not None and len(known) + stopped == len(problem.samples):
            cluster = self._cluster(problem)
            self.stopped_early += sign * bool(stopped)
            self.by_sample.add(sum(known), len(known), sign, cluster)
            self.by_vote.add(int(problem.correct), 1, sign, cluster)
        if (share := problem.target_share) is not None:
            self.shares[min(int(share * SHARE_BINS), SHARE_BINS - 1)] += sign
        place = _bin_of(problem.seconds)
        self.durations[place] = self.durations.get(place, 0) + sign
        if not self.durations[place]:
            del self.durations[place]

    def _cluster(self, problem: ProblemState) -> str:
        return problem.cluster if problem.cluster in self.copied else ""

    def _is_slow(self, problem: ProblemState) -> bool:
        median = self.median_seconds
        return median is not None and self.finished >= SLOW_AFTER and problem.seconds > SLOW * median

    def _judge(self, problem: ProblemState, *, slow: bool = False) -> None:
        """Note the gravest reason to look at a problem."""
        look: Look | None = None
        if problem.failed:
            look = "failed"
        elif problem.finished and problem.correct is False and len(problem.tally) == 1 and problem.voted > 1:
            look = "wrong"
        elif problem.finished and (problem.tied or problem.answer is None):
            look = "undecided"
        elif slow:
            look = "slow"
        if look is None:
            self.looks.pop(problem.index, None)
        elif self.looks.get(problem.index) != look:
            self.looks[problem.index] = look


def _bin_of(seconds: float) -> int:
    return math.floor(math.log(max(seconds, 0.001)) / math.log(STEP))
