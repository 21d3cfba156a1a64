"""The client against a real loopback server that cuts, stalls, lies and sends garbage."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from atts_core.serving import client as serving_client
from atts_core.serving.answers import GenerateUpdate
from atts_core.serving.client import SGLangClient
from atts_core.serving.errors import (
    BadAnswer,
    RequestRefused,
    ServerError,
    ServerFailed,
    ServerTimeout,
    StreamCut,
)
from atts_core.serving.requests import GenerateRequest, Sampling
from atts_core.serving.timeouts import Timeouts

PROMPT = [0, 278, 297, 300, 298, 302, 295, 269, 303, 301, 18]


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


# streams that break


async def broken(replay: Any, open_client: Any, play: Callable[[Any], Any], **options: Any) -> ServerError:
    async def handler(_: Any, wire: Any) -> None:
        await play(wire)

    replay.on_generate(handler)
    client = await open_client(**options)
    with pytest.raises(ServerError) as caught:
        await collect(client.generate(request()))
    assert type(caught.value) is not ServerError
    assert client._exchange.transport.sockets[0] == 0  # no socket is left behind
    return caught.value


async def test_a_stream_cut_between_events(replay: Any, open_client: Any) -> None:
    async def play(wire: Any) -> None:
        await wire.start_stream()
        await wire.event(event([1]))
        wire.cut()

    assert isinstance(await broken(replay, open_client, play), StreamCut)


async def test_a_stream_cut_inside_an_event(replay: Any, open_client: Any) -> None:
    async def play(wire: Any) -> None:
        await wire.start_stream()
        await wire.send(b'40\r\ndata: {"te')
        wire.cut()

    assert isinstance(await broken(replay, open_client, play), StreamCut)


async def test_a_stream_that_ends_without_done(replay: Any, open_client: Any) -> None:
    async def play(wire: Any) -> None:
        await wire.start_stream()
        await wire.event(event([1, 2], LENGTH))
        await wire.send(b"0\r\n\r\n")

    error = await broken(replay, open_client, play)
    assert isinstance(error, StreamCut)
    assert error.retryable


async def test_a_stream_that_is_done_without_a_reason(replay: Any, open_client: Any) -> None:
    async def play(wire: Any) -> None:
        await wire.start_stream()
        await wire.event(event([1]))
        await wire.end_stream()

    assert isinstance(await broken(replay, open_client, play), StreamCut)


async def test_a_stream_without_any_event(replay: Any, open_client: Any) -> None:
    async def play(wire: Any) -> None:  # what 0.4.3 does with an unknown parameter
        await wire.start_stream()
        wire.cut()

    assert isinstance(await broken(replay, open_client, play), StreamCut)


async def test_a_connection_closed_without_an_answer(replay: Any, open_client: Any) -> None:
    async def play(wire: Any) -> None:
        wire.cut()

    error = await broken(replay, open_client, play)
    assert isinstance(error, ServerFailed)
    assert "without an answer" in str(error)


@pytest.mark.parametrize(
    "garbage",
    [
        b"5\r\nhello\r\n",
        b"zz\r\n",
        b"-5\r\nhello\r\n",
        b"5\r\nhelloxx",
        b'10\r\ndata: {"text":5}\r\n',
        b"10\r\ndata: not json\n\n\r\n",
        b"x" * 300,
    ],
)
async def test_garbage_in_a_stream(replay: Any, open_client: Any, garbage: bytes) -> None:
    async def play(wire: Any) -> None:
        await wire.start_stream()
        await wire.send(garbage)
        await wire.send(b"0\r\n\r\n")
        wire.writer.close()

    error = await broken(replay, open_client, play)
    assert isinstance(error, BadAnswer | StreamCut)


async def test_garbage_instead_of_a_head(replay: Any, open_client: Any) -> None:
    async def play(wire: Any) -> None:
        await wire.send(b"HTTP/1.1 twohundred\r\n\r\n")

    assert isinstance(await broken(replay, open_client, play), BadAnswer)


async def test_an_encoding_that_is_not_ours(replay: Any, open_client: Any) -> None:
    async def play(wire: Any) -> None:
        await wire.head(200, "text/event-stream", "Transfer-Encoding: gzip, chunked")

    assert isinstance(await broken(replay, open_client, play), BadAnswer)


async def test_an_endless_head(replay: Any, open_client: Any) -> None:
    async def play(wire: Any) -> None:
        await wire.send(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000)
        await wire.until_closed()

    assert isinstance(await broken(replay, open_client, play), BadAnswer)


async def test_a_huge_answer(replay: Any, open_client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(_: Any, wire: Any) -> None:
        await wire.answer(200, "x" * 60_000)

    replay.on_generate(answer)
    monkeypatch.setattr(serving_client, "LARGEST_ANSWER", 50_000)
    client = await open_client()
    with pytest.raises(BadAnswer, match="larger than"):
        await client.complete(request())


async def test_control_characters_of_a_server_do_not_reach_the_message(replay: Any, open_client: Any) -> None:
    async def answer(_: Any, wire: Any) -> None:
        await wire.answer(400, json.dumps({"error": {"message": "\x1b[2J\r\n" + "a" * 5000}}))

    replay.on_generate(answer)
    client = await open_client()
    with pytest.raises(RequestRefused) as caught:
        await client.complete(request())
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


async def test_an_abort_that_nobody_asked_for(replay: Any, open_client: Any) -> None:
    async def play(wire: Any) -> None:
        await wire.start_stream()
        await wire.event(event([1, 2], {"type": "abort", "message": "out of memory", "status_code": 500}))
        await wire.end_stream()

    error = await broken(replay, open_client, play)
    assert isinstance(error, ServerFailed)
    assert "out of memory" in str(error)

    async def play_refusal(wire: Any) -> None:
        await wire.start_stream()
        await wire.event(event([], {"type": "abort", "message": "too long", "status_code": 400}))
        await wire.end_stream()

    assert isinstance(await broken(replay, open_client, play_refusal), RequestRefused)


# time-outs


async def test_silence_before_the_first_token(replay: Any, open_client: Any) -> None:
    async def play(wire: Any) -> None:
        await wire.start_stream()
        await wire.until_closed()

    limits = Timeouts(first_token=0.05)
    error = await broken(replay, open_client, play, timeouts=limits)
    assert isinstance(error, ServerTimeout)
    assert error.kind == "first token"
    assert "was silent for 0.05 s" in str(error)


async def test_silence_between_tokens(replay: Any, open_client: Any) -> None:
    async def play(wire: Any) -> None:
        await wire.start_stream()
        await wire.event(event([1]))
        await wire.until_closed()

    error = await broken(replay, open_client, play, timeouts=Timeouts(between_tokens=0.05))
    assert isinstance(error, ServerTimeout)
    assert error.kind == "between tokens"


async def test_silence_is_no_end_of_an_answer_that_ends_with_its_connection(
    replay: Any, open_client: Any
) -> None:
    async def handler(_: Any, wire: Any) -> None:
        await wire.head(200)
        await wire.send(b'{"text": "half')
        await wire.until_closed()

    replay.on_generate(handler)
    client = await open_client(timeouts=Timeouts(between_tokens=0.1))
    with pytest.raises(ServerTimeout, match=r"stopped sending for 0\.1 s"):
        await client.complete(request())


async def test_an_answer_that_takes_too_long_in_all(replay: Any, open_client: Any) -> None:
    async def play(wire: Any) -> None:
        await wire.start_stream()
        ids: list[int] = []
        with contextlib.suppress(ConnectionError):
            while not wire.writer.transport.is_closing():
                ids.append(1)
                await wire.event(event(ids))

    error = await broken(replay, open_client, play, timeouts=Timeouts(total=0.1))
    assert isinstance(error, ServerTimeout)
    assert error.kind == "total"


async def test_a_scoring_that_is_never_answered(replay: Any, open_client: Any) -> None:
    async def answer(_: Any, wire: Any) -> None:
        await wire.until_closed()

    replay.on_generate(answer)
    client = await open_client(timeouts=Timeouts(first_token=0.05))
    with pytest.raises(ServerTimeout) as caught:
        await client.score([1], [2])
    assert caught.value.kind == "first token"
    client = await open_client(timeouts=Timeouts(total=0.05))
    with pytest.raises(ServerTimeout) as caught:
        await client.complete(request())
    assert caught.value.kind == "total"


async def test_a_connection_that_is_never_made(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", never)
    client = SGLangClient("http://127.0.0.1:9", role="draft", timeouts=Timeouts(connect=0.01))
    with pytest.raises(ServerTimeout, match="could not be reached") as caught:
        await client.connect()
    assert caught.value.kind == "connect"
    assert caught.value.exit_status == 2
