"""Exchanges with one server over HTTP, each within its time-outs; every failure becomes one typed error."""

import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator

import httpx2

from atts_core.serving.answers import Unusable
from atts_core.serving.connection import DirectTransport, Patience, Unanswered
from atts_core.serving.errors import BadAnswer, Side
from atts_core.serving.failures import transport_error


class Exchange:
    """The way to one server. It knows of paths and bodies, and nothing of what they mean."""

    def __init__(
        self,
        base: httpx2.URL,
        headers: dict[str, str],
        *,
        role: Side,
        connections: int,
        tls: ssl.SSLContext | None,
        largest: int,
    ) -> None:
        """At most so many sockets, and `largest` bytes an answer that is not streamed."""
        self.role: Side = role
        self.largest = largest
        self.url = str(base.copy_with(userinfo=b"")).rstrip("/")
        if base.scheme == "https" and tls is None:
            tls = httpx2.create_ssl_context()
        self.transport = DirectTransport(connections=connections, tls=tls)
        self._http = httpx2.AsyncClient(
            base_url=base,
            transport=self.transport,
            headers=headers,
            trust_env=False,
            follow_redirects=False,
        )

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._http.is_closed

    async def close(self) -> None:
        """Closes every connection; exchanges under way end in an error."""
        await self._http.aclose()

    async def answered(
        self, method: str, path: str, content: bytes, patience: Patience
    ) -> tuple[httpx2.Response, bytes]:
        """The response to one request, and its whole body."""
        with self.named(patience):
            async with self.sent(method, path, content, patience) as response:
                return response, await self.whole(response)

    @contextlib.asynccontextmanager
    async def sent(
        self, method: str, path: str, content: bytes, patience: Patience
    ) -> AsyncIterator[httpx2.Response]:
        """The response to one request, its body not yet read; closed at the end."""
        request = self._http.build_request(
            method,
            path,
            content=content or None,
            headers={"Content-Type": "application/json"} if content else None,
            extensions={"patience": patience},
        )
        try:
            response = await self._http.send(request, stream=True)
        except Unanswered as error:
            # A kept connection that its server had closed meanwhile: the request was never read.
            if not error.reused or patience.ran_out is not None:
                raise
            response = await self._http.send(request, stream=True)
        try:
            yield response
        finally:
            await response.aclose()

    async def whole(self, response: httpx2.Response) -> bytes:
        """The whole body, read."""
        pieces, size = [], 0
        async for piece in response.aiter_raw():
            size += len(piece)
            if size > self.largest:
                raise self.bad(f"its answer is larger than {self.largest >> 20} MiB")
            pieces.append(piece)
        return b"".join(pieces)

    @contextlib.contextmanager
    def named(self, patience: Patience) -> Iterator[None]:
        """A broken or too slow exchange becomes a `ServerError`."""
        try:
            yield
        except httpx2.HTTPError as error:
            raise transport_error(error, patience, role=self.role, url=self.url) from error

    @contextlib.contextmanager
    def checked(self) -> Iterator[None]:
        """An answer that cannot be used becomes a `BadAnswer`."""
        try:
            yield
        except Unusable as error:
            raise self.bad(str(error)) from None

    def it(self) -> str:
        """The server, in words."""
        return f"the {self.role} server at {self.url}"

    def bad(self, what: str) -> BadAnswer:
        """The error of an unusable answer."""
        return BadAnswer(f"{self.it()} gave an unusable answer: {what}", role=self.role, url=self.url)
