"""How many requests may be under way at one server, and who goes first when it is full."""

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Limiter:
    """A semaphore whose waiters are served by priority, then in order of arrival.

    Scoring is one short prefill and frees a sample at once, so it goes before writing; problems that began
    earlier go before later ones, so that they finish and their vote can be read.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.active = 0
        self._waiting: list[tuple[tuple[int, ...], int, asyncio.Future[None]]] = []
        self._arrivals = 0

    @property
    def full(self) -> bool:
        """Whether a new request would have to wait."""
        return self.active >= self.capacity

    @property
    def waiting(self) -> int:
        """Requests that wait for a place."""
        return sum(not future.done() for _, _, future in self._waiting)

    @asynccontextmanager
    async def place(self, priority: tuple[int, ...], on_wait: Callable[[], None]) -> AsyncIterator[None]:
        """Hold one place; lower `priority` goes first. `on_wait` is called once if there is none free now."""
        if self.full:
            on_wait()
            future = asyncio.get_running_loop().create_future()
            self._arrivals += 1
            heapq.heappush(self._waiting, (priority, self._arrivals, future))
            try:
                await future
            except asyncio.CancelledError:
                if future.done() and not future.cancelled():
                    self._release()  # the place was ours already: pass it on
                raise
        else:
            self.active += 1
        try:
            yield
        finally:
            self._release()

    def _release(self) -> None:
        while self._waiting:
            future = heapq.heappop(self._waiting)[2]
            if not future.done():
                future.set_result(None)  # the place changes hands; `active` stays
                return
        self.active -= 1
