"""What may be asked of a server, checked before it leaves.

A shared SGLang server dies of a negative or too large token id and of a negative `logprob_start_len`, hangs
on a repeated request id, and answers an unknown sampling parameter with a 500 (measured on 0.4.3.post4 to
0.5.23). So a request is checked against the server's limits here, and nothing else ever builds a body.
"""

import math
import uuid
from collections.abc import Sequence
from typing import Final

import msgspec

from atts_core.events import Role
from atts_core.serving.errors import ContextFull, InvalidRequest

GREEDY_BELOW: Final = 1e-6
"""SGLang takes a temperature below this as greedy (`_SAMPLING_EPS` of every release)."""

MOST_STOPS: Final = 64
"""Stop strings a request may have; far above need, below every release's own limit."""

LARGEST_SEED: Final = 2**63 - 1
"""SGLang keeps a seed as a signed 64-bit integer."""


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How tokens are drawn. Ranges are those which every release from 0.4.3.post4 to 0.5.23 accepts."""

    max_new_tokens: int
    """At least 1."""
    temperature: float = 1.0
    """0 (greedy) or more."""
    top_p: float = 1.0
    """Above 0, at most 1."""
    top_k: int = -1
    """At least 1, or −1 for the whole vocabulary."""
    min_p: float = 0.0
    """0 to 1."""
    frequency_penalty: float = 0.0
    """−2 to 2."""
    presence_penalty: float = 0.0
    """−2 to 2."""
    repetition_penalty: float = 1.0
    """Above 0, at most 2."""
    min_new_tokens: int = 0
    """0 to `max_new_tokens`."""
    seed: int | None = None
    """Sent as `sampling_seed` where the server knows it (0.5.3 and later), else left out."""
    stop: tuple[str, ...] = ()
    """Non-empty strings. The text is trimmed before a match, the ids and their log-probabilities are not."""
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    skip_special_tokens: bool = True
    no_stop_trim: bool = False

    @property
    def greedy(self) -> bool:
        return self.temperature < GREEDY_BELOW or self.top_k == 1


class GenerateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Ask a model to go on after `input_ids`."""

    input_ids: Sequence[int]
    """The whole prompt as token ids, shape (tokens,); at least one."""
    sampling: Sampling
    logprobs: bool = False
    """Also give the log-probability of every new token (temperature-scaled, as the server samples)."""
    rid: str = ""
    """Identity of the request on the server; must never have been used there. Empty: one is made."""


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What a server can take; see `server_info.ServerInfo.bounds`."""

    vocab_size: int | None
    """Token ids must be below it. None: not known yet, and then nothing may be sent."""
    context_length: int | None
    """Prompt and new tokens together must stay below it. None: unknown, the server checks."""
    max_prompt: int | None
    """Longest prompt in tokens. None: unknown, the server checks."""
    sampling_seed: bool
    """The server knows the parameter `sampling_seed`; elsewhere it would be an error."""
    output_ids: bool
    """Answers hold the new token ids; elsewhere they come only with log-probabilities."""


def new_rid() -> str:
    """An identity that no other request has.

    0.4.3.post4 never answers the first of two equal ones in flight, and begins the text of a later one with
    that of the earlier (seen while recording `tests/serving/recorded`).
    """
    return uuid.uuid4().hex


class _Wire(msgspec.Struct, omit_defaults=True):
    """The body of POST /generate."""

    input_ids: Sequence[int]
    sampling_params: dict[str, object]
    rid: str
    stream: bool = False
    return_logprob: bool = False
    logprob_start_len: int = -1


_encoder = msgspec.json.Encoder()


class Checker:
    """Checks requests against one server's bounds and writes their bodies.

    Every method raises `InvalidRequest` (`ContextFull` where the tokens do not fit) and sends nothing.
    """

    def __init__(self, bounds: Bounds, *, role: Role, url: str) -> None:
        self._bounds = bounds
        self._role: Role = role
        self._url = url

    def generation(self, request: GenerateRequest, *, stream: bool, rid: str) -> bytes:
        """The body of a generation.

        Where the server does not give token ids of its own (before 0.5.2), log-probabilities are asked for as
        well, from the last prompt token on: that is what their ids come with, and it costs no prefix reuse.
        """
        sampling = request.sampling
        self._ids(request.input_ids, "prompt")
        self._room(len(request.input_ids), sampling.max_new_tokens)
        return _encoder.encode(
            _Wire(
                input_ids=_plain(request.input_ids),
                sampling_params=self._parameters(sampling),
                rid=self._rid(rid),
                stream=stream,
                return_logprob=request.logprobs or not self._bounds.output_ids,
            )
        )

    def scoring(self, prefix_ids: Sequence[int], step_ids: Sequence[int], *, rid: str) -> bytes:
        """The body that asks for the log-probabilities of `step_ids` after `prefix_ids`.

        It starts one token early, because the first entry of `input_token_logprobs` is null in every release;
        one greedy token is generated, because 0.4.x generates one whatever is asked.
        """
        if not prefix_ids:
            raise self._bad("a step can only be scored after at least one token; the prefix is empty")
        if not step_ids:
            raise self._bad("an empty step has no log-probabilities")
        self._ids(prefix_ids, "prefix")
        self._ids(step_ids, "step")
        length = len(prefix_ids) + len(step_ids)
        self._room(length, 1)
        return _encoder.encode(
            _Wire(
                input_ids=[*prefix_ids, *step_ids],
                sampling_params={"max_new_tokens": 1, "temperature": 0.0},
                rid=self._rid(rid),
                return_logprob=True,
                logprob_start_len=len(prefix_ids) - 1,
            )
        )

    def reading(self, text: str, *, rid: str) -> bytes:
        """The body that asks by which ids the server reads a text: they come with their log-probabilities."""
        if not text:
            raise self._bad("an empty text has no tokens")
        return _encoder.encode(
            {
                "text": text,
                "sampling_params": {"max_new_tokens": 1, "temperature": 0.0},
                "rid": self._rid(rid),
                "stream": False,
                "return_logprob": True,
                "logprob_start_len": 0,
            }
        )

    def _bad(self, what: str) -> InvalidRequest:
        return InvalidRequest(
            f"a request to the {self._role} server was not sent: {what}", role=self._role, url=self._url
        )

    def _rid(self, rid: str) -> str:
        if not isinstance(rid, str) or not rid or not rid.isascii() or not rid.isprintable():
            raise self._bad("its id must be a non-empty printable ASCII string")
        return rid

    def _ids(self, ids: Sequence[int], what: str) -> None:
        if isinstance(ids, str | bytes) or not len(ids):
            raise self._bad(f"the {what} must be a list of at least one token id")
        # bool is an int to Python and `true` to the server; numpy integers are not ints to JSON
        if set(map(type, ids)) != {int}:
            wrong = next(i for i in ids if type(i) is not int)
            raise self._bad(f"the {what} holds {wrong!r}, which is not a token id")
        vocabulary = self._bounds.vocab_size
        if vocabulary is None:
            raise self._bad("the size of its vocabulary is not known yet (no tokenizer was given)")
        low, high = min(ids), max(ids)
        if low < 0 or high >= vocabulary:
            wrong = low if low < 0 else high
            raise self._bad(
                f"the {what} holds token id {wrong}, outside the vocabulary of {vocabulary}; "
                "is this the model's own tokenizer?"
            )

    def _room(self, prompt: int, new: int) -> None:
        context, longest = self._bounds.context_length, self._bounds.max_prompt
        if context is not None and prompt + new >= context:
            what = f"{prompt} prompt tokens and {new} new ones do not fit its context of {context}"
        elif longest is not None and prompt > longest:
            what = f"{prompt} prompt tokens are more than the {longest} that it takes"
        else:
            return
        raise ContextFull(
            f"a request to the {self._role} server was not sent: {what}", role=self._role, url=self._url
        )

    def _parameters(self, s: Sampling) -> dict[str, object]:
        self._whole("max_new_tokens", s.max_new_tokens, 1, 2**31 - 1)
        self._whole("min_new_tokens", s.min_new_tokens, 0, s.max_new_tokens)
        self._within("temperature", s.temperature, 0.0, 100.0)
        self._within("top_p", s.top_p, 0.0, 1.0, above=True)
        self._within("min_p", s.min_p, 0.0, 1.0)
        self._within("frequency_penalty", s.frequency_penalty, -2.0, 2.0)
        self._within("presence_penalty", s.presence_penalty, -2.0, 2.0)
        self._within("repetition_penalty", s.repetition_penalty, 0.0, 2.0, above=True)
        if s.top_k != -1:
            self._whole("top_k", s.top_k, 1, 2**30)
        if s.seed is not None:
            self._whole("seed", s.seed, 0, LARGEST_SEED)
        if len(s.stop) > MOST_STOPS or any(not isinstance(text, str) or not text for text in s.stop):
            raise self._bad(f"stop strings must be non-empty and at most {MOST_STOPS}")
        if s.stop_token_ids:
            self._ids(s.stop_token_ids, "list of stop tokens")
        parameters: dict[str, object] = {
            name: value
            for name, value, usual in (
                ("top_p", s.top_p, 1.0),
                ("top_k", s.top_k, -1),
                ("min_p", s.min_p, 0.0),
                ("frequency_penalty", s.frequency_penalty, 0.0),
                ("presence_penalty", s.presence_penalty, 0.0),
                ("repetition_penalty", s.repetition_penalty, 1.0),
                ("min_new_tokens", s.min_new_tokens, 0),
                ("stop", s.stop, ()),
                ("stop_token_ids", s.stop_token_ids, ()),
                ("ignore_eos", s.ignore_eos, False),
                ("skip_special_tokens", s.skip_special_tokens, True),
                ("no_stop_trim", s.no_stop_trim, False),
            )
            if value != usual
        }
        parameters["max_new_tokens"] = s.max_new_tokens
        parameters["temperature"] = float(s.temperature)
        if s.seed is not None and self._bounds.sampling_seed:
            parameters["sampling_seed"] = s.seed
        return parameters

    def _whole(self, name: str, value: int, low: int, high: int) -> None:
        if type(value) is not int or not low <= value <= high:
            raise self._bad(f"{name} must be a whole number from {low} to {high}, not {value!r}")

    def _within(self, name: str, value: float, low: float, high: float, *, above: bool = False) -> None:
        good = type(value) in (int, float) and math.isfinite(value) and low <= value <= high
        if not good or (above and value == low):
            start = f"above {low:g} and" if above else f"from {low:g}"
            raise self._bad(f"{name} must be {start} at most {high:g}, not {value!r}")


def _plain(ids: Sequence[int]) -> Sequence[int]:
    return ids if isinstance(ids, list | tuple) else list(ids)
