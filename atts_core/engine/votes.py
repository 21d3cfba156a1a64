"""The vote of a problem's samples."""

from collections.abc import Iterable
from typing import NamedTuple

from atts_core.engine.spelling import normalise


class Vote(NamedTuple):
    """Outcome of a majority vote."""

    tally: tuple[tuple[str, int], ...]
    """Answers in the spelling of their first voter with their votes, most votes first; among equals, the
    answer of a sample of lower index comes first, so that the order does not depend on who ended first."""
    winner: str | None
    """None where nobody voted."""
    tied: bool
    """More than one answer has the most votes; `winner` is then the first of the tally."""


def vote(answers: Iterable[str | None]) -> Vote:
    """Count the answers of samples 0, 1, … (None: no answer, no vote)."""
    counts: dict[str, int] = {}
    spelling: dict[str, str] = {}
    for answer in answers:
        if answer is not None:
            key = normalise(answer)
            counts[key] = counts.get(key, 0) + 1
            spelling.setdefault(key, answer)
    ranked = sorted(counts.items(), key=lambda item: -item[1])  # stable: first voter first among equals
    tally = tuple((spelling[key], count) for key, count in ranked)
    tied = len(ranked) > 1 and ranked[0][1] == ranked[1][1]
    return Vote(tally, tally[0][0] if tally else None, tied)
