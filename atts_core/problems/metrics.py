"""What a run achieved, with intervals over problems: samples of one problem are alike, problems are not."""

from collections.abc import Sequence
from math import comb

import msgspec
import numpy as np

from atts_core.conformal.intervals import NOTHING, Estimate, rate_interval, ratio_interval


class Accuracy(msgspec.Struct, frozen=True):
    """All over the problems whose gold answer is known and whose samples all ended."""

    problems: int
    sample: Estimate
    """Share of samples that are right."""
    majority: Estimate
    """Share of problems whose vote is right."""
    pass_at_k: tuple[Estimate, ...]
    """Entry k − 1: chance that at least one of k samples is right, k = 1 … m (`pass_at`)."""


def accuracy(right: Sequence[Sequence[bool]], votes: Sequence[bool]) -> Accuracy:
    """Accuracy from each problem's samples (right or not, the same number for each) and its vote."""
    if not right:
        return Accuracy(0, NOTHING, NOTHING, ())
    owners = [problem for problem, samples in enumerate(right) for _ in samples]
    ones = np.ones(len(right))
    least = min(len(samples) for samples in right)
    return Accuracy(
        problems=len(right),
        sample=rate_interval([hit for samples in right for hit in samples], owners),
        majority=rate_interval(votes, range(len(votes))),
        pass_at_k=tuple(
            ratio_interval(np.array([pass_at(k, len(samples), sum(samples)) for samples in right]), ones)
            for k in range(1, least + 1)
        ),
    )


def pass_at(k: int, samples: int, right: int) -> float:
    """Unbiased estimate of the chance that one of k samples is right, from `right` of n `samples`:
    1 − C(n − c, k) / C(n, k) (Chen et al., 2021, arXiv 2107.03374)."""
    return 1 - comb(samples - right, k) / comb(samples, k)
