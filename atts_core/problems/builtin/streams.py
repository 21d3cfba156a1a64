"""Endless, repeatable streams of problems for training, calibration and test, disjoint by construction."""

import hashlib
import random
from collections.abc import Iterator
from itertools import islice
from typing import Final, Literal

import msgspec

from atts_core.errors import SettingsError
from atts_core.problems.builtin.families import FAMILIES, LEVELS, draw

Stream = Literal["train", "calibration", "test"]

# Hash buckets of the problems' arithmetic: one twentieth each is kept from training.
_BUCKETS: Final = 20
_KEPT: Final[dict[int, Stream]] = {0: "test", 1: "calibration"}
_LEVEL_WEIGHTS: Final = {2: 1, 3: 2, 4: 2, 5: 1}
_FAMILY_WEIGHTS: Final = {"story": 4, "definition": 2, "equation": 2, "remainder": 2, "shop": 3}


class Problem(msgspec.Struct, frozen=True):
    """One question with its gold answer and a worked solution; `level` counts the operations it takes."""

    id: str
    question: str
    gold: str
    family: str
    level: int
    steps: tuple[str, ...]


def stream_of(skeleton: str) -> Stream:
    """The only stream that a problem with this arithmetic can be in, whatever words are around it."""
    digest = hashlib.sha256(skeleton.encode()).digest()
    return _KEPT.get(int.from_bytes(digest[:4], "big") % _BUCKETS, "train")


def endless(
    stream: Stream, seed: int, level: int | None = None, family: str | None = None
) -> Iterator[Problem]:
    """Problems of `stream` for ever, the same for the same arguments. Questions may repeat.

    Raises:
        SettingsError: an unknown family, or a level that no family (or not this one) has.
    """
    names = [family] if family else [f for f in FAMILIES if level is None or level in LEVELS[f]]
    if family and family not in FAMILIES:
        raise SettingsError(
            f"There is no family {family!r} of built-in problems; there are {', '.join(FAMILIES)}."
        )
    if level is not None and (not names or level not in LEVELS[names[0]]):
        raise SettingsError(f"Built-in problems have levels 2 to 5 (equations 2 to 4), not {level}.")
    return _endless(stream, seed, level, names)


def _endless(stream: Stream, seed: int, level: int | None, names: list[str]) -> Iterator[Problem]:
    rng = random.Random(f"{stream} {seed}")
    weights = [_FAMILY_WEIGHTS[name] for name in names]
    while True:
        name = rng.choices(names, weights)[0]
        levels = LEVELS[name]
        chosen = level or rng.choices(levels, [_LEVEL_WEIGHTS[n] for n in levels])[0]
        drawn = draw(rng, name, chosen)
        while stream_of(drawn.skeleton) != stream:
            drawn = draw(rng, name, chosen)
        digest = hashlib.sha256(drawn.question.encode()).hexdigest()[:10]
        yield Problem(
            id=f"{name}-{chosen}-{digest}",
            question=drawn.question,
            gold=str(drawn.result),
            family=name,
            level=chosen,
            steps=drawn.steps,
        )


def problems(stream: Stream, seed: int, count: int, level: int | None = None) -> list[Problem]:
    """The first `count` different problems of a stream, the same for the same arguments.

    Raises:
        SettingsError: `count` is not positive, or no family has this level.
    """
    if count < 1:
        raise SettingsError(f"Ask for at least one built-in problem, not {count}.")
    seen: set[str] = set()

    def first_seen(problem: Problem) -> bool:
        known = problem.id in seen
        seen.add(problem.id)
        return not known

    return list(islice(filter(first_seen, endless(stream, seed, level)), count))
