"""Grading where it happens: when a sample ends, beside the event loop, with events in one order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from atts_core import events as ev
from atts_core.bus import Bus
from atts_core.config import EMBEDDED, Given, Layers, load
from atts_core.engine.ends import Ends
from atts_core.engine.session import Session, open_session
from atts_core.problems.load import ProblemSet
from atts_core.problems.problem import Problem
from atts_core.state import RunState

QUESTION = "Let a = 12 + 7. Let b = a * 3. Let c = b - 8. Let d = c + 20. What is d?"


@asynccontextmanager
async def session(pair: tuple[str, str]) -> AsyncIterator[Session]:
    layers = load(Given(draft=pair[0], target=pair[1], alpha=0.5, samples=4), {})
    async with open_session(layers, {}) as opened:
        yield opened


async def run(opened: Session, *problems: Problem) -> tuple[RunState, list[ev.AnyEvent]]:
    bus = Bus()
    subscription = bus.subscribe()
    engine = await opened.start(bus, ProblemSet("math", "", problems), command="test")
    await engine.run()
    stamps = subscription.drain()
    return RunState().fold(stamps), [stamped.event for stamped in stamps]


async def test_a_calculated_grade_is_recorded_with_what_reached_it(embedded_pair: tuple[str, str]) -> None:
    same = Problem(id="same", question=QUESTION, gold=r"3 \cdot 23", grading="math")
    other = Problem(id="other", question=QUESTION, gold="9^{9^{9^{9}}}", grading="math")
    plain = Problem(id="plain", question=QUESTION, gold=r"3 \cdot 23", repeats="same")
    async with session(embedded_pair) as opened:
        state, events = await run(opened, same, other, plain)
    for problem, right, how in ((0, True, "math"), (1, False, "fallback"), (2, False, "spelling")):
        answered = [sample for sample in state.problems[problem].samples if sample.answer == "69"]
        assert answered
        assert {(sample.correct, sample.graded) for sample in answered} == {(right, how)}
        assert state.problems[problem].correct is right
    warned = [
        event.message for event in events if isinstance(event, ev.Warned) and "calculation" in event.message
    ]
    assert len(warned) == 1
    assert state.problems[2].repeats == "same"


async def test_an_end_its_vote_and_its_problems_end_come_together(embedded_pair: tuple[str, str]) -> None:
    problems = [
        Problem(id=f"p{k}", question=QUESTION, gold=rf"{k} + {69 - k}", grading="math") for k in range(3)
    ]
    async with session(embedded_pair) as opened:
        _, events = await run(opened, *problems)
    for index in range(3):
        ends = [
            event
            for event in events
            if isinstance(event, ev.SampleFinished | ev.VoteChanged | ev.ProblemFinished)
            and event.problem == index
        ]
        kinds = [type(event) for event in ends]
        assert kinds == [ev.SampleFinished, ev.VoteChanged] * 4 + [ev.ProblemFinished]
        assert [event.ended for event in ends if isinstance(event, ev.VoteChanged)] == [1, 2, 3, 4]
    finished = [k for k, event in enumerate(events) if isinstance(event, ev.SampleFinished)]
    assert all(isinstance(events[k + 1], ev.VoteChanged) for k in finished)


async def test_ends_are_told_as_they_came_however_long_one_is_calculated() -> None:
    told: list[ev.AnyEvent] = []
    problem = Problem(id="p", question="?", gold="2k+2", grading="math")
    settings = Layers().add(Given(samples=3), str).resolve(EMBEDDED)
    ends = Ends(told.append, [problem], settings)
    try:
        await asyncio.gather(
            ends.tell(0, 1, "answered", "2(k+1)", ""),  # starts a process and calculates
            ends.tell(0, 0, "turn-limit", None, ""),  # nothing to calculate
            ends.tell(0, 2, "answered", "k+k+2", ""),
        )
    finally:
        ends.close()
    finished = [(event.sample, event.correct) for event in told if isinstance(event, ev.SampleFinished)]
    assert finished == [(1, True), (0, False), (2, True)]
    assert isinstance(told[-1], ev.ProblemFinished)
    assert told[-1].correct is True
    assert told[-1].tied  # 2(k+1) and k+k+2 are two spellings: a vote does no algebra
