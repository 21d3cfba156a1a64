"""HTTP/1.1 connections to a server, as a transport of httpx2 that is cheap for every streamed token.

httpx2's own transport costs 72 µs of CPU for each small chunk of a stream (64 streams, measured in
`tests/benchmarks/bench_client.py`), more than the whole engine's budget of 60 µs. This one reads straight
from the event loop's protocol callbacks. Heads are written and parsed by h11; only the framing of the body
(length, chunks, until close) is done here. No proxies, no HTTP/2, no redirects, no compression.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Final, cast

import h11
import httpx2

from atts_core.serving.errors import TimeoutKind

_HIGH_WATER: Final = 1 << 20
"""Bytes that wait for a slow reader before the socket is no longer read."""

_HEX: Final = b"0123456789abcdefABCDEF"

_LANDING: Final = 64 << 10
"""Bytes read from a socket at once."""

_LARGEST_HEAD: Final = 64 << 10
"""Bytes of a response's head; larger ones are refused."""

IDLE_SECONDS: Final = 4.0
"""Idle connections older than this are not used again: uvicorn, under SGLang, closes them after 5 s."""


class Patience:
    """How long one request may wait; tells afterwards what ran out. Seconds.

    `first` runs until the first byte of the body, `between` from byte to byte after it, `total` from sending
    to the end. Given to the transport as the request's extension `patience`.
    """

    __slots__ = ("between", "connect", "first", "ran_out", "total")

    def __init__(self, *, connect: float, first: float, between: float, total: float) -> None:
        self.connect = connect
        self.first = first
        self.between = between
        self.total = total
        self.ran_out: TimeoutKind | None = None


class Unanswered(httpx2.ReadError):
    """The server closed the connection before a byte of its answer. `reused`: the connection had served an
    earlier request, so the server probably closed it as idle at the same moment."""

    def __init__(self, message: str, *, reused: bool) -> None:
        super().__init__(message)
        self.reused = reused


class _Framing:
    """Cuts a response's body out of a connection's bytes. `take` raises ValueError on bad framing."""

    __slots__ = ("_in_chunk", "_left", "_mode", "done")

    def __init__(self, method: bytes, response: h11.Response) -> None:
        self._left = 0
        self._in_chunk = False
        self.done = False
        length = transfer = None
        for name, value in response.headers:
            if name == b"content-length":
                length = value
            elif name == b"transfer-encoding":
                transfer = value
        if method == b"HEAD" or response.status_code in (204, 304):
            self._mode, self.done = "length", True
        elif transfer is not None:
            self._mode = "chunked"  # h11 lets no other coding pass
        elif length is not None:
            self._mode, self._left = "length", int(length)
            self.done = self._left == 0
        else:
            self._mode = "close"

    @property
    def until_close(self) -> bool:
        return self._mode == "close"

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """The body bytes at the front of `data`, and what is left of it for later."""
        if self._mode == "chunked":
            return self._take_chunks(data)
        if self._mode == "close":
            return data, b""
        out, rest = data[: self._left], data[self._left :]
        self._left -= len(out)
        self.done = self._left == 0
        return out, rest

    def _take_chunks(self, data: bytes) -> tuple[bytes, bytes]:
        pieces = []
        at, size = 0, len(data)
        while at < size:
            if self._left:
                end = min(at + self._left, size)
                pieces.append(data[at:end])
                self._left -= end - at
                at = end
            elif self._in_chunk:
                if size - at < 2:
                    break
                if data[at : at + 2] != b"\r\n":
                    raise ValueError("a chunk does not end where it said")
                at += 2
                self._in_chunk = False
            else:
                end = data.find(b"\r\n", at, at + 256)
                if end < 0:
                    if size - at >= 256:
                        raise ValueError("a chunk has no size")
                    break
                digits = data[at:end].partition(b";")[0].strip()
                if not 0 < len(digits) < 16 or digits.strip(_HEX):
                    raise ValueError("a chunk's size is not a number")
                self._left = int(digits, 16)
                if self._left == 0:
                    stop = data.find(b"\r\n\r\n", end)  # past trailers, should there be any
                    if stop < 0:
                        if size - end > _LARGEST_HEAD:
                            raise ValueError("endless trailers")
                        break
                    at = stop + 4
                    self.done = True
                    break
                self._in_chunk = True
                at = end + 2
        return pieces[0] if len(pieces) == 1 else b"".join(pieces), data[at:]


class _Connection(asyncio.BufferedProtocol):
    """One socket; serves one request at a time.

    `landing` is where the event loop writes what arrived; it is emptied before the loop does anything else,
    so all connections of a transport share it. (A plain `Protocol` would allocate 256 KiB for every read.)
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, landing: memoryview) -> None:
        self._loop = loop
        self._landing = landing
        self._transport: asyncio.Transport | None = None
        self.data = b""
        """What arrived and was not yet taken. Bytes, because an event is usually one read and one chunk."""
        self._waiter: asyncio.Future[None] | None = None
        self._full: asyncio.Future[None] | None = None
        self._ended = False
        self._paused = False
        self._patience: Patience | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._silent_since = 0.0
        self._answered = False
        self._in_body = False
        self._served = 0
        self._idle_since = 0.0

    # what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # the event loop's interface
        return self._landing

    def buffer_updated(self, nbytes: int) -> None:
        self.data += self._landing[:nbytes]
        if len(self.data) > _HIGH_WATER and not self._paused and self._transport is not None:
            self._transport.pause_reading()
            self._paused = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # the event loop's interface
        self._ended = True
        self._wake()

    def pause_writing(self) -> None:
        self._full = self._loop.create_future()

    def resume_writing(self) -> None:
        self._wake()

    def _wake(self) -> None:
        for future in (self._waiter, self._full):
            if future is not None and not future.done():
                future.set_result(None)

    # what a request does

    @property
    def usable(self) -> bool:
        fresh = self._loop.time() - self._idle_since < IDLE_SECONDS
        return fresh and not self._ended and not self.data

    def abort(self) -> None:
        """Closes at once, whatever is under way: in 0.4.3 this alone stops a request."""
        self._stop_timer()
        self._ended = True
        if self._transport is not None:
            self._transport.abort()

    async def exchange(self, request: httpx2.Request, body: bytes, patience: Patience) -> "_Body":
        """Sends a request and reads the answer's head."""
        assert self._transport is not None  # noqa: S101  # set before create_connection returns
        now = self._loop.time()
        self._patience, self._deadline, self._silent_since = patience, now + patience.total, now
        self._answered = self._in_body = False
        self._arm()
        machine = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LARGEST_HEAD)
        method = request.method.encode("ascii")
        out = machine.send(
            h11.Request(method=method, target=request.url.raw_path, headers=list(request.headers.raw))
        )
        self._transport.write((out or b"") + body)
        if self._full is not None:
            await self._full
            self._full = None
        head = await self._head(machine)
        self._served += 1
        return _Body(self, head, _Framing(method, head))

    async def _head(self, machine: h11.Connection) -> h11.Response:
        while True:
            end = self.data.find(b"\r\n\r\n")
            if end < 0:
                if len(self.data) > _LARGEST_HEAD:
                    raise h11.RemoteProtocolError("its head is too large")
                await self.more()
                continue
            machine.receive_data(self.data[: end + 4])
            self.data = self.data[end + 4 :]
            self._answered = True
            event = machine.next_event()
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                raise h11.RemoteProtocolError("its head ends too early")

    async def more(self) -> None:
        """Waits for more bytes. Raises `httpx2.ReadError` where none will come, or patience ran out."""
        if not self._ended:
            if self._paused and self._transport is not None:
                self._transport.resume_reading()
                self._paused = False
            seen = len(self.data)
            self._silent_since = self._loop.time()
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
            if len(self.data) > seen:
                return
        if not self._answered:
            raise Unanswered("the connection was closed without an answer", reused=self._served > 0)
        raise httpx2.ReadError("the connection was closed in the middle of an answer")

    @property
    def out_of_patience(self) -> bool:
        """Whether we closed it ourselves, because it took too long."""
        return self._patience is not None and self._patience.ran_out is not None

    def body_began(self) -> None:
        """From the first byte of the body on, the silence between bytes counts."""
        if not self._in_body:
            self._in_body = True
            self._arm()

    # One timer a request, not one a wait: a token costs a reading of the clock, not two heap operations.

    def _arm(self) -> None:
        self._stop_timer()
        if self._patience is not None:
            limit = self._patience.between if self._in_body else self._patience.first
            self._timer = self._loop.call_at(min(self._silent_since + limit, self._deadline), self._tick)

    def _tick(self) -> None:
        patience, now = self._patience, self._loop.time()
        if patience is None:
            return
        if self._waiter is None and self._full is None:
            self._silent_since = now  # our own reader is busy: the server is not the silent one
        limit = patience.between if self._in_body else patience.first
        if now >= self._deadline:
            patience.ran_out = "total"
        elif now >= self._silent_since + limit:
            patience.ran_out = "between tokens" if self._in_body else "first token"
        else:
            self._arm()
            return
        self.abort()
        self._wake()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def finish(self) -> bool:
        """Ends a request whose answer was read whole; True where the connection can serve another."""
        self._stop_timer()
        self._patience = None
        self._idle_since = self._loop.time()
        return not self._ended and not self.data


_GiveBack = Callable[[_Connection, bool], None]


class _Body(httpx2.AsyncByteStream):
    """The body of one answer. Closing it before its end closes the connection."""

    def __init__(self, connection: _Connection, head: h11.Response, framing: _Framing) -> None:
        self.head = head
        self._connection = connection
        self._framing = framing
        self.give_back: _GiveBack | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        connection, framing = self._connection, self._framing
        while True:
            try:
                piece, connection.data = framing.take(connection.data)
            except ValueError as error:
                raise httpx2.RemoteProtocolError(f"bad framing of the answer: {error}") from None
            if piece:
                connection.body_began()
                yield piece
            if framing.done:
                return
            if not connection.data or not piece:
                try:
                    await connection.more()
                except httpx2.ReadError:
                    if framing.until_close and not connection.out_of_patience:
                        return
                    raise

    async def aclose(self) -> None:
        give_back, self.give_back = self.give_back, None
        if give_back is not None:
            whole = self._framing.done and not self._framing.until_close and self._connection.finish()
            closing = (b"connection", b"close") in ((n, v.lower()) for n, v in self.head.headers)
            give_back(self._connection, whole and not closing)


class DirectTransport(httpx2.AsyncBaseTransport):
    """A keep-alive pool of at most `connections` sockets to one server."""

    def __init__(self, *, connections: int, tls: ssl.SSLContext | None) -> None:
        self._slots = asyncio.Semaphore(connections)
        self._tls = tls
        self._idle: list[_Connection] = []
        self._busy: set[_Connection] = set()
        self._landing = memoryview(bytearray(_LANDING))
        self._closed = False

    @property
    def sockets(self) -> tuple[int, int]:
        """How many are in use and how many idle."""
        return len(self._busy), len(self._idle)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        patience: Patience = request.extensions["patience"]
        sent = await request.aread()
        await self._slots.acquire()
        connection: _Connection | None = None
        try:
            connection = self._reuse() or await self._connect(request.url, patience)
            self._busy.add(connection)
            body = await connection.exchange(request, sent, patience)
        except BaseException as error:
            if connection is None:
                self._slots.release()
            else:
                self._give_back(connection, keep=False)
            if isinstance(error, h11.ProtocolError | ValueError):
                raise httpx2.RemoteProtocolError(f"not an HTTP answer: {error}") from error
            raise
        body.give_back = self._give_back
        return httpx2.Response(body.head.status_code, headers=list(body.head.headers), stream=body)

    def _reuse(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            connection.abort()
        return None

    async def _connect(self, url: httpx2.URL, patience: Patience) -> _Connection:
        loop = asyncio.get_running_loop()
        secure = url.scheme == "https"
        try:
            async with asyncio.timeout(patience.connect):
                _, connection = await loop.create_connection(
                    lambda: _Connection(loop, self._landing),
                    url.host,
                    url.port or (443 if secure else 80),
                    ssl=self._tls if secure else None,
                    happy_eyeballs_delay=0.25,
                )
        except TimeoutError as error:
            patience.ran_out = "connect"
            raise httpx2.ConnectTimeout("no connection in time") from error
        except (OSError, UnicodeError) as error:
            raise httpx2.ConnectError(str(error)) from error
        return connection

    def _give_back(self, connection: _Connection, keep: bool) -> None:
        self._busy.discard(connection)
        if keep and not self._closed:
            self._idle.append(connection)
        else:
            connection.abort()
        self._slots.release()

    async def aclose(self) -> None:
        self._closed = True
        for connection in [*self._idle, *self._busy]:
            connection.abort()
        self._idle.clear()
