"""The client of one SGLang server, 0.4.3.post4 or later, of a router, or of the embedded pair.

It sends nothing that was not checked (`requests`), believes nothing that was not checked (`answers`), and
raises nothing but `errors.ServerError` and `SettingsError`.
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from types import TracebackType
from typing import Final, Self, cast

import httpx2
import msgspec

from atts_core.errors import SettingsError
from atts_core.events import Role
from atts_core.serving.address import server_headers, server_url
from atts_core.serving.answers import (
    EventSplitter,
    GenerateUpdate,
    Generation,
    StepScore,
    StreamReader,
    generation,
    step_score,
    text_ids,
)
from atts_core.serving.connection import Patience
from atts_core.serving.errors import BadAnswer, NotSGLang, ServerError, StreamCut
from atts_core.serving.exchange import Exchange
from atts_core.serving.failures import aborted, refusal, stream_refusal
from atts_core.serving.requests import Checker, GenerateRequest, Sampling, new_rid
from atts_core.serving.server_info import ServerInfo, behind_router, read_server, router_workers
from atts_core.serving.timeouts import Timeouts

LARGEST_ANSWER: Final = 64 << 20
"""Bytes of an answer that is not streamed. Scoring 131,072 tokens is about 5 MB."""

CONTROL_CONNECTIONS: Final = 4
"""Sockets beyond the concurrency, so that health, metrics and aborts never wait behind generations."""

_DRAIN_SECONDS: Final = 1.0
"""How long the end of a finished stream may take before its connection is given up instead of kept."""

_WORKER_SECONDS: Final = 3.0
"""How long a router's worker may take to say what it is: it may not be reachable from here at all."""


class SGLangClient:
    """One server. Use it as a context, or call `connect` and `close`.

    `connections` is the number of generations and scorings in flight; more wait their turn. `api_key` is
    sent as `Authorization: Bearer`. `tls` is for https URLs (default: the system's certificates). Proxies of
    the environment are not used. A failed request is the caller's to repeat, as the engine does and shows.
    """

    def __init__(
        self,
        url: str,
        *,
        role: Role,
        connections: int = 64,
        timeouts: Timeouts | None = None,
        api_key: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Raises `SettingsError` on a URL or key that cannot be one."""
        base = server_url(url, role)
        self.role: Role = role
        self.timeouts = timeouts or Timeouts()
        self._info: ServerInfo | None = None
        self._checker: Checker | None = None
        self._vocab_size: int | None = None
        self._places = asyncio.Semaphore(connections)
        self._aborted: set[str] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._exchange = Exchange(
            base,
            server_headers(api_key, role),
            role=role,
            connections=connections + CONTROL_CONNECTIONS,
            tls=tls,
            largest=LARGEST_ANSWER,
        )
        self.url = self._exchange.url

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes every connection; requests under way end in an error, and the server stops on them."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._exchange.close()

    # the server itself

    @property
    def info(self) -> ServerInfo:
        """What `connect` found. Raises `RuntimeError` before."""
        if self._info is None:
            raise RuntimeError("connect() comes first")
        return self._info

    async def connect(self) -> ServerInfo:
        """Finds out what the server is. Sends no generation.

        Raises:
            ServerUnreachable, ServerTimeout: nothing answers. KeyRefused: it wants another key.
            NotSGLang: something else answers. SettingsError: a router's servers are not one model. Each ends
            the command with status 2: nothing has begun.
        """
        try:
            server = await self._about("/get_server_info", "/server_info")
            model = await self._about("/get_model_info", "/model_info")
            models = await self._about("/v1/models")
            info = read_server(role=self.role, url=self.url, server=server, model=model, models=models)
            if info.kind == "router":
                info = behind_router(info, await self._workers())
        except BadAnswer as error:
            raise NotSGLang(
                f"what answers at {self.url} is not an SGLang server ({error}): give the address of the "
                f"{self.role} server with --{self.role}",
                role=self.role,
                url=self.url,
            ) from error
        except ServerError as error:
            error.exit_status = SettingsError.exit_status
            raise
        self._info = info
        self.use_vocabulary(info.vocab_size)
        return info

    async def _workers(self) -> list[ServerInfo]:
        """What a router's workers say of themselves; empty where not all of them can be asked from here.

        They are asked without our key: a router may name any address.
        """
        urls = router_workers(await self._about("/workers"))
        asking = msgspec.structs.replace(self.timeouts, connect=_WORKER_SECONDS, control=_WORKER_SECONDS)
        found = []
        for url in urls:
            try:
                worker = SGLangClient(url, role=self.role, connections=1, timeouts=asking)
                try:
                    found.append(await worker.connect())
                finally:
                    await worker.close()
            except (ServerError, SettingsError):
                return []
        return found

    def use_vocabulary(self, size: int | None) -> None:
        """Tells the size of the tokenizer's vocabulary, in tokens; call it after `connect`.

        SGLang servers do not tell theirs and die of an id outside it, so nothing is sent before one is known.
        """
        known = [n for n in (size, self.info.vocab_size) if n is not None]
        self._vocab_size = min(known, default=None)
        bounds = msgspec.structs.replace(self.info.bounds, vocab_size=self._vocab_size)
        self._checker = Checker(bounds, role=self.role, url=self.url)

    def _ready(self) -> tuple[Checker, int]:
        """The checker, and the size of the vocabulary (0 where unknown: the checker lets nothing pass)."""
        if self._checker is None:
            raise RuntimeError("connect() comes first")
        return self._checker, self._vocab_size or 0

    async def _about(self, *paths: str) -> bytes | None:
        """The body of the first path that answers 200; None where all are unknown."""
        for path in paths:
            status, body = await self._control("GET", path)
            if status == 200:
                return body
            if status not in (404, 405):
                raise refusal(status, body, role=self.role, url=self.url)
        return None

    async def _control(
        self, method: str, path: str, *, content: bytes = b"", seconds: float | None = None
    ) -> tuple[int, bytes]:
        """Status and body of a request that asks the server about itself, or tells it something."""
        limit = self.timeouts.control if seconds is None else seconds
        patience = Patience(connect=self.timeouts.connect, first=limit, between=limit, total=limit)
        response, body = await self._exchange.answered(method, path, content, patience)
        return response.status_code, body

    async def _asked(self, content: bytes, silence: float) -> bytes:
        """The answer to one small request, which does not wait until other requests leave it a place."""
        limits = self.timeouts
        patience = Patience(
            connect=limits.connect, first=silence, between=limits.between_tokens, total=limits.total
        )
        response, body = await self._exchange.answered("POST", "/generate", content, patience)
        if response.status_code != 200:
            raise refusal(response.status_code, body, role=self.role, url=self.url)
        return body

    async def works(self, seconds: float = 25.0) -> bool:
        """GET /health_generate: whether it generates a token. It takes a second at least.

        /health is of no use: a server whose scheduler died still says yes.
        """
        try:
            status, _ = await self._control("GET", "/health_generate", seconds=seconds)
        except ServerError:
            return False
        return status == 200

    async def one_token(self, seconds: float = 25.0) -> None:
        """Lets the server generate one token, which takes all of its processes.

        /health says yes while the scheduler is dead, and /health_generate, as long as the scheduler is busy,
        while the detokenizer is. Raises as `generate` does.
        """
        checker, vocab_size = self._ready()
        request = GenerateRequest(input_ids=[0], sampling=Sampling(max_new_tokens=1, temperature=0.0))
        body = await self._asked(checker.generation(request, stream=False, rid=new_rid()), seconds)
        with self._exchange.checked():
            generation(body, prompt_tokens=1, vocab_size=vocab_size, want_logprobs=False)

    async def read_text(self, text: str) -> list[int]:
        """The ids by which the server reads a text, special tokens that it puts before it included.

        Raises:
            NotSGLang: a router or proxy before it drops what scoring needs. Else as `generate` does.
        """
        checker, _ = self._ready()
        body = await self._asked(checker.reading(text, rid=new_rid()), self.timeouts.first_token)
        with self._exchange.checked():
            ids = text_ids(body)
        if ids is None:
            raise NotSGLang(
                f"what is in front of the {self.role} server at {self.url} drops logprob_start_len, as "
                "sglang-router before 0.3.2 does: use 0.3.2 or later, or give the URLs of its workers",
                role=self.role,
                url=self.url,
            )
        return ids

    async def page(self, path: str) -> str | None:
        """GET of what the server tells of itself, such as /metrics; None where it has no such path."""
        status, body = await self._control("GET", path)
        if status == 200:
            return body.decode("utf-8", "replace")
        if status == 404:
            return None
        raise refusal(status, body, role=self.role, url=self.url)

    async def abort(self, rid: str) -> None:
        """Stops a request of ours. Its stream ends with a `finish` of type `abort`.

        Where the server has no /abort_request (0.4.3) this does nothing: leave the stream instead, which
        closes its connection.
        """
        if rid and self.info.features.abort:
            self._aborted.add(rid)
            await self._control("POST", "/abort_request", content=msgspec.json.encode({"rid": rid}))

    # generating and scoring

    async def generate(self, request: GenerateRequest) -> AsyncIterator[GenerateUpdate]:
        """Streams what the model writes; the last update, and only it, has `finish`.

        Leaving the iteration early, or cancelling it, closes the connection and so frees the server.

        Raises:
            InvalidRequest: it was not sent (`ContextFull`: it does not fit). RequestRefused, ServerBusy,
            ServerFailed, ServerUnreachable, ServerTimeout, StreamCut, BadAnswer: see there.
        """
        async with self._places, contextlib.aclosing(self._stream(request)) as updates:
            async for update in updates:
                yield update

    async def complete(self, request: GenerateRequest) -> Generation:
        """The same without streaming: the whole answer at once. Raises as `generate` does."""
        rid = request.rid or new_rid()
        checker, vocab_size = self._ready()
        body = await self._post(checker.generation(request, stream=False, rid=rid), self.timeouts.total)
        with self._exchange.checked():
            whole = generation(
                body,
                prompt_tokens=len(request.input_ids),
                vocab_size=vocab_size,
                want_logprobs=request.logprobs,
            )
        if whole.finish.type == "abort" and rid not in self._aborted:
            raise aborted(whole.finish, role=self.role, url=self.url)
        self._aborted.discard(rid)
        return whole

    async def score(self, prefix_ids: Sequence[int], step_ids: Sequence[int]) -> StepScore:
        """Log-probabilities of exactly the tokens of a step, shape (len(step_ids),), from one prefill.

        Raises as `generate` does.
        """
        checker, vocab_size = self._ready()
        content = checker.scoring(prefix_ids, step_ids, rid=new_rid())
        began = time.perf_counter()
        # one prefill and one token: a dead scheduler is noticed as soon as in a stream
        body = await self._post(content, self.timeouts.first_token)
        seconds = time.perf_counter() - began
        with self._exchange.checked():
            return step_score(body, prefix_ids, step_ids, vocab_size=vocab_size, seconds=seconds)

    async def _stream(self, request: GenerateRequest) -> AsyncGenerator[GenerateUpdate, None]:
        rid = request.rid or new_rid()
        checker, vocab_size = self._ready()
        content = checker.generation(request, stream=True, rid=rid)
        limits = self.timeouts
        patience = Patience(
            connect=limits.connect,
            first=limits.first_token,
            between=limits.between_tokens,
            total=limits.total,
        )
        features = self.info.features
        reader = StreamReader(
            prompt_tokens=len(request.input_ids),
            vocab_size=vocab_size,
            want_logprobs=request.logprobs,
            incremental_text=features.incremental_text,
            incremental_ids=features.incremental_ids,
        )
        ended = False
        try:
            with self._exchange.named(patience), self._exchange.checked():
                async with self._exchange.sent("POST", "/generate", content, patience) as response:
                    if response.status_code != 200:
                        raise refusal(
                            response.status_code,
                            await self._exchange.whole(response),
                            role=self.role,
                            url=self.url,
                        )
                    # past httpx2's counting of bytes, which a token would pay for
                    chunks = aiter(cast("httpx2.AsyncByteStream", response.stream))
                    async for update in self._updates(chunks, reader, rid):
                        yield update
                    ended = True
                    with contextlib.suppress(TimeoutError, httpx2.TransportError):
                        async with asyncio.timeout(_DRAIN_SECONDS):
                            async for _ in chunks:
                                pass
        finally:
            if not ended:
                self._let_go(rid)

    async def _updates(
        self, chunks: AsyncIterator[bytes], reader: StreamReader, rid: str
    ) -> AsyncIterator[GenerateUpdate]:
        """Updates up to the end of the stream, which is complete only with a finish reason and [DONE]."""
        splitter = EventSplitter()
        skips = not self.info.features.incremental_text and not self.info.features.incremental_ids
        last: GenerateUpdate | None = None
        async for chunk in chunks:
            events = splitter.feed(chunk)
            if not events:
                continue
            done = events[-1] == b"[DONE]"
            if done:
                events.pop()
            if skips:
                del events[:-1]  # each event repeats the ones before it
            for event in events:
                update = reader.update(event)
                if not isinstance(update, GenerateUpdate):
                    raise stream_refusal(update, role=self.role, url=self.url)
                if update.finish is not None:
                    last = update
                elif update.ids or update.text or update.retracted:
                    yield update
            if done:
                break
        else:
            raise StreamCut(f"{self._exchange.it()} cut a stream short", role=self.role, url=self.url)
        if last is None or last.finish is None:
            raise StreamCut(
                f"{self._exchange.it()} ended a stream without a reason", role=self.role, url=self.url
            )
        if last.finish.type == "abort" and rid not in self._aborted:
            raise aborted(last.finish, role=self.role, url=self.url)
        self._aborted.discard(rid)
        yield last

    def _let_go(self, rid: str) -> None:
        """Tells the server at once that nobody waits any more; the closed connection tells it within 2 s."""
        if not self.info.features.abort or self._exchange.closed:
            return

        async def tell() -> None:
            with contextlib.suppress(ServerError):
                await self.abort(rid)
            self._aborted.discard(rid)

        task = asyncio.get_running_loop().create_task(tell())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _post(self, content: bytes, silence: float) -> bytes:
        """The whole answer to a request that may stay silent for `silence` seconds."""
        async with self._places:
            return await self._asked(content, silence)
