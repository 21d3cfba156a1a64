"""The client against a real loopback server that replays SGLang's bytes, cuts, stalls and lies."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from atts_core.errors import SettingsError
from atts_core.serving import connection as connection_module
from atts_core.serving.answers import GenerateUpdate
from atts_core.serving.client import SGLangClient
from atts_core.serving.errors import (
    KeyRefused,
    NotSGLang,
    RequestRefused,
    ServerBusy,
    ServerFailed,
    ServerUnreachable,
)
from atts_core.serving.requests import GenerateRequest, Sampling
from atts_core.serving.timeouts import Timeouts

PROMPT = [0, 278, 297, 300, 298, 302, 295, 269, 303, 301, 18]
PATIENT = Timeouts(connect=20, first_token=20, between_tokens=20, total=20, control=20)


def request(**sampling: Any) -> GenerateRequest:
    return GenerateRequest(input_ids=PROMPT, sampling=Sampling(**{"max_new_tokens": 24, **sampling}))


async def collect(updates: AsyncIterator[GenerateUpdate]) -> tuple[list[int], str, list[GenerateUpdate]]:
    ids: list[int] = []
    text = ""
    seen = []
    async for update in updates:
        ids += update.ids
        text = text[: len(text) - update.retracted] + update.text
        seen.append(update)
    return ids, text, seen


def event(ids: list[int], finish: Any = None, text: str = "") -> dict[str, Any]:
    meta = {"prompt_tokens": len(PROMPT), "completion_tokens": len(ids), "finish_reason": finish}
    return {"text": text, "output_ids": ids, "meta_info": meta}


LENGTH = {"type": "length", "length": 2}


# recorded answers


async def test_a_server_is_found_out(replay: Any, open_client: Any, release: str) -> None:
    client = await open_client(release)
    info = client.info
    assert (info.kind, info.release, info.model, info.model_path) == (
        "sglang",
        release,
        "tiny",
        "/models/tiny",
    )
    assert (info.context_length, info.max_prompt, info.metrics, info.notes) == (2048, 2042, True, ())
    assert info.features.output_ids is info.features.sampling_seed is (release == "0.5.23")
    assert info.features.abort is (release != "0.4.3.post4")
    assert info.features.seeded is False
    assert replay.generations == []


async def test_a_recorded_stream(replay: Any, open_client: Any, release: str, recorded: Any) -> None:
    client = await open_client(release)
    replay.play(release, "stream")
    ids, text, updates = await collect(client.generate(request(temperature=0.0)))
    last = json.loads(recorded(release, "stream")["response"]["pieces"][-2].removeprefix("data: "))
    assert text == last["text"]
    assert ids[:6] == [105, 110, 300, 121, 14, 65]
    assert len(ids) == 24
    assert [u.finish is not None for u in updates] == [False] * (len(updates) - 1) + [True]
    assert updates[-1].finish.type == "length"


async def test_all_releases_say_the_same(replay: Any, open_client: Any, releases: tuple[str, ...]) -> None:
    found = []
    for release in releases:
        client = await open_client(release)
        replay.play(release, "stream")
        found.append((await collect(client.generate(request(temperature=0.0))))[:2])
    assert found == found[:1] * len(releases)


async def test_text_that_a_stop_string_takes_back(replay: Any, open_client: Any, release: str) -> None:
    client = await open_client(release)
    replay.play(release, "stream_retracts")
    updates = client.generate(request(max_new_tokens=40, temperature=0.0, stop=(" 10V br",)))
    ids, text, seen = await collect(updates)
    assert text.endswith("10V") is (release == "0.4.10.post2")  # which takes nothing back
    assert seen[-1].finish.matched == " 10V br"
    assert seen[-1].completion_tokens == len(ids)


async def test_recorded_log_probabilities_of_a_stream(replay: Any, open_client: Any, release: str) -> None:
    client = await open_client(release)
    replay.play(release, "stream_logprobs")
    wanted = GenerateRequest(
        input_ids=PROMPT, sampling=Sampling(max_new_tokens=8, temperature=0.5), logprobs=True
    )
    _, _, updates = await collect(client.generate(wanted))
    assert all(len(u.logprobs) == len(u.ids) for u in updates)
    assert sum(len(u.ids) for u in updates) == 8


async def test_recorded_scores(replay: Any, open_client: Any, release: str) -> None:
    client = await open_client(release)
    replay.play(release, "score")
    scored = await client.score(PROMPT[:5], PROMPT[5:])
    assert [round(x, 2) for x in scored.logprobs] == [-9.26, -6.17, -5.54, -6.81, -8.38, -10.07]
    assert (scored.prompt_tokens, scored.cached_tokens) == (11, 4)
    replay.play(release, "score_last_id")
    assert len((await client.score(PROMPT, [436, 18, 436, 0])).logprobs) == 4


async def test_a_recorded_whole_answer(replay: Any, open_client: Any, release: str) -> None:
    client = await open_client(release)
    replay.play(release, "whole")
    whole = await client.complete(request(max_new_tokens=6, temperature=0.0))
    assert whole.ids == [105, 110, 300, 121, 14, 65]


@pytest.mark.parametrize(
    "name", ["refuses_too_long", "refuses_wrong_type", "stream_refuses", "refuses_unknown"]
)
async def test_recorded_refusals(replay: Any, open_client: Any, release: str, name: str) -> None:
    client = await open_client(release)
    replay.play(release, name)
    # 0.4.x fails on an unknown parameter instead of refusing it
    fails = name == "refuses_unknown" and release.startswith("0.4")
    kind = ServerFailed if fails else RequestRefused
    with pytest.raises(kind) as caught:
        await collect(client.generate(request()))
    words = {
        "refuses_too_long": "2100",
        "refuses_wrong_type": "input_ids",
        "stream_refuses": "must be at least 0, got -3",
        "refuses_unknown": "Internal Server Error" if kind is ServerFailed else "nonsense",
    }
    assert words[name] in str(caught.value)
    assert caught.value.retryable is (kind is ServerFailed)
    assert (caught.value.role, caught.value.url) == ("target", replay.url)


# what is not a server


async def test_nothing_listens() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    client = SGLangClient(f"http://127.0.0.1:{port}", role="draft")
    with pytest.raises(
        ServerUnreachable, match=rf"nothing listens at http://127.0.0.1:{port}.*--draft"
    ) as caught:
        await client.connect()
    assert caught.value.exit_status == 2
    assert caught.value.retryable
    await client.close()


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        (200, "text/html", "<html>hello</html>"),
        (200, "application/json", "{}"),
        (200, "application/json", '{"version": "1", "model_path": 5}'),
        (200, "application/json", "[1]"),
        (404, "text/html", "no"),
        (405, "text/plain", "no"),
    ],
)
async def test_something_else_answers(replay: Any, status: int, kind: str, body: str) -> None:
    async def answer(_: Any, wire: Any) -> None:
        await wire.answer(status, body, kind)

    for path in ("/get_server_info", "/server_info", "/get_model_info", "/model_info", "/v1/models"):
        replay.routes[f"GET {path}"] = answer
    client = SGLangClient(replay.url, role="draft")
    with pytest.raises(NotSGLang, match="not an SGLang server") as caught:
        await client.connect()
    assert caught.value.exit_status == 2
    await client.close()


async def test_something_that_does_not_speak_http(replay: Any) -> None:
    async def answer(_: Any, wire: Any) -> None:
        await wire.send(b"220 mail.example ESMTP\r\n\r\n")

    replay.routes["GET /get_server_info"] = answer
    client = SGLangClient(replay.url, role="draft", timeouts=PATIENT)
    with pytest.raises(NotSGLang, match="not an SGLang server"):
        await client.connect()
    await client.close()


async def test_a_key_is_sent_and_never_shown(replay: Any, open_client: Any) -> None:
    client = await open_client(api_key="s3cret")
    assert {r.headers.get("authorization") for r in replay.received} == {"Bearer s3cret"}

    async def refuse(_: Any, wire: Any) -> None:
        await wire.answer(401, '{"error":"Unauthorized"}')

    replay.on_generate(refuse)
    with pytest.raises(KeyRefused) as caught:
        await client.complete(request())
    assert "s3cret" not in str(caught.value)
    assert not caught.value.retryable


async def test_credentials_in_the_url_are_sent_and_never_shown(replay: Any) -> None:
    replay.play_server("0.5.23")
    client = SGLangClient(replay.url.replace("//", "//me:s3cret@"), role="draft")
    assert client.url == replay.url
    await client.connect()
    assert replay.received[0].headers["authorization"].startswith("Basic ")
    await client.close()
    with pytest.raises(SettingsError) as caught:
        SGLangClient("ftp://me:s3cret@host", role="draft")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["", "host", "127.0.0.1:30000", "http://", "ftp://h", "http://h/?a=1", "http://[::"]
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(SettingsError, match=r"--draft .*is not the address of a server"):
        SGLangClient(url, role="draft")


@pytest.mark.parametrize("key", ["", "two words", "ü", "a\r\nX: y"])
def test_what_is_no_key(key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        SGLangClient("http://h:1", role="draft", api_key=key)
    assert not key or key not in str(caught.value)


# leaving, stopping, many at once


async def test_leaving_a_stream_closes_its_connection_and_aborts(replay: Any, open_client: Any) -> None:
    closed, aborted = asyncio.Event(), asyncio.Event()

    async def handler(_: Any, wire: Any) -> None:
        await wire.start_stream()
        await wire.event(event([1]))
        await wire.until_closed()
        closed.set()

    async def abort(received: Any, wire: Any) -> None:
        await wire.answer(200, "", "text/plain")
        assert received.json == {"rid": replay.generations[0].json["rid"]}
        aborted.set()

    replay.on_generate(handler)
    replay.routes["POST /abort_request"] = abort
    client = await open_client("0.5.23")
    async with contextlib.aclosing(client.generate(request())) as updates:
        async for update in updates:
            assert update.ids == [1]
            break
    await closed.wait()
    await aborted.wait()


async def test_cancelling_closes_the_connection(replay: Any, open_client: Any) -> None:
    waiting, closed = asyncio.Event(), asyncio.Event()

    async def handler(_: Any, wire: Any) -> None:
        waiting.set()
        await wire.until_closed()
        closed.set()

    replay.on_generate(handler)
    client = await open_client("0.4.3.post4")
    for work in (collect(client.generate(request())), client.score([1], [2])):
        waiting.clear()
        closed.clear()
        task = asyncio.ensure_future(work)
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await closed.wait()
    assert client._exchange.transport.sockets[0] == 0
    assert not [r for r in replay.received if r.path == "/abort_request"]


async def test_an_abort_of_ours_ends_the_stream_without_an_error(replay: Any, open_client: Any) -> None:
    stopped = asyncio.Event()

    async def handler(_: Any, wire: Any) -> None:
        await wire.start_stream()
        await wire.event(event([1]))
        await stopped.wait()
        await wire.event(event([1], {"type": "abort", "message": "Aborted"}))
        await wire.end_stream()

    async def abort(_: Any, wire: Any) -> None:
        await wire.answer(200, "", "text/plain")
        stopped.set()

    replay.on_generate(handler)
    replay.routes["POST /abort_request"] = abort
    client = await open_client("0.5.23")
    finishes = []
    mine = GenerateRequest(input_ids=PROMPT, sampling=Sampling(max_new_tokens=9), rid="mine")
    async for update in client.generate(mine):
        finishes.append(update.finish and update.finish.type)
        if update.finish is None:
            await client.abort("mine")
    assert finishes == [None, "abort"]


@pytest.mark.parametrize("kind", ["generate", "complete", "score"])
async def test_no_more_in_flight_than_connections(replay: Any, open_client: Any, kind: str) -> None:
    running = most = 0
    full, release = asyncio.Event(), asyncio.Event()

    async def handler(received: Any, wire: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            full.set()
        await release.wait()
        running -= 1
        body = event([1, 2], LENGTH)
        body["meta_info"]["input_token_logprobs"] = [[None, 300, None], [-1.0, 18, None]]
        if received.json.get("stream"):
            await wire.start_stream()
            await wire.event(body)
            await wire.end_stream()
        else:
            await wire.answer(200, json.dumps(body))

    async def one(client: SGLangClient) -> None:
        if kind == "generate":
            assert (await collect(client.generate(request())))[0] == [1, 2]
        elif kind == "complete":
            assert (await client.complete(request())).ids == [1, 2]
        else:
            assert (await client.score(PROMPT[:-1], PROMPT[-1:])).logprobs == (-1.0,)

    replay.on_generate(handler)
    client = await open_client(connections=3)
    tasks = [asyncio.ensure_future(one(client)) for _ in range(12)]
    await full.wait()
    for _ in range(3):  # a round trip of its own: whatever else was sent has arrived by then
        await client.page("/health")
    assert most == 3
    release.set()
    await asyncio.gather(*tasks)
    assert most == 3
    assert len({r.json["rid"] for r in replay.generations}) == 12


async def test_connections_are_kept(replay: Any, open_client: Any) -> None:
    client = await open_client()
    replay.play("0.5.23", "stream", "whole")
    await collect(client.generate(request(temperature=0.0)))
    await client.complete(request(max_new_tokens=6, temperature=0.0))
    assert {r.connection for r in replay.received} == {0}


async def test_a_kept_connection_that_the_server_closed_is_not_missed(replay: Any, open_client: Any) -> None:
    async def handler(received: Any, wire: Any) -> None:
        if received.connection == 0:
            wire.cut()  # as a server does that just then gave the idle connection up
        else:
            await wire.answer(200, json.dumps(event([1, 2], LENGTH)))

    replay.on_generate(handler)
    client = await open_client()
    whole = await client.complete(request())
    assert whole.ids == [1, 2]
    assert [r.connection for r in replay.generations] == [0, 1]


async def test_an_answer_that_ends_with_its_connection(replay: Any, open_client: Any) -> None:
    async def handler(_: Any, wire: Any) -> None:
        await wire.head()
        await wire.send(json.dumps(event([1, 2], LENGTH)).encode())
        wire.writer.close()

    replay.on_generate(handler)
    client = await open_client()
    assert (await client.complete(request())).ids == [1, 2]


async def test_many_streams_at_once_whose_reading_is_paused_and_resumed(
    replay: Any, open_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "_HIGH_WATER", 1000)
    text = "x" * 200_000

    async def handler(_: Any, wire: Any) -> None:
        await wire.start_stream()
        for n in range(1, 9):
            await wire.event(event(list(range(n)), text=text[: n * 20_000]))
        await wire.event(event(list(range(9)), LENGTH, text))
        await wire.end_stream()

    replay.on_generate(handler)
    client = await open_client(connections=16)
    found = await asyncio.gather(*(collect(client.generate(request())) for _ in range(16)))
    assert all(ids == list(range(9)) and got == text for ids, got, _ in found)


async def test_events_that_arrive_together_are_one_update(replay: Any, open_client: Any) -> None:
    async def handler(_: Any, wire: Any) -> None:
        await wire.start_stream()
        await wire.chunk("".join(f"data: {json.dumps(event(list(range(n))))}\n\n" for n in (1, 2, 3)))
        await wire.event(event([0, 1, 2, 3], LENGTH))
        await wire.end_stream()

    replay.on_generate(handler)
    client = await open_client()
    ids, _, updates = await collect(client.generate(request()))
    assert ids == [0, 1, 2, 3]
    assert [len(u.ids) for u in updates] in ([3, 1], [4])


async def test_a_failed_request_is_the_callers_to_repeat(replay: Any, open_client: Any) -> None:
    """The engine repeats, and shows it."""

    async def busy(_: Any, wire: Any) -> None:
        await wire.answer(503, '{"object":"error","message":"The request queue is full."}')

    replay.on_generate(busy)
    client = await open_client()
    with pytest.raises(ServerBusy, match="queue is full"):
        await client.complete(request())
    assert len(replay.generations) == 1


# health, metrics, TLS


async def test_health_and_metrics(replay: Any, open_client: Any, release: str) -> None:
    client = await open_client(release)
    assert await client.page("/metrics") is None
    replay.play(release, "metrics")
    assert "sglang:num_running_reqs" in (await client.page("/metrics") or "")

    async def fine(_: Any, wire: Any) -> None:
        await wire.answer(200, "", "text/plain")

    async def ill(_: Any, wire: Any) -> None:
        await wire.answer(503, "", "text/plain")

    replay.routes["GET /health_generate"] = ill
    assert not await client.works()
    replay.routes["GET /health_generate"] = fine
    assert await client.works()


async def test_tls(replay_tls: Any, certificate: Path) -> None:
    replay_tls.play_server("0.5.23")
    async with SGLangClient(
        replay_tls.url, role="draft", tls=ssl.create_default_context(cafile=str(certificate))
    ) as client:
        client.use_vocabulary(437)
        replay_tls.play("0.5.23", "stream")
        ids, _, _ = await collect(client.generate(request(temperature=0.0)))
        assert len(ids) == 24


async def test_a_certificate_that_nobody_trusts(replay_tls: Any) -> None:
    client = SGLangClient(replay_tls.url, role="draft")
    with pytest.raises(ServerUnreachable, match="certificate that is not trusted") as caught:
        await client.connect()
    assert not caught.value.retryable
    await client.close()


async def test_https_to_a_server_without_tls() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = SGLangClient(f"https://127.0.0.1:{port}", role="draft", timeouts=PATIENT)
        with pytest.raises(ServerUnreachable, match="http:// rather than https://"):
            await client.connect()
        await client.close()
