"""From jobs to JSON: answers and stream events in the shapes of SGLang 0.5.

Streams of /generate are cumulative, as SGLang's are; what was encoded for one event is kept for the next.
"""

import time
from collections.abc import Callable
from typing import Any

import msgspec

from atts_core.embedded.api import ChatRequest
from atts_core.embedded.jobs import Finish, Job, Progress, Ranked, Vocabulary
from atts_core.embedded.loading import LoadedModel

VERSION = "atts-embedded-0.1.0"

encode = msgspec.json.encode


def event(content: object) -> bytes:
    """One server-sent event."""
    return b"data: " + encode(content) + b"\n\n"


DONE = b"data: [DONE]\n\n"


def generate_error(message: str) -> dict[str, Any]:
    """The body of a refused /generate."""
    return {"error": {"message": message}}


def openai_error(message: str, status: int, kind: str) -> dict[str, Any]:
    """The body of a refused /v1 request, and of a request that found the queue full."""
    return {"object": "error", "message": message, "type": kind, "param": None, "code": status}


class _GrowingList:
    """A JSON array that is encoded piece by piece."""

    def __init__(self) -> None:
        self._size = 0
        self._encoded = b"["

    def raw(self, size: int, shaped: Callable[[int, int], list[Any]]) -> msgspec.Raw:
        """The array of the first `size` items; only the new ones, `shaped(from, to)`, are encoded."""
        if size > self._size:
            fresh = encode(shaped(self._size, size))[1:-1]
            self._encoded += (b"," if self._size else b"") + fresh
            self._size = size
        return msgspec.Raw(self._encoded + b"]")


class GenerateAnswer:
    """The /generate answer of one job, at any of its stages."""

    def __init__(self, job: Job, vocabulary: Vocabulary, texts: bool, index: int | None) -> None:
        """`texts`: log-probability entries carry the token's text; `index`: place in a streamed batch."""
        self.job = job
        self._texts = vocabulary.raw if texts else None
        self._index = index
        self._input: dict[str, msgspec.Raw] | None = None
        self._output = _GrowingList()
        self._output_top = _GrowingList()
        self._output_chosen = _GrowingList()

    def render(self, progress: Progress) -> dict[str, Any]:
        """The answer as far as `progress` goes."""
        job = self.job
        meta: dict[str, Any] = {
            "id": job.rid,
            "finish_reason": finish_reason(progress.finish, progress.tokens),
            "prompt_tokens": len(job.prompt),
            "weight_version": "default",
            "sampling_seed": job.seed,
        }
        if job.logprobs:
            meta |= self._logprobs(progress.tokens)
        meta["completion_tokens"] = progress.tokens
        meta["cached_tokens"] = job.cached_tokens
        if progress.finish and job.finished is not None:
            meta["e2e_latency"] = job.finished - job.created
        answer: dict[str, Any] = {
            "text": progress.text,
            "output_ids": job.output_ids[: progress.tokens],
            "meta_info": meta,
        }
        if self._index is not None:
            answer["index"] = self._index
        return answer

    def _logprobs(self, size: int) -> dict[str, Any]:
        job, options = self.job, self.job.logprobs
        if self._input is None:
            self._input = self._input_logprobs()
        found: dict[str, Any] = dict(self._input)
        found["output_token_logprobs"] = self._output.raw(size, self._written)
        found["output_token_logprobs_length"] = size
        if options and options.top:
            found["output_top_logprobs"] = self._output_top.raw(
                size, lambda start, stop: [self._entries(e) for e in job.output_top[start:stop]]
            )
        if options and options.token_ids:
            found["output_token_ids_logprobs"] = self._output_chosen.raw(
                size, lambda start, stop: [self._entries(e) for e in job.output_chosen[start:stop]]
            )
        return found

    def _written(self, start: int, stop: int) -> list[Any]:
        pairs = zip(self.job.output_logprobs[start:stop], self.job.output_ids[start:stop], strict=True)
        return [self._entry(pair) for pair in pairs]

    def _input_logprobs(self) -> dict[str, msgspec.Raw]:
        job, options = self.job, self.job.logprobs
        if options is None:
            return {}
        pairs = zip(job.input_logprobs, job.prompt[options.start :], strict=False)
        found = {"input_token_logprobs": msgspec.Raw(encode([self._entry(pair) for pair in pairs]))}
        if options.top:
            found["input_top_logprobs"] = msgspec.Raw(encode([self._entries(e) for e in job.input_top]))
        if options.token_ids:
            found["input_token_ids_logprobs"] = msgspec.Raw(
                encode([self._entries(e) for e in job.input_chosen])
            )
        return found

    def _entry(self, pair: tuple[float | None, int]) -> tuple[float | None, int, str | None]:
        return (*pair, self._texts[pair[1]] if self._texts else None)

    def _entries(self, pairs: Ranked | None) -> list[tuple[float | None, int, str | None]] | None:
        return None if pairs is None else [self._entry(pair) for pair in pairs]


def finish_reason(finish: Finish | None, tokens: int) -> dict[str, Any] | None:
    """SGLang's `finish_reason` of /generate."""
    if finish is None:
        return None
    if finish.type == "length":
        return {"type": "length", "length": tokens}
    if finish.type == "stop":
        return {"type": "stop", "matched": finish.matched}
    status = 500 if finish.failed else None
    return {"type": "abort", "message": finish.matched, "status_code": status, "err_type": None}


# ---------------------------------------------------------------------- chat


class ChatAnswer:
    """The /v1/chat/completions answer of one request, whole or as a stream of deltas."""

    def __init__(self, request: ChatRequest, vocabulary: Vocabulary) -> None:
        self._request = request
        self._vocabulary = vocabulary
        self._head = {"id": request.jobs[0].group, "created": int(time.time()), "model": request.model}
        self._sent = [(0, 0) for _ in request.jobs]

    def whole(self) -> dict[str, Any]:
        """The answer of a finished request."""
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": job.progress.text, "reasoning_content": None},
                "logprobs": self._logprobs(job, 0, job.progress.tokens),
                **_chat_finish(job.progress.finish),
            }
            for index, job in enumerate(self._request.jobs)
        ]
        return {**self._head, "object": "chat.completion", "choices": choices, "usage": self._usage()}

    def opening(self, index: int) -> dict[str, Any]:
        """The first chunk of a choice: its role and no text."""
        return self._chunk(index, {"role": "assistant", "content": ""}, None, None)

    def deltas(self, index: int, progress: Progress) -> list[dict[str, Any]]:
        """The chunks that bring a choice to `progress`."""
        job = self._request.jobs[index]
        characters, tokens = self._sent[index]
        chunks = []
        fresh = progress.text[characters:]
        if fresh:
            logprobs = self._logprobs(job, tokens, progress.tokens)
            chunks.append(self._chunk(index, {"content": fresh}, logprobs, None))
            self._sent[index] = (len(progress.text), progress.tokens)
        if progress.finish:
            tokens = self._sent[index][1]
            rest = self._logprobs(job, tokens, progress.tokens) if tokens < progress.tokens else None
            chunks.append(self._chunk(index, {}, rest, progress.finish))
        return chunks

    def closing(self) -> dict[str, Any]:
        """The chunk with the usage, where it is asked for."""
        return {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": self._usage()}

    def _chunk(
        self, index: int, delta: dict[str, str], logprobs: dict[str, Any] | None, finish: Finish | None
    ) -> dict[str, Any]:
        choice = {
            "index": index,
            "delta": {"reasoning_content": None, **delta},
            "logprobs": logprobs,
            **_chat_finish(finish),
        }
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}

    def _logprobs(self, job: Job, start: int, stop: int) -> dict[str, Any] | None:
        if not self._request.logprobs:
            return None
        content = []
        for i in range(start, stop):
            entry = self._entry(job.output_logprobs[i], job.output_ids[i])
            top = job.output_top[i] if job.output_top else []
            content.append({**entry, "top_logprobs": [self._entry(*pair) for pair in top]})
        return {"content": content}

    def _entry(self, logprob: float, token: int) -> dict[str, Any]:
        text = self._vocabulary.raw[token]
        return {"token": text, "bytes": list(text.encode()), "logprob": logprob}

    def _usage(self) -> dict[str, Any]:
        prompt = len(self._request.jobs[0].prompt)
        completion = sum(job.progress.tokens for job in self._request.jobs)
        return {
            "prompt_tokens": prompt,
            "total_tokens": prompt + completion,
            "completion_tokens": completion,
            "prompt_tokens_details": None,
        }


def _chat_finish(finish: Finish | None) -> dict[str, Any]:
    if finish is None:
        return {"finish_reason": None, "matched_stop": None}
    return {
        "finish_reason": finish.type,
        "matched_stop": finish.matched if finish.type == "stop" else None,
    }


# ---------------------------------------------------------------------- about the server


def model_info(loaded: LoadedModel) -> dict[str, Any]:
    """The body of /model_info."""
    return {
        "model_path": str(loaded.folder),
        "served_model_name": loaded.name,
        "tokenizer_path": str(loaded.folder),
        "is_generation": True,
        "preferred_sampling_params": None,
        "weight_version": "default",
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
    }


def server_info(
    loaded: LoadedModel, host: str, port: int, max_running: int, max_waiting: int, capacity: int
) -> dict[str, Any]:
    """The body of /server_info. `sampling_seed_supported`: same seed, same text, whatever else is running."""
    config = loaded.model.config
    return {
        "model_path": str(loaded.folder),
        "tokenizer_path": str(loaded.folder),
        "served_model_name": loaded.name,
        "context_length": config.max_position_embeddings,
        "vocab_size": config.vocab_size,
        "dtype": "float32",
        "device": "cpu",
        "host": host,
        "port": port,
        "max_running_requests": max_running,
        "max_queued_requests": max_waiting,
        "max_total_num_tokens": capacity,
        "tokenizer_identity": loaded.tokenizer.identity,
        "weights_sha256": loaded.weights_sha256,
        "sampling_seed_supported": True,
        "enable_deterministic_inference": True,
        "enable_metrics": True,
        "version": VERSION,
    }


def models(loaded: LoadedModel, started: float) -> dict[str, Any]:
    """The body of /v1/models."""
    card = {
        "id": loaded.name,
        "object": "model",
        "created": int(started),
        "owned_by": "atts",
        "root": loaded.name,
        "parent": None,
        "max_model_len": loaded.model.config.max_position_embeddings,
    }
    return {"object": "list", "data": [card]}
