"""The pipeline against the real embedded servers: what is asked, in which order, and how samples end."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest

from atts_core import events as ev
from atts_core.bus import Bus, Subscription
from atts_core.config import Given, load
from atts_core.conformal.decider import Decider
from atts_core.engine import requests, servers
from atts_core.engine.answers import find_answer
from atts_core.engine.run import Engine
from atts_core.engine.session import Session, open_session
from atts_core.problems.load import ProblemSet, Request, load_problems
from atts_core.problems.problem import Problem
from atts_core.serving.client import SGLangClient
from atts_core.serving.errors import ServerFailed, ServerUnreachable
from atts_core.serving.retries import Retries
from atts_core.state import RunState

LONG = Problem(
    id="long", question="Let a = 12 + 7. Let b = a * 3. Let c = b - 8. Let d = c + 20. What is d?", gold="69"
)


@asynccontextmanager
async def session(pair: tuple[str, str], alpha: float = 0.5, **given: Any) -> AsyncIterator[Session]:
    """Decides by the embedded pair's own calibration, so that verdicts do not depend on the order of events;
    `alpha` close to 1 accepts, close to 0 takes over."""
    layers = load(Given(draft=pair[0], target=pair[1], alpha=alpha, **given), {})
    async with open_session(layers, {}) as opened:
        yield opened


async def start(opened: Session, problems: Sequence[Problem]) -> tuple[Engine, Subscription]:
    bus = Bus()
    subscription = bus.subscribe()
    these = ProblemSet("builtin", "", tuple(problems))
    return await opened.start(bus, these, command="test"), subscription


async def run(opened: Session, problems: Sequence[Problem]) -> tuple[RunState, list[ev.AnyEvent]]:
    engine, subscription = await start(opened, problems)
    await engine.run()
    stamps = subscription.drain()
    return RunState().fold(stamps), [stamped.event for stamped in stamps]


@pytest.mark.parametrize("takeover", ["continue", "rewrite"])
async def test_prompts_only_ever_grow(
    embedded_pair: tuple[str, str], takeover: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Append-only ids: what a model is asked next begins with all that it was asked before, byte for byte."""
    drafts: dict[tuple[int, int], list[list[int]]] = defaultdict(list)
    targets: dict[tuple[int, int], list[list[int]]] = defaultdict(list)
    write, score = requests.Requests.write, requests.Requests.score

    async def watched_write(self: Any, held: Any, prompt: Sequence[int], turn: int, **more: Any) -> Any:
        (drafts if held.side.role == "draft" else targets)[self.problem, self.sample].append(list(prompt))
        return await write(self, held, prompt, turn, **more)

    async def watched_score(self: Any, held: Any, prefix: Sequence[int], step: Sequence[int]) -> Any:
        targets[self.problem, self.sample].append(list(prefix))
        return await score(self, held, prefix, step)

    monkeypatch.setattr(requests.Requests, "write", watched_write)
    monkeypatch.setattr(requests.Requests, "score", watched_score)
    problems = load_problems(Request(dataset="builtin", part="test", limit=3)).problems
    async with session(embedded_pair, samples=4, takeover=takeover) as opened:
        state, _ = await run(opened, problems)
        tokenizer = opened.pair.draft.tokenizer
    for prompts in (*drafts.values(), *targets.values()):
        for earlier, later in pairwise(prompts):
            assert later[: len(earlier)] == earlier
    for (problem, sample), prompts in drafts.items():
        assert state.sample(problem, sample).text.startswith(
            tokenizer.decode(prompts[-1])[len(tokenizer.decode(prompts[0])) :]
        )


async def test_a_kept_step_that_answers_ends_the_sample_before_a_take_over(
    embedded_pair: tuple[str, str],
) -> None:
    problems = load_problems(Request(dataset="builtin", part="test", limit=4)).problems
    async with session(embedded_pair, samples=4, takeover="continue", alpha=0.001) as opened:
        _, events = await run(opened, problems)
    for event in events:
        if isinstance(event, ev.TakeOverStarted):
            before = [e for e in events if isinstance(e, ev.DraftFinished) and _same(e, event)]
            assert all(find_answer(e.text) is None for e in before)


async def test_a_rewritten_answer_is_the_targets(embedded_pair: tuple[str, str]) -> None:
    async with session(embedded_pair, samples=6, takeover="rewrite", alpha=0.001) as opened:
        state, events = await run(opened, [LONG])
    assert state.overall.realised == 1.0
    assert {e.role for e in events if isinstance(e, ev.AnswerFound)} == {"target"}
    for sample in state.problems[0].samples:
        assert {step.role for step in sample.steps if not step.discarded} == {"target"}


async def test_limits_end_a_sample(embedded_pair: tuple[str, str]) -> None:
    async with session(embedded_pair, samples=3, turns=1) as opened:
        state, _ = await run(opened, [LONG])
    assert {sample.end for sample in state.problems[0].samples} == {"turn-limit"}
    crowded = Problem(id="crowded", question="Let a = 1 + 1. " * 60 + "What is a?")
    async with session(embedded_pair, samples=2) as opened:
        state, _ = await run(opened, [crowded])
    assert {sample.end for sample in state.problems[0].samples} == {"context-limit"}
    assert state.finished is not None
    assert state.finished.end == "done"


async def test_no_barrier_a_later_problem_begins_before_an_earlier_one_ends(
    embedded_pair: tuple[str, str],
) -> None:
    problems = load_problems(Request(dataset="builtin", part="test", limit=4)).problems
    limits = {"draft_concurrency": 3, "target_concurrency": 3}
    async with session(embedded_pair, samples=4, **limits) as opened:
        state, events = await run(opened, problems)
    at = {type(e).__name__ + str(e.problem): n for n, e in enumerate(events) if hasattr(e, "problem")}
    assert any(
        at[f"SampleStarted{later}"] < at[f"ProblemFinished{later - 1}"] for later in range(1, len(problems))
    )
    assert all(problem.finished for problem in state.problems)
    under_way, most = 0, 0
    for event in events:
        under_way += isinstance(event, ev.DraftStarted) - isinstance(event, ev.DraftFinished)
        most = max(most, under_way)
    assert most <= 3


async def test_a_paused_run_sends_nothing_new_and_goes_on_where_it_stood(
    embedded_pair: tuple[str, str],
) -> None:
    async with session(embedded_pair, samples=4, seed=11) as opened:
        undisturbed, _ = await run(opened, [LONG])
        engine, subscription = await start(opened, [LONG])
        task = asyncio.create_task(engine.run())
        stamps: list[ev.Stamped] = []
        batches = subscription.batches()
        while not any(isinstance(s.event, ev.VerdictReached) for s in stamps):
            stamps += await anext(batches)
        engine.gate.close()
        while opened.pair.draft.limiter.active or opened.pair.target.limiter.active:
            stamps += await anext(batches)
        stamps += subscription.drain()
        paused_at = next(n for n, s in enumerate(stamps) if isinstance(s.event, ev.RunPaused))
        started = (ev.DraftStarted, ev.VerificationStarted, ev.TakeOverStarted)
        assert not [s for s in stamps[paused_at:] if isinstance(s.event, started)]
        engine.gate.open()
        assert await task == "done"
        stamps += subscription.drain()
    state = RunState().fold(stamps)
    assert [s.text for s in state.problems[0].samples] == [s.text for s in undisturbed.problems[0].samples]


async def test_a_stopped_sample_ends_and_the_others_go_on(embedded_pair: tuple[str, str]) -> None:
    async with session(embedded_pair, samples=3) as opened:
        engine, subscription = await start(opened, [LONG])
        engine.stop_sample(0, 1)
        await engine.run()
    state = RunState().fold(subscription.drain())
    assert [sample.end == "stopped" for sample in state.problems[0].samples] == [False, True, False]


async def test_a_failed_request_is_repeated_and_changes_nothing(
    embedded_pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "RETRIES", Retries(attempts=5, first=0.0))
    generate = SGLangClient.generate
    async with session(embedded_pair, samples=4, seed=4) as opened:
        undisturbed, _ = await run(opened, [LONG])
        asked: set[str] = set()

        async def cut(self: SGLangClient, request: Any, **options: Any) -> AsyncIterator[Any]:
            """Every request fails the first time, whatever else is under way, and not the second."""
            broken = f"{self.role} {request}" not in asked
            asked.add(f"{self.role} {request}")
            async for update in generate(self, request, **options):
                if broken and update.finish is not None:
                    raise ServerFailed("the stream was cut", role=self.role, url=self.url)
                yield update

        monkeypatch.setattr(SGLangClient, "generate", cut)
        state, events = await run(opened, [LONG])
    assert [e for e in events if isinstance(e, ev.RequestRetried)]
    assert state.retries > 0
    assert [s.text for s in state.problems[0].samples] == [s.text for s in undisturbed.problems[0].samples]
    assert state.draft_tokens == undisturbed.draft_tokens


def away(monkeypatch: pytest.MonkeyPatch, *methods: str) -> None:
    """From now on these methods of every client find nobody."""

    async def nobody(self: SGLangClient, *_: Any, **__: Any) -> Any:
        raise ServerUnreachable("nothing listens any more", role=self.role, url=self.url)

    for method in methods:
        monkeypatch.setattr(SGLangClient, method, nobody)


async def test_a_server_that_stays_away_is_waited_for_and_then_fails_samples(
    embedded_pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "FIRST_PROBE", 0.0)
    async with session(embedded_pair, samples=2, patience=0.1) as opened:
        away(monkeypatch, "score", "one_token")
        state, events = await run(opened, [LONG])
    assert state.finished is not None
    assert (state.finished.end, state.samples_failed) == ("failed", 2)
    assert "no target server has answered for 0.1 s" in state.finished.message
    assert "nothing listens" in state.finished.message
    [lost] = [e for e in events if isinstance(e, ev.ServerLost)]
    assert lost.url == embedded_pair[1]
    assert state.servers["target"].lost
    assert any("wait up to 0.1 s for the target server" in warning for warning in state.warnings)


async def test_a_server_that_answers_probes_but_no_request_does_not_hold_a_sample_for_ever(
    embedded_pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "FIRST_PROBE", 0.0)
    async with session(embedded_pair, samples=2) as opened:
        away(monkeypatch, "score")
        state, events = await run(opened, [LONG])
    assert state.samples_failed == 2
    assert sum(isinstance(e, ev.RequestRetried) for e in events) == 2 * (requests.RETRIES.attempts - 1)


async def test_unusable_log_probabilities_are_never_perfect(
    embedded_pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(self: Any, held: Any, prefix: Any, step: Any) -> tuple[float | None, float]:
        return None, 0.0

    monkeypatch.setattr(requests.Requests, "score", nothing)
    async with session(embedded_pair, samples=2) as opened:
        state, events = await run(opened, [LONG])
    verdicts = [e for e in events if isinstance(e, ev.VerdictReached)]
    assert {e.verdict for e in verdicts} == {"unverifiable"}
    assert sum(isinstance(e, ev.TakeOverStarted) for e in events) == len(verdicts) == state.unverifiable


def _same(one: ev.DraftFinished, other: ev.TakeOverStarted) -> bool:
    return (one.problem, one.sample, one.turn) == (other.problem, other.sample, other.turn)


async def test_what_waits_for_a_place_does_not_leave_while_paused(embedded_pair: tuple[str, str]) -> None:
    async with session(embedded_pair, samples=8, draft_concurrency=1, target_concurrency=1) as opened:
        engine, subscription = await start(opened, [LONG])
        task = asyncio.create_task(engine.run())
        stamps: list[ev.Stamped] = []
        batches = subscription.batches()
        while not any(isinstance(s.event, ev.StageQueued) for s in stamps):
            stamps += await anext(batches)
        engine.gate.close()
        while opened.pair.draft.limiter.active or opened.pair.target.limiter.active:  # noqa: ASYNC110
            await asyncio.sleep(0)
        stamps += subscription.drain()
        paused_at = next(n for n, s in enumerate(stamps) if isinstance(s.event, ev.RunPaused))
        started = (ev.DraftStarted, ev.VerificationStarted, ev.TakeOverStarted)
        assert not [s for s in stamps[paused_at:] if isinstance(s.event, started)]
        queued = next(s.event for s in stamps if isinstance(s.event, ev.StageQueued))
        engine.stop_sample(0, queued.sample)
        while not any(isinstance(s.event, ev.SampleFinished) for s in stamps):
            stamps += await anext(batches)
        engine.gate.open()
        assert await task == "done"
        stamps += subscription.drain()
    ends = {sample.index: sample.end for sample in RunState().fold(stamps).problems[0].samples}
    assert [index for index, end in ends.items() if end == "stopped"] == [queued.sample]


async def test_a_retry_after_the_end_is_no_error(
    embedded_pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with session(embedded_pair, samples=2, patience=0.0) as opened:
        away(monkeypatch, "score", "one_token")
        engine, _ = await start(opened, [LONG])
        assert await engine.run() == "failed"
        engine.retry_sample(0, 0)


async def test_a_server_that_fails_while_scores_are_collected_is_one_error(
    embedded_pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with session(embedded_pair, samples=4, mode="conditional", patience=0.0) as opened:
        away(monkeypatch, "score", "one_token")
        with pytest.raises(ServerUnreachable):
            await start(opened, [LONG])


async def test_a_defect_ends_the_run_as_failed_and_is_not_wrapped(
    embedded_pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("a defect")

    async with session(embedded_pair, samples=2) as opened:
        engine, subscription = await start(opened, [LONG])
        monkeypatch.setattr(Decider, "decide", broken)
        with pytest.raises(ZeroDivisionError):
            await engine.run()
    last = subscription.drain()[-1].event
    assert isinstance(last, ev.RunFinished)
    assert last.end == "failed"
