"""Conformal p-values of steps, from counts in a sorted calibration set.

With the score s = -PPL, `#{i : s <= s_i}` is `#{i : PPL_i <= PPL}`, so everything here counts perplexities
and a HIGH p-value is a suspicious step: it is taken over where p > alpha (arXiv 2509.15148, section 3).
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from atts_core.conformal.sorted_scores import SortedScores

PPL_FLOOR = 1.0 - 1e-6
"""No step has a lower PPL: a probability is at most 1, and float32 rounding of a server stays within 1e-6."""


def is_score(ppl: float | None) -> bool:
    """Whether `ppl` can be ranked: a finite number that a perplexity can be (>= 1, up to rounding)."""
    return ppl is not None and math.isfinite(ppl) and ppl >= PPL_FLOOR


def step_ppl(logprobs: Sequence[float | None]) -> float | None:
    """PPL = exp(-mean log-probability) of a step's tokens (natural logarithm), or None: unverifiable.

    None for an empty step, and where any log-probability is missing, NaN, infinite or positive beyond
    rounding: such a step was not verified, which is neither a good nor a bad score.
    """
    total = 0.0
    for logprob in logprobs:
        if logprob is None or not math.isfinite(logprob) or logprob > 1e-4:
            return None
        total += logprob
    if not logprobs:
        return None
    mean = min(total / len(logprobs), 0.0)
    try:
        return math.exp(-mean)
    except OverflowError:
        return None


def p_value(below: int, equal: int, size: int, u: float = 1.0) -> float:
    """p = (#{PPL_i < PPL} + u (1 + #{PPL_i = PPL})) / (N + 1).

    u = 1 is the conformal p-value of the paper, (1 + #{PPL_i <= PPL}) / (N + 1): P(p <= alpha) <= alpha under
    exchangeability. With u uniform on (0, 1] it is the smoothed p-value, exactly uniform (Vovk, Gammerman and
    Shafer, 2005). An empty set gives u: nothing is known, and every step is a stranger.
    """
    return (below + u * (1 + equal)) / (size + 1)


def percentile(below: int, size: int) -> float:
    """#{PPL_i < PPL} / N, the number that the authors' programs record and compare (`reference` rule)."""
    return below / size


def p_values(ppls: NDArray[np.float64], scores: NDArray[np.float64], u: float = 1.0) -> NDArray[np.float64]:
    """`p_value` of every entry of `ppls` (shape (n,)) against `scores` (shape (N,), any order), in bulk.

    ValueError where either holds a number that is no score.
    """
    for name, values in (("ppls", ppls), ("scores", scores)):
        if values.size and not (np.isfinite(values).all() and values.min() >= PPL_FLOOR):
            raise ValueError(f"{name} hold a number that is no perplexity")
    ordered = np.sort(scores)
    # Sorted queries walk memory in order, which is several times faster than a million random look-ups.
    order = np.argsort(ppls, kind="stable")
    queries = ppls[order]
    below = np.searchsorted(ordered, queries, side="left")
    up_to = np.searchsorted(ordered, queries, side="right")
    result = np.empty(len(ppls))
    result[order] = (below + u * (1 + up_to - below)) / (len(ordered) + 1)
    return result


def first_taken(size: int, alpha: float, u: float = 1.0) -> int:
    """The smallest number of scores below a step (none equal) that makes p > alpha; more than N: none does.

    Found with the very comparison that decides, because alpha (N + 1) rounds.
    """
    k = max(0, math.floor(alpha * (size + 1) - u))
    while k > 0 and p_value(k - 1, 0, size, u) > alpha:
        k -= 1
    while k <= size and p_value(k, 0, size, u) <= alpha:
        k += 1
    return k


def first_taken_by_reference(size: int, alpha: float) -> int:
    """The same for percentile >= alpha."""
    k = max(0, math.ceil(alpha * size))
    while k > 0 and percentile(k - 1, size) >= alpha:
        k -= 1
    while k <= size and percentile(k, size) < alpha:
        k += 1
    return k


def conformal_threshold(scores: SortedScores, alpha: float, u: float = 1.0) -> float | None:
    """The PPL above which a step is taken over: p > alpha exactly where PPL > threshold.

    Exact in floating point, ties included. 0 where every step is taken over, None where none is.
    """
    size = len(scores)
    k = first_taken(size, alpha, u)
    if k > size:
        return None
    if k == 0:
        return 0.0
    edge = scores.smallest(k)
    below = scores.below(edge)
    at_edge = p_value(below, scores.up_to(edge) - below, size, u) > alpha
    return math.nextafter(edge, 0.0) if at_edge else edge


def reference_threshold(scores: SortedScores, alpha: float) -> float | None:
    """The same for the `reference` rule: percentile >= alpha exactly where PPL > threshold."""
    k = first_taken_by_reference(len(scores), alpha)
    if k > len(scores):
        return None
    return scores.smallest(k) if k > 0 else 0.0
