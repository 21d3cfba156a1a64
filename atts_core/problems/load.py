"""Problems by the name of their data set. `builtin`, the embedded pair's own, is always there."""

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Literal

import msgspec

from atts_core.errors import SettingsError
from atts_core.problems.builtin.streams import problems as draw
from atts_core.problems.problem import Problem

DATASETS = ("builtin",)


class ProblemSet(msgspec.Struct, frozen=True):
    """Problems with the name of their data set and the fingerprint of the whole set, not only of these: a
    calibration on other problems of the same set has the same one."""

    dataset: str
    fingerprint: str
    problems: tuple[Problem, ...]


TYPED = "typed"
"""The data set of a problem that a user typed."""


def load_problems(
    dataset: str,
    *,
    stream: Literal["calibration", "test"],
    count: int,
    seed: int = 0,
    level: int | None = None,
) -> ProblemSet:
    """`count` problems of a data set, the same for the same arguments.

    Raises:
        SettingsError: there is no such data set, or it has no such level or too few problems.
    """
    if dataset not in DATASETS:
        raise SettingsError(
            f"There is no data set {dataset!r}; there is only builtin, the embedded pair's own."
        )
    chosen = tuple(
        Problem(id=p.id, question=p.question, gold=p.gold, family=p.family, level=p.level)
        for p in draw(stream, seed, count, level)
    )
    return ProblemSet(dataset, builtin_fingerprint(), chosen)


def typed_problem(problem: Problem, *, builtin: bool) -> ProblemSet:
    """One problem that a user typed; `builtin` where it is of the embedded pair's own families."""
    return ProblemSet("builtin" if builtin else TYPED, builtin_fingerprint() if builtin else "", (problem,))


@cache
def builtin_fingerprint() -> str:
    """Of the generator: what it draws first. Changes when its families, words or streams do."""
    return fingerprint([Problem(id=p.id, question=p.question, gold=p.gold) for p in draw("test", 0, 40)])


def fingerprint(problems: Sequence[Problem]) -> str:
    """16 hexadecimal digits of the SHA-256 over ids, questions and gold answers, in order."""
    digest = hashlib.sha256()
    for problem in problems:
        digest.update(msgspec.json.encode((problem.id, problem.question, problem.gold)))
    return digest.hexdigest()[:16]
