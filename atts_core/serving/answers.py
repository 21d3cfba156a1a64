"""What servers answer to POST /generate, decoded into typed records and checked before use.

Streams are cumulative: every event repeats the whole text and all ids (0.4.x: all log-probabilities) so far.
Only the last complete event of a read is decoded, and of a list only what is new, so that a stream of n
tokens costs about n here although it is n² bytes on the wire.
"""

import math
from collections.abc import Sequence
from typing import Final, Generic, TypeVar

import msgspec

LARGEST_EVENT: Final = 16 << 20
"""Bytes of one streamed event. 32,768 tokens with log-probabilities are about 1.5 MB in 0.4.3."""

SLIGHTLY_POSITIVE: Final = 1e-3
"""A log-probability up to this above 0 is rounding (of the log of a float32 softmax) and read as 0."""


class Finish(msgspec.Struct, frozen=True):
    """Why a generation ended: `length` (token limit), `stop` (`matched` is the stop string, or the id of the
    end-of-text or stop token) or `abort`. Any other `type` is a newer server's own."""

    type: str
    matched: str | int | None = None
    message: str | None = None
    status_code: int | str | None = None


class StreamedError(msgspec.Struct, frozen=True):
    """The `error` of a streamed event: `message` alone in 0.4.x, with `code` and `retryable` in 0.5.x."""

    message: str = ""
    code: int | str | None = None
    retryable: bool | None = None


class GenerateUpdate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is new in a stream: append `ids`; cut `retracted` characters and append `text`."""

    ids: list[int]
    """New token ids, shape (new tokens,)."""
    text: str
    """New text. May be empty while ids arrive: servers hold back incomplete characters."""
    retracted: int = 0
    """Characters to cut from the end of the text so far, before `text` is appended: a stop string began.

    0.4.10 takes nothing back: the beginning of a stop string that it sent stays, as all of it does with
    `no_stop_trim`."""
    logprobs: list[float] | None = None
    """Log-probabilities of `ids` at the sampling temperature, where asked for; shape (new tokens,)."""
    completion_tokens: int
    """All new tokens so far."""
    prompt_tokens: int
    cached_tokens: int = 0
    """Prompt tokens that the server had in its prefix cache."""
    finish: Finish | None = None
    """Set on the last update, and only there."""


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer."""

    ids: list[int]
    """Shape (completion_tokens,)."""
    text: str
    logprobs: list[float] | None
    """Shape (completion_tokens,), where they were asked for."""
    completion_tokens: int
    prompt_tokens: int
    cached_tokens: int
    finish: Finish


class StepScore(msgspec.Struct, frozen=True, kw_only=True):
    """Log-probabilities of exactly a step's tokens after its prefix, at temperature 1."""

    logprobs: tuple[float, ...]
    """Natural logarithms, each at most 0; shape (len(step_ids),)."""
    prompt_tokens: int
    """Length of prefix and step together."""
    cached_tokens: int
    """Tokens of it that the server had in its prefix cache."""
    seconds: float
    """From sending to the whole answer, the last attempt's."""


class Unusable(Exception):  # noqa: N818  # never leaves the client, which names role and URL in a BadAnswer
    """An answer that cannot be used; says why."""


T = TypeVar("T")

_TokenLogprob = tuple[float | None, int, str | None]


class _Meta(msgspec.Struct, gc=False):
    prompt_tokens: int = -1
    completion_tokens: int = -1
    cached_tokens: int | None = 0
    finish_reason: Finish | None = None
    input_token_logprobs: list[_TokenLogprob] | None = None
    output_token_logprobs: msgspec.Raw = msgspec.Raw()


class _Answer(msgspec.Struct, gc=False):
    text: str | None = None
    output_ids: msgspec.Raw = msgspec.Raw()
    meta_info: _Meta | None = None
    error: StreamedError | str | None = None


_answer = msgspec.json.Decoder(_Answer)
_ids = msgspec.json.Decoder(list[int])
_logprobs = msgspec.json.Decoder(list[_TokenLogprob])


def _decode(body: bytes) -> _Answer:
    try:
        return _answer.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unusable(f"not the JSON of an answer ({error})") from None


def _present(raw: msgspec.Raw) -> bytes:
    """The raw list, or nothing where it is absent or null."""
    data = bytes(raw)
    return b"" if data == b"null" else data


def checked_logprob(value: float | None) -> float:
    """A log-probability fit for arithmetic. Raises `Unusable` on null, NaN, infinities and positive ones."""
    if value is None or not math.isfinite(value):
        raise Unusable(f"a log-probability is {value}")
    if value > SLIGHTLY_POSITIVE:
        raise Unusable(f"a log-probability is positive ({value:g})")
    return min(value, 0.0)


class _Growing(Generic[T]):
    """A JSON list that is sent again and again with more at its end; gives only what is new.

    With `pieces` every list holds new elements only.
    """

    __slots__ = ("_decoder", "_pieces", "_seen", "count")

    def __init__(self, decoder: msgspec.json.Decoder[list[T]], *, pieces: bool) -> None:
        self._decoder = decoder
        self._pieces = pieces
        self._seen = b"["
        self.count = 0

    def new(self, raw: bytes) -> list[T]:
        """The elements after those already given.

        The bytes seen before are not decoded again where the list begins with them. A list that begins
        otherwise is decoded whole and must hold the same elements. Raises `Unusable` where it does not, or is
        no list of the right kind.
        """
        at = len(self._seen)
        try:
            if raw.startswith(self._seen) and (self.count == 0 or raw[at : at + 1] in (b",", b"]")):
                fresh = self._decoder.decode(b"[" + raw[at:].removeprefix(b","))
            else:
                whole = self._decoder.decode(raw)
                if self.count and whole[: self.count] != self._decoder.decode(self._seen + b"]"):
                    raise Unusable("tokens that had been sent are changed or gone")
                fresh = whole[self.count :]
        except msgspec.MsgspecError as error:
            raise Unusable(f"a list of tokens is not what it should be ({error})") from None
        if not self._pieces:
            self._seen = raw[:-1]
            self.count += len(fresh)
        return fresh


class StreamReader:
    """Turns the events of one stream into updates. Feed it bodies of events; it never blocks.

    `prompt_tokens` is the length of the prompt that was sent: a server that counts differently tokenised
    something else. `incremental_text` and `incremental_ids` are the server's features of these names.
    """

    __slots__ = (
        "_completed",
        "_ids",
        "_incremental_text",
        "_logprobs",
        "_prompt",
        "_text",
        "_vocab",
        "_want_logprobs",
        "finish",
    )

    def __init__(
        self,
        *,
        prompt_tokens: int,
        vocab_size: int,
        want_logprobs: bool,
        incremental_text: bool = False,
        incremental_ids: bool = False,
    ) -> None:
        self._prompt = prompt_tokens
        self._vocab = vocab_size
        self._want_logprobs = want_logprobs
        self._incremental_text = incremental_text
        self._ids = _Growing(_ids, pieces=incremental_text or incremental_ids)
        self._logprobs = _Growing(_logprobs, pieces=incremental_text)
        self._text = ""
        self._completed = 0
        self.finish: Finish | None = None

    def update(self, event: bytes) -> GenerateUpdate | StreamedError | str:
        """What an event adds, or the error it carries. Raises `Unusable`."""
        answer = _decode(event)
        if answer.error is not None:
            return answer.error
        meta = answer.meta_info
        if meta is None:
            raise Unusable("an event without meta_info")
        if meta.finish_reason is not None and meta.finish_reason.type == "abort":
            return self._aborted(meta.finish_reason)
        _check_prompt(meta.prompt_tokens, self._prompt)
        if meta.completion_tokens < self._completed:
            raise Unusable("the count of new tokens went down")
        ids, logprobs = self._tokens(answer, meta)
        counted = meta.completion_tokens - self._completed
        if len(ids) != counted:
            raise Unusable(f"{len(ids)} token ids where {counted} new tokens were counted")
        self._completed = meta.completion_tokens
        self.finish = meta.finish_reason
        text, retracted = self._text_change(answer.text or "")
        return GenerateUpdate(
            ids=ids,
            text=text,
            retracted=retracted,
            logprobs=logprobs,
            completion_tokens=meta.completion_tokens,
            prompt_tokens=meta.prompt_tokens,
            cached_tokens=meta.cached_tokens or 0,
            finish=meta.finish_reason,
        )

    def _aborted(self, finish: Finish) -> GenerateUpdate:
        """An aborted request ends where it stood: releases differ in what its last event still holds."""
        self.finish = finish
        return GenerateUpdate(
            ids=[],
            text="",
            completion_tokens=self._completed,
            prompt_tokens=self._prompt,
            finish=finish,
        )

    def _tokens(self, answer: _Answer, meta: _Meta) -> tuple[list[int], list[float] | None]:
        own = _present(answer.output_ids)
        listed = _present(meta.output_token_logprobs)
        logprobs: list[float] | None = None
        ids: list[int] = []
        if listed and (self._want_logprobs or not own):
            entries = self._logprobs.new(listed)
            ids = [entry[1] for entry in entries]
            if self._want_logprobs:
                logprobs = [checked_logprob(entry[0]) for entry in entries]
        elif self._want_logprobs and meta.completion_tokens > self._completed:
            raise Unusable("log-probabilities were asked for and are missing")
        if own:
            ids = self._ids.new(own)
            if logprobs is not None and len(logprobs) != len(ids):
                raise Unusable(f"{len(logprobs)} log-probabilities for {len(ids)} tokens")
        if ids and (min(ids) < 0 or max(ids) >= self._vocab):
            raise Unusable(f"a token id outside the vocabulary of {self._vocab}")
        return ids, logprobs

    def _text_change(self, text: str) -> tuple[str, int]:
        if self._incremental_text:
            return text, 0
        before, self._text = self._text, text
        if text.startswith(before):
            return text[len(before) :], 0
        kept = shared_prefix(before, text)
        return text[kept:], len(before) - kept


def shared_prefix(a: str, b: str) -> int:
    """Length of the longest common beginning."""
    if a.startswith(b):
        return len(b)
    for at, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return at
    return min(len(a), len(b))


def generation(body: bytes, *, prompt_tokens: int, vocab_size: int, want_logprobs: bool) -> Generation:
    """A whole answer of a request that was not streamed. Raises `Unusable`."""
    reader = StreamReader(prompt_tokens=prompt_tokens, vocab_size=vocab_size, want_logprobs=want_logprobs)
    update = reader.update(body)
    if not isinstance(update, GenerateUpdate) or update.finish is None:
        raise Unusable("an answer without an end")
    return Generation(
        ids=update.ids,
        text=update.text,
        logprobs=update.logprobs,
        completion_tokens=update.completion_tokens,
        prompt_tokens=update.prompt_tokens,
        cached_tokens=update.cached_tokens,
        finish=update.finish,
    )


def step_score(
    body: bytes, prefix_ids: Sequence[int], step_ids: Sequence[int], *, vocab_size: int, seconds: float
) -> StepScore:
    """The log-probabilities of a step out of the answer to `Checker.scoring`. Raises `Unusable`.

    The first entry belongs to the last token of the prefix and is null in every release. The last id of the
    vocabulary is reported as 0 with the right value (measured on all three releases), so it may be 0 here.
    """
    meta = _decode(body).meta_info
    if meta is None:
        raise Unusable("an answer without meta_info")
    _check_prompt(meta.prompt_tokens, len(prefix_ids) + len(step_ids))
    entries = meta.input_token_logprobs
    if entries is None:
        raise Unusable("input_token_logprobs is missing (sglang-router 0.1.9 drops the request for it)")
    if len(entries) != len(step_ids) + 1:
        raise Unusable(f"{len(entries) - 1} log-probabilities for a step of {len(step_ids)} tokens")
    if entries[0][0] is not None:
        raise Unusable("the first log-probability is not null, so the others may belong to other tokens")
    last = vocab_size - 1
    for (_, reported, _), wanted in zip(entries[1:], step_ids, strict=True):
        if reported != wanted and not (wanted == last and reported == 0):
            raise Unusable(f"a log-probability of token {reported} where token {wanted} was sent")
    return StepScore(
        logprobs=tuple(checked_logprob(entry[0]) for entry in entries[1:]),
        prompt_tokens=meta.prompt_tokens,
        cached_tokens=meta.cached_tokens or 0,
        seconds=seconds,
    )


def text_ids(body: bytes) -> list[int] | None:
    """The ids out of the answer to `Checker.reading`, shape (prompt tokens,); None where they were left out.

    The last id of the vocabulary is reported as 0, see `step_score`. Raises `Unusable`.
    """
    meta = _decode(body).meta_info
    if meta is None or meta.prompt_tokens < 1:
        raise Unusable("an answer without meta_info")
    entries = meta.input_token_logprobs or []
    return [entry[1] for entry in entries] if len(entries) == meta.prompt_tokens else None


def _check_prompt(counted: int, sent: int) -> None:
    if counted != sent:
        raise Unusable(f"the server counted {counted} prompt tokens where {sent} were sent")


class EventSplitter:
    """Cuts server-sent events out of the bytes of a stream.

    `feed` returns the bodies of the complete events. Raises `Unusable` where an event is larger than
    `LARGEST_EVENT`.
    """

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        if self._rest:
            data = self._rest + data
        elif data.startswith(b"data: ") and data.find(b"\n") == len(data) - 2 and data.endswith(b"\n\n"):
            return [data[6:-2]]  # one whole event, by far the most frequent
        if b"\r" in data:  # JSON escapes its own, so these are line ends
            data = data.replace(b"\r\n", b"\n")
        *whole, self._rest = data.split(b"\n\n")
        if len(self._rest) > LARGEST_EVENT:
            raise Unusable(f"an event of more than {LARGEST_EVENT >> 20} MiB")
        bodies = []
        for event in whole:
            if event.startswith(b"data: ") and b"\n" not in event:
                bodies.append(event[6:])
            elif event:
                lines = [line[5:].lstrip(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
                if lines:
                    bodies.append(b"\n".join(lines))
        return bodies
