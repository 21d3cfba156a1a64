"""A sequential test of whether calibration and run are exchangeable, with a stated false-alarm rate.

What is tested: the FIRST step of every sample, which no take-over has touched yet. It is exchangeable with
the calibration's first steps exactly if models, prompts, temperature and problems are the same. Later turns
depend on what was decided before and are never exchangeable with turn 0; the rates by turn show them
(`audit`).

The samples of one problem are alike (intraclass correlation of PPL .56 to .71 in recorded runs), so their
pooled p-values are NOT independent: in simulated sound runs with a correlation of .6, a martingale on these
raised an alarm, stated at 1 %, in 99 % of runs. Two kinds of p-values do not suffer from that:

* problems that were calibrated: a step is ranked among the first steps of its OWN problem, those of the
  calibration and those of the run so far. These are independent draws from one distribution, so that the
  smoothed p-values are independent and uniform, whatever problems have in common;
* other problems: one p-value a PROBLEM, that of its mean log PPL among the calibration problems' and those of
  the run so far. Exact where problems are exchangeable, and as slow as honest: it counts problems, not steps.

Both take problems in the order of the run, and samples by number, whatever the order in which they arrive:
quick steps are short and have a lower PPL, so that the order of arrival alone would look like drift.
"""

import hashlib
import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from atts_core.conformal.calibration import Calibration
from atts_core.conformal.pvalues import is_score, p_value
from atts_core.percent import percent

FALSE_ALARM = 0.01
"""At most this share of exchangeable runs, however long, ever raises the alarm."""
_BETS = np.array([-1.9, -1.0, 0.0, 1.0, 1.9])
_JUMP = 0.01


class JumperMartingale:
    """The Simple Jumper (Vovk et al., "Retrain or not retrain", COPA 2021) with five bets.

    Capital 1 is spread over bets 1 + e (p - 1/2), e in {-1.9, -1, 0, 1, 1.9}; before every bet a hundredth
    of it is spread anew, which lets it notice a change that comes late. On independent uniform p-values it
    is a non-negative martingale, so by Ville's inequality it ever reaches 1/d with probability at most d.
    """

    def __init__(self) -> None:
        self._capital = np.full(len(_BETS), 1 / len(_BETS))
        self._log_scale = 0.0

    def update(self, p: float) -> None:
        """Bets once on a p-value in [0, 1]."""
        held = (1 - _JUMP) * self._capital + _JUMP * self._capital.sum() / len(_BETS)
        held *= 1 + _BETS * (p - 0.5)
        total = float(held.sum())
        self._capital = held / total
        self._log_scale += math.log(total)

    @property
    def log10(self) -> float:
        """The decimal logarithm of the capital: 2 is evidence of 100 to 1 against exchangeability."""
        return self._log_scale / math.log(10)

    @property
    def lean(self) -> float:
        """The bet that the capital is on, averaged: above 0 where p-values have been too high."""
        return float(self._capital @ _BETS)


class DriftAlarm(msgspec.Struct, frozen=True, kw_only=True):
    """The alarm, raised once. `at`: the steps the monitor had been told of. `evidence`: decimal logarithm of
    the capital. `direction` of the run's PPL against the calibration's. `compared`: p-values used so far."""

    at: int
    evidence: float
    direction: Literal["higher", "lower", "different"]
    compared: int
    false_alarm: float

    @property
    def sentence(self) -> str:
        """What a user reads."""
        words = {
            "higher": "higher than calibrated",
            "lower": "lower than calibrated",
            "different": "distributed differently from the calibration",
        }[self.direction]
        return (
            f"Calibration and run do not belong together: first steps have a PPL {words} (evidence"
            f" 10^{self.evidence:.1f} to 1 after {self.at:,} decisions; at most {percent(self.false_alarm)}"
            " of sound runs ever raise this). Calibrate with these models, prompts and problems, or use mode"
            " online."
        )


class DriftMonitor:
    """Watches one run. `problems`: all of the run, in their order. `samples`: m of each.

    `same_problems`: whether an id that both know is the same problem (the data set's fingerprints agree, or,
    for the authors' files, by their design); otherwise every problem counts as a new one.
    """

    def __init__(
        self,
        calibration: Calibration,
        problems: Sequence[str],
        samples: int,
        *,
        same_problems: bool,
        false_alarm: float = FALSE_ALARM,
    ) -> None:
        self.alarm: DriftAlarm | None = None
        self.seen = 0
        first = calibration.turn == 0
        logs = np.log(np.maximum(calibration.ppl[first], 1.0))
        owner, sample = calibration.problem[first], calibration.sample[first]
        by_problem: dict[str, list[float]] = {}
        for at in np.lexsort((sample, owner)):
            by_problem.setdefault(calibration.problems[owner[at]], []).append(float(logs[at]))
        known = [name for name in problems if same_problems and name in by_problem]
        self._within = _Within({name: by_problem[name] for name in known}, samples)
        strangers = [name for name in problems if name not in self._within.own]
        depth = min([samples, *(len(own) for own in by_problem.values())])
        means = [sum(own[:depth]) / depth for own in by_problem.values()]
        self._between = _Between(means, strangers, depth)
        parts = [part for part, names in ((self._within, known), (self._between, strangers)) if names]
        self._parts: list[_Within | _Between] = parts
        self._false_alarm = false_alarm
        self._limit = -math.log10(false_alarm / max(1, len(parts)))

    @property
    def evidence(self) -> float:
        """The decimal logarithm of the larger capital; alarm at 2, or 2.3 where both tests run."""
        return max((part.martingale.log10 for part in self._parts), default=0.0)

    @property
    def compared(self) -> int:
        """How many p-values were bet on."""
        return sum(part.compared for part in self._parts)

    def update(self, problem: str, sample: int, turn: int, ppl: float | None) -> DriftAlarm | None:
        """Learns of a step (`sample` from 0; PPL None: not verifiable); the alarm at the step that raises it.

        A run that is resumed tells the recorded steps again, in any order.
        """
        self.seen += 1
        if turn != 0:
            return None
        return self._first_step(problem, sample, ppl)

    def missing(self, problem: str, sample: int) -> DriftAlarm | None:
        """The first step of this sample will never come (it failed): all those after it wait no longer."""
        return self._first_step(problem, sample, None)

    def _first_step(self, problem: str, sample: int, ppl: float | None) -> DriftAlarm | None:
        if self.alarm is not None:
            return None
        log = math.log(max(ppl, 1.0)) if ppl is not None and is_score(ppl) else None
        for part in self._parts:
            part.update(problem, sample, log)
            if part.martingale.log10 >= self._limit and self.alarm is None:
                lean = part.martingale.lean
                self.alarm = DriftAlarm(
                    at=self.seen,
                    evidence=part.martingale.log10,
                    direction="higher" if lean > 0.5 else "lower" if lean < -0.5 else "different",
                    compared=part.compared,
                    false_alarm=self._false_alarm,
                )
        return self.alarm


class _Test:
    """A martingale with what was bet on."""

    def __init__(self) -> None:
        self.martingale = JumperMartingale()
        self.compared = 0

    def rank(self, value: float, among: list[float], *name: object) -> None:
        """Bets on the smoothed p-value of `value`, which then joins `among` (sorted)."""
        below = bisect_left(among, value)
        p = p_value(below, bisect_right(among, value) - below, len(among), _uniform(*name))
        insort(among, value)
        self.martingale.update(p)
        self.compared += 1


class _Within(_Test):
    """Steps of calibrated problems, each among those of its own problem, by problem and sample number."""

    def __init__(self, own: dict[str, list[float]], samples: int) -> None:
        super().__init__()
        self.own = {name: sorted(logs) for name, logs in own.items()}
        self._order = [(name, sample) for name in own for sample in range(samples)]
        self._at = 0
        self._waiting: dict[tuple[str, int], float | None] = {}

    def update(self, problem: str, sample: int, log: float | None) -> None:
        if problem in self.own:
            self._waiting.setdefault((problem, sample), log)
        while self._at < len(self._order) and self._order[self._at] in self._waiting:
            name = self._order[self._at]
            self._at += 1
            value = self._waiting[name]
            if value is not None:
                self.rank(value, self.own[name[0]], *name)


class _Between(_Test):
    """Problems that were not calibrated, each by the mean of its first samples, in the order of the run."""

    def __init__(self, means: list[float], problems: list[str], depth: int) -> None:
        super().__init__()
        self._means = sorted(means)
        self._order = problems
        self._depth = depth
        self._at = 0
        self._waiting: dict[str, dict[int, float | None]] = {name: {} for name in problems}

    def update(self, problem: str, sample: int, log: float | None) -> None:
        if problem not in self._waiting or sample >= self._depth:
            return
        self._waiting[problem].setdefault(sample, log)
        while self._at < len(self._order) and len(self._waiting[self._order[self._at]]) == self._depth:
            name = self._order[self._at]
            self._at += 1
            first = self._waiting[name]
            logs = [value for at in range(self._depth) if (value := first[at]) is not None]
            # A problem with an unverifiable sample has another kind of mean than the calibration's.
            if len(logs) == self._depth:
                self.rank(sum(logs) / self._depth, self._means, name)


def _uniform(*name: object) -> float:
    """A number on (0, 1] that depends on nothing but what it is for, so that a replay bets the same."""
    digest = hashlib.blake2b(repr(name).encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") + 1) / 2**64
