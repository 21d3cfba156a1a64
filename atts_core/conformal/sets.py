"""Calibration sets: which scores a new step is ranked against."""

from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from atts_core.conformal.calibration import Calibration
from atts_core.conformal.settings import SMALLEST_BIN
from atts_core.conformal.sorted_scores import SortedScores
from atts_core.errors import SettingsError


class ScoreSet(Protocol):
    """What a decider asks of a set. A PPL is divided by the scale and then ranked."""

    def scores(self, problem: str, turn: int) -> SortedScores:
        """The scores that a step of `problem` at `turn` is ranked against."""
        ...

    def scale(self, problem: str) -> float:
        """What a PPL of `problem` is divided by before ranking."""
        ...


class MarginalSet:
    """All scores of all calibration problems and turns, pooled."""

    def __init__(self, calibration: Calibration) -> None:
        self._scores = SortedScores(calibration.ppl)

    def scores(self, problem: str, turn: int) -> SortedScores:  # noqa: ARG002 - pooled: the same for all
        return self._scores

    def scale(self, problem: str) -> float:  # noqa: ARG002
        return 1.0


class ConditionalSet:
    """For each problem its own calibration scores only; SettingsError for a problem without any."""

    def __init__(self, calibration: Calibration) -> None:
        self._source = calibration.source
        self._scores = {
            problem: SortedScores(calibration.ppl[places]) for problem, places in _places(calibration).items()
        }

    def scores(self, problem: str, turn: int) -> SortedScores:  # noqa: ARG002
        try:
            return self._scores[problem]
        except KeyError:
            raise never_calibrated([problem], self._source, "conditional") from None

    def scale(self, problem: str) -> float:  # noqa: ARG002
        return 1.0


class TurnSet:
    """Scores by turn (Mondrian categories), which may grow.

    A turn with fewer than `smallest` scores is ranked together with the next ones until they have as many;
    the last ones, and turns beyond any seen, with the previous. This looks at counts only, never at scores,
    so that the p-values stay valid within every category. With a `window`, a turn keeps its newest scores
    only.
    """

    def __init__(self, window: int | None = None, smallest: int = SMALLEST_BIN) -> None:
        self._window = window
        self._smallest = smallest
        self._turns: dict[int, deque[float] | array[float]] = {}
        self._firsts: list[int] = [0]
        self._groups: list[SortedScores] = [SortedScores()]

    @classmethod
    def of(
        cls,
        calibration: Calibration | None,
        values: NDArray[np.float64] | None = None,
        window: int | None = None,
        smallest: int = SMALLEST_BIN,
    ) -> "TurnSet":
        """A set that starts with the scores of a calibration (or `values` in their place), in their order."""
        made = cls(window, smallest)
        if calibration is not None:
            ppl = calibration.ppl if values is None else values
            for turn in np.unique(calibration.turn):
                own = ppl[calibration.turn == turn]
                made._turns[int(turn)] = made._new_turn(own)
            made._regroup()
        return made

    def _new_turn(self, scores: NDArray[np.float64]) -> "deque[float] | array[float]":
        if self._window is None:
            return array("d", np.ascontiguousarray(scores).tobytes())
        return deque(scores.tolist(), maxlen=self._window)

    def scores(self, problem: str, turn: int) -> SortedScores:  # noqa: ARG002
        return self._groups[self._group(turn)]

    def scale(self, problem: str) -> float:  # noqa: ARG002
        return 1.0

    def groups(self) -> list[tuple[int, int]]:
        """(first turn, number of scores) of every category, by turn."""
        return [(first, len(group)) for first, group in zip(self._firsts, self._groups, strict=True)]

    def add(self, turn: int, score: float) -> None:
        """Takes one more score of `turn`; the oldest of the turn leaves where the window is full."""
        own = self._turns.get(turn)
        if own is None:
            own = self._turns[turn] = self._new_turn(np.empty(0))
        group = self._groups[self._group(turn)]
        if isinstance(own, deque) and len(own) == self._window:
            group.remove(own[0])
        own.append(score)
        group.add(score)
        # A turn of the smallest size ends a category by itself, now and after every further score; below it,
        # each score may be the one that completes a category.
        if len(own) <= self._smallest:
            self._regroup()

    def _group(self, turn: int) -> int:
        return max(0, bisect_right(self._firsts, turn) - 1)

    def _regroup(self) -> None:
        members: list[list[int]] = []
        gathered: list[int] = []
        count = 0
        for turn in sorted(self._turns):
            gathered.append(turn)
            count += len(self._turns[turn])
            if count >= self._smallest:
                members.append(gathered)
                gathered, count = [], 0
        if gathered:
            if members:
                members[-1].extend(gathered)
            else:
                members.append(gathered)
        before = dict(zip(self._firsts, self._groups, strict=True))
        sizes = [sum(len(self._turns[turn]) for turn in group) for group in members]
        firsts = [0] + [group[0] for group in members[1:]]
        groups = []
        for first, group, size in zip(firsts, members, sizes, strict=bool(members)):
            kept = before.get(first)
            # Same first turn and same number of scores: the same category, since scores only ever move whole.
            if kept is not None and len(kept) == size:
                groups.append(kept)
            else:
                groups.append(SortedScores(np.concatenate([np.asarray(self._turns[turn]) for turn in group])))
        self._firsts = firsts
        self._groups = groups or [SortedScores()]


class CentredSet:
    """Ranks PPL divided by the geometric mean of its problem's own turn-0 scores (question-centred log PPL).

    A calibration score is divided by the geometric mean of the OTHER samples of its problem (m - 1 of them),
    a new step by that of the first m - 1 calibration samples of its problem: the two are then alike in
    distribution, where one problem's samples are exchangeable. The quotients are ranked by turn. Needs at
    least two samples at turn 0 of every problem: SettingsError otherwise.
    """

    def __init__(self, calibration: Calibration) -> None:
        self._source = calibration.source
        self._scales: dict[str, float] = {}
        centred = np.empty(len(calibration))
        logs = np.log(np.maximum(calibration.ppl, 1.0))
        for name, mine in _places(calibration).items():
            first = mine[calibration.turn[mine] == 0]
            first = first[np.argsort(calibration.sample[first], kind="stable")]
            samples, own = calibration.sample[first], logs[first]
            if len(np.unique(samples)) < 2:
                raise SettingsError(
                    f"{calibration.source} holds fewer than two samples at turn 0 of problem {name}, which"
                    " mode centred cannot centre; calibrate with at least 2 samples a problem."
                )
            self._scales[name] = _geometric_mean(own[samples != samples[-1]])
            for sample in np.unique(calibration.sample[mine]):
                others = own[samples != sample]
                at = mine[calibration.sample[mine] == sample]
                scale = self._scales[name] if len(others) == len(own) else _geometric_mean(others)
                centred[at] = calibration.ppl[at] / scale
        self._set = TurnSet.of(calibration, centred)

    def scores(self, problem: str, turn: int) -> SortedScores:
        return self._set.scores(problem, turn)

    def scale(self, problem: str) -> float:
        try:
            return self._scales[problem]
        except KeyError:
            raise never_calibrated([problem], self._source, "centred") from None

    def groups(self) -> list[tuple[int, int]]:
        """(first turn, number of scores) of every category, by turn."""
        return self._set.groups()


def never_calibrated(problems: Sequence[str], source: str, mode: str) -> SettingsError:
    """The error for problems that a per-problem mode cannot rank."""
    first = f"Problem {problems[0]:.40}" + (f" and {len(problems) - 1:,} more" if len(problems) > 1 else "")
    return SettingsError(
        f"{first} had no calibration in {source}, and mode {mode} ranks a step by its own problem's scores;"
        " calibrate these problems, or use mode online, per-turn or marginal."
    )


def _places(calibration: Calibration) -> dict[str, NDArray[np.intp]]:
    """Where the scores of each calibrated problem are."""
    order = np.argsort(calibration.problem, kind="stable")
    cuts = np.searchsorted(calibration.problem[order], np.arange(len(calibration.problems) + 1))
    return {
        name: order[cuts[index] : cuts[index + 1]]
        for index, name in enumerate(calibration.problems)
        if cuts[index] < cuts[index + 1]
    }


def _geometric_mean(logs: NDArray[np.float64]) -> float:
    return float(np.exp(logs.mean()))
