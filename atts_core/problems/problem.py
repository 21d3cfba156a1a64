"""A problem as every part of the engine knows it."""

from typing import Literal

import msgspec

Grading = Literal["exact", "math", "choice"]
"""How answers are compared: by spelling, by mathematical equality, by the letter of a choice."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One question with, where known, its gold answer."""

    id: str
    """Unique within its data set; seeds derive from it, so it must not depend on the order of problems."""
    question: str
    gold: str | None = None
    family: str = ""
    level: int | None = None
    grading: Grading = "exact"
    repeats: str = ""
    """The id of the problem that this one is a copy of (`--repeat`); the two are alike and counted as one
    where intervals are made. Empty for a problem of its own."""
