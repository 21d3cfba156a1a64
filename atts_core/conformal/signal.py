"""Does a chain's PPL tell wrong answers from right ones?"""

import math
from collections.abc import Hashable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from atts_core.conformal.intervals import NOTHING, Estimate, bounded_interval
from atts_core.percent import percent


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """`auroc`: P(a wrong chain has the higher PPL than a right one), ties half; .5 is no signal.
    `auroc_within`: the same among chains of one problem only, which is what choosing between samples needs.
    Intervals: 95 %, jackknife over problems. `chains` and `wrong`: how many were compared. `verdict`: in
    words.
    """

    auroc: Estimate
    auroc_within: Estimate
    chains: int
    wrong: int
    problems: int
    verdict: str


def measure_signal(
    ppl: NDArray[np.float64], wrong: NDArray[np.bool_], problems: Sequence[Hashable]
) -> Signal:
    """`ppl` of each chain (for instance the mean over its steps), whether its answer is `wrong`, and its
    problem, each of length n."""
    places: dict[Hashable, int] = {}
    codes = np.fromiter((places.setdefault(name, len(places)) for name in problems), dtype=np.intp)
    overall, within = _overall(ppl, wrong, codes), _within(ppl, wrong, codes)
    return Signal(
        auroc=overall,
        auroc_within=within,
        chains=len(ppl),
        wrong=int(wrong.sum()),
        problems=len(places),
        verdict=_verdict(overall, within),
    )


def _overall(ppl: NDArray[np.float64], wrong: NDArray[np.bool_], codes: NDArray[np.intp]) -> Estimate:
    bad, good = np.sort(ppl[wrong]), np.sort(ppl[~wrong])
    if not len(bad) or not len(good):
        return NOTHING
    groups = int(codes.max()) + 1
    # Pairs that a problem takes part in, so that each can be left out without counting anew.
    bad_beats = _beats(good, ppl[wrong])
    good_loses = len(bad) - _beats(bad, ppl[~wrong])
    inner, inner_pairs = _pairs_within(ppl, wrong, codes, groups)
    own_bad = np.bincount(codes[wrong], minlength=groups).astype(float)
    own_good = np.bincount(codes[~wrong], minlength=groups).astype(float)
    part = (
        np.bincount(codes[wrong], weights=bad_beats, minlength=groups)
        + np.bincount(codes[~wrong], weights=good_loses, minlength=groups)
        - inner
    )
    pairs = own_bad * len(good) + own_good * len(bad) - inner_pairs
    return _jackknife(float(bad_beats.sum()), float(len(bad) * len(good)), part, pairs)


def _within(ppl: NDArray[np.float64], wrong: NDArray[np.bool_], codes: NDArray[np.intp]) -> Estimate:
    groups = int(codes.max()) + 1 if len(codes) else 0
    wins, pairs = _pairs_within(ppl, wrong, codes, groups)
    mixed = pairs > 0
    return _jackknife(float(wins.sum()), float(pairs.sum()), wins[mixed], pairs[mixed])


def _pairs_within(
    ppl: NDArray[np.float64], wrong: NDArray[np.bool_], codes: NDArray[np.intp], groups: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(pairs that the wrong chain wins, ties half, pairs) of every problem, all problems at once."""
    order = np.lexsort((ppl, codes))
    code, value, bad = codes[order], ppl[order], wrong[order]
    new_run = np.ones(len(order), dtype=np.bool_)
    new_run[1:] = (code[1:] != code[:-1]) | (value[1:] != value[:-1])
    run = np.cumsum(new_run) - 1
    good_of_run = np.bincount(run, weights=~bad)
    good_before = np.concatenate(([0.0], np.cumsum(good_of_run)))[run]
    own_good = np.bincount(code, weights=~bad, minlength=groups)
    first = np.concatenate(([0.0], np.cumsum(own_good)))[:-1]
    beaten = (good_before - first[code] + good_of_run[run] / 2)[bad]
    wins = np.bincount(code[bad], weights=beaten, minlength=groups)
    return wins.astype(np.float64), (np.bincount(code[bad], minlength=groups) * own_good).astype(np.float64)


def _beats(ordered: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many of `ordered` each value exceeds, ties half."""
    left, right = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    return np.asarray((left + right) / 2, dtype=np.float64)


def _jackknife(
    wins: float, pairs: float, part: NDArray[np.float64], part_pairs: NDArray[np.float64]
) -> Estimate:
    """`wins` / `pairs` with an interval from leaving out each cluster's part."""
    if pairs == 0:
        return NOTHING
    value = wins / pairs
    left = pairs - part_pairs
    usable = left > 0
    clusters = int(usable.sum())
    if clusters < 2 or not usable.all():
        return Estimate(value, 0.0, 1.0)
    leaving = (wins - part) / left
    variance = (clusters - 1) / clusters * float(((leaving - leaving.mean()) ** 2).sum())
    return bounded_interval(min(1.0, max(0.0, value)), variance, clusters, at_most=math.inf)


def _verdict(overall: Estimate, within: Estimate) -> str:
    if overall.value is None or overall.low is None or overall.high is None:
        return "Unknown: the answers known are all right or all wrong."
    if within.value is None or within.low is None or within.high is None:
        return "Unknown within problems: no problem has both right and wrong chains."
    if within.low > 0.5:
        strength = "strong" if within.value >= 0.8 else "some" if within.value >= 0.6 else "weak"
        return (
            f"PPL carries {strength} signal: of a wrong and a right chain of one problem, the wrong one"
            f" has the higher PPL in {percent(within.value)} of pairs."
        )
    if within.high < 0.5:
        return (
            f"PPL points the wrong way: within a problem, the RIGHT chain has the higher PPL in"
            f" {percent(1 - within.value)} of pairs, so that taking over high-PPL steps cannot help this"
            " pair."
        )
    unclear = within.high - within.low > 0.2
    inside = (
        "within a problem it cannot be said yet (too few problems with both right and wrong chains)"
        if unclear
        else "within a problem it does not tell wrong chains from right ones"
    )
    if overall.low > 0.5:
        return f"PPL tells hard problems from easy ones, but {inside}."
    return f"No signal seen: PPL does not tell wrong chains from right ones over all problems, and {inside}."
