"""Which problems of a set, in which order, how often: nothing here depends on the order of a file's rows but
places that are named by number."""

import hashlib
import random
import re
from collections.abc import Iterable, Sequence

import msgspec

from atts_core.errors import SettingsError
from atts_core.problems.catalogue import Draw
from atts_core.problems.problem import Problem
from atts_core.problems.rows import MOST_ROWS, Row

_PLACES = re.compile(r"\s*(\d{1,7})\s*(?:-\s*(\d{1,7})\s*)?")


def choose(
    problems: Sequence[Problem],
    *,
    positions: str | None = None,
    shuffle: int | None = None,
    limit: int | None = None,
    repeat: int = 1,
    name: str = "the set",
) -> list[Problem]:
    """Problems at `positions`, then shuffled, then the first `limit`, then each `repeat` times.

    A copy has an id of its own (`ID#2`), so that its samples are other ones, and says what it repeats.

    Raises:
        SettingsError: a position is none, or lies outside; or there would be too many problems.
    """
    chosen = list(problems)
    if positions is not None:
        chosen = [chosen[place] for place in places(positions, len(chosen), name)]
    if shuffle is not None:
        chosen.sort(key=lambda problem: hashlib.sha256(f"{shuffle} {problem.id}".encode()).digest())
    chosen = chosen[:limit]
    if len(chosen) * repeat > MOST_ROWS:
        raise SettingsError(
            f"{len(chosen):,} problems {repeat:,} times are too many; a run takes at most {MOST_ROWS:,}."
        )
    if repeat > 1:
        ids = {problem.id for problem in chosen}
        chosen = [_copy(problem, number) for problem in chosen for number in range(1, repeat + 1)]
        if len({problem.id for problem in chosen}) < len(chosen) or len(ids) * repeat != len(chosen):
            raise SettingsError(f"{name} has ids that end in #2 or so, which --repeat gives to copies.")
    return chosen


def _copy(problem: Problem, number: int) -> Problem:
    if number == 1:
        return problem
    return msgspec.structs.replace(problem, id=f"{problem.id}#{number}", repeats=problem.id)


def places(positions: str, count: int, name: str) -> list[int]:
    """`3,7-12` as indices from 0, each once, in the order in which they are said.

    Raises:
        SettingsError: it is none of this, or a place lies outside of 1 … `count`.
    """
    found: dict[int, None] = {}
    for part in positions.split(","):
        place = _PLACES.fullmatch(part)
        if place is None:
            raise SettingsError(f"--problems {positions}: give places such as 3,7-12.")
        first, last = int(place[1]), int(place[2] or place[1])
        if not 1 <= first <= last <= count:
            raise SettingsError(f"--problems {part.strip()}: {name} has the problems 1 to {count:,} here.")
        found |= dict.fromkeys(range(first - 1, last))
    return list(found)


def last_place(positions: str) -> int:
    """The highest place that is named, for a stream without an end; at most `MOST_ROWS`."""
    return min(max((int(number) for number in re.findall(r"\d{1,7}", positions)), default=1), MOST_ROWS)


def drawn(rows: Sequence[Row], draw: Draw) -> list[int]:
    """The places of the rows that the authors' programs take, in their order.

    Raises:
        SettingsError: there are fewer rows, so that this cannot be the set that they drew from.
    """
    allowed = [k for k, row in enumerate(rows) if not draw.single_numbers or _is_single_number(row)]
    if len(allowed) < draw.count:
        raise SettingsError(
            f"The authors took {draw.count} problems, and there are {len(allowed)} here: this is another set."
        )
    if draw.seed is None:
        return allowed[: draw.count]
    return random.Random(draw.seed).sample(allowed, draw.count)


def order_of(questions: Iterable[str]) -> str:
    """A digest of questions in their order, by the first letters and digits of each."""
    beginnings = "\n".join(re.sub(r"[^a-zA-Z0-9]", "", question)[:40] for question in questions)
    return hashlib.sha256(beginnings.encode()).hexdigest()[:16]


def _is_single_number(row: Row) -> bool:
    several = row.get("is_multiple_answer")
    return row.get("answer_type") == "Numerical" and str(several).lower() == "false"


def is_calibration(question: str) -> bool:
    """Whether a problem of a set with one split belongs to its calibration part: about half do. Decided by
    the text alone, so that it stays in its part whatever else is in the file."""
    text = " ".join(question.split())
    return hashlib.sha256(f"part of {text}".encode()).digest()[0] < 128
