"""Every strategy against the real embedded servers: it repeats, resumes, and keeps its own law."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from atts_core import events as ev
from atts_core.bus import Bus
from atts_core.config import Given, Layers, load
from atts_core.engine import requests
from atts_core.engine.prompts import LOOK_BACK
from atts_core.engine.requests import Gate
from atts_core.engine.session import Session, open_session
from atts_core.engine.strategies import speculative_thinking
from atts_core.engine.strategies.registry import STRATEGIES
from atts_core.engine.strategies.spec_reason import digit, rating_request
from atts_core.engine.strategies.speculative_thinking import Mind, mood
from atts_core.engine.strategies.sync import share
from atts_core.errors import SettingsError
from atts_core.problems.load import ProblemSet, Request, load_problems
from atts_core.runs.file import About, RunFile
from atts_core.runs.reference import RecordMaker
from atts_core.runs.resume import read_progress
from atts_core.runs.writer import RunWriter
from atts_core.serving.errors import ServerFailed
from atts_core.state import RunState

PROBLEMS = load_problems(Request(dataset="builtin", part="test", limit=2))
ALL = sorted(STRATEGIES)
OPTIONS: dict[str, dict[str, Any]] = {
    "atts": {"alpha": 0.5},
    "sync": {"alpha": 0.6},
    "spec-reason": {"min_rating": 5},
    "self-refine": {"alpha": 0.5},
    "self-reject": {"alpha": 0.5, "attempts": 2},
}


@asynccontextmanager
async def session(pair: tuple[str, str], strategy: str, **given: Any) -> AsyncIterator[Session]:
    urls = {role: pair[role == "target"] for role in STRATEGIES[strategy].roles}
    known = {"samples": 2, "seed": 5, "turns": 6, "strategy": strategy, **OPTIONS.get(strategy, {}), **given}
    async with open_session(load(Given(**urls, **known), {}), {}) as opened:
        yield opened


async def run(opened: Session, problems: ProblemSet = PROBLEMS) -> list[ev.Stamped]:
    bus = Bus()
    subscription = bus.subscribe()
    engine = await opened.start(bus, problems, command="test", run="r")
    await engine.run()
    return subscription.drain()


def result(state: RunState) -> object:
    """Everything but times and order."""
    return [
        (
            [(step.turn, step.role, step.text, step.tokens, step.discarded) for step in sample.steps],
            [(v.turn, v.verdict, v.ppl, v.p) for v in sample.judged()],
            (sample.end, sample.answer, sample.draft_tokens, sample.target_tokens),
        )
        for problem in state.problems
        for sample in problem.samples
    ]


@pytest.mark.parametrize("strategy", ALL)
async def test_same_seed_same_bits_however_many_requests_are_under_way(
    embedded_pair: tuple[str, str], strategy: str
) -> None:
    async with session(embedded_pair, strategy) as opened:
        wide = RunState().fold(await run(opened))
    narrow_limits = {f"{role}_concurrency": 2 for role in ("draft", "target")}
    async with session(embedded_pair, strategy, **narrow_limits) as opened:
        narrow = RunState().fold(await run(opened))
    assert result(wide) == result(narrow)
    assert wide.finished is not None
    assert wide.finished.end == "done"
    assert (wide.draft_tokens == 0) == ("draft" not in STRATEGIES[strategy].roles)


@pytest.mark.parametrize("strategy", ALL)
async def test_stopped_anywhere_it_becomes_what_it_would_have_been(
    embedded_pair: tuple[str, str], strategy: str, tmp_path: Path, about: About
) -> None:
    async with session(embedded_pair, strategy) as opened:
        stamps = await run(opened)
        same_text(RunState().fold(stamps), RecordMaker().fold(stamps).finished)
        calibration = opened.calibration
        begun = next(n for n, stamped in enumerate(stamps) if isinstance(stamped.event, ev.RunStarted))
        cuts = random.Random(strategy)
        for name, cut in (("any", cuts.randrange(begun + 1, len(stamps))), ("late", len(stamps) - 3)):
            path = tmp_path / f"{name}.atts"
            writer = RunWriter.create(path, about)
            writer.append(ev.merge_tokens(stamps[:cut]))
            writer.close()
            progress = read_progress(path)
            bus = Bus(first_seq=progress.last_seq + 1, first_at=progress.last_at)
            subscription = bus.subscribe()
            engine = opened.go_on(bus, PROBLEMS, progress, calibration)
            await engine.run()
            writer = RunWriter.resume(path)
            writer.append(subscription.drain())
            writer.close()
            file = RunFile.open(path)
            state = RunState()
            for batch in file.events():
                state.fold(batch)
            assert file.trouble == ""
            assert result(state) == result(RunState().fold(stamps))
            whole = RunState().fold(stamps)
            assert (state.draft_tokens, state.target_tokens) == (whole.draft_tokens, whole.target_tokens)
            file.close()


def same_text(state: RunState, records: dict[tuple[int, int], dict[str, Any]]) -> None:
    """Which of a turn's drafts stays is told by the events alone, to every reader of them."""
    for problem in state.problems:
        for sample in problem.samples:
            history = records[problem.index, sample.index]["full_history"]
            kept = [e["output"] for e in history if "output" in e and not e.get("discarded")]
            assert "".join(kept) == sample.text


async def test_in_a_round_nobody_goes_on_before_all_are_through(embedded_pair: tuple[str, str]) -> None:
    async with session(embedded_pair, "sync", samples=6, draft_concurrency=2, takeover="rewrite") as opened:
        stamps = await run(opened)
        rate = opened.settings.conformal.nominal_rate
    state = RunState().fold(stamps)
    ended: dict[int, set[int]] = defaultdict(set)
    through: dict[tuple[int, int], set[int]] = defaultdict(set)
    for stamped in stamps:
        match stamped.event:
            case ev.SampleFinished() as event:
                ended[event.problem].add(event.sample)
            case ev.VerdictReached(verdict="accept") | ev.TakeOverFinished() as event:
                through[event.problem, event.turn].add(event.sample)
            case ev.DraftStarted() as event if event.turn:
                waited_for = set(range(6)) - ended[event.problem]
                assert waited_for <= through[event.problem, event.turn - 1]
            case ev.ProblemAdded() | ev.SampleStarted():
                pass
            case _:
                pass
    for problem in state.problems:
        ranked = taken = 0
        for turn in range(max(len(sample.turns) for sample in problem.samples)):
            verdicts = [s.turns[turn].verdict for s in problem.samples if len(s.turns) > turn]
            judged = [v for v in verdicts if v is not None and v.ppl is not None]
            assert len({(v.size, v.threshold) for v in judged}) <= 1
            ranked += len(judged)
            over = [v for v in judged if v.verdict == "take-over"]
            taken += len(over)
            assert taken == share(rate, ranked)
            kept = [v.ppl for v in judged if v.verdict == "accept"]
            assert all(v.ppl >= max(kept, default=0) for v in over)
    work = [s.event.problem for s in stamps if isinstance(s.event, ev.DraftStarted | ev.TakeOverFinished)]
    assert work == sorted(work), "one problem after another"


async def test_strategies_begin_with_the_same_draws(embedded_pair: tuple[str, str]) -> None:
    firsts: dict[str, list[str]] = {}
    for strategy in ("atts", "sync", "draft-only"):
        async with session(embedded_pair, strategy, turns=1) as opened:
            stamps = await run(opened)
        drafts = [s.event for s in stamps if isinstance(s.event, ev.DraftFinished) and s.event.turn == 0]
        firsts[strategy] = [d.text for d in sorted(drafts, key=lambda d: (d.problem, d.sample))]
    assert firsts["atts"] == firsts["sync"] == firsts["draft-only"]


async def test_one_model_needs_one_server_and_the_run_names_no_other(embedded_pair: tuple[str, str]) -> None:
    async with session(embedded_pair, "target-only") as opened:
        started = next(s.event for s in await run(opened) if isinstance(s.event, ev.RunStarted))
    assert [model.name for model in started.models] == ["", opened.pair.target.info.model]
    assert started.calibration is None
    async with session(embedded_pair, "self-refine") as opened:
        assert opened.pair.draft.urls == opened.pair.target.urls
        assert len(opened.pair.sides) == 1
    with pytest.raises(SettingsError, match="--target is missing: the strategy sync runs on the servers of"):
        async with open_session(load(Given(strategy="sync", draft=embedded_pair[0]), {}), {}):
            pass


async def test_the_target_helps_where_words_call_for_it(
    embedded_pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded pair never doubts in words, so here it is taken to do so always."""
    monkeypatch.setattr(speculative_thinking, "mood", lambda _: -1)
    monkeypatch.setattr(speculative_thinking, "Mind", lambda: Mind(patience=1))
    async with session(embedded_pair, "speculative-thinking") as opened:
        stamps = await run(opened)
    state = RunState().fold(stamps)
    texts = [step for p in state.problems for s in p.samples for step in s.steps]
    assert any(step.role == "target" and step.text.startswith(LOOK_BACK) for step in texts)
    assert any(step.role == "draft" and step.discarded for step in texts)
    assert all(step.complete for step in texts)


def test_moods() -> None:
    assert [mood(t) for t in ("so x = 3", "Wait, another way", "Yes, I am confident", "yes, but check")] == [
        0, -1, 1, -1,
    ]  # fmt: skip
    assert mood("waiting is no doubt") == 0


def test_ratings_are_digits_and_anything_else_is_the_lowest() -> None:
    assert [digit(said) for said in ("7", " 9", "9/9", "x", "", "٣", "-1")] == [7, 9, 9, 0, 0, 0, 0]


async def test_a_rating_is_asked_for_after_the_step(embedded_pair: tuple[str, str]) -> None:
    async with session(embedded_pair, "spec-reason") as opened:
        tokenizer = opened.pair.target.tokenizer
        asked = rating_request(tokenizer, instruct=False)
        stamps = await run(opened)
    assert asked[0] in tokenizer.eos_ids, "the assistant's turn ends first"
    verdicts = [s.event for s in stamps if isinstance(s.event, ev.VerdictReached)]
    assert verdicts
    for verdict in verdicts:
        assert verdict.rating is not None
        assert (verdict.verdict == "accept") == (verdict.rating >= 5)
        assert (verdict.ppl, verdict.p) == (None, None)


def layers(*said: Given) -> Layers:
    made = Layers()
    for number, given in enumerate(said):
        made.add(given, lambda name, number=number: f"layer {number}'s {name}")  # type: ignore[misc]
    return made


def test_what_means_nothing_to_a_strategy_is_refused_where_it_was_said_for_it() -> None:
    with pytest.raises(
        SettingsError, match="--alpha means nothing to the strategy draft-only: the draft alone"
    ):
        load(Given(strategy="draft-only", alpha=0.5), {}).given()
    with pytest.raises(SettingsError, match="--attempts means nothing to the strategy atts"):
        load(Given(attempts=2), {}).given()
    with pytest.raises(SettingsError, match="--strategy nonsense: strategy must be one of atts, sync"):
        load(Given(strategy="nonsense"), {})
    far = layers(Given(takeover_rate=0.3, mode="online", seed=4), Given(strategy="draft-only"))
    assert (far.given().takeover_rate, far.given().mode, far.given().seed) == (None, None, 4)
    near = layers(Given(strategy="draft-only"), Given(mode="online"))
    with pytest.raises(SettingsError, match="layer 1's mode means nothing"):
        near.given()


def test_shares_are_counted_in_decimals() -> None:
    assert [share(0.3, n) for n in (10, 16, 20)] == [3, 4, 6]
    assert share(0.7, 10) == 7


@pytest.fixture
def about() -> About:
    return About(run="r", command="eval", created=1e9, version="0.1.0", dataset="builtin")


async def test_a_round_does_not_wait_for_who_failed_or_was_stopped(
    embedded_pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = requests.Requests.write

    async def broken(self: Any, held: Any, prompt: Any, turn: int, **more: Any) -> Any:
        if (self.sample, turn) == (1, 1):
            raise ServerFailed("out of memory", role=held.side.role, url="http://x")
        return await write(self, held, prompt, turn, **more)

    monkeypatch.setattr(requests.Requests, "write", broken)
    bus = Bus()
    async with session(embedded_pair, "sync", samples=4) as opened:
        subscription = bus.subscribe()
        engine = await opened.start(bus, PROBLEMS, command="test", run="r")
        engine.stop_sample(0, 3)
        assert await engine.run() == "incomplete"
    state = RunState().fold(subscription.drain())
    ends = [[sample.end for sample in problem.samples] for problem in state.problems]
    assert [own[1] for own in ends] == ["failed", "failed"]
    assert ends[0][3] == "stopped"
    assert ends[0][0] not in (None, "failed")
    assert ends[1][3] not in (None, "failed")


async def test_a_run_that_is_paused_collects_no_scores(embedded_pair: tuple[str, str]) -> None:
    bus = Bus()
    subscription, gate = bus.subscribe(), Gate(bus.publish)
    async with session(embedded_pair, "self-refine") as opened:
        gate.close()
        starting = asyncio.create_task(opened.start(bus, PROBLEMS, command="test", run="r", gate=gate))
        for _ in range(50):
            await asyncio.sleep(0)
        assert opened.pair.draft.limiter.active == 0
        assert [type(stamped.event) for stamped in subscription.drain()] == [ev.RunPaused]
        gate.open()
        await starting
    assert any(isinstance(stamped.event, ev.ScoreCollected) for stamped in subscription.drain())
