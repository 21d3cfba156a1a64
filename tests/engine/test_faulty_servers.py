"""Whole runs over a server that cuts, refuses, lies and dawdles: every sample finishes with the same text."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from itertools import chain, cycle, repeat
from typing import Any, Literal

import httpx2
import pytest

from atts_core import events as ev
from atts_core.bus import Bus
from atts_core.config import Given, load
from atts_core.engine import requests, servers
from atts_core.engine.session import open_session
from atts_core.problems.load import Request, load_problems
from atts_core.serving.retries import Retries
from atts_core.state import RunState

Fault = Literal["pass", "503", "500", "cut", "close", "garbage", "nonsense", "silent"]


class Proxy:
    """Stands before a real server and spoils its answers to /generate, one fault after another."""

    def __init__(self, upstream: str) -> None:
        self.faults: Iterable[Fault] = repeat("pass")
        self.spoiled = 0
        self._once = False
        self._hit: set[str] = set()
        self.url = ""
        self._upstream = upstream
        self._http = httpx2.AsyncClient(base_url=upstream, trust_env=False, timeout=60)
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Proxy"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._http.aclose()

    def spoil(self, faults: Iterable[Fault], *, once: bool = False) -> None:
        """`once`: no request twice, so that none uses up its attempts by bad luck."""
        self.faults, self._once = iter(faults), once

    def _fault(self, body: bytes) -> Fault:
        asked = json.loads(body)
        asked.pop("rid", None)
        key = json.dumps(asked, sort_keys=True)
        if self._once and key in self._hit:
            return "pass"
        fault = next(iter(self.faults))
        if fault != "pass":
            self._hit.add(key)
        return fault

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, httpx2.HTTPError):
                await self._one(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ")
        fields = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(fields.get("content-length", "0")))
        fault: Fault = self._fault(body) if path == "/generate" else "pass"
        self.spoiled += fault != "pass"
        if fault in ("503", "500"):
            writer.write(_whole(int(fault), b'{"error":{"message":"The request queue is full."}}'))
        elif fault == "nonsense":
            writer.write(_whole(200, b'{"text": 5, "meta_info": {"prompt_tokens": -1}}'))
        elif fault == "garbage":
            writer.write(b"\x00\xff\x16\x03\x01 not HTTP at all\r\n\r\n")
        elif fault == "silent":
            await reader.read()
        elif fault == "close":
            writer.transport.abort()
            return
        else:
            content = {"content-type": "application/json"} if body else {}
            async with self._http.stream(method, path, content=body or None, headers=content) as answer:
                writer.write(_head(answer))
                async for piece in answer.aiter_raw():
                    cut = fault == "cut"
                    piece = piece[: max(len(piece) // 2, 1)] if cut else piece  # noqa: PLW2901
                    writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    await writer.drain()
                    if cut:
                        writer.transport.abort()
                        return
                writer.write(b"0\r\n\r\n")
        await writer.drain()


def _head(answer: httpx2.Response) -> bytes:
    kind = answer.headers.get("content-type", "text/plain")
    return (
        f"HTTP/1.1 {answer.status_code} Status\r\nContent-Type: {kind}\r\nConnection: close\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    ).encode()


def _whole(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d Status\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (
        status,
        len(body),
        body,
    )


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "FIRST_PROBE", 0.02)
    monkeypatch.setattr(servers, "SLOWEST_PROBE", 0.1)
    monkeypatch.setattr(requests, "RETRIES", Retries(attempts=5, first=0.02))


PROBLEMS = load_problems(Request(dataset="builtin", part="test", limit=2))
OPTIONS: dict[str, Any] = {"samples": 4, "seed": 9, "mode": "marginal", "timeout_first_token": 20}


async def run(
    draft: str, *targets: str, armed: Callable[[], None] = lambda: None, **more: Any
) -> tuple[RunState, list[ev.AnyEvent]]:
    given = Given(draft=draft, target=targets, **{**OPTIONS, **more})
    async with open_session(load(given, {}), {}) as session:
        bus = Bus()
        subscription = bus.subscribe()
        engine = await session.start(bus, PROBLEMS, command="test")
        armed()
        await engine.run()
    stamps = subscription.drain()
    return RunState().fold(stamps), [stamped.event for stamped in stamps]


def texts(state: RunState) -> list[str]:
    return [sample.text for problem in state.problems for sample in problem.samples]


@pytest.fixture(scope="module")
def before(embedded_pair: tuple[str, str]) -> list[str]:
    """What an undisturbed run writes."""
    return texts(asyncio.run(run(*embedded_pair))[0])


def every(n: int, *faults: Fault) -> Iterable[Fault]:
    """One fault in `n` answers."""
    return chain.from_iterable([*repeat("pass", n - 1), fault] for fault in cycle(faults))


async def test_cuts_refusals_and_lies_change_nothing(
    embedded_pair: tuple[str, str], before: list[str]
) -> None:
    draft, target = embedded_pair
    faults: tuple[Fault, ...] = ("cut", "500", "close", "garbage", "nonsense")
    async with Proxy(target).listening() as proxy:
        state, events = await run(draft, proxy.url, armed=lambda: proxy.spoil(every(4, *faults), once=True))
        assert proxy.spoiled >= len(faults)
    assert (state.samples_failed, texts(state)) == (0, before)
    told = {event.message for event in events if isinstance(event, ev.RequestRetried)}
    for words in ("in the middle of an answer", "status 500", "without an answer", "unusable answer"):
        assert any(words in message for message in told), words
    assert all(message.isprintable() and proxy.url in message for message in told)


async def test_a_storm_of_503_is_sat_out(embedded_pair: tuple[str, str], before: list[str]) -> None:
    draft, target = embedded_pair
    async with Proxy(target).listening() as proxy:
        storm = chain(repeat("503", 40), repeat("pass"))
        state, events = await run(draft, proxy.url, armed=lambda: proxy.spoil(storm))
        assert proxy.spoiled == 40
    assert (state.samples_failed, texts(state)) == (0, before)
    assert max(e.attempt for e in events if isinstance(e, ev.RequestRetried)) > requests.RETRIES.attempts
    assert not any(isinstance(e, ev.ServerLost) for e in events)  # it answers


async def test_a_busy_server_loses_its_samples_to_one_that_has_room(
    embedded_pair: tuple[str, str], before: list[str]
) -> None:
    draft, target = embedded_pair
    async with Proxy(target).listening() as proxy:
        state, events = await run(
            draft, proxy.url, target, armed=lambda: proxy.spoil(repeat("503")), target_concurrency=64
        )
    assert (state.samples_failed, texts(state)) == (0, before)
    assert max(e.attempt for e in events if isinstance(e, ev.RequestRetried)) <= requests.BUSY + 1


async def test_a_server_that_falls_silent_is_lost_within_its_time_out(
    embedded_pair: tuple[str, str], before: list[str]
) -> None:
    """It accepts whatever is sent, as SGLang does without its scheduler or its detokenizer."""
    draft, target = embedded_pair
    async with Proxy(target).listening() as proxy:
        state, events = await run(
            draft,
            proxy.url,
            target,
            armed=lambda: proxy.spoil(repeat("silent")),
            timeout_first_token=1.0,
        )
    assert (state.samples_failed, texts(state)) == (0, before)
    [lost] = [event for event in events if isinstance(event, ev.ServerLost)]
    assert lost.url == proxy.url
    assert "was silent for 1 s" in lost.message


async def test_an_endless_storm_fails_samples_only_after_the_patience(embedded_pair: tuple[str, str]) -> None:
    draft, target = embedded_pair
    async with Proxy(target).listening() as proxy:
        state, _ = await run(draft, proxy.url, armed=lambda: proxy.spoil(repeat("503")), patience=0.2)
    assert state.finished is not None
    assert (state.finished.end, state.samples_failed) == ("failed", 8)
    assert "too busy" in state.finished.message
