"""A problem as every part of the engine knows it."""

import msgspec


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One question with, where known, its gold answer."""

    id: str
    """Unique within its data set; seeds derive from it, so it must not depend on the order of problems."""
    question: str
    gold: str | None = None
    family: str = ""
    level: int | None = None
