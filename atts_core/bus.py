"""Fan-out of events to any number of subscribers; publishing never waits.

A slow subscriber costs memory, not time: once its backlog passes `MERGE_AT`, text in flight is merged
(`events.merge_tokens`), so the backlog is bounded by what may not be lost: verdicts and changes of state.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Self

from atts_core.events import AnyEvent, Stamped, merge_tokens

MERGE_AT = 4096
"""Backlog at which text deltas are merged: about a second of 64 fast streams, a few hundred kilobytes."""


class Subscription:
    """One reader's view of the bus, from the moment it subscribed. Close it, or use it as a context."""

    def __init__(self, close: Callable[["Subscription"], None]) -> None:
        self._pending: list[Stamped] = []
        self._merge_at = MERGE_AT
        self._ready = asyncio.Event()
        self._close = close
        self.closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        """Events waiting."""
        return len(self._pending)

    def drain(self) -> list[Stamped]:
        """Everything that waits, oldest first; never blocks."""
        pending, self._pending = self._pending, []
        self._merge_at = MERGE_AT
        self._ready.clear()
        return pending

    async def batches(self) -> AsyncIterator[list[Stamped]]:
        """Non-empty batches as they come, until the subscription or the bus is closed and all is read."""
        while True:
            if self._pending:
                yield self.drain()
            elif self.closed:
                return
            else:
                await self._ready.wait()

    def close(self) -> None:
        """Receive nothing more; what waits can still be drained."""
        if not self.closed:
            self.closed = True
            self._close(self)
            self._ready.set()

    def _push(self, stamped: Stamped) -> None:
        self._pending.append(stamped)
        if len(self._pending) >= self._merge_at:
            self._pending = merge_tokens(self._pending)
            # Grows with what cannot be merged, so that merging stays linear in the events published.
            self._merge_at = max(MERGE_AT, 2 * len(self._pending))
        self._ready.set()


class Bus:
    """Stamps events and hands them to every subscription. Use it from one event loop."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, first_seq: int = 1, first_at: float = 0.0
    ) -> None:
        """`clock` gives seconds. Where a recorded run goes on, `first_seq` and `first_at` go on from its last
        event, so that its time counts only the seconds in which it ran."""
        self._clock = clock
        self._began = clock() - first_at
        self._next_seq = first_seq
        self._subscriptions: list[Subscription] = []
        self.closed = False

    @property
    def now(self) -> float:
        """Seconds since the run began: its own time."""
        return self._clock() - self._began

    @property
    def last_seq(self) -> int:
        """Sequence number of the newest event published."""
        return self._next_seq - 1

    @property
    def backlog(self) -> int:
        """Events that wait for the slowest subscriber."""
        return max((len(subscription) for subscription in self._subscriptions), default=0)

    def subscribe(self) -> Subscription:
        """A subscription that receives every event published from now on."""
        subscription = Subscription(self._subscriptions.remove)
        if self.closed:
            subscription.closed = True
        else:
            self._subscriptions.append(subscription)
        return subscription

    def publish(self, event: AnyEvent) -> Stamped:
        """Stamp the event and hand it to all subscriptions. Returns at once, whoever is slow."""
        stamped = Stamped(self._next_seq, self.now, event)
        self._next_seq += 1
        for subscription in self._subscriptions:
            subscription._push(stamped)  # the other half of this file
        return stamped

    def close(self) -> None:
        """End every subscription once it has read what waits."""
        self.closed = True
        for subscription in list(self._subscriptions):
            subscription.close()
