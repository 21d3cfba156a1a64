"""Foreign words made fit for a terminal."""

from typing import Final

SHOWN: Final = 300
"""Characters of a server's own words that are shown: every message known fits."""


def readable(text: str) -> str:
    """One printable line of at most 300 characters: no control character can reach a terminal."""
    line = "".join(c if c.isprintable() else " " for c in text[: 4 * SHOWN])
    line = " ".join(line.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"
