"""From JSON bodies to jobs: everything that a client sends is checked here, before the batcher sees it.

Field names and meanings are those of SGLang 0.5. As there, fields that nobody knows are ignored at the top
level and refused among the sampling parameters; what SGLang computes and this server does not is refused.
"""

import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from atts_core.embedded.batcher import PROMPT_RESERVE
from atts_core.embedded.jobs import Job, LogprobOptions
from atts_core.embedded.loading import LoadedModel
from atts_core.embedded.sampling import SEED_LIMIT, SamplingParams

# One HTTP request may ask for so many completions.
MAX_COMPLETIONS: Final = 512
MAX_STOPS: Final = 64
MAX_RID: Final = 200
# SGLang takes any temperature below this for greedy.
_GREEDY_BELOW: Final = 1e-6

_KNOWN_PARAMS: Final = (
    "max_new_tokens", "temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty",
    "stop", "stop_token_ids", "ignore_eos", "no_stop_trim", "skip_special_tokens", "n", "sampling_seed",
)  # fmt: skip
# Accepted at the value that changes nothing, refused at any other.
_NEUTRAL_PARAMS: Final[Mapping[str, tuple[Any, ...]]] = {
    "repetition_penalty": (1.0, None),
    "min_new_tokens": (0, None),
    "spaces_between_special_tokens": (True, False, None),
    "stop_regex": (None, []),
    "json_schema": (None,),
    "regex": (None,),
    "ebnf": (None,),
    "structural_tag": (None,),
    "logit_bias": (None, {}),
    "custom_params": (None, {}),
}


class RequestError(Exception):
    """The request is wrong; the message says how. Status 400."""


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One POST to /generate: its completions, in the order of the answer, and how to answer."""

    jobs: list[Job]
    stream: bool
    single: bool
    text_in_logprobs: bool


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One POST to /v1/chat/completions."""

    jobs: list[Job]
    model: str
    stream: bool
    include_usage: bool
    logprobs: bool


# ---------------------------------------------------------------------- values


def _integer(name: str, value: object, low: int | None = None, high: int | None = None) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise RequestError(f"{name} must be an integer, got {_shown(value)}.")
    if (low is not None and value < low) or (high is not None and value > high):
        if high is None:
            raise RequestError(f"{name} must be at least {low}, got {value}.")
        raise RequestError(f"{name} must be from {low} to {high}, got {value}.")
    return value


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RequestError(f"{name} must be a number, got {_shown(value)}.")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise RequestError(f"{name} must be a finite number, got {_shown(value)}.")
    return number


def _flag(name: str, value: object) -> bool:
    if value is None:
        return False
    if not isinstance(value, bool):
        raise RequestError(f"{name} must be true or false, got {_shown(value)}.")
    return value


def _string(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise RequestError(f"{name} must be a string, got {_shown(value)}.")
    return value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _object(name: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RequestError(f"{name} must be a JSON object, got {_shown(value)}.")
    return value


# ---------------------------------------------------------------------- sampling parameters


def read_params(given: Mapping[str, Any], vocab_size: int) -> SamplingParams:
    """Checks the sampling parameters of one completion.

    Raises:
        RequestError: one is unknown, of the wrong type, out of range, or not supported.
    """
    fields: dict[str, Any] = {}
    for name, value in given.items():
        if name in _NEUTRAL_PARAMS:
            if value not in _NEUTRAL_PARAMS[name]:
                raise RequestError(f"{name} is not supported by the embedded server, got {_shown(value)}.")
        elif name not in _KNOWN_PARAMS:
            raise RequestError(f"unknown field `{name}`, expected one of {', '.join(_KNOWN_PARAMS)}")
        elif value is not None or name == "max_new_tokens":
            fields[name] = _CHECKS[name](value, vocab_size)
    if fields.get("temperature", 1.0) < _GREEDY_BELOW:
        fields["temperature"] = 0.0
    return SamplingParams(**fields)


def _temperature(value: object, _: int) -> float:
    number = _number("temperature", value)
    if number < 0.0:
        raise RequestError(f"temperature must be a non-negative finite number, got {value}.")
    return number


def _top_p(value: object, _: int) -> float:
    number = _number("top_p", value)
    if not 0.0 < number <= 1.0:
        raise RequestError(f"top_p must be in (0, 1], got {value}.")
    return number


def _min_p(value: object, _: int) -> float:
    number = _number("min_p", value)
    if not 0.0 <= number <= 1.0:
        raise RequestError(f"min_p must be in [0, 1], got {value}.")
    return number


def _top_k(value: object, _: int) -> int:
    number = _integer("top_k", value)
    if number < -1 or number == 0:
        raise RequestError(f"top_k must be -1 (disable) or at least 1, got {value}.")
    return number


def _penalty(name: str, value: object) -> float:
    number = _number(name, value)
    if not -2.0 <= number <= 2.0:
        raise RequestError(f"{name} must be in [-2, 2], got {value}.")
    return number


def _stop(value: object, _: int) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise RequestError(f"stop must be a string or a list of strings, got {_shown(value)}.")
    if "" in stops:
        raise RequestError("stop must not hold an empty string.")
    if len(stops) > MAX_STOPS:
        raise RequestError(f"stop may hold at most {MAX_STOPS} strings, got {len(stops)}.")
    return tuple(stops)


def _stop_token_ids(value: object, vocab_size: int) -> frozenset[int]:
    if not isinstance(value, list):
        raise RequestError(f"stop_token_ids must be a list of token ids, got {_shown(value)}.")
    return frozenset(_integer("stop_token_ids", item, 0, vocab_size - 1) for item in value)


_CHECKS: Final[Mapping[str, Callable[[object, int], Any]]] = {
    "max_new_tokens": lambda value, _: None if value is None else _integer("max_new_tokens", value, 0),
    "temperature": _temperature,
    "top_p": _top_p,
    "top_k": _top_k,
    "min_p": _min_p,
    "frequency_penalty": lambda value, _: _penalty("frequency_penalty", value),
    "presence_penalty": lambda value, _: _penalty("presence_penalty", value),
    "stop": _stop,
    "stop_token_ids": _stop_token_ids,
    "ignore_eos": lambda value, _: _flag("ignore_eos", value),
    "no_stop_trim": lambda value, _: _flag("no_stop_trim", value),
    "skip_special_tokens": lambda value, _: _flag("skip_special_tokens", value),
    "n": lambda value, _: _integer("n", value, 1, MAX_COMPLETIONS),
    "sampling_seed": lambda value, _: _integer("sampling_seed", value, 0, SEED_LIMIT - 1),
}


# ---------------------------------------------------------------------- prompts and jobs


def _check_prompt(ids: Sequence[object], loaded: LoadedModel) -> list[int]:
    vocab_size, context = loaded.model.config.vocab_size, loaded.model.config.max_position_embeddings
    if not ids:
        raise RequestError("input_ids cannot be empty.")
    if len(ids) >= context:
        raise RequestError(
            f"The input ({len(ids)} tokens) is longer than the model's context length ({context} tokens)."
        )
    most = context - PROMPT_RESERVE
    if len(ids) > most:
        raise RequestError(
            f"Input length ({len(ids)} tokens) exceeds the maximum allowed length ({most} tokens)."
        )
    return [_integer("input_ids", item, 0, vocab_size - 1) for item in ids]


def _check_logprobs(
    start: object, top: object, token_ids: object, prompt: Sequence[int], vocab_size: int
) -> LogprobOptions:
    first = -1 if start is None else _integer("logprob_start_len", start, -1)
    if first > len(prompt):
        raise RequestError(
            f"logprob_start_len ({first}) is higher than the number of input tokens ({len(prompt)})."
        )
    if token_ids is not None and not isinstance(token_ids, list):
        raise RequestError(f"token_ids_logprob must be a list of token ids, got {_shown(token_ids)}.")
    return LogprobOptions(
        start=len(prompt) if first < 0 else first,
        top=0 if top is None else _integer("top_logprobs_num", top, 0, vocab_size),
        token_ids=tuple(_integer("token_ids_logprob", item, 0, vocab_size - 1) for item in token_ids or ()),
    )


def _make_jobs(
    rid: str, prompt: list[int], params: SamplingParams, logprobs: LogprobOptions | None
) -> list[Job]:
    seed = secrets.randbelow(SEED_LIMIT) if params.sampling_seed is None else params.sampling_seed
    return [
        Job(
            rid=rid if params.n == 1 else f"{rid}-{copy}",
            group=rid,
            prompt=prompt,
            params=params,
            seed=seed,
            copy=copy,
            logprobs=logprobs,
        )
        for copy in range(params.n)
    ]


def _rid(value: object) -> str:
    if value is None:
        return uuid4().hex
    name = _string("rid", value)
    if not 0 < len(name) <= MAX_RID:
        raise RequestError(f"rid must have 1 to {MAX_RID} characters.")
    return name


def _per_prompt(name: str, value: object, count: int | None) -> list[Any]:
    """A field's value for each prompt of a batch (`count`), or of the single prompt (None)."""
    if not isinstance(value, list):
        return [value] * (1 if count is None else count)
    if count is None:
        raise RequestError(f"{name} must not be a list for a single prompt.")
    if len(value) != count:
        raise RequestError(f"{name} has {len(value)} entries for {count} prompts.")
    return value


def read_generate(body: object, loaded: LoadedModel) -> GenerateRequest:
    """Checks the body of a POST to /generate.

    Raises:
        RequestError: in one sentence, what is wrong.
    """
    fields = _object("The body", body)
    prompts, single = _prompts(fields, loaded)
    count = None if single else len(prompts)
    vocab_size = loaded.model.config.vocab_size
    params = [
        read_params(_object("sampling_params", item or {}), vocab_size)
        for item in _per_prompt("sampling_params", fields.get("sampling_params"), count)
    ]
    if sum(p.n for p in params) > MAX_COMPLETIONS:
        raise RequestError(f"One request may ask for at most {MAX_COMPLETIONS} completions.")
    wanted = _per_prompt("return_logprob", fields.get("return_logprob"), count)
    starts = _per_prompt("logprob_start_len", fields.get("logprob_start_len"), count)
    tops = _per_prompt("top_logprobs_num", fields.get("top_logprobs_num"), count)
    chosen = _token_ids_per_prompt(fields.get("token_ids_logprob"), len(prompts))
    names = [_rid(value) for value in _per_prompt("rid", fields.get("rid"), count)]
    if not single and len(prompts) > 1 and isinstance(fields.get("rid"), str):
        names = [f"{names[0]}_{i}" for i in range(len(prompts))]
    jobs: list[Job] = []
    for i, prompt in enumerate(prompts):
        options = None
        if _flag("return_logprob", wanted[i]):
            options = _check_logprobs(starts[i], tops[i], chosen[i], prompt, vocab_size)
        jobs += _make_jobs(names[i], prompt, params[i], options)
    return GenerateRequest(
        jobs=jobs,
        stream=_flag("stream", fields.get("stream")),
        single=single and len(jobs) == 1,
        text_in_logprobs=_flag("return_text_in_logprobs", fields.get("return_text_in_logprobs")),
    )


def _token_ids_per_prompt(value: object, count: int) -> list[Any]:
    if isinstance(value, list) and value and all(item is None or isinstance(item, list) for item in value):
        return _per_prompt("token_ids_logprob", value, count)
    return [value] * count


def _prompts(fields: Mapping[str, Any], loaded: LoadedModel) -> tuple[list[list[int]], bool]:
    """The prompts' ids, and whether there is one that is not in a list; ids win over text, as in SGLang."""
    ids, text = fields.get("input_ids"), fields.get("text")
    if ids is not None:
        if not isinstance(ids, list):
            raise RequestError(f"input_ids must be a list of token ids, got {_shown(ids)}.")
        if ids and all(isinstance(item, list) for item in ids):
            _check_count(ids)
            return [_check_prompt(item, loaded) for item in ids], False
        return [_check_prompt(ids, loaded)], True
    if isinstance(text, list):
        _check_count(text)
        return [_check_prompt(_encode(_string("text", item), loaded), loaded) for item in text], False
    if text is None:
        raise RequestError("Either text or input_ids should be provided.")
    return [_check_prompt(_encode(_string("text", text), loaded), loaded)], True


def _check_count(prompts: Sequence[object]) -> None:
    if len(prompts) > MAX_COMPLETIONS:
        raise RequestError(f"One request may hold at most {MAX_COMPLETIONS} prompts, got {len(prompts)}.")


def _check_size(characters: int, loaded: LoadedModel) -> None:
    """Refuses what is too long in any case, before time is spent on cutting it into tokens."""
    context = loaded.model.config.max_position_embeddings
    if characters > context * max(map(len, loaded.vocabulary.raw)):
        raise RequestError(
            f"The input ({characters} characters) is longer than the model's context ({context} tokens)."
        )


def _encode(text: str, loaded: LoadedModel) -> list[int]:
    _check_size(len(text), loaded)
    ids = loaded.tokenizer.encode(text)
    return [loaded.tokenizer.bos_id, *ids] if loaded.adds_bos else ids


# ---------------------------------------------------------------------- chat

_CHAT_PARAMS: Final = {
    "temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p", "n": "n",
    "stop": "stop",
    "frequency_penalty": "frequency_penalty", "presence_penalty": "presence_penalty", "seed": "sampling_seed",
    "stop_token_ids": "stop_token_ids", "ignore_eos": "ignore_eos", "no_stop_trim": "no_stop_trim",
    "skip_special_tokens": "skip_special_tokens", "repetition_penalty": "repetition_penalty",
    "min_tokens": "min_new_tokens", "regex": "regex", "ebnf": "ebnf", "logit_bias": "logit_bias",
}  # fmt: skip


def read_chat(body: object, loaded: LoadedModel) -> ChatRequest:
    """Checks the body of a POST to /v1/chat/completions.

    Raises:
        RequestError: in one sentence, what is wrong.
    """
    fields = _object("The body", body)
    for name in ("tools", "functions", "response_format"):
        if fields.get(name) not in (None, [], {"type": "text"}):
            raise RequestError(f"{name} is not supported by the embedded server.")
    messages = _messages(fields.get("messages"))
    continued = _flag("continue_final_message", fields.get("continue_final_message"))
    if continued and messages[-1]["role"] != "assistant":
        raise RequestError("continue_final_message needs a final message of the assistant.")
    _check_size(sum(len(message["content"]) for message in messages), loaded)
    prompt = _check_prompt(loaded.tokenizer.render(messages, continue_final=continued), loaded)
    limit = fields.get("max_completion_tokens")
    given = {ours: fields[theirs] for theirs, ours in _CHAT_PARAMS.items() if fields.get(theirs) is not None}
    given["max_new_tokens"] = fields.get("max_tokens") if limit is None else limit
    vocab_size = loaded.model.config.vocab_size
    params = read_params(given, vocab_size)
    logprobs = _flag("logprobs", fields.get("logprobs"))
    options = (
        _check_logprobs(None, fields.get("top_logprobs"), None, prompt, vocab_size) if logprobs else None
    )
    usage = _object("stream_options", fields.get("stream_options") or {}).get("include_usage")
    return ChatRequest(
        jobs=_make_jobs(_rid(fields.get("rid")), prompt, params, options),
        model=_string("model", fields.get("model", loaded.name)),
        stream=_flag("stream", fields.get("stream")),
        include_usage=_flag("include_usage", usage),
        logprobs=logprobs,
    )


def _messages(value: object) -> list[dict[str, str]]:
    if value is None:
        raise RequestError("messages is missing.")
    if not isinstance(value, list):
        raise RequestError(f"messages must be a list, got {_shown(value)}.")
    if not value:
        raise RequestError("Messages cannot be empty.")
    messages = []
    for item in value:
        message = _object("A message", item)
        role = message.get("role")
        if role not in ("system", "user", "assistant"):
            raise RequestError(f"role must be system, user or assistant, got {_shown(role)}.")
        messages.append({"role": role, "content": _content(message.get("content"))})
    return messages


def _content(value: object) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise RequestError(f"content must be a string or a list of text parts, got {_shown(value)}.")
    parts = []
    for item in value:
        part = _object("A part of content", item)
        if part.get("type") != "text":
            raise RequestError(f"Only text parts are supported, got {_shown(part.get('type'))}.")
        parts.append(_string("text", part.get("text")))
    return " ".join(parts)
