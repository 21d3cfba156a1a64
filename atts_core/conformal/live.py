"""What a run's decisions say about its calibration: realised rates with intervals by problem, what another
alpha would have decided, and signal.

Every verdict is a decision, those on drafts that were drawn again (`self-reject`) as well: each was one try
of the rule. A problem and its copies (`--repeat`) are one cluster.

Reads the folded state, so that it says the same of a live, an attached and a replayed run. `DecisionTally`
takes in only what is new, so that a screen can ask once a second however long the run is.
"""

import sys
from array import array
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from atts_core.conformal.intervals import NOTHING, Estimate, bounded_interval, ratio_interval
from atts_core.conformal.pvalues import is_score
from atts_core.conformal.signal import Signal, measure_signal
from atts_core.engine.votes import vote
from atts_core.events import CalibrationCard, ScoreHistogram
from atts_core.overview import Sums
from atts_core.problems.grading import by_spelling
from atts_core.state import Judged, ProblemState, RunState, SampleState

_ACCEPTED, _TAKEN, _UNVERIFIABLE = 0, 1, 2
_COLUMNS = ("_problem", "_cluster", "_sample", "_turn", "_verdict", "_ppl", "_p", "_alpha", "_at")
_VERDICTS = {"accept": _ACCEPTED, "take-over": _TAKEN, "unverifiable": _UNVERIFIABLE}


class TurnShare(msgspec.Struct, frozen=True):
    """The share taken over of the `decisions` of one turn (from 0), with its interval by problem."""

    turn: int
    decisions: int
    share: Estimate


class Realised(msgspec.Struct, frozen=True):
    """Realised take-over rates; unverifiable steps are taken over and count."""

    decisions: int
    overall: Estimate
    by_turn: tuple[TurnShare, ...]


class WhatIf(msgspec.Struct, frozen=True, kw_only=True):
    """Every recorded p-value against another alpha. The texts stay as they were recorded: a chain of which a
    verdict changes would have gone on differently, and nobody knows how."""

    alpha: float
    decisions: int
    to_take_over: int
    """Accepted in the run, taken over at this alpha."""
    to_accept: int
    """Taken over in the run, accepted at this alpha."""
    unknown: int
    """Decisions without a recorded p-value: they stay as they were."""
    realised: Estimate
    """The share taken over then, with its interval by problem."""
    threshold: float | None
    """A PPL between the highest that would be accepted and the lowest that would not; None where no single
    PPL divides them (sets by turn or by problem), or all would be decided alike."""

    @property
    def changed(self) -> int:
        """Decisions that would be other ones."""
        return self.to_take_over + self.to_accept


class DecisionTally:
    """The decisions of one run, one entry each in the order in which they were reached.

    A replay that jumps needs a new one.
    """

    AT_ONCE = 20_000
    """Decisions that a screen takes in at once: a twentieth of a second."""

    def __init__(self) -> None:
        self._seen = 0
        self._clear()

    def _clear(self) -> None:
        self.count = 0
        self.turns = 0
        """Turns that any decision was of."""
        self.behind = 0
        """Problems that the next calls will take in; until then entries are out of order."""
        self._next = sys.maxsize
        """The problem to take in next; of those before it every new decision is taken in at once."""
        self._problem = array("i")
        self._clusters: dict[str, int] = {}
        self._cluster = array("i")
        self._sample = array("i")
        self._turn = array("i")
        self._verdict = array("b")
        self._ppl = array("d")
        self._p = array("d")
        self._alpha = array("d")
        self._at = array("d")
        self._reference = False

    def update(self, state: RunState, at_once: int = sys.maxsize) -> bool:
        """Take in what was decided since the last call; whether that was anything.

        Where more was decided than the state remembers, all problems are looked through: with `at_once`, so
        many decisions a call, and calls again while `behind` is not zero take in the rest.
        """
        new = state.overall.decisions - self._seen
        if not new and not self.behind:
            return False
        if 0 <= new <= len(state.decisions):
            for decision in list(state.decisions)[len(state.decisions) - new :]:
                verdict = decision.verdict
                if verdict.problem < self._next:
                    judged = Judged(
                        verdict.turn, verdict.verdict, verdict.ppl, verdict.p, verdict.alpha, decision.at
                    )
                    self._add(state.problems[verdict.problem], verdict.sample, judged)
        else:
            self._clear()
            self._next = 0
        if self._next != sys.maxsize:
            self._take_in(state, at_once)
        self._reference = state.decisions[-1].verdict.rule == "reference"
        self._seen = state.overall.decisions
        return True

    def _take_in(self, state: RunState, at_once: int) -> None:
        most = self.count + at_once
        while self._next < len(state.problems) and self.count < most:
            problem = state.problems[self._next]
            for sample in problem.samples:
                for judged in sample.judged():
                    self._add(problem, sample.index, judged)
            self._next += 1
        self.behind = len(state.problems) - self._next
        if not self.behind:
            self._next = sys.maxsize
            order = np.argsort(_real(self._at), kind="stable")
            for name in _COLUMNS:
                entries: array[int] | array[float] = getattr(self, name)
                setattr(self, name, array(entries.typecode, np.array(entries)[order].tobytes()))

    def _add(self, problem: ProblemState, sample: int, judged: Judged) -> None:
        self.count += 1
        self.turns = max(self.turns, judged.turn + 1)
        self._problem.append(problem.index)
        self._cluster.append(self._clusters.setdefault(problem.cluster, len(self._clusters)))
        self._sample.append(sample)
        self._turn.append(judged.turn)
        self._verdict.append(_VERDICTS[judged.verdict])
        self._ppl.append(judged.ppl if is_score(judged.ppl) and judged.ppl is not None else np.nan)
        self._p.append(judged.p if judged.p is not None else np.nan)
        self._alpha.append(judged.alpha)
        self._at.append(judged.at)

    def realised(self) -> Realised:
        """Overall and by turn, over every decision so far."""
        taken = _whole(self._verdict) != _ACCEPTED
        return _realised(taken, _whole(self._cluster), _whole(self._turn), self.turns)

    def what_if(self, alpha: float) -> WhatIf:
        """Every decision again with one fixed `alpha`, by its recorded p-value and the run's own rule."""
        verdict, p, ppl = _whole(self._verdict), _real(self._p), _real(self._ppl)
        was = verdict != _ACCEPTED
        known = (verdict != _UNVERIFIABLE) & ~np.isnan(p)
        above = p >= alpha if self._reference else p > alpha
        now = (known & above) | (~known & was)
        return WhatIf(
            alpha=alpha,
            decisions=self.count,
            to_take_over=int((now & ~was).sum()),
            to_accept=int((~now & was).sum()),
            unknown=int(((verdict != _UNVERIFIABLE) & np.isnan(p)).sum()),
            realised=_by_problem(now, _whole(self._cluster)),
            threshold=_divide(ppl[known & now], ppl[known & ~now]),
        )

    def signal(self, state: RunState) -> tuple[Signal | None, str]:
        """Whether the mean PPL of a chain tells wrong ones, and by what they were judged.

        By gold answers where the run knows any, else by the vote of each problem's samples. None before there
        is a chain to judge.
        """
        known = any(problem.gold is not None for problem in state.problems)
        judged_by = "gold answers" if known else "the samples' own vote"
        ppl, sample = _real(self._ppl), _whole(self._sample)
        scored = ~np.isnan(ppl)
        width = int(sample.max(initial=0)) + 1
        place = (_whole(self._problem) * width + sample)[scored]
        counts = np.bincount(place)
        means = np.bincount(place, weights=ppl[scored]) / np.maximum(counts, 1)
        turns = place * (self.turns + 1) + _whole(self._turn)[scored]
        drawn_again = len(np.unique(turns)) < len(turns)
        chains: list[int] = []
        clusters: list[str] = []
        wrong: list[bool] = []
        for problem in state.problems:
            right = problem.gold if known else _voted(problem)
            if right is None:
                continue
            for chain in problem.samples:
                at = problem.index * width + chain.index
                if chain.end in (None, "failed", "stopped", "decided") or at >= len(counts) or not counts[at]:
                    continue
                if drawn_again and (mean := chain_ppl(chain)) is not None:
                    means[at] = mean
                chains.append(at)
                clusters.append(problem.cluster)
                # A grade that the run recorded is the run's own; grading again may take long.
                correct = chain.correct if known else None
                wrong.append(not (by_spelling(chain.answer, right) if correct is None else correct))
        if not chains:
            return None, judged_by
        return measure_signal(means[np.array(chains)], np.array(wrong), clusters), judged_by

    def histogram(self, edges: NDArray[np.float64]) -> tuple[NDArray[np.int64], int, int]:
        """Verified PPLs in bins of growing `edges` (shape (B + 1,)): counts of shape (B,), and how many lie
        below the first edge and above the last."""
        ppl = _real(self._ppl)
        ppl = ppl[~np.isnan(ppl)]
        counts, _ = np.histogram(ppl, edges)
        return counts, int((ppl < edges[0]).sum()), int((ppl > edges[-1]).sum())

    def range(self) -> tuple[float, float] | None:
        """The lowest and the highest verified PPL; None before the first."""
        ppl = _real(self._ppl)
        ppl = ppl[~np.isnan(ppl)]
        return (float(ppl.min()), float(ppl.max())) if len(ppl) else None

    def over_time(self, start: float, end: float, columns: int) -> "OverTime":
        """Rates in `columns` equal parts of the run time from `start` to `end`."""
        at, taken = _real(self._at), _whole(self._verdict) != _ACCEPTED
        alpha = _real(self._alpha)
        cuts = np.searchsorted(at, np.linspace(start, end, columns + 1), side="right")
        cuts[0] = 0
        total = np.concatenate(([0], np.cumsum(taken)))
        shares: list[float | None] = []
        lows: list[float | None] = []
        highs: list[float | None] = []
        low: float | None = None
        high: float | None = None
        for first, last in pairwise(cuts.tolist()):
            shares.append(float(total[last] / last) if last else None)
            if last > first:
                low, high = float(alpha[first:last].min()), float(alpha[first:last].max())
            lows.append(low)
            highs.append(high)
        return OverTime(tuple(shares), tuple(lows), tuple(highs))


class OverTime(msgspec.Struct, frozen=True):
    """One entry a column, None before the first decision: the share taken over of all decisions up to its
    end, and the lowest and highest alpha in it (where nothing was decided, of the last column before)."""

    shares: tuple[float | None, ...]
    low_alpha: tuple[float | None, ...]
    high_alpha: tuple[float | None, ...]


def realised(state: RunState) -> Realised:
    """Overall and by turn, over every decision of the run."""
    tally = DecisionTally()
    tally.update(state)
    return tally.realised()


def chain_ppl(sample: SampleState) -> float | None:
    """Mean PPL over the verified steps that are part of a chain, not over drafts that were drawn again."""
    scores = [
        judged.ppl
        for judged in sample.judged()
        if judged.ppl is not None and is_score(judged.ppl) and not judged.discarded
    ]
    return float(np.mean(scores)) if scores else None


def known_histogram(card: CalibrationCard | None) -> ScoreHistogram | None:
    """The histogram of a card, None where it has none or what a file says is none."""
    found = card.histogram if card is not None else None
    if found is None or len(found.edges) != len(found.counts) + 1 or len(found.counts) < 2:
        return None
    edges = np.array(found.edges)
    if not np.isfinite(edges).all() or edges[0] < 1 or (np.diff(edges) <= 0).any() or min(found.counts) < 0:
        return None
    return found if sum(found.counts) else None


def signal_so_far(state: RunState) -> tuple[Signal | None, str]:
    """`DecisionTally.signal` of every decision of the run."""
    tally = DecisionTally()
    tally.update(state)
    return tally.signal(state)


def _realised(
    taken: NDArray[np.bool_], problem: NDArray[np.int64], turn: NDArray[np.int64], turns: int
) -> Realised:
    if not len(taken):
        return Realised(0, _by_problem(taken, problem), ())
    width = int(problem.max()) + 1
    place = turn * width + problem
    sizes = np.bincount(place, minlength=turns * width).reshape(turns, width).astype(np.float64)
    hits = np.bincount(place, weights=taken, minlength=turns * width).reshape(turns, width)
    by_turn = []
    for number in range(turns):
        own = sizes[number] > 0
        if own.any():
            share = ratio_interval(hits[number][own], sizes[number][own])
            by_turn.append(TurnShare(number, int(sizes[number].sum()), share))
    return Realised(len(taken), _by_problem(taken, problem), tuple(by_turn))


def _by_problem(taken: NDArray[np.bool_], problem: NDArray[np.int64]) -> Estimate:
    sizes = np.bincount(problem).astype(np.float64)
    hits = np.bincount(problem, weights=taken).astype(np.float64)
    return ratio_interval(hits[sizes > 0], sizes[sizes > 0])


def _divide(above: NDArray[np.float64], below: NDArray[np.float64]) -> float | None:
    above, below = above[~np.isnan(above)], below[~np.isnan(below)]
    if not len(above) or not len(below):
        return None
    low, high = float(below.max()), float(above.min())
    return (low + high) / 2 if low <= high else None


def _whole(values: "array[int]") -> NDArray[np.int64]:
    """A copy: an array that is looked at through its buffer cannot grow."""
    return np.array(values, dtype=np.int64)


def _real(values: "array[float]") -> NDArray[np.float64]:
    return np.array(values, dtype=np.float64)


def _voted(problem: ProblemState) -> str | None:
    return vote(sample.answer for sample in problem.samples).winner


def estimate(sums: Sums) -> Estimate:
    """The share of hits with its 95 % interval by cluster: `intervals.ratio_interval` from sums alone."""
    if not sums.size:
        return NOTHING
    rate = sums.hits / sums.size
    if sums.clusters < 2:
        return Estimate(rate, 0.0, 1.0)
    hits, size = sums.hits, sums.size  # in whole numbers, so that equal clusters differ by nothing
    squares = size**2 * sums.hits_squared - 2 * hits * size * sums.crossed + hits**2 * sums.size_squared
    variance = sums.clusters / (sums.clusters - 1) * squares / size**4
    return bounded_interval(rate, variance, sums.clusters, at_most=sums.size)
