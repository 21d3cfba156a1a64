"""A real HTTP server on loopback that answers what a test tells it, byte by byte."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from atts_core.serving.client import SGLangClient
from atts_core.serving.timeouts import Timeouts

RECORDED = Path(__file__).parent / "recorded"
CERTIFICATE = Path(__file__).parent / "tls" / "localhost.pem"
PATIENT = Timeouts(connect=20, first_token=20, between_tokens=20, total=20, control=20)
RELEASES = ("0.4.3.post4", "0.4.10.post2", "0.5.23")


@dataclass
class Received:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    """Counts the sockets from 0."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """What a test may do to one client's socket."""

    def __init__(self, writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> None:
        self.writer = writer
        self.reader = reader

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self, status: int = 200, kind: str = "application/json", *lines: str) -> None:
        extra = "".join(f"{line}\r\n" for line in lines)
        await self.send(f"HTTP/1.1 {status} Status\r\nContent-Type: {kind}\r\n{extra}\r\n".encode())

    async def answer(self, status: int, body: bytes | str, kind: str = "application/json") -> None:
        body = body.encode() if isinstance(body, str) else body
        await self.head(status, kind, f"Content-Length: {len(body)}")
        await self.send(body)

    async def start_stream(self) -> None:
        await self.head(200, "text/event-stream; charset=utf-8", "Transfer-Encoding: chunked")

    async def chunk(self, data: bytes | str) -> None:
        data = data.encode() if isinstance(data, str) else data
        await self.send(b"%x\r\n%s\r\n" % (len(data), data))

    async def event(self, body: Any) -> None:
        await self.chunk(f"data: {body if isinstance(body, str) else json.dumps(body)}\n\n")

    async def end_stream(self) -> None:
        await self.event("[DONE]")
        await self.send(b"0\r\n\r\n")

    def cut(self) -> None:
        self.writer.transport.abort()

    async def until_closed(self) -> None:
        """Waits until the client has closed its side."""
        while await self.reader.read(65536):
            pass


Handler = Callable[[Received, Wire], Awaitable[None]]


@dataclass
class ReplayServer:
    """`routes` maps "METHOD /path" to what answers it; anything else is a 404 as SGLang sends it."""

    routes: dict[str, Handler] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    url: str = ""
    connections: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://localhost:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def play(self, release: str, *names: str) -> None:
        """Answers with vendored recordings; several for one route in turn, the last for ever."""
        by_route: dict[str, list[dict[str, Any]]] = {}
        for name in names:
            exchange = recorded(release, name)
            by_route.setdefault(f"{exchange['request']['method']} {exchange['request']['path']}", []).append(
                exchange["response"]
            )
        for route, responses in by_route.items():
            self.routes[route] = _player(responses)

    def play_server(self, release: str) -> None:
        """Answers what a client asks at the start."""
        self.play(release, "server_info", "model_info", "models")

    def on_generate(self, handler: Handler) -> None:
        self.routes["POST /generate"] = handler

    @property
    def generations(self) -> list[Received]:
        return [request for request in self.received if request.path == "/generate"]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        number = self.connections
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, path, _ = head[0].split(" ")
                headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                request = Received(method, path, headers, body, number)
                self.received.append(request)
                handler = self.routes.get(f"{method} {path}", _unknown)
                await handler(request, Wire(writer, reader))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client left, or the test is over
        finally:
            self._tasks.discard(task)
            writer.close()


async def _unknown(_: Received, wire: Wire) -> None:
    await wire.answer(404, '{"detail":"Not Found"}')


def _player(responses: list[dict[str, Any]]) -> Handler:
    queue = list(responses)

    async def handler(_: Received, wire: Wire) -> None:
        response = queue.pop(0) if len(queue) > 1 else queue[0]
        if "event-stream" in response["content_type"]:
            await wire.start_stream()
            for piece in response["pieces"]:
                await wire.chunk(piece)
            await wire.send(b"0\r\n\r\n")
        else:
            await wire.answer(response["status"], "".join(response["pieces"]), response["content_type"])

    return handler


def recorded(release: str, name: str) -> dict[str, Any]:
    """One vendored exchange."""
    found: dict[str, Any] = json.loads((RECORDED / release / f"{name}.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture
async def replay() -> AsyncIterator[ReplayServer]:
    server = ReplayServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def replay_tls() -> AsyncIterator[ReplayServer]:
    """The same behind TLS, with a certificate for localhost that nobody trusts by default."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, CERTIFICATE.with_name("localhost.key"))
    server = ReplayServer()
    await server.start(context)
    yield server
    await server.stop()


@pytest.fixture
def certificate() -> Path:
    return CERTIFICATE


@pytest.fixture(name="recorded")
def recorded_fixture() -> Callable[[str, str], dict[str, Any]]:
    return recorded


@pytest.fixture
def releases() -> tuple[str, ...]:
    return RELEASES


@pytest.fixture(params=RELEASES)
def release(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def open_client(replay: Any) -> AsyncIterator[Callable[..., Any]]:
    async with contextlib.AsyncExitStack() as stack:

        async def opened(release: str = "0.5.23", **options: Any) -> SGLangClient:
            replay.play_server(release)
            client = SGLangClient(replay.url, **{"role": "target", "timeouts": PATIENT, **options})
            stack.push_async_callback(client.close)
            await client.connect()
            client.use_vocabulary(437)
            return client

        yield opened
