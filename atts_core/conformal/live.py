"""What a run's decisions say about its calibration: realised rates with intervals by problem, and signal.

Reads the folded state, so that it says the same of a live, an attached and a replayed run.
"""

from collections.abc import Iterator

import msgspec
import numpy as np

from atts_core.conformal.intervals import Estimate, rate_interval
from atts_core.conformal.pvalues import is_score
from atts_core.conformal.signal import Signal, measure_signal
from atts_core.engine.votes import vote
from atts_core.events import VerdictReached
from atts_core.problems.grading import grade
from atts_core.state import ProblemState, RunState


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


def realised(state: RunState) -> Realised:
    """Overall and by turn, over every decision of the run."""
    taken: list[bool] = []
    owners: list[int] = []
    turns: list[int] = []
    for verdict in _verdicts(state):
        taken.append(verdict.verdict != "accept")
        owners.append(verdict.problem)
        turns.append(verdict.turn)
    of_turn = np.array(turns, dtype=np.intp)
    hits, problems = np.array(taken, dtype=np.bool_), np.array(owners, dtype=np.intp)
    by_turn = tuple(
        TurnShare(int(turn), int(chosen.sum()), rate_interval(hits[chosen], problems[chosen].tolist()))
        for turn in np.unique(of_turn)
        for chosen in [of_turn == turn]
    )
    return Realised(len(taken), rate_interval(hits, owners), by_turn)


def signal_so_far(state: RunState) -> tuple[Signal | None, str]:
    """Whether the mean PPL of a chain tells wrong ones, and by what they were judged.

    By gold answers where the run knows any, else by the vote of each problem's samples. None before there is
    a chain to judge.
    """
    known = any(problem.gold is not None for problem in state.problems)
    ppl: list[float] = []
    wrong: list[bool] = []
    owners: list[int] = []
    for problem in state.problems:
        right = problem.gold if known else _voted(problem)
        if right is None:
            continue
        for sample in problem.samples:
            scores = [
                turn.verdict.ppl for turn in sample.turns if turn.verdict and is_score(turn.verdict.ppl)
            ]
            if sample.end in (None, "failed", "stopped") or not scores:
                continue
            ppl.append(float(np.mean([score for score in scores if score is not None])))
            wrong.append(not grade(sample.answer, right))
            owners.append(problem.index)
    judged_by = "gold answers" if known else "the samples' own vote"
    if not ppl:
        return None, judged_by
    return measure_signal(np.array(ppl), np.array(wrong), owners), judged_by


def _voted(problem: ProblemState) -> str | None:
    return vote(sample.answer for sample in problem.samples).winner


def _verdicts(state: RunState) -> Iterator[VerdictReached]:
    return (
        turn.verdict
        for problem in state.problems
        for sample in problem.samples
        for turn in sample.turns
        if turn.verdict is not None
    )
