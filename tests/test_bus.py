"""The bus never makes a publisher wait and never loses what may not be lost."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from atts_core import bus as bus_module
from atts_core import events as ev
from atts_core.bus import MERGE_AT, Bus
from atts_core.events import Stamped, TokensStreamed


def token(text: str = "a", sample: int = 0, retracted: int = 0) -> TokensStreamed:
    return TokensStreamed(
        problem=0, sample=sample, turn=0, role="draft", text=text, tokens=1, retracted=retracted
    )


def warning(text: str) -> ev.Warned:
    return ev.Warned(message=text)


def test_events_are_stamped_in_order_with_run_time() -> None:
    times = iter([100.0, 100.5, 102.0])
    bus = Bus(clock=lambda: next(times))
    subscription = bus.subscribe()
    bus.publish(warning("a"))
    bus.publish(warning("b"))
    assert [(s.seq, s.at) for s in subscription.drain()] == [(1, 0.5), (2, 2.0)]


def test_a_recorded_run_goes_on_counting() -> None:
    assert Bus(first_seq=41).publish(warning("x")).seq == 41


def test_every_subscription_gets_everything_from_when_it_subscribed() -> None:
    bus = Bus()
    early = bus.subscribe()
    bus.publish(warning("a"))
    late = bus.subscribe()
    bus.publish(warning("b"))
    assert [s.seq for s in early.drain()] == [1, 2]
    assert [s.seq for s in late.drain()] == [2]


def test_a_reader_who_never_drains_costs_bounded_memory_and_loses_no_verdict() -> None:
    bus = Bus()
    subscription = bus.subscribe()
    for number in range(20 * MERGE_AT):
        bus.publish(token(sample=number % 16))
        if number % 1000 == 0:
            bus.publish(warning(str(number)))
    assert len(subscription) < 2 * MERGE_AT
    events = [s.event for s in subscription.drain()]
    kept = [e.message for e in events if isinstance(e, ev.Warned)]
    assert kept == [str(n) for n in range(0, 20 * MERGE_AT, 1000)]
    assert sum(e.tokens for e in events if isinstance(e, TokensStreamed)) == 20 * MERGE_AT


def test_merging_stays_linear_when_nothing_can_be_merged() -> None:
    calls = []

    def counting(stamps: list[Stamped]) -> list[Stamped]:
        calls.append(len(stamps))
        return ev.merge_tokens(stamps)

    original, bus_module.merge_tokens = bus_module.merge_tokens, counting  # type: ignore[assignment]
    try:
        bus = Bus()
        bus.subscribe()
        for number in range(10 * MERGE_AT):
            bus.publish(warning(str(number)))
    finally:
        bus_module.merge_tokens = original
    assert sum(calls) < 3 * 10 * MERGE_AT


async def test_batches_wake_up_and_end_with_the_bus() -> None:
    bus = Bus()
    seen: list[int] = []

    async def read() -> None:
        async for batch in bus.subscribe().batches():
            seen.extend(s.seq for s in batch)

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    bus.publish(warning("a"))
    await asyncio.sleep(0)
    bus.publish(warning("b"))
    bus.close()
    await task
    assert seen == [1, 2]


def test_what_waits_can_be_drained_after_closing() -> None:
    bus = Bus()
    with bus.subscribe() as subscription:
        bus.publish(warning("a"))
    bus.publish(warning("b"))
    assert [s.seq for s in subscription.drain()] == [1]
    assert bus.subscribe().drain() == []


def replay(stamps: list[Stamped]) -> dict[int, str]:
    texts: dict[int, str] = {}
    for stamped in stamps:
        event = stamped.event
        if isinstance(event, TokensStreamed):
            text = texts.get(event.sample, "")
            texts[event.sample] = text[: len(text) - event.retracted] + event.text
    return texts


@given(st.lists(st.tuples(st.integers(0, 2), st.text("ab", max_size=3), st.integers(0, 4)), max_size=40))
def test_merging_leaves_every_text_and_count_as_it_was(pieces: list[tuple[int, str, int]]) -> None:
    stamps, length = [], {0: 0, 1: 0, 2: 0}
    for seq, (sample, text, back) in enumerate(pieces, start=1):
        retracted = min(back, length[sample])
        length[sample] += len(text) - retracted
        stamps.append(Stamped(seq, seq / 10, token(text, sample, retracted)))
    merged = ev.merge_tokens(stamps)
    assert replay(merged) == replay(stamps)
    assert len(merged) == len({s.event.sample for s in stamps if isinstance(s.event, TokensStreamed)})
    assert [s.seq for s in merged] == sorted(s.seq for s in merged)


def test_events_survive_json() -> None:
    stamped = Bus().publish(token("⊕\n\x1b"))
    assert ev.decode(ev.encode(stamped)) == stamped
