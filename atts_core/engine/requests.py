"""The requests of one sample: places at the servers, seeds, retries, and the events around them."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from atts_core import events as ev
from atts_core.bus import Bus
from atts_core.config import Settings
from atts_core.conformal.decider import Decider
from atts_core.conformal.drift import DriftMonitor
from atts_core.conformal.pvalues import step_ppl
from atts_core.engine.chain import REPLACEMENT, Written
from atts_core.engine.limits import Place
from atts_core.engine.pair import Pair, Side
from atts_core.engine.seeds import request_seed
from atts_core.engine.servers import Servers
from atts_core.serving.client import SGLangClient
from atts_core.serving.errors import ServerBusy, ServerError
from atts_core.serving.requests import GenerateRequest, Sampling
from atts_core.serving.retries import Retries

T = TypeVar("T")

RETRIES = Retries(attempts=5)
"""Before a request's sample is given up; a busy server (503) is asked for longer."""
BUSY = 3
"""Times a request is told that its server is busy before its sample moves to one that has places to spare."""
VERIFY_FIRST, WRITE_NEXT = 0, 1
"""Priorities at the target: scoring is short and frees a sample, so it goes before writing."""


class SampleStoppedError(Exception):
    """A user stopped this sample."""


class Gate:
    """Holds back new requests while a run is paused, and those of samples that a user stopped for ever."""

    def __init__(self, publish: Callable[[ev.AnyEvent], object]) -> None:
        """`publish` is told of pausing and going on."""
        self.closed = False
        self._publish = publish
        self._stopped: set[tuple[int, int]] = set()
        self._changed = asyncio.Event()

    def close(self) -> None:
        """Pause: let nobody through. Requests under way finish."""
        if not self.closed:
            self.closed = True
            self._publish(ev.RunPaused())

    def open(self) -> None:
        """Let all through again."""
        if self.closed:
            self.closed = False
            self._publish(ev.RunResumed())
            self._notify()

    def stop(self, problem: int, sample: int) -> None:
        """Never let this sample through again."""
        self._stopped.add((problem, sample))
        self._notify()

    def lets_through(self, problem: int, sample: int) -> bool:
        """Whether the sample may send a request now."""
        return not self.closed and (problem, sample) not in self._stopped

    async def wait(self, problem: int, sample: int) -> None:
        """Until the sample may send a request. Raises SampleStoppedError where it never may."""
        while not self.lets_through(problem, sample):
            if (problem, sample) in self._stopped:
                raise SampleStoppedError
            await self._changed.wait()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


@dataclass(slots=True)
class Context:
    """What all samples of a run share."""

    pair: Pair
    settings: Settings
    bus: Bus
    gate: Gate
    servers: Servers
    decider: Decider | None = None
    """None where the strategy does not rank steps against scores."""
    monitor: DriftMonitor | None = None


@dataclass(slots=True)
class Held:
    """A place at one of a model's servers; which one may change when a request is repeated."""

    side: Side
    place: Place

    @property
    def number(self) -> int:
        """Of the server among the side's workers."""
        assert self.place.server is not None  # noqa: S101  # None only while the limiter moves it
        return self.place.server

    @property
    def client(self) -> SGLangClient:
        """Of that server."""
        return self.side.workers[self.number].client


class Requests:
    """The requests of one sample: places, seeds, retries and events around the client."""

    def __init__(self, context: Context, problem: int, problem_id: str, sample: int) -> None:
        self.context = context
        self.problem = problem
        self.problem_id = problem_id
        self.sample = sample

    async def write(
        self, held: Held, prompt: Sequence[int], turn: int, *, attempt: int = 0, most: int | None = None
    ) -> Written:
        """Let a model write its next step, at the place that is held there,
        of at most `most` tokens (None: as the settings say).

        Publishes text as it comes. `attempt`: as of `request_seed`.

        Raises:
            ContextFull: no room is left for even one token.
            ServerError: no attempt succeeded.
        """
        side, settings = held.side, self.context.settings
        stage: ev.Stage = "draft" if side.role == "draft" else "target"
        wanted = most or (settings.draft_tokens if side.role == "draft" else settings.target_tokens)
        stop_ids = _stop_ids(side, settings.stop)
        request = GenerateRequest(
            input_ids=prompt,
            sampling=Sampling(
                max_new_tokens=side.info.room(len(prompt), wanted),
                temperature=settings.temperature,
                top_p=settings.top_p,
                stop_token_ids=stop_ids,
                stop=() if stop_ids else settings.stop,
                no_stop_trim=True,
                seed=request_seed(settings.seed, self.problem_id, self.sample, turn, stage, attempt),
            ),
        )
        streamed = _Streamed()

        async def once() -> Written:
            self._take_back(side.role, turn, streamed)
            return await self._stream(held, request, turn, streamed)

        return await self._persist(held, stage, once)

    async def score(
        self, held: Held, prefix: Sequence[int], step: Sequence[int]
    ) -> tuple[float | None, float]:
        """PPL of `step` after `prefix` under the model, and seconds. None: there is nothing to score."""
        began = time.perf_counter()
        if not step:
            return None, 0.0
        scored = await self._persist(held, "verify", lambda: held.client.score(prefix, step))
        return step_ppl(scored.logprobs), time.perf_counter() - began

    async def ask(self, held: Held, prompt: Sequence[int]) -> tuple[str, float]:
        """The model's likeliest next token, as text, and seconds. Nothing of it is shown."""
        began = time.perf_counter()
        sampling = Sampling(max_new_tokens=held.side.info.room(len(prompt), 1), temperature=0.0)
        request = GenerateRequest(input_ids=prompt, sampling=sampling)
        found = await self._persist(held, "verify", lambda: held.client.complete(request))
        return held.side.tokenizer.decode(found.ids[:1]), time.perf_counter() - began

    @asynccontextmanager
    async def place(self, side: Side, stage: ev.Stage, turn: int) -> AsyncIterator[Held]:
        """A place at one of the model's servers, once the run is not paused. Publishes the wait, if any.

        Raises ServerError where no server of the model has answered for too long.
        """
        gate, at = self.context.gate, (self.problem, self.sample)
        order = (VERIFY_FIRST if stage == "verify" else WRITE_NEXT, self.problem)
        queued = ev.StageQueued(problem=self.problem, sample=self.sample, turn=turn, stage=stage)
        while True:
            await gate.wait(*at)
            async with side.limiter.place(order, lambda: self.publish(queued), at) as place:
                # The run may have been paused, or the sample stopped, while it waited for its place.
                if gate.lets_through(*at):
                    yield Held(side, place)
                    return

    def publish(self, event: ev.AnyEvent) -> None:
        self.context.bus.publish(event)

    async def _stream(
        self, held: Held, request: GenerateRequest, turn: int, streamed: "_Streamed"
    ) -> Written:
        began = time.perf_counter()
        first = math.nan
        ids: list[int] = []
        async for update in held.client.generate(request):
            if not ids and update.ids:
                first = time.perf_counter() - began
            ids += update.ids
            streamed.tokens += len(update.ids)
            streamed.characters += len(update.text) - update.retracted
            self.publish(
                ev.TokensStreamed(
                    problem=self.problem,
                    sample=self.sample,
                    turn=turn,
                    role=held.side.role,
                    text=update.text,
                    tokens=len(update.ids),
                    retracted=update.retracted,
                )
            )
        return _written(held.side, ids, time.perf_counter() - began, first)

    def _take_back(self, role: ev.Role, turn: int, streamed: "_Streamed") -> None:
        """Undo on screen and in the counts what a failed attempt had streamed."""
        if streamed.tokens or streamed.characters:
            self.publish(
                ev.TokensStreamed(
                    problem=self.problem,
                    sample=self.sample,
                    turn=turn,
                    role=role,
                    text="",
                    tokens=-streamed.tokens,
                    retracted=streamed.characters,
                )
            )
            streamed.tokens = streamed.characters = 0

    async def _persist(self, held: Held, stage: ev.Stage, attempt: Callable[[], Awaitable[T]]) -> T:
        """Repeat what may pass: a seeded or greedy request gives what it would have given.

        A request whose server is lost waits for a place at another one; a server that is busy is asked again
        for as long as a lost one would be waited for.
        """
        servers, side = self.context.servers, held.side
        began = time.monotonic()
        number = 0
        while True:
            number += 1
            try:
                result = await attempt()
            except ServerError as error:
                lost = servers.failed(side, held.number, error)
                busy = isinstance(error, ServerBusy)
                waited = time.monotonic() - began
                enough = waited > self.context.settings.patience if busy else number >= RETRIES.attempts
                if enough or not error.retryable:
                    raise
                delay = 0.0 if lost else RETRIES.delay(number)
                self.publish(
                    ev.RequestRetried(
                        problem=self.problem,
                        sample=self.sample,
                        stage=stage,
                        attempt=number + 1,
                        delay=delay,
                        message=str(error),
                    )
                )
                await asyncio.sleep(delay)
                at = (self.problem, self.sample)
                if lost or (busy and number >= BUSY and side.limiter.move(at, held.number)):
                    await side.limiter.change(held.place)
                await self.context.gate.wait(*at)
            else:
                servers.answered(side, held.number)
                return result


@dataclass(slots=True)
class _Streamed:
    """What an attempt has put on screen so far."""

    tokens: int = 0
    characters: int = 0


def _stop_ids(side: Side, stop: Sequence[str]) -> tuple[int, ...]:
    """The stop strings as token ids, where each is exactly one token; else nothing.

    A token id ends a step on the spot and stays in it; a string is looked for in text that may run ahead.
    """
    encoded = [side.tokenizer.encode(text) for text in stop]
    return tuple(ids[0] for ids in encoded) if all(len(ids) == 1 for ids in encoded) else ()


def _written(side: Side, ids: list[int], seconds: float, first: float) -> Written:
    generated = len(ids)
    ended = bool(ids) and ids[-1] in side.tokenizer.eos_ids
    while ids and ids[-1] in side.tokenizer.eos_ids:
        ids.pop()
    text = side.tokenizer.decode(ids)
    # A token limit can cut a character in two; the loose half would reach the other model as a wrong one.
    for _ in range(3):
        if not ids or not text.endswith(REPLACEMENT):
            break
        ids.pop()
        text = side.tokenizer.decode(ids)
    return Written(tuple(ids), text, generated, ended, seconds, first if math.isfinite(first) else seconds)
