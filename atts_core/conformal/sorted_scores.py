"""A sorted multiset of scores that counts in O(log N) and takes a new score in microseconds at a million."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1024
"""Scores a block is built with. A block splits at twice this: insertion moves at most 16 KiB, and a million
scores need about a thousand blocks, whose offsets numpy shifts in about a microsecond."""


class SortedScores:
    """Scores kept sorted in blocks of float64; equal scores are all kept.

    Finite scores only: the caller checks them (`pvalues.is_score`), because a NaN has no rank.
    """

    __slots__ = ("_blocks", "_lows", "_offsets", "_size")

    def __init__(self, scores: "Iterable[float] | NDArray[np.float64]" = ()) -> None:
        ordered = np.sort(np.asarray(scores if isinstance(scores, np.ndarray) else list(scores), dtype=float))
        self._blocks: list[array[float]] = [
            array("d", ordered[start : start + _BLOCK].tobytes()) for start in range(0, len(ordered), _BLOCK)
        ] or [array("d")]
        self._size = len(ordered)
        self._index()

    def _index(self) -> None:
        # What parts a block from the one before; it may lie below the block's first score after a removal.
        self._lows: list[float] = [block[0] for block in self._blocks[1:]]
        self._offsets = np.cumsum([0] + [len(block) for block in self._blocks[:-1]], dtype=np.int64)

    def __len__(self) -> int:
        return self._size

    def below(self, score: float) -> int:
        """How many scores are < `score`."""
        at = bisect_left(self._lows, score)
        return int(self._offsets[at]) + bisect_left(self._blocks[at], score)

    def up_to(self, score: float) -> int:
        """How many scores are <= `score`."""
        at = bisect_right(self._lows, score)
        return int(self._offsets[at]) + bisect_right(self._blocks[at], score)

    def smallest(self, k: int) -> float:
        """The k-th smallest score, k from 1 to N."""
        if not 1 <= k <= self._size:
            raise IndexError(f"no {k}-th smallest of {self._size} scores")
        at = int(np.searchsorted(self._offsets, k, side="left")) - 1
        return self._blocks[at][k - 1 - int(self._offsets[at])]

    def add(self, score: float) -> None:
        """Inserts one score."""
        at = bisect_right(self._lows, score)
        block = self._blocks[at]
        block.insert(bisect_right(block, score), score)
        self._offsets[at + 1 :] += 1
        self._size += 1
        if len(block) >= 2 * _BLOCK:
            self._blocks[at : at + 1] = [block[:_BLOCK], block[_BLOCK:]]
            self._index()

    def remove(self, score: float) -> None:
        """Removes one score equal to `score`; ValueError where there is none."""
        at = bisect_left(self._lows, score)
        # The first equal score may open the next block: `bisect_left` then points past the end of this one.
        if bisect_left(self._blocks[at], score) == len(self._blocks[at]) and at + 1 < len(self._blocks):
            at += 1
        block = self._blocks[at]
        place = bisect_left(block, score)
        if place == len(block) or block[place] != score:
            raise ValueError(f"no score {score} to remove")
        block.pop(place)
        self._offsets[at + 1 :] -= 1
        self._size -= 1
        if not block and len(self._blocks) > 1:
            del self._blocks[at]
            self._index()

    def to_array(self) -> NDArray[np.float64]:
        """All scores in ascending order, shape (N,)."""
        parts: Sequence[NDArray[np.float64]] = [np.frombuffer(block) for block in self._blocks if block]
        return np.concatenate(parts) if parts else np.empty(0)
