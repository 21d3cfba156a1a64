"""The embedded server's HTTP side: routes, streams, disconnects. The model runs in the batcher's thread."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final
from uuid import uuid4

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from atts_core.embedded import shapes
from atts_core.embedded.api import RequestError, read_chat, read_generate
from atts_core.embedded.batcher import Batcher, DuplicateIdError, QueueFullError
from atts_core.embedded.jobs import Finish, Job, Progress
from atts_core.embedded.loading import LoadedModel
from atts_core.embedded.sampling import SamplingParams

log = logging.getLogger(__name__)

MAX_BODY: Final = 4 * 2**20
HEALTH_TIMEOUT: Final = 20.0
# Tokens that follow a stream's last event more closely than this, in seconds, share the next one: no reader
# sees a difference, and sixteen streams cost a third of what they would.
EVENT_GAP: Final = 0.01


class Refusal(Exception):  # noqa: N818 - it is an answer, not an error of ours
    """A request is refused with this status and body."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


class EmbeddedApp:
    """The routes of one server over one model."""

    def __init__(
        self, loaded: LoadedModel, max_running: int, max_waiting: int, pace: float | None = None
    ) -> None:
        self.loaded = loaded
        self.batcher = Batcher(
            loaded.model,
            loaded.vocabulary,
            max_running=max_running,
            spare_slots=max(1, max_running // 2),
            max_waiting=max_waiting,
            pace=pace,
            notify=self._notify,
        )
        self.address = ("", 0)
        self._max_waiting = max_waiting
        self._started = time.time()
        self._loop: asyncio.AbstractEventLoop | None = None
        routes: list[tuple[str, Callable[[Request], Any], list[str]]] = [
            ("/", self._root, ["GET"]),
            ("/health", self._health, ["GET"]),
            ("/ping", self._health, ["GET"]),
            ("/health_generate", self._health_generate, ["GET"]),
            ("/get_model_info", self._model_info, ["GET"]),
            ("/model_info", self._model_info, ["GET"]),
            ("/get_server_info", self._server_info, ["GET"]),
            ("/server_info", self._server_info, ["GET"]),
            ("/v1/models", self._models, ["GET"]),
            ("/metrics", self._metrics, ["GET"]),
            ("/generate", self._generate, ["POST", "PUT"]),
            ("/v1/chat/completions", self._chat, ["POST"]),
            ("/abort_request", self._abort, ["POST"]),
            ("/flush_cache", self._flush, ["GET", "POST"]),
        ]
        self.asgi = Starlette(
            routes=[Route(path, endpoint, methods=methods) for path, endpoint, methods in routes],
            exception_handlers={
                HTTPException: _http_error,
                Refusal: _refused,
                Exception: _failed,
            },
        )

    def start(self) -> None:
        """Starts the batcher; call it in the event loop that serves the requests."""
        self._loop = asyncio.get_running_loop()
        self.batcher.start()

    # ------------------------------------------------------------------ progress from the batcher's thread

    def _notify(self, jobs: list[Job]) -> None:
        now = time.monotonic()
        due = [job for job in jobs if job.progress.finish or now >= job.due]
        for job in due:
            job.due = now + EVENT_GAP
        if due and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_wake, due)

    def _submit(self, jobs: Sequence[Job], refuse: Callable[[str], Refusal]) -> None:
        if not self.batcher.alive:
            raise Refusal(503, shapes.openai_error("The server is shutting down.", 503, "503"))
        try:
            self.batcher.submit(jobs)
        except QueueFullError:
            raise Refusal(503, shapes.openai_error("The request queue is full.", 503, "503")) from None
        except DuplicateIdError as error:
            raise refuse(f"A request with rid {error} is still in flight.") from None

    async def _finish(self, jobs: Sequence[Job], request: Request, refuse: Callable[[str], Refusal]) -> None:
        """Runs `jobs` to their ends; aborts them when the client goes away."""
        done = asyncio.Event()
        left = {job.rid for job in jobs}

        def on_progress(job: Job) -> None:
            if job.progress.finish:
                left.discard(job.rid)
                if not left:
                    done.set()

        for job in jobs:
            job.on_progress = on_progress
        self._submit(jobs, refuse)
        watcher = self._abort_on_disconnect(jobs, request.receive)
        try:
            await done.wait()
        finally:
            watcher.cancel()
            self.batcher.abort(jobs)
        for job in jobs:
            _raise_failure(job.progress.finish, refuse)

    def _abort_on_disconnect(self, jobs: Sequence[Job], receive: Receive) -> "asyncio.Task[None]":
        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            self.batcher.abort(jobs, "The client disconnected.")

        return asyncio.create_task(watch())

    # ------------------------------------------------------------------ generating

    async def _generate(self, request: Request) -> Any:
        try:
            parsed = read_generate(await _json(request, _generate_refusal), self.loaded)
        except RequestError as error:
            raise _generate_refusal(str(error)) from None
        answers = [
            shapes.GenerateAnswer(
                job,
                self.loaded.vocabulary,
                parsed.text_in_logprobs,
                index if parsed.stream and not parsed.single else None,
            )
            for index, job in enumerate(parsed.jobs)
        ]
        if parsed.stream:
            changes = _Changes(parsed.jobs)
            self._submit(parsed.jobs, _generate_refusal)
            return _EventStream(self, parsed.jobs, _generate_events(answers, changes))
        if parsed.jobs:
            await self._finish(parsed.jobs, request, _generate_refusal)
        rendered = [answer.render(answer.job.progress) for answer in answers]
        return _json_response(rendered[0] if parsed.single else rendered)

    async def _chat(self, request: Request) -> Any:
        try:
            parsed = read_chat(await _json(request, _chat_refusal), self.loaded)
        except RequestError as error:
            raise _chat_refusal(str(error)) from None
        answer = shapes.ChatAnswer(parsed, self.loaded.vocabulary)
        if parsed.stream:
            changes = _Changes(parsed.jobs)
            self._submit(parsed.jobs, _chat_refusal)
            events = _chat_events(answer, parsed.jobs, changes, parsed.include_usage)
            return _EventStream(self, parsed.jobs, events)
        await self._finish(parsed.jobs, request, _chat_refusal)
        return _json_response(answer.whole())

    async def _abort(self, request: Request) -> Response:
        body = await _json(request, _generate_refusal)
        if not isinstance(body, dict) or not (
            isinstance(body.get("rid"), str) or body.get("abort_all") is True
        ):
            raise _generate_refusal('Send {"rid": "..."} or {"abort_all": true}.')
        self.batcher.abort_named(None if body.get("abort_all") is True else body["rid"])
        return Response()

    async def _flush(self, _: Request) -> Response:
        if await asyncio.to_thread(self.batcher.flush):
            return PlainTextResponse("Cache flushed.\n")
        return PlainTextResponse("Requests are running or waiting: nothing was flushed.\n", 400)

    # ------------------------------------------------------------------ about the server

    async def _root(self, _: Request) -> Response:
        return _json_response("The embedded atts server is running")

    async def _health(self, _: Request) -> Response:
        return Response(status_code=200 if self.batcher.alive else 503)

    async def _health_generate(self, request: Request) -> Response:
        """Asks the model itself for a token."""
        params = SamplingParams(max_new_tokens=1, temperature=0.0)
        name = f"health-{uuid4().hex}"
        job = Job(name, name, [self.loaded.tokenizer.bos_id], params, seed=0)
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT):
                await self._finish([job], request, _generate_refusal)
        except TimeoutError:
            return Response(status_code=503)
        return Response()

    async def _model_info(self, _: Request) -> Response:
        return _json_response(shapes.model_info(self.loaded))

    async def _server_info(self, _: Request) -> Response:
        batcher = self.batcher
        return _json_response(
            shapes.server_info(
                self.loaded, *self.address, batcher.max_running, self._max_waiting, batcher.capacity
            )
        )

    async def _models(self, _: Request) -> Response:
        return _json_response(shapes.models(self.loaded, self._started))

    async def _metrics(self, _: Request) -> Response:
        batcher = self.batcher
        page = batcher.metrics.render(
            self.loaded.name, batcher.running, batcher.waiting, batcher.used_tokens, batcher.capacity
        )
        return Response(page, media_type="text/plain; version=0.0.4; charset=utf-8")


# ---------------------------------------------------------------------- streams


def _wake(jobs: list[Job]) -> None:
    for job in jobs:
        if job.on_progress:
            job.on_progress(job)


class _Changes:
    """Progress of some jobs, each stage once; a slow reader skips stages, it queues none.

    A job may be marked again after that stage was read, because the batcher is always a little ahead.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = jobs
        self._left = dict.fromkeys(range(len(jobs)), 0)
        self._changed: dict[int, None] = {}
        self._event = asyncio.Event()
        for index, job in enumerate(jobs):
            job.due = 0.0
            job.on_progress = self._marker(index)

    def _marker(self, index: int) -> Callable[[Job], None]:
        def mark(_: Job) -> None:
            self._changed[index] = None
            self._event.set()

        return mark

    async def stages(self) -> AsyncIterator[tuple[int, Progress]]:
        """Index and progress of each job that gets on, until all have ended."""
        while self._left:
            await self._event.wait()
            self._event.clear()
            changed = list(self._changed)
            self._changed.clear()
            for index in changed:
                progress = self._jobs[index].progress
                read = self._left.get(index)
                if read is None or (read == progress.tokens and not progress.finish):
                    continue
                self._left[index] = progress.tokens
                if progress.finish:
                    del self._left[index]
                yield index, progress


async def _generate_events(
    answers: Sequence[shapes.GenerateAnswer], changes: _Changes
) -> AsyncIterator[bytes]:
    async for index, progress in changes.stages():
        if progress.finish and progress.finish.failed:
            yield shapes.event(shapes.generate_error(str(progress.finish.matched)))
        else:
            yield shapes.event(answers[index].render(progress))
    yield shapes.DONE


async def _chat_events(
    answer: shapes.ChatAnswer, jobs: Sequence[Job], changes: _Changes, include_usage: bool
) -> AsyncIterator[bytes]:
    for index in range(len(jobs)):
        yield shapes.event(answer.opening(index))
    async for index, progress in changes.stages():
        for chunk in answer.deltas(index, progress):
            yield shapes.event(chunk)
    if include_usage:
        yield shapes.event(answer.closing())
    yield shapes.DONE


class _EventStream:
    """An ASGI response of server-sent events; its jobs end when the client goes away."""

    def __init__(self, app: EmbeddedApp, jobs: Sequence[Job], events: AsyncIterator[bytes]) -> None:
        self._app = app
        self._jobs = jobs
        self._events = events

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
        watcher = self._app._abort_on_disconnect(self._jobs, receive)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            async for chunk in self._events:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            watcher.cancel()
            self._app.batcher.abort(self._jobs)


# ---------------------------------------------------------------------- bodies and errors


async def _json(request: Request, refuse: Callable[[str], Refusal]) -> Any:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise Refusal(413, refuse(f"The body has more than {MAX_BODY} bytes.").body)
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise refuse(f"The body is not JSON: {error}.") from None


def _json_response(content: object, status: int = 200) -> Response:
    return Response(shapes.encode(content), status, media_type="application/json")


def _generate_refusal(message: str) -> Refusal:
    return Refusal(400, shapes.generate_error(message))


def _chat_refusal(message: str) -> Refusal:
    return Refusal(400, shapes.openai_error(message, 400, "BadRequestError"))


def _raise_failure(finish: Finish | None, refuse: Callable[[str], Refusal]) -> None:
    if finish and finish.failed:
        raise Refusal(500, refuse(str(finish.matched)).body)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)  # noqa: S101 - registered for nothing else
    return _json_response(error.body, error.status)


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    return _json_response({"detail": error.detail}, error.status_code)


async def _failed(_: Request, error: Exception) -> Response:
    log.error("A request failed.", exc_info=error)
    return _json_response(shapes.generate_error("Internal server error."), 500)
