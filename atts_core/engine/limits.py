"""How many requests may be under way at each server of a model, who goes first, and which server takes whom.

A model may have several servers. A sample stays at the one that it began at, because its prefix is in that
server's cache: it moves only where its server is lost, or has more waiting than it can hold at once while
another has places to spare. Nothing here knows of HTTP; a server is its number.
"""

import asyncio
import heapq
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Key = tuple[int, int]
"""Problem and sample."""


@dataclass(slots=True)
class Place:
    """One request's place at a server. `server` is None only while it waits for another one."""

    order: tuple[int, ...]
    key: Key | None
    server: int | None = None


@dataclass(slots=True, eq=False)
class _Waiter:
    order: tuple[int, ...]
    key: Key | None
    arrival: int
    future: asyncio.Future[int]

    def __lt__(self, other: "_Waiter") -> bool:
        return (self.order, self.arrival) < (other.order, other.arrival)


@dataclass(slots=True)
class _Server:
    active: int = 0
    lost: bool = False
    samples: int = 0
    """Samples that live here, whether a request of theirs is under way or not."""
    problems: Counter[int] = field(default_factory=Counter)
    queue: list[_Waiter] = field(default_factory=list)

    @property
    def waiting(self) -> int:
        return sum(not waiter.future.done() for waiter in self.queue)


class Limiter:
    """`capacity` places at each of `servers` servers. Waiters go by priority, then in order of arrival.

    Scoring is one short prefill and frees a sample at once, so it goes before writing; problems that began
    earlier go before later ones, so that they finish and their vote can be read.
    """

    def __init__(self, capacity: int, servers: int = 1) -> None:
        self.capacity = capacity
        """Of each server."""
        self._servers = [_Server() for _ in range(servers)]
        self._homes: dict[Key, int] = {}
        self._stranded: list[_Waiter] = []
        self._arrivals = 0
        self._hopeless: Callable[[], Exception] | None = None

    @property
    def total(self) -> int:
        """Places at all servers together."""
        return self.capacity * len(self._servers)

    @property
    def active(self) -> int:
        """Requests under way."""
        return sum(server.active for server in self._servers)

    @property
    def waiting(self) -> int:
        """Requests that wait for a place."""
        stranded = sum(not waiter.future.done() for waiter in self._stranded)
        return stranded + sum(server.waiting for server in self._servers)

    @property
    def all_lost(self) -> bool:
        """Whether no server is left."""
        return all(server.lost for server in self._servers)

    @asynccontextmanager
    async def place(
        self, order: tuple[int, ...], on_wait: Callable[[], None], key: Key | None = None
    ) -> AsyncIterator[Place]:
        """Hold one place; lower `order` goes first. `on_wait` is called once if there is none free now.

        Raises what `give_up` was given where no server is left.
        """
        place = Place(order, key)
        await self._acquire(place, on_wait)
        try:
            yield place
        finally:
            self._release(place)

    async def change(self, place: Place) -> None:
        """Give the place up for one at a server that is not lost, waiting for it as any other does.

        The sample stays where it is where its server is not lost. Raises as `place` does.
        """
        self._release(place)
        await self._acquire(place, lambda: None)

    def move(self, key: Key, away_from: int) -> bool:
        """Let a sample live elsewhere from now on; False where no other server has a place to spare."""
        free = [n for n in range(len(self._servers)) if n != away_from and self._free(n)]
        if not free:
            return False
        self._settle(key, min(free, key=lambda n: self._load(n, key)))
        return True

    def forget(self, key: Key) -> None:
        """The sample ended and will ask for nothing more."""
        home = self._homes.pop(key, None)
        if home is not None:
            self._leave(key, home)

    def lose(self, server: int) -> None:
        """Send nothing more there; who waits for it waits for another one."""
        lost = self._servers[server]
        lost.lost = True
        waiting, lost.queue = sorted(lost.queue), []
        for waiter in waiting:
            self._dispatch(waiter)

    def find(self, server: int) -> None:
        """Use it again."""
        self._servers[server].lost = False
        self._hopeless = None
        stranded, self._stranded = sorted(self._stranded), []
        for waiter in stranded:
            self._dispatch(waiter)
        self._fill(server)

    def give_up(self, error: Callable[[], Exception]) -> None:
        """No server is left and none is waited for: whoever wants a place, now or later, gets this error."""
        self._hopeless = error
        stranded, self._stranded = self._stranded, []
        for waiter in stranded:
            if not waiter.future.done():
                waiter.future.set_exception(error())

    def _free(self, server: int) -> bool:
        it = self._servers[server]
        return not it.lost and it.active < self.capacity

    async def _acquire(self, place: Place, on_wait: Callable[[], None]) -> None:
        server = self._home(place.key)
        if server is not None and self._free(server):
            self._servers[server].active += 1
            place.server = server
            return
        if server is None and self._hopeless is not None:
            raise self._hopeless()
        on_wait()
        self._arrivals += 1
        future = asyncio.get_running_loop().create_future()
        self._dispatch(_Waiter(place.order, place.key, self._arrivals, future))
        try:
            place.server = await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                place.server = future.result()  # the place was ours already: pass it on
                self._release(place)
            raise

    def _release(self, place: Place) -> None:
        server, place.server = place.server, None
        if server is not None:
            self._servers[server].active -= 1
            self._fill(server)

    def _dispatch(self, waiter: _Waiter) -> None:
        """Into the queue of the server that is to take it."""
        if waiter.future.done():
            return
        server = self._home(waiter.key)
        if server is None:
            self._stranded.append(waiter)
        else:
            heapq.heappush(self._servers[server].queue, waiter)
            for number in range(len(self._servers)):  # another one may have to help out now
                self._fill(number)

    def _fill(self, number: int) -> None:
        """Hand out the free places of a server."""
        while self._free(number):
            waiter = self._next(number) or self._borrowed(number)
            if waiter is None:
                return
            self._servers[number].active += 1
            waiter.future.set_result(number)

    def _next(self, number: int) -> _Waiter | None:
        queue = self._servers[number].queue
        while queue:
            waiter = heapq.heappop(queue)
            if not waiter.future.done():
                return waiter
        return None

    def _borrowed(self, number: int) -> _Waiter | None:
        """Who waits at a server that is hopelessly behind: more wait there than it can hold at once."""
        behind = max(range(len(self._servers)), key=lambda n: self._servers[n].waiting)
        if self._servers[behind].waiting <= self.capacity:
            return None
        waiter = self._next(behind)
        if waiter is not None and waiter.key is not None:
            self._settle(waiter.key, number)
        return waiter

    # where samples live

    def _home(self, key: Key | None) -> int | None:
        """Where this sample's requests go; None where no server is left."""
        home = self._homes.get(key) if key is not None else None
        if home is not None and not self._servers[home].lost:
            return home
        usable = [n for n, server in enumerate(self._servers) if not server.lost]
        if not usable:
            return None
        home = min(usable, key=lambda n: self._load(n, key))
        if key is not None:
            self._settle(key, home)
        return home

    def _load(self, number: int, key: Key | None) -> tuple[int, int, int, int]:
        """What speaks against a server: its samples; then that it does not hold the problem's prompt yet."""
        server = self._servers[number]
        shared = server.problems[key[0]] if key is not None else 0
        return server.samples, -shared, server.active + server.waiting, number

    def _settle(self, key: Key, number: int) -> None:
        before = self._homes.get(key)
        if before is not None:
            self._leave(key, before)
        self._homes[key] = number
        self._servers[number].samples += 1
        self._servers[number].problems[key[0]] += 1

    def _leave(self, key: Key, number: int) -> None:
        server = self._servers[number]
        server.samples -= 1
        server.problems[key[0]] -= 1
        if not server.problems[key[0]]:
            del server.problems[key[0]]
