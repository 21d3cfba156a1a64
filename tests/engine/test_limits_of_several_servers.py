"""Where a sample's requests go when a model has several servers."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atts_core.engine.limits import Key, Limiter, Place


async def turn(times: int = 5) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


async def held(stack: AsyncExitStack, limiter: Limiter, key: Key | None) -> Place:
    return await stack.enter_async_context(limiter.place((0,), lambda: None, key))


async def brief(limiter: Limiter, key: Key) -> int | None:
    async with limiter.place((0,), lambda: None, key) as place:
        return place.server


async def test_a_sample_stays_where_its_prefix_is() -> None:
    limiter = Limiter(4, 3)
    first = {key: await brief(limiter, key) for key in [(p, s) for p in range(3) for s in range(4)]}
    for key, server in first.items():
        assert await brief(limiter, key) == server


async def test_new_samples_go_where_fewest_live_and_ended_ones_do_not_count() -> None:
    limiter = Limiter(8, 2)
    homes = [await brief(limiter, (0, sample)) for sample in range(6)]
    assert homes.count(0) == homes.count(1) == 3
    for sample in range(6):
        if homes[sample] == 1:
            limiter.forget((0, sample))
    assert [await brief(limiter, (1, sample)) for sample in range(3)] == [1, 1, 1]


async def test_among_equals_the_server_that_holds_the_problem_is_taken() -> None:
    limiter = Limiter(8, 2)
    assert [await brief(limiter, (problem, 0)) for problem in (0, 1)] == [0, 1]
    assert await brief(limiter, (1, 1)) == 1
    assert await brief(limiter, (0, 1)) == 0


async def test_the_samples_of_a_lost_server_move_and_its_waiters_with_them() -> None:
    limiter = Limiter(1, 2)
    async with AsyncExitStack() as stack:
        first = await held(stack, limiter, (0, 0))
        second = await held(stack, limiter, (0, 1))
        assert {first.server, second.server} == {0, 1}
        waiter = asyncio.create_task(brief(limiter, (0, 0)))
        await turn()
        limiter.lose(0)
        await turn()
        assert limiter.waiting == 1
        assert not limiter.all_lost
    assert await waiter == 1
    assert await brief(limiter, (0, 0)) == 1
    assert limiter.active == 0


async def test_a_request_changes_its_place() -> None:
    limiter = Limiter(1, 2)
    async with limiter.place((0,), lambda: None, (0, 0)) as place:
        assert place.server == 0
        limiter.lose(0)
        await limiter.change(place)
        assert place.server == 1
        assert limiter.active == 1
    assert limiter.active == 0


async def test_with_all_lost_requests_wait_until_one_is_found() -> None:
    limiter = Limiter(2, 2)
    limiter.lose(0)
    limiter.lose(1)
    assert limiter.all_lost
    tasks = [asyncio.create_task(brief(limiter, (0, sample))) for sample in range(4)]
    await turn()
    assert limiter.waiting == 4
    limiter.find(1)
    assert await asyncio.gather(*tasks) == [1, 1, 1, 1]


async def test_where_none_is_waited_for_any_longer_everybody_is_told() -> None:
    limiter = Limiter(1)
    limiter.lose(0)
    waiting = asyncio.create_task(brief(limiter, (0, 0)))
    await turn()
    limiter.give_up(lambda: ConnectionError("gone"))
    with pytest.raises(ConnectionError):
        await waiting
    with pytest.raises(ConnectionError):
        await brief(limiter, (0, 1))
    limiter.find(0)
    assert await brief(limiter, (0, 1)) == 0


async def test_a_server_with_places_to_spare_helps_one_that_is_hopelessly_behind() -> None:
    limiter = Limiter(1, 2)
    limiter.lose(1)
    async with AsyncExitStack() as stack:
        await held(stack, limiter, (0, 0))
        tasks = [asyncio.create_task(brief(limiter, (0, sample))) for sample in range(1, 4)]
        await turn()
        limiter.find(1)
        await turn()
        done = [task for task in tasks if task.done()]
        assert [task.result() for task in done] == [1, 1]  # one is no more than it can hold at once: it stays
        assert limiter.waiting == 1
    assert await tasks[2] == 0


async def test_it_helps_as_soon_as_too_many_wait() -> None:
    limiter = Limiter(1, 2)
    limiter.lose(1)
    for sample in range(3):
        await brief(limiter, (0, sample))  # all of them live at 0
    limiter.find(1)
    async with AsyncExitStack() as stack:
        await held(stack, limiter, (0, 0))
        first = asyncio.create_task(brief(limiter, (0, 1)))
        await turn()
        assert not first.done()
        second = asyncio.create_task(brief(limiter, (0, 2)))
        await turn()
        assert [first.done(), second.done()] == [True, False]
        assert first.result() == 1
    assert await second == 0


async def test_a_sample_may_be_moved_only_to_where_there_is_room() -> None:
    limiter = Limiter(1, 2)
    async with AsyncExitStack() as stack:
        place = await held(stack, limiter, (0, 0))
        other = await held(stack, limiter, (0, 1))
        assert not limiter.move((0, 0), away_from=0)
        other_server = other.server
        limiter.lose(1)
        assert other_server == 1
        assert not limiter.move((0, 0), away_from=0)
        assert place.server == 0


@given(
    capacity=st.integers(1, 3),
    servers=st.integers(1, 4),
    steps=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 30)), max_size=80),
)
async def test_no_place_is_lost_or_given_twice(
    capacity: int, servers: int, steps: list[tuple[int, int]]
) -> None:
    """Whatever is lost, found, cancelled and moved: never more than the capacity, and all are served."""
    limiter = Limiter(capacity, servers)
    under_way = [0] * servers
    ends: list[asyncio.Event] = []
    tasks: list[asyncio.Task[None]] = []

    async def request(key: Key, end: asyncio.Event) -> None:
        async with limiter.place((key[1] % 3,), lambda: None, key) as place:
            assert place.server is not None
            under_way[place.server] += 1
            here = place.server
            try:
                assert under_way[here] <= capacity
                await end.wait()
            finally:
                under_way[here] -= 1
            if key[1] % 2:
                await limiter.change(place)

    for kind, number in steps:
        if kind <= 2:
            ends.append(asyncio.Event())
            tasks.append(asyncio.create_task(request((number % 3, number), ends[-1])))
        elif kind == 3:
            (limiter.lose if number % 2 else limiter.find)(number % servers)
        elif tasks:
            ends[number % len(ends)].set() if kind == 4 else tasks[number % len(tasks)].cancel()
        await turn(3)
    for server in range(servers):
        limiter.find(server)
    for end in ends:
        end.set()
    await turn(20 + 5 * len(tasks))
    assert all(task.done() for task in tasks)
    assert not [t for t in tasks if not t.cancelled() and t.exception()]
    assert (limiter.active, limiter.waiting) == (0, 0)
