"""A client of one OpenAI-compatible server, for short questions with a short answer of a fixed shape."""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Final

import httpx2
import msgspec

from atts_core.serving.address import server_headers, server_url
from atts_core.serving.connection import Patience
from atts_core.serving.errors import (
    BadAnswer,
    KeyRefused,
    RequestRefused,
    ServerBusy,
    ServerError,
    ServerTimeout,
)
from atts_core.serving.exchange import Exchange
from atts_core.serving.failures import refusal, server_words
from atts_core.serving.retries import Retries

LARGEST_REPLY: Final = 1 << 20
"""Bytes of a response."""
LONGEST_WAIT: Final = 30.0
"""Seconds that a server may ask us to wait before the next attempt."""
CONNECT_SECONDS: Final = 10.0
_PATH = "/chat/completions"


class _Message(msgspec.Struct, frozen=True):
    content: str


class _Choice(msgspec.Struct, frozen=True):
    message: _Message


class _Completion(msgspec.Struct, frozen=True):
    choices: list[_Choice]


_completion = msgspec.json.Decoder(_Completion)


class ChatClient:
    """Asks a judge. Use it as a context, from one event loop.

    `url` is a server (`/v1/chat/completions` is added), a base such as `https://host/v1`
    (`/chat/completions` is), or the whole address. `timeout` is for one attempt, seconds. The key reaches the
    server and nothing else. Proxies of the environment are not used, redirects are not followed.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key: str | None = None,
        connections: int = 8,
        timeout: float = 60.0,
        retries: Retries | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Raises `SettingsError` on a URL or key that cannot be one."""
        given = server_url(url, "judge")
        base = given.copy_with(path=(given.path.rstrip("/") or "/v1").removesuffix(_PATH))
        self._exchange = Exchange(
            base,
            server_headers(api_key, "judge"),
            role="judge",
            connections=connections,
            tls=tls,
            largest=LARGEST_REPLY,
        )
        self.url = self._exchange.url + _PATH
        """Where requests go, without credentials."""
        self.model = model
        self._key = api_key
        self._timeout = timeout
        self._retries = retries or Retries()
        self._shaped = True
        """Whether the server is asked to hold the model to the shape; not all can."""

    async def __aenter__(self) -> "ChatClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exchange.close()

    def without_key(self, text: str) -> str:
        """A text of the server's as it may be recorded: without the key, should it send it back."""
        return text if self._key is None else text.replace(self._key, "(key)")

    async def ask(
        self, messages: Sequence[Mapping[str, str]], *, tokens: int, schema: Mapping[str, Any]
    ) -> str:
        """The model's reply, at temperature 0 and of at most so many tokens; sent again where the server is
        busy, failed, or cannot be reached.

        Raises:
            KeyRefused, RequestRefused: it will not answer. ServerBusy, ServerFailed, ServerUnreachable,
            StreamCut: after the last attempt. ServerTimeout: it took too long. BadAnswer: no chat completion.
        """
        for attempt in range(1, self._retries.attempts + 1):
            try:
                return await self._once(messages, tokens, schema)
            except ServerError as error:
                final = isinstance(error, ServerTimeout | BadAnswer) or not error.retryable
                if final or attempt == self._retries.attempts:
                    raise
                asked = error.wait if isinstance(error, _Later) else 0.0
                await asyncio.sleep(max(self._retries.delay(attempt), asked))
        raise AssertionError("there is at least one attempt")

    async def _once(
        self, messages: Sequence[Mapping[str, str]], tokens: int, schema: Mapping[str, Any]
    ) -> str:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": list(messages),
            "temperature": 0,
            "max_tokens": tokens,
        }
        shaped = self._shaped
        if shaped:
            shape = {"name": "verdict", "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": shape}
        try:
            return await self._posted(msgspec.json.encode(body))
        except RequestRefused as error:
            if not shaped or isinstance(error, KeyRefused):
                raise
        # Perhaps it knows no shapes: the words ask for the same, and the reply is checked anyway.
        del body["response_format"]
        reply = await self._posted(msgspec.json.encode(body))
        self._shaped = False
        return reply

    async def _posted(self, content: bytes) -> str:
        seconds = self._timeout
        patience = Patience(
            connect=min(seconds, CONNECT_SECONDS), first=seconds, between=seconds, total=seconds
        )
        response, body = await self._exchange.answered("POST", _PATH, content, patience)
        if response.status_code != 200:
            raise self._refusal(response, body)
        try:
            return _completion.decode(body).choices[0].message.content
        except (msgspec.MsgspecError, IndexError, RecursionError):
            raise self._exchange.bad("it is no chat completion with a text") from None

    def _refusal(self, response: httpx2.Response, body: bytes) -> ServerError:
        it = self._exchange.it()
        if self._key is not None:
            body = body.replace(self._key.encode(), b"(key)")
        status = response.status_code
        if status == 404:
            said = server_words(body) or "nothing more"
            return RequestRefused(
                f"{it} knows no such path or model as {self.model} (status 404) and says: {said}",
                role="judge",
                url=self.url,
            )
        if status in (401, 403):
            return KeyRefused(
                f"{it} refuses the key (status {status}): put the right one into ATTS_JUDGE_API_KEY",
                role="judge",
                url=self.url,
            )
        error = refusal(status, body, role="judge", url=self.url)
        wait = response.headers.get("retry-after", "")
        if isinstance(error, ServerBusy) and wait.isascii() and wait.isdigit():
            return _Later(str(error), url=self.url, wait=min(float(wait), LONGEST_WAIT))
        return error


class _Later(ServerBusy):
    """Busy, and it says for how long."""

    def __init__(self, message: str, *, url: str, wait: float) -> None:
        super().__init__(message, role="judge", url=url)
        self.wait = wait
