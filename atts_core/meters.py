"""Rates of tokens and turns over time, counted in fixed bins: memory stays flat however long a run is."""

from collections import deque
from collections.abc import Iterable

BIN_SECONDS = 0.5
"""Width of a bin: half the window that a person reads as "now"."""
BINS = 1200
"""Ten minutes of history for the throughput chart."""

KINDS = ("draft", "verify", "target", "turns")
"""Tokens of the three stages, and turns that were finished."""


class RateMeter:
    """Tokens drafted, verified and written by the target, and turns, in bins of `BIN_SECONDS` of run time."""

    def __init__(self) -> None:
        self._bins: deque[tuple[int, dict[str, int]]] = deque(maxlen=BINS)

    def export(self) -> list[tuple[int, dict[str, int]]]:
        """All bins, oldest first: number of the bin and tokens by kind."""
        return list(self._bins)

    @classmethod
    def of(cls, bins: Iterable[tuple[int, dict[str, int]]]) -> "RateMeter":
        """The meter that `export` gave these bins of."""
        meter = cls()
        meter._bins.extend(bins)
        return meter

    def add(self, kind: str, at: float, tokens: int) -> None:
        """Count `tokens` (or turns) of one kind at run time `at` (seconds, not decreasing)."""
        index = int(at / BIN_SECONDS)
        if not self._bins or self._bins[-1][0] < index:
            self._bins.append((index, dict.fromkeys(KINDS, 0)))
        self._bins[-1][1][kind] += tokens

    def rate(self, kind: str, now: float, window: float = 2.0) -> float:
        """Tokens per second over the last `window` seconds before `now`, or since the run began."""
        first = int((now - window) / BIN_SECONDS) + 1
        tokens = 0
        for index, counts in reversed(self._bins):
            if index < first:
                break
            tokens += counts[kind]
        span = now - max(first, 0) * BIN_SECONDS
        return tokens / max(span, BIN_SECONDS)

    def history(self, kind: str, now: float, bins: int) -> list[float]:
        """Tokens per second of the last `bins` bins over at `now`, oldest first, zeros where idle."""
        last = int(now / BIN_SECONDS)
        values = [0.0] * bins
        for index, counts in reversed(self._bins):
            place = bins - (last - index)
            if place < 0:
                break
            if place < bins:
                values[place] = counts[kind] / BIN_SECONDS
        return values
