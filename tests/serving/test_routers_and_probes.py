"""What stands in front of servers, what a server is asked before a run, and which key it gets."""

import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from atts_core.config import Given, load
from atts_core.engine.session import open_session
from atts_core.errors import SettingsError
from atts_core.servers import health
from atts_core.servers.state import PairState, Server, identify
from atts_core.serving.client import SGLangClient
from atts_core.serving.errors import BadAnswer, KeyRefused, NotSGLang, ServerFailed, ServerTimeout
from atts_core.serving.server_info import ServerInfo, behind_router, read_server, router_workers, together
from atts_core.serving.timeouts import Timeouts


def said(body: Any) -> bytes:
    return json.dumps(body).encode()


def server(
    release: str = "0.5.23", url: str = "http://w:1", path: str = "/m/tiny", **about: Any
) -> ServerInfo:
    flags = {"version": release, "model_path": path, "enable_deterministic_inference": True}
    return read_server(
        role="target",
        url=url,
        server=said({**flags, "max_req_input_len": 506, **about}),
        model=said({"model_path": path, "is_generation": True}),
        models=None,
    )


# routers


@pytest.fixture
async def another(replay: Any) -> AsyncIterator[Callable[[], Any]]:
    """More servers like `replay`."""
    async with AsyncExitStack() as stack:

        async def start() -> Any:
            more = type(replay)()
            await more.start()
            stack.push_async_callback(more.stop)
            return more

        yield start


def as_router(replay: Any, workers: list[str]) -> None:
    answers = {
        "/get_server_info": {"router_manager": True, "routers_count": 1, "workers_count": len(workers)},
        "/get_model_info": {"model_path": "/m/tiny", "tokenizer_path": "/m/tiny", "is_generation": True},
        "/v1/models": {"object": "list", "data": [{"id": "tiny", "owned_by": "local"}]},
        "/workers": {"workers": [{"url": url, "is_healthy": True} for url in workers]},
    }

    def player(body: Any) -> Any:
        async def play(_: Any, wire: Any) -> None:
            await wire.answer(200, json.dumps(body))

        return play

    for path, body in answers.items():
        replay.routes[f"GET {path}"] = player(body)


async def test_a_routers_workers_say_what_they_are(replay: Any, another: Any) -> None:
    first, second = await another(), await another()
    first.play_server("0.5.23")
    second.play_server("0.5.23")
    as_router(replay, [first.url, second.url])
    client = SGLangClient(replay.url, role="target", api_key="secret")
    info = await client.connect()
    await client.close()
    assert (info.kind, info.release, info.context_length) == ("router", "0.5.23", 2048)
    assert info.features.output_ids
    assert not info.features.abort  # the router has no /abort_request
    assert info.notes == ()
    asked = [request for worker in (first, second) for request in worker.received]
    assert asked
    assert not any("authorization" in request.headers for request in asked)  # a router may name any address


async def test_a_router_whose_workers_cannot_be_asked_says_so(replay: Any, another: Any) -> None:
    one = await another()
    one.play_server("0.5.23")
    as_router(replay, [one.url, "http://127.0.0.1:9"])
    client = SGLangClient(replay.url, role="target")
    info = await client.connect()
    await client.close()
    assert (info.kind, info.release, info.context_length) == ("router", "", None)
    assert "workers of the target router" in info.notes[0]


TOO_MANY = said({"workers": [{"url": f"http://h:{number}"} for number in range(65)]})
NAMELESS = b'{"workers": [{"url": 5}]}'


@pytest.mark.parametrize(
    "body", [None, b"", b"no", b"[]", b'{"workers": 5}', b'{"workers": [5]}', NAMELESS, TOO_MANY]
)
def test_what_is_no_list_of_workers_names_none(body: bytes | None) -> None:
    assert router_workers(body) == []


def test_workers_of_two_releases_give_what_both_can() -> None:
    router = server(url="http://r:1")
    found = behind_router(router, [server("0.5.23"), server("0.4.3.post4")])
    assert found.release == "0.4.3.post4 and 0.5.23"
    assert (found.features.output_ids, found.features.sampling_seed) == (False, False)
    assert behind_router(router, []) is router


# several servers


def test_several_servers_must_be_one_model() -> None:
    same = together([server(url="http://a:1"), server(url="http://b:1", path="/other/folder/tiny")])
    assert same.url == "http://a:1"
    with pytest.raises(SettingsError, match="http://a:1 serves /m/tiny, the one at http://b:1 /m/large"):
        together([server(url="http://a:1"), server(url="http://b:1", path="/m/large")])
    with pytest.raises(SettingsError, match="has a context of 512 tokens, the one at http://b:1 of 300"):
        together([server(url="http://a:1"), server(url="http://b:1", context_length=300)])


# probes


def answering(body: Any, status: int = 200) -> Callable[[Any, Any], Any]:
    async def answer(_: Any, wire: Any) -> None:
        await wire.answer(status, json.dumps(body))

    return answer


def read_as(entries: Any, prompt: int = 3) -> dict[str, Any]:
    meta = {"prompt_tokens": prompt, "completion_tokens": 1, "finish_reason": {"type": "length", "length": 1}}
    return {"text": "x", "meta_info": {**meta, "input_token_logprobs": entries}}


async def test_a_server_tells_how_it_reads_a_text(replay: Any, open_client: Any) -> None:
    client = await open_client()
    replay.on_generate(answering(read_as([[None, 5, None], [-1.0, 6, None], [-2.0, 7, None]])))
    assert await client.read_text("some text") == [5, 6, 7]
    sent = replay.generations[-1].json
    assert (sent["text"], sent["logprob_start_len"]) == ("some text", 0)
    assert sent["sampling_params"]["max_new_tokens"] == 1


@pytest.mark.parametrize("entries", [[], None, [[None, 7, None]]])
async def test_what_drops_the_start_of_scores_is_refused_in_one_sentence(
    replay: Any, open_client: Any, entries: Any
) -> None:
    client = await open_client()
    replay.on_generate(answering(read_as(entries)))
    with pytest.raises(NotSGLang, match=r"drops logprob_start_len, .* use 0\.3\.2 or later, or"):
        await client.read_text("some text")


@pytest.mark.parametrize("body", [{}, {"text": "x"}, read_as("no"), read_as([], prompt=0), [], "x"])
async def test_garbage_is_no_reading(replay: Any, open_client: Any, body: Any) -> None:
    client = await open_client()
    replay.on_generate(answering(body))
    with pytest.raises(BadAnswer):
        await client.read_text("some text")


async def test_a_probe_wants_a_token_and_not_only_an_answer(replay: Any, open_client: Any) -> None:
    client = await open_client(connections=1)
    meta = {"prompt_tokens": 1, "completion_tokens": 1, "finish_reason": {"type": "length", "length": 1}}
    replay.on_generate(answering({"text": "x", "output_ids": [4], "meta_info": meta}))
    async with client._places:  # requests that hang take no place from it
        await client.one_token()
    for status, body, error in ((500, {}, ServerFailed), (200, {"text": "x"}, BadAnswer)):
        replay.on_generate(answering(body, status))
        with pytest.raises(error):
            await client.one_token()

    async def silent(_: Any, wire: Any) -> None:
        await wire.until_closed()

    replay.on_generate(silent)
    with pytest.raises(ServerTimeout):
        await client.one_token(seconds=0.05)


def lasting(url: str) -> PairState:
    """A pair of one server that was started: this process, as far as its number tells."""
    server = Server(
        label="draft",
        role="draft",
        kind="sglang",
        model="m",
        url=url,
        process=identify(os.getpid(), ""),
        began=0.0,
        ready=True,
    )
    return PairState(name="main", preset="", release="", servers=(server,))


async def test_a_server_that_says_yes_and_gives_no_token_is_called_silent(
    replay: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/health_generate of a busy server says yes while its detokenizer is dead."""
    monkeypatch.setattr(health, "PATIENCE", 0.2)
    replay.play_server("0.5.23")
    replay.routes["GET /health_generate"] = answering({})

    async def silent(_: Any, wire: Any) -> None:
        await wire.until_closed()

    replay.on_generate(silent)
    (found,) = await health.pair_health(lasting(replay.url), {})
    assert (found.condition, found.release) == ("silent", "0.5.23")
    replay.on_generate(answering(read_as([[None, 5, None]], prompt=1)))
    (found,) = await health.pair_health(
        lasting(replay.url), {"ATTS_API_KEY": "k", "ATTS_DRAFT_API_KEY": "own"}
    )
    assert (found.condition, found.words) == ("answers", "")
    assert replay.generations[-1].headers["authorization"] == "Bearer own"


# keys and certificates


async def test_each_role_gets_its_own_key(replay: Any) -> None:
    async def refuse(_: Any, wire: Any) -> None:
        await wire.answer(401, '{"error":"Unauthorized"}')

    replay.routes["GET /get_server_info"] = refuse
    layers = load(Given(draft=replay.url, target=replay.url), {})
    for environment, key in (
        ({"ATTS_API_KEY": "common"}, "common"),
        ({"ATTS_API_KEY": "common", "ATTS_DRAFT_API_KEY": "own"}, "own"),
    ):
        with pytest.raises(KeyRefused, match="draft server") as caught:
            async with open_session(layers, environment):
                pass
        assert replay.received[-1].headers["authorization"] == f"Bearer {key}"
        assert key not in str(caught.value)
        assert caught.value.exit_status == 2


async def test_a_private_certificate_is_trusted_where_the_environment_names_it(
    replay_tls: Any, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    replay_tls.play_server("0.5.23")
    async with SGLangClient(
        replay_tls.url, role="draft", timeouts=Timeouts(connect=20, control=20)
    ) as client:
        assert client.info.release == "0.5.23"
