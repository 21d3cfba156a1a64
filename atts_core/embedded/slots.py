"""Which slot of the key-value cache holds which tokens, and where a new prompt finds its longest prefix.

A finished request leaves its keys and values where they are. They serve any later prompt that begins alike:
in place where nothing is lost by it, otherwise as a copy in the slot that has been idle for longest.
"""

from collections.abc import Sequence

import numpy as np

from atts_core.embedded.llama import Cache

# A prompt waits for a running neighbour's prefill if that spares it computing so many tokens itself.
_WORTH_WAITING = 8


class Slots:
    """Bookkeeping of a cache's slots; for one thread."""

    def __init__(self, cache: Cache, context: int) -> None:
        self._cache = cache
        self._ids = np.zeros((cache.slots, context), np.int32)
        self._computed = np.zeros(cache.slots, np.int64)
        self._known = np.zeros(cache.slots, np.int64)
        self._last_use = np.zeros(cache.slots, np.int64)
        self._idle = np.ones(cache.slots, bool)
        self._clock = 0

    @property
    def used_tokens(self) -> int:
        """Tokens that the busy slots hold."""
        return int(self._computed[~self._idle].sum())

    def acquire(self, prompt: Sequence[int], reusable: int) -> tuple[int, int] | None:
        """An idle slot for `prompt` and how many of its first tokens are already computed (≤ `reusable`).

        At least one slot must be idle. None where a request that is being prefilled will soon hold more of
        this prompt than any slot holds now: ask again after the next step.
        """
        ids = np.array(prompt, np.int32)
        differs = self._ids[:, :reusable] != ids[:reusable]
        alike = np.where(differs.any(axis=1), differs.argmax(axis=1), reusable) if reusable else 0
        now = np.minimum(alike, self._computed)
        source = int(now.argmax())
        cached = int(now[source])
        if int(np.minimum(alike, self._known).max()) >= cached + _WORTH_WAITING:
            return None
        if cached and self._idle[source] and self._computed[source] == cached:
            slot = source
        else:
            slot = int(np.where(self._idle, self._last_use, np.iinfo(np.int64).max).argmin())
            if cached and slot != source:
                self._cache.copy_prefix(source, slot, cached)
        self._idle[slot] = False
        self._computed[slot] = cached
        self._known[slot] = len(ids)
        self._ids[slot, : len(ids)] = ids
        return slot, cached

    def advance(self, slot: int, start: int, ids: Sequence[int]) -> None:
        """Says that `slot` now holds `ids` from position `start` on."""
        stop = start + len(ids)
        self._ids[slot, start:stop] = ids
        self._computed[slot] = stop
        self._known[slot] = max(self._known[slot], stop)

    def release(self, slot: int) -> None:
        """Makes `slot` idle; what it holds stays until another request needs the place."""
        self._clock += 1
        self._idle[slot] = True
        self._known[slot] = self._computed[slot]
        self._last_use[slot] = self._clock

    def forget(self) -> None:
        """Empties all idle slots."""
        self._computed[self._idle] = 0
        self._known[self._idle] = 0
        self._last_use[self._idle] = 0
