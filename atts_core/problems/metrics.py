"""What a run achieved, with intervals over problems: samples of one problem are alike, problems are not.

A problem that is a copy of another (`--repeat`) is as alike as its samples are, so the two are one cluster.
A tied vote counts as its winner does, the answer of the sample of lowest index among the tied ones.
"""

from collections.abc import Hashable, Iterable, Sequence
from math import comb

import msgspec
import numpy as np
from numpy.typing import NDArray

from atts_core.conformal.intervals import NOTHING, Estimate, ratio_interval, t_quantile
from atts_core.conformal.live import chain_ppl
from atts_core.state import ProblemState, RunState, SampleState


class Accuracy(msgspec.Struct, frozen=True):
    """All over the problems whose gold answer is known and whose samples all ended."""

    problems: int
    sample: Estimate
    """Share of samples that are right."""
    majority: Estimate
    """Share of problems whose vote is right."""
    pass_at_k: tuple[Estimate, ...]
    """Entry k − 1: chance that at least one of k samples is right, k = 1 … m (`pass_at`)."""


class Ratio(msgspec.Struct, frozen=True):
    """A ratio of two sums over problems, with its 95 % interval; all None where there is nothing to divide
    by. Unlike an `Estimate` it may exceed 1."""

    value: float | None
    low: float | None
    high: float | None


class ProblemRow(msgspec.Struct, frozen=True, kw_only=True):
    """One problem of a run in numbers."""

    id: str
    gold: str | None
    answer: str | None
    """The vote's winner."""
    correct: bool | None
    tied: bool
    votes: int
    """For the winner."""
    samples: int
    ended: int
    right: int | None
    """Samples that are right; None where no gold answer is known."""
    fallback: int
    """Samples that were graded by spelling because a calculation was not to be had."""
    best_answer: str | None
    """Of the sample with the lowest mean PPL."""
    best_correct: bool | None
    mean_ppl: float | None
    decisions: int
    taken_over: int
    draft_tokens: int
    target_tokens: int
    seconds: float | None
    """From its first sample's begin to its end; None before."""


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """What a run came to."""

    accuracy: Accuracy
    best_of_m: Estimate
    """Share of problems whose sample of lowest mean PPL is right, of those with any PPL; nothing where votes
    were decided early, as of all that is said of samples."""
    ties: int
    """Finished problems with a tied vote, right or wrong."""
    fallback: int
    """Samples that were graded by spelling because a calculation was not to be had."""
    target_share: Estimate
    """Of the tokens written, those that the target wrote."""
    right_per_1000_target_tokens: Ratio
    """Right samples for every 1,000 tokens that the target wrote."""
    problems: tuple[ProblemRow, ...]


def measure(state: RunState) -> Metrics:
    """The numbers of a run as far as it went."""
    rows = tuple(_row(problem) for problem in state.problems)
    known = _graded(state)
    # What is said of samples needs all of them: which ones end of a vote decided early is not left to chance.
    whole = [] if any(map(stopped_early, known)) else known
    clusters = [problem.cluster for problem in whole]
    bests = [_best(problem) for problem in whole]
    scored = [(best.correct, name) for best, name in zip(bests, clusters, strict=True) if best is not None]
    return Metrics(
        accuracy=achieved(state),
        best_of_m=_clustered(
            [float(bool(right)) for right, _ in scored], [1.0] * len(scored), [name for _, name in scored]
        ),
        ties=sum(problem.finished and problem.tied for problem in state.problems),
        fallback=sum(row.fallback for row in rows),
        target_share=target_share(state),
        right_per_1000_target_tokens=per_thousand(
            [sum(sample.correct is True for sample in problem.samples) for problem in whole],
            [problem.target_tokens for problem in whole],
            clusters,
        ),
        problems=rows,
    )


def target_share(state: RunState) -> Estimate:
    """Of the tokens written in samples, discarded ones among them, those of the target."""
    return _clustered(
        [problem.target_tokens for problem in state.problems],
        [problem.tokens for problem in state.problems],
        [problem.cluster for problem in state.problems],
    )


def achieved(state: RunState) -> Accuracy:
    """Accuracy over finished problems with a gold answer; a failed sample makes its problem unknown.

    Where problems were stopped early it is that of the votes alone: which samples ended is not left to
    chance.
    """
    known = _graded(state)
    found = accuracy(
        [[bool(sample.correct) for sample in problem.samples] for problem in known],
        [bool(problem.correct) for problem in known],
        [problem.cluster for problem in known],
    )
    if any(map(stopped_early, known)):
        return msgspec.structs.replace(found, sample=NOTHING, pass_at_k=())
    return found


def is_graded(problem: ProblemState) -> bool:
    """Whether its gold answer is known and every sample was found right or wrong, or stopped because the vote
    was decided: all accuracies, also those of comparisons, are over such problems."""
    return problem.correct is not None and all(
        sample.correct is not None or sample.end == "decided" for sample in problem.samples
    )


def stopped_early(problem: ProblemState) -> bool:
    """Whether samples were stopped because the vote was decided without them."""
    return any(sample.end == "decided" for sample in problem.samples)


def accuracy(
    right: Sequence[Sequence[bool]], votes: Sequence[bool], clusters: Sequence[Hashable] | None = None
) -> Accuracy:
    """Accuracy from each problem's samples (right or not) and its vote; `clusters` names what problems are
    alike (default: each for itself)."""
    if not right:
        return Accuracy(0, NOTHING, NOTHING, ())
    names = range(len(right)) if clusters is None else clusters
    ones = [1.0] * len(right)
    least = min(len(samples) for samples in right)
    return Accuracy(
        problems=len(right),
        sample=_clustered([sum(samples) for samples in right], [len(samples) for samples in right], names),
        majority=_clustered([float(vote) for vote in votes], ones, names),
        pass_at_k=tuple(_pass_at_k(right, k, least // k, names) for k in range(1, least + 1)),
    )


def _pass_at_k(right: Sequence[Sequence[bool]], k: int, tries: int, clusters: Iterable[Hashable]) -> Estimate:
    """`tries`: of k samples each, that a problem has room for; pass@1 is the accuracy per sample, with its
    interval."""
    found = [tries * pass_at(k, len(samples), sum(samples)) for samples in right]
    return _clustered(found, [tries] * len(right), clusters)


def pass_at(k: int, samples: int, right: int) -> float:
    """Unbiased estimate of the chance that one of k samples is right, from `right` of n `samples`:
    1 − C(n − c, k) / C(n, k) (Chen et al., 2021, arXiv 2107.03374)."""
    return 1 - comb(samples - right, k) / comb(samples, k)


def per_thousand(counts: Sequence[float], sizes: Sequence[float], clusters: Sequence[Hashable]) -> Ratio:
    """1,000 × sum of `counts` / sum of `sizes`, with the ratio estimator's interval over clusters."""
    over, under = _summed(counts, sizes, clusters)
    total = float(under.sum())
    if total == 0:
        return Ratio(None, None, None)
    ratio, groups = float(over.sum()) / total, len(under)
    if groups < 2:
        return Ratio(1000 * ratio, None, None)
    variance = groups / (groups - 1) * float(((over - ratio * under) ** 2).sum()) / total**2
    half = t_quantile(groups - 1) * float(np.sqrt(variance))
    return Ratio(1000 * ratio, max(0.0, 1000 * (ratio - half)), 1000 * (ratio + half))


def _clustered(counts: Sequence[float], sizes: Sequence[float], clusters: Iterable[Hashable]) -> Estimate:
    return ratio_interval(*_summed(counts, sizes, clusters))


def _summed(
    counts: Sequence[float], sizes: Sequence[float], clusters: Iterable[Hashable]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both summed by cluster, each of shape (G,)."""
    places: dict[Hashable, int] = {}
    codes = np.fromiter((places.setdefault(name, len(places)) for name in clusters), dtype=np.intp)
    return (
        np.bincount(codes, weights=np.asarray(counts, dtype=np.float64)).astype(np.float64),
        np.bincount(codes, weights=np.asarray(sizes, dtype=np.float64)).astype(np.float64),
    )


def _graded(state: RunState) -> list[ProblemState]:
    return [problem for problem in state.problems if is_graded(problem)]


def _row(problem: ProblemState) -> ProblemRow:
    best = _best(problem)
    scores = [score for sample in problem.samples if (score := chain_ppl(sample)) is not None]
    return ProblemRow(
        id=problem.id,
        gold=problem.gold,
        answer=problem.answer,
        correct=problem.correct,
        tied=problem.tied,
        votes=problem.tally[0][1] if problem.tally else 0,
        samples=len(problem.samples),
        ended=problem.ended,
        right=None if problem.gold is None else sum(sample.correct is True for sample in problem.samples),
        fallback=sum(sample.graded == "fallback" for sample in problem.samples),
        best_answer=best.answer if best else None,
        best_correct=best.correct if best else None,
        mean_ppl=float(np.mean(scores)) if scores else None,
        decisions=sum(sample.decisions for sample in problem.samples),
        taken_over=sum(sample.taken_over + sample.unverifiable for sample in problem.samples),
        draft_tokens=problem.draft_tokens,
        target_tokens=problem.target_tokens,
        seconds=None
        if problem.finished_at is None or problem.started_at is None
        else problem.finished_at - problem.started_at,
    )


def _best(problem: ProblemState) -> SampleState | None:
    """Of the samples that ended by themselves the one of lowest mean PPL, of equals the one of lowest index;
    None where none has a PPL."""
    scored = [
        (score, sample.index)
        for sample in problem.samples
        if sample.end not in (None, "decided", "stopped", "failed")
        and (score := chain_ppl(sample)) is not None
    ]
    return problem.samples[min(scored)[1]] if scored else None
