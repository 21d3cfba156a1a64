"""Servers that stop answering in mid-run: found out, told, asked now and then, and used again."""

import asyncio
import random
from collections.abc import Callable

from atts_core import events as ev
from atts_core.engine.pair import Pair, Side, Worker
from atts_core.errors import SettingsError
from atts_core.serving.errors import ServerBusy, ServerError, ServerTimeout, ServerUnreachable
from atts_core.serving.server_info import difference

FIRST_PROBE = 1.0
"""Seconds until a lost server is asked for the first time; doubles, with jitter."""
SLOWEST_PROBE = 15.0
FAILURES = 3
"""Requests in a row that fail at a server before it counts as lost: a proxy's 502 is no refused connection,
but means the same."""


class Servers:
    """The servers of one run that are lost.

    A server is lost when nothing listens there, when it stays silent, or when it fails again and again.
    Samples then go elsewhere; where no server of a model is left, they wait for `patience` seconds and fail
    after that. A lost server is asked for one token now and then, and used again once it gives it.
    """

    def __init__(self, pair: Pair, publish: Callable[[ev.AnyEvent], object], patience: float) -> None:
        self._sides = pair.sides
        self._publish = publish
        self._patience = patience
        self._tasks: set[asyncio.Task[None]] = set()
        self._impatient: dict[ev.Role, asyncio.TimerHandle] = {}

    def failed(self, side: Side, number: int, error: ServerError) -> bool:
        """Take note of a failed request; whether its server is lost now."""
        worker = side.workers[number]
        if worker.lost:
            return True
        if not error.retryable or isinstance(error, ServerBusy):
            return False  # it answers
        worker.failures += 1
        if not _silent(error) and worker.failures < FAILURES:
            return False
        self._lose(side, number, error)
        return True

    def answered(self, side: Side, number: int) -> None:
        """Take note of a request that a server answered."""
        side.workers[number].failures = 0
        if side.workers[number].lost:
            self._find(side, number)

    async def close(self) -> None:
        """Ask no more, and forget what was lost: the next run finds out for itself."""
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for handle in self._impatient.values():
            handle.cancel()
        self._impatient.clear()
        for side in self._sides:
            for number, worker in enumerate(side.workers):
                worker.lost, worker.failures = False, 0
                side.limiter.find(number)

    def _lose(self, side: Side, number: int, error: ServerError) -> None:
        worker = side.workers[number]
        worker.lost = True
        side.limiter.lose(number)
        self._publish(ev.ServerLost(role=side.role, url=worker.url, message=str(error)))
        task = asyncio.get_running_loop().create_task(self._probe(side, number))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if side.limiter.all_lost and side.role not in self._impatient:
            self._wait(side, str(error))

    def _wait(self, side: Side, last_words: str) -> None:
        """No server of this model is left: say so, and for how long it is waited for."""
        which = "the" if len(side.workers) == 1 else f"any of the {len(side.workers)}"
        servers = "server" if len(side.workers) == 1 else "servers"
        limit = f"{self._patience:g} s"
        self._publish(
            ev.Warned(
                message=f"Samples wait up to {limit} for {which} {side.role} {servers} to answer again."
            )
        )

        def hopeless() -> ServerUnreachable:
            return ServerUnreachable(
                f"no {side.role} server has answered for {limit} (--patience): {last_words}",
                role=side.role,
                url=side.urls[0],
                retryable=False,
            )

        self._impatient[side.role] = asyncio.get_running_loop().call_later(
            self._patience, side.limiter.give_up, hopeless
        )

    def _find(self, side: Side, number: int) -> None:
        worker = side.workers[number]
        worker.lost, worker.failures = False, 0
        handle = self._impatient.pop(side.role, None)
        if handle is not None:
            handle.cancel()
        self._publish(ev.ServerFound(role=side.role, url=worker.url))
        side.limiter.find(number)

    async def _probe(self, side: Side, number: int) -> None:
        worker, delay, told = side.workers[number], FIRST_PROBE, ""
        while worker.lost:
            await asyncio.sleep(delay * (0.5 + random.random()))
            delay = min(2 * delay, SLOWEST_PROBE)
            other = await _look(side, worker)
            if other is None:
                continue
            if not other:
                if worker.lost:
                    self._find(side, number)
            elif other != told:
                told = other
                self._publish(ev.Warned(message=f"The server that came back is not used: {other}."))


async def _look(side: Side, worker: Worker) -> str | None:
    """Empty where the server generates as before, None where it does not, else what is different about it."""
    try:
        info = await worker.client.connect()
        worker.client.use_vocabulary(side.tokenizer.vocab_size)
        other = difference(side.info, info)
        if not other:
            await worker.client.one_token()
    except SettingsError as error:  # a router came back before servers of different models
        return str(error).rstrip(".")
    except ServerError:
        return None
    return other


def _silent(error: ServerError) -> bool:
    """Whether one such failure is enough: what answers is busy with other things than we think."""
    if isinstance(error, ServerTimeout):
        return error.kind != "total"
    return isinstance(error, ServerUnreachable)
