"""Places at a server: never more than its capacity, by priority, none lost."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from atts_core.engine.limits import Limiter


async def turn(times: int = 5) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


async def hold(limiter: Limiter, priority: int, log: list[int], until: asyncio.Event) -> None:
    async with limiter.place((priority,), lambda: None):
        log.append(priority)
        await until.wait()


async def test_waiters_go_by_priority_then_by_arrival() -> None:
    limiter, log, until = Limiter(1), list[int](), asyncio.Event()
    first = asyncio.create_task(hold(limiter, 9, log, until))
    await turn()
    rest = [asyncio.create_task(hold(limiter, priority, log, until)) for priority in (2, 1, 2, 0)]
    await turn()
    assert log == [9]
    assert limiter.waiting == 4
    until.set()
    await asyncio.gather(first, *rest)
    assert log == [9, 0, 1, 2, 2]
    assert limiter.active == 0


async def test_waiting_is_said_only_when_there_is_a_wait() -> None:
    limiter, said = Limiter(1), list[str]()
    async with limiter.place((0,), lambda: said.append("first")):
        waiting = asyncio.create_task(_brief(limiter, said))
        await turn()
    await waiting
    assert said == ["second"]


async def _brief(limiter: Limiter, said: list[str]) -> None:
    async with limiter.place((0,), lambda: said.append("second")):
        pass


async def test_a_cancelled_waiter_gives_its_place_on() -> None:
    limiter, log, until = Limiter(1), list[int](), asyncio.Event()
    first = asyncio.create_task(hold(limiter, 0, log, until))
    await turn()
    second = asyncio.create_task(hold(limiter, 1, log, until))
    third = asyncio.create_task(hold(limiter, 2, log, until))
    await turn()
    until.set()
    first_done = asyncio.gather(first)
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(first_done, second, third, return_exceptions=True)
    assert 2 in log
    assert limiter.active == 0


@given(st.integers(1, 4), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=20))
def test_capacity_holds_and_everybody_gets_a_place(capacity: int, jobs: list[tuple[int, int]]) -> None:
    async def scenario() -> None:
        limiter, active, most, served = Limiter(capacity), 0, 0, 0

        async def job(priority: int, length: int) -> None:
            nonlocal active, most, served
            async with limiter.place((priority,), lambda: None):
                active += 1
                most = max(most, active)
                await turn(length)
                active -= 1
                served += 1

        await asyncio.gather(*(job(*spec) for spec in jobs))
        assert most <= capacity
        assert served == len(jobs)
        assert limiter.active == 0

    asyncio.run(scenario())
