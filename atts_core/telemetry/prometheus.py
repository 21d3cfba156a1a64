"""Prometheus text, read: one sample after another, whatever else is in it.

The format is that of Prometheus 0.0.4 (`text/plain; version=0.0.4`). What comes from outside is hostile: a
line that is no sample is left out, and so is a value that is no number or none of this world.
"""

import math
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

LARGEST: Final = 2.0**53
"""A count beyond this is no count; floats are exact below it."""

_SAMPLE = re.compile(
    r"([a-zA-Z_:][\w:]*)\s*(?:\{((?:[^\"}]|\"(?:[^\"\\]|\\.)*\")*)\})?\s+(\S+)(?:\s|$)", re.ASCII
)
_LABEL = re.compile(r"([a-zA-Z_]\w*)\s*=\s*\"((?:[^\"\\]|\\.)*)\"", re.ASCII)
_ESCAPE = re.compile(r"\\(.)")
_LONGEST: Final = 8192
"""Characters of a line; a command line among the labels may be long."""


class Sample(NamedTuple):
    """One line: a series and its value."""

    name: str
    labels: dict[str, str]
    value: float


def samples(text: str, prefix: str = "") -> Iterator[Sample]:
    """All samples whose name begins so and whose value is a number from 0 to 2⁵³."""
    for line in text.splitlines():
        if line.startswith("#") or not line.startswith(prefix) or len(line) > _LONGEST:
            continue
        found = _SAMPLE.match(line)
        if found is None:
            continue
        value = _finite(found[3])
        if value is not None:
            yield Sample(found[1], _labels(found[2] or ""), value)


def _labels(text: str) -> dict[str, str]:
    return {name: _ESCAPE.sub(_unescaped, value) for name, value in _LABEL.findall(text)}


def _unescaped(found: re.Match[str]) -> str:
    return "\n" if found[1] == "n" else found[1]


def _finite(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and 0 <= number < LARGEST else None
