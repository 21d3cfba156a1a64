"""Intervals on rates whose observations come in clusters: the steps or samples of one problem are alike.

A naive binomial interval of a recorded run is four times too narrow, because 1,600 samples of 100 problems
are worth about 165 independent ones.
"""

import math
from collections.abc import Hashable, Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from atts_core.percent import NONE, percent

LEVEL = 0.95


class Estimate(msgspec.Struct, frozen=True):
    """A rate or score in [0, 1] with its 95 % interval; all None where there was nothing to count."""

    value: float | None
    low: float | None
    high: float | None


NOTHING = Estimate(None, None, None)


def percent_interval(estimate: Estimate) -> str:
    """In words, such as `83.6 % [76.1, 89.2]`; a dash where there is nothing."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return NONE
    return f"{percent(estimate.value, 1)} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


class Interval(Protocol):
    """A number with its 95 % interval; None where there is none."""

    @property
    def value(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


def number_interval(found: Interval, decimals: int = 2) -> str:
    """In words, such as `0.84 [0.76, 0.89]`; without what is not known, a dash where that is all."""
    if found.value is None:
        return NONE
    if found.low is None or found.high is None:
        return f"{found.value:.{decimals}f}"
    return f"{found.value:.{decimals}f} [{found.low:.{decimals}f}, {found.high:.{decimals}f}]"


def rate_interval(hits: Sequence[bool] | NDArray[np.bool_], clusters: Sequence[Hashable]) -> Estimate:
    """The share of true `hits` (length n), with a 95 % interval by cluster (`clusters`, length n).

    The ratio estimator's cluster-robust variance, put into a Wilson interval through the effective size
    n_eff = r (1 - r) / variance, with the t quantile of G - 1 degrees of freedom (Franco, Little, Louis and
    Slud, 2019). One cluster alone says nothing about others: its interval is [0, 1].
    By simulation it covers 93 to 96 times in 100 with 50 problems, and 90 with ten.
    """
    if len(hits) == 0:
        return NOTHING
    places: dict[Hashable, int] = {}
    codes = np.fromiter((places.setdefault(name, len(places)) for name in clusters), dtype=np.intp)
    counts = np.bincount(codes, weights=np.asarray(hits, dtype=np.float64)).astype(np.float64)
    return ratio_interval(counts, np.bincount(codes).astype(np.float64))


def ratio_interval(counts: NDArray[np.float64], sizes: NDArray[np.float64]) -> Estimate:
    """The same from each cluster's hits and size, both of shape (G,)."""
    total, clusters = float(sizes.sum()), len(sizes)
    if total == 0:
        return NOTHING
    rate = float(counts.sum()) / total
    if clusters < 2:
        return Estimate(rate, 0.0, 1.0)
    residuals = counts - rate * sizes
    variance = clusters / (clusters - 1) * float((residuals**2).sum()) / total**2
    return bounded_interval(rate, variance, clusters, at_most=total)


def bounded_interval(value: float, variance: float, clusters: int, *, at_most: float) -> Estimate:
    """Wilson's interval for a `value` in [0, 1] of which a `variance` over G >= 2 `clusters` is known.

    A variance of zero, as for 0 of n, says only that no two clusters differed: the effective size is then the
    number of clusters. It never exceeds `at_most`, the number of observations.
    """
    effective = value * (1 - value) / variance if variance > 0 else float(clusters)
    if value in (0.0, 1.0):
        effective = float(clusters)
    effective = min(effective, at_most)
    t = t_quantile(clusters - 1)
    spread = t * t / effective
    centre = (value + spread / 2) / (1 + spread)
    half = math.sqrt(spread * (value * (1 - value) + spread / 4)) / (1 + spread)
    return Estimate(value, max(0.0, min(value, centre - half)), min(1.0, max(value, centre + half)))


def effective_size(values: NDArray[np.float64], clusters: NDArray[np.int32]) -> tuple[float, float]:
    """(intraclass correlation, effective size) of `values` (shape (N,)) in `clusters` (shape (N,)).

    The one-way analysis-of-variance estimator, clipped to [0, 1], and N / (1 + (m - 1) ICC) with m the mean
    cluster size weighted by size (Kish, 1965). Without repetition in any cluster: (0, N).
    """
    _, codes = np.unique(clusters, return_inverse=True)
    sizes = np.bincount(codes).astype(float)
    total, groups = float(sizes.sum()), len(sizes)
    if groups < 2 or total == groups:
        return (0.0, total) if total == groups else (1.0, float(groups))
    means = np.bincount(codes, weights=values) / sizes
    between = float((sizes * (means - values.mean()) ** 2).sum()) / (groups - 1)
    within = float(((values - means[codes]) ** 2).sum()) / (total - groups)
    usual = (total - float((sizes**2).sum()) / total) / (groups - 1)
    spread = between + (usual - 1) * within
    correlation = min(1.0, max(0.0, (between - within) / spread)) if spread > 0 else 1.0
    weighted = float((sizes**2).sum()) / total
    return correlation, total / (1 + (weighted - 1) * correlation)


@lru_cache(4096)
def t_quantile(degrees: int) -> float:
    """The two-sided 95 % quantile of Student's t, from its exact distribution for whole degrees of freedom
    (Abramowitz and Stegun, 26.7.3 and 26.7.4); the normal one beyond a thousand."""
    normal = NormalDist().inv_cdf((1 + LEVEL) / 2)
    if degrees > 1000:
        return normal
    low, high = normal, 13.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_central(middle, degrees) < LEVEL else (low, middle)
    return (low + high) / 2


def _t_central(t: float, degrees: int) -> float:
    """P(|T| <= t)."""
    angle = math.atan2(t, math.sqrt(degrees))
    cosine, sine = math.cos(angle), math.sin(angle)
    even = degrees % 2 == 0
    term = 1.0 if even else cosine
    total = 0.0
    for power in range(degrees // 2):
        total += term
        factor = (2 * power + 1) / (2 * power + 2) if even else (2 * power + 2) / (2 * power + 3)
        term *= factor * cosine * cosine
    return sine * total if even else 2 / math.pi * (angle + sine * total)
