"""Servers that die, hang and come back in mid-run: real processes, killed and stopped."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from socket import socket
from typing import Any

import pytest

from atts_core import events as ev
from atts_core.bus import Bus, Subscription
from atts_core.config import Given, load
from atts_core.engine import requests, servers
from atts_core.engine.run import Engine
from atts_core.engine.session import Session, open_session
from atts_core.errors import AttsError, SettingsError
from atts_core.problems.load import ProblemSet, Request, load_problems
from atts_core.serving.errors import ServerUnreachable
from atts_core.serving.retries import Retries
from atts_core.state import RunState


class Process:
    """One embedded server at a port of its own, which can be killed and started there again."""

    def __init__(self, model: str, *options: str) -> None:
        with closing(socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.model, self._options = model, options
        self.url = f"http://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "atts_core.embedded.server",
            "--model",
            self.model,
            "--watch-parent",
        ]
        self._process = subprocess.Popen(
            [*command, "--port", str(self._port), *self._options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> "Process":
        assert self._process.stdout is not None
        assert json.loads(self._process.stdout.readline())["url"] == self.url
        return self

    def signal(self, number: signal.Signals) -> None:
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def start_server() -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(model: str, *options: str) -> Process:
        started.append(Process(model, *options))
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "FIRST_PROBE", 0.02)
    monkeypatch.setattr(servers, "SLOWEST_PROBE", 0.1)
    monkeypatch.setattr(requests, "RETRIES", Retries(attempts=5, first=0.02))


PROBLEMS = ProblemSet("builtin", "", load_problems(Request(dataset="builtin", part="test", limit=3)).problems)
OPTIONS: dict[str, Any] = {"samples": 4, "seed": 5, "mode": "marginal"}
Cue = Callable[[list[ev.AnyEvent]], bool]


def given(draft: Any, *targets: Any, **more: Any) -> Given:
    return Given(draft=draft, target=tuple(t if isinstance(t, str) else t.url for t in targets), **more)


async def begin(session: Session) -> tuple[Engine, Subscription]:
    bus = Bus()
    subscription = bus.subscribe()
    return await session.start(bus, PROBLEMS, command="test"), subscription


async def run(settings: Given, *cues: tuple[Cue, Callable[[], object]]) -> tuple[RunState, list[ev.AnyEvent]]:
    """A whole run; each action is taken once its cue has come, in their order."""
    async with open_session(load(settings, {}), {}) as session:
        engine, subscription = await begin(session)
        task = asyncio.create_task(engine.run())
        stamps: list[ev.Stamped] = []
        seen: list[ev.AnyEvent] = []
        left = list(cues)
        async for batch in subscription.batches():
            stamps += batch
            seen += [stamped.event for stamped in batch]
            while left and left[0][0](seen):
                await asyncio.to_thread(left.pop(0)[1])
            if any(isinstance(event, ev.RunFinished) for event in seen):
                break
        await task
        assert not left
        for side in (session.pair.draft, session.pair.target):
            assert (side.limiter.active, side.limiter.waiting) == (0, 0)
    return RunState().fold(stamps), seen


def count(kind: type[ev.AnyEvent], at_least: int) -> Cue:
    return lambda seen: sum(isinstance(event, kind) for event in seen) >= at_least


def texts(state: RunState) -> list[str]:
    return [sample.text for problem in state.problems for sample in problem.samples]


@pytest.fixture(scope="module")
def before(embedded_pair: tuple[str, str]) -> list[str]:
    """What an undisturbed run writes."""
    state, _ = asyncio.run(run(given(*embedded_pair, **OPTIONS)))
    return texts(state)


def undisturbed(state: RunState) -> bool:
    assert state.finished is not None
    return state.finished.end == "done" and state.samples_failed == 0


async def test_a_target_killed_and_started_again_changes_nothing(
    embedded_pair: tuple[str, str], start_server: Callable[..., Process], before: list[str]
) -> None:
    draft, target = embedded_pair
    mortal = start_server("target").ready()
    state, events = await run(
        given(draft, target, mortal, **OPTIONS),
        (count(ev.VerdictReached, 3), mortal.kill),
        (count(ev.ServerLost, 1), mortal.start),
    )
    assert undisturbed(state)
    assert texts(state) == before
    [lost] = [event for event in events if isinstance(event, ev.ServerLost)]
    assert (lost.role, lost.url) == ("target", mortal.url)


async def test_the_only_target_killed_and_started_again_is_waited_for(
    embedded_pair: tuple[str, str], start_server: Callable[..., Process], before: list[str]
) -> None:
    mortal = start_server("target").ready()
    state, events = await run(
        given(embedded_pair[0], mortal, **OPTIONS, patience=60.0),
        (count(ev.VerdictReached, 3), mortal.kill),
        (count(ev.ServerLost, 1), mortal.start),
    )
    assert undisturbed(state)
    assert texts(state) == before
    kinds = [type(event) for event in events]
    assert kinds.index(ev.ServerLost) < kinds.index(ev.ServerFound)
    assert state.servers["target"].lost == ""


async def test_a_target_that_hangs_is_noticed_in_time_and_used_again(
    embedded_pair: tuple[str, str], start_server: Callable[..., Process], before: list[str]
) -> None:
    """Stopped by SIGSTOP it accepts connections and never answers, as SGLang does without its scheduler."""
    draft, target = embedded_pair
    hanging = start_server("target").ready()
    limits = {"timeout_first_token": 2.0, "timeout_between_tokens": 2.0}
    state, events = await run(
        given(draft, target, hanging, **OPTIONS, **limits),
        (count(ev.VerdictReached, 3), lambda: hanging.signal(signal.SIGSTOP)),
        (count(ev.ServerLost, 1), lambda: hanging.signal(signal.SIGCONT)),
    )
    assert undisturbed(state)
    assert texts(state) == before
    lost = next(event for event in events if isinstance(event, ev.ServerLost))
    assert "for 2 s" in lost.message


async def test_another_model_that_comes_up_in_its_place_is_not_used(
    embedded_pair: tuple[str, str], start_server: Callable[..., Process]
) -> None:
    mortal = start_server("target").ready()
    async with open_session(load(given(*embedded_pair, mortal), {}), {}) as session:
        bus = Bus()
        subscription = bus.subscribe()
        lost = servers.Servers(session.pair, bus.publish, patience=60)
        mortal.kill()
        gone = ServerUnreachable("gone", role="target", url=mortal.url)
        assert lost.failed(session.pair.target, 1, gone)
        mortal.model = "draft"
        await asyncio.to_thread(mortal.start)
        seen: list[ev.AnyEvent] = []
        async for batch in subscription.batches():
            seen += [stamped.event for stamped in batch]
            if count(ev.Warned, 1)(seen):
                break
        assert [type(event) for event in seen] == [ev.ServerLost, ev.Warned]
        assert "is not used" in seen[-1].message  # type: ignore[union-attr]
        assert session.pair.target.workers[1].lost
        await lost.close()


async def test_a_router_that_comes_back_before_different_models_is_not_used_and_asked_again(
    embedded_pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_session(load(given(*embedded_pair), {}), {}) as session:
        bus = Bus()
        subscription = bus.subscribe()
        lost = servers.Servers(session.pair, bus.publish, patience=60)
        monkeypatch.setattr(servers, "FIRST_PROBE", 0.01)
        client = session.pair.target.workers[0].client
        connect = client.connect

        async def differing() -> Any:
            monkeypatch.setattr(client, "connect", connect)
            raise SettingsError("they serve different models.")

        monkeypatch.setattr(client, "connect", differing)
        lost.failed(session.pair.target, 0, ServerUnreachable("gone", role="target", url=client.url))
        seen: list[ev.AnyEvent] = []
        async for batch in subscription.batches():
            seen += [stamped.event for stamped in batch]
            if count(ev.ServerFound, 1)(seen):
                break
        assert any("not used: they serve different models." in getattr(e, "message", "") for e in seen)
        await lost.close()


async def test_servers_of_one_model_must_be_the_same_model(embedded_pair: tuple[str, str]) -> None:
    draft, target = embedded_pair
    with pytest.raises(SettingsError, match=f"{target} serves .*{draft}.* must serve the same") as caught:
        async with open_session(load(given(draft, target, draft), {}), {}):
            pass
    assert "target server" in str(caught.value)


async def test_one_dead_server_at_the_start_is_named(embedded_pair: tuple[str, str]) -> None:
    with pytest.raises(AttsError, match=r"nothing listens at http://127\.0\.0\.1:9 for the target") as caught:
        async with open_session(load(given(*embedded_pair, "http://127.0.0.1:9"), {}), {}):
            pass
    assert caught.value.exit_status == 2
