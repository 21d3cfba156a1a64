"""Records a real SGLang server's answers to the requests that our client sends, for the contract tests.

    python tests/serving/record.py http://127.0.0.1:40000 tests/serving/recorded [NAME…]

The server serves a tiny random Llama of 437 tokens (any model of that vocabulary and a context of 2048 will
do). Paths of that machine are replaced, and of the 0.5.x server's 400 settings only those that a client might
read are kept; everything else is the server's own bytes.
"""

import asyncio
import contextlib
import itertools
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2

from atts_core.serving.requests import Bounds, Checker, GenerateRequest, Sampling

VOCABULARY, CONTEXT = 437, 2048
# "The quick brown fox jumps over the lazy dog." with its beginning-of-text token
PROMPT = [0, 278, 297, 300, 298, 302, 295, 269, 303, 301, 18]
STEP = [302, 295, 269, 303, 301, 18]

KEPT_SETTINGS = re.compile(
    r"version|model_path|tokenizer_path|served_model_name|context_length|max_total_num_tokens|max_req_input_len|"
    r"max_running_requests|enable_metrics|enable_deterministic_inference|incremental_streaming_output|"
    r"stream_output|stream_interval|skip_tokenizer_init|random_seed|tp_size|dp_size|status"
)
KEPT_METRICS = re.compile(
    r"(# (HELP|TYPE) )?sglang:(num_running_reqs|num_queue_reqs|num_used_tokens|token_usage|gen_throughput|"
    r"cache_hit_rate|max_total_num_tokens|prompt_tokens_total|generation_tokens_total|cached_tokens_total|"
    r"num_requests_total|fwd_occupancy|time_to_first_token_seconds_(sum|count))"
)


def requests(output_ids: bool) -> dict[str, tuple[str, str, bytes]]:
    """Name → method, path, body."""
    bounds = Bounds(
        vocab_size=VOCABULARY,
        context_length=CONTEXT,
        max_prompt=CONTEXT - 6,
        sampling_seed=output_ids,
        output_ids=output_ids,
    )
    checker = Checker(bounds, role="draft", url="")

    # 0.4.3 keeps the text of a finished request: another one of the same id would begin with it
    rids = (f"recorded-{n}" for n in itertools.count())

    def generation(stream: bool, logprobs: bool = False, **sampling: object) -> bytes:
        request = GenerateRequest(input_ids=PROMPT, sampling=Sampling(**sampling), logprobs=logprobs)
        return checker.generation(request, stream=stream, rid=next(rids))

    def bad(stream: bool, **parameters: object) -> bytes:
        body = json.loads(generation(stream, max_new_tokens=4))
        body["sampling_params"] |= parameters
        return json.dumps(body).encode()

    wrong_type = json.loads(generation(False, max_new_tokens=4)) | {"input_ids": ["a"]}
    too_long = json.loads(generation(False, max_new_tokens=4)) | {"input_ids": [5] * 2100}
    post = "POST", "/generate"
    return {
        "server_info": ("GET", "/get_server_info", b""),
        "model_info": ("GET", "/get_model_info", b""),
        "models": ("GET", "/v1/models", b""),
        "stream": (*post, generation(True, max_new_tokens=24, temperature=0.0)),
        "stream_logprobs": (
            *post,
            generation(True, logprobs=True, max_new_tokens=8, temperature=0.5, seed=7),
        ),
        "stream_retracts": (
            *post,
            generation(True, max_new_tokens=40, temperature=0.0, stop=(" 10V br",)),
        ),
        "whole": (*post, generation(False, max_new_tokens=6, temperature=0.0)),
        "score": (*post, checker.scoring(PROMPT[:5], STEP, rid=next(rids))),
        "score_last_id": (*post, checker.scoring(PROMPT, [436, 18, 436, 0], rid=next(rids))),
        "refuses_too_long": (*post, json.dumps(too_long).encode()),
        "refuses_wrong_type": (*post, json.dumps(wrong_type).encode()),
        "refuses_unknown": (*post, bad(False, nonsense=1)),
        "stream_refuses": (*post, bad(True, max_new_tokens=-3)),
        "metrics": ("GET", "/metrics", b""),
        "load": ("GET", "/get_load", b""),
        "loads": ("GET", "/v1/loads", b""),
        "load_busy": ("GET", "/get_load", b""),
        "loads_busy": ("GET", "/v1/loads", b""),
    }


def trimmed(name: str, text: str) -> str:
    text = re.sub(r"/[^\"]*?/tiny[^\"/]*", "/models/tiny", text)
    if name == "server_info":
        return json.dumps({k: v for k, v in json.loads(text).items() if KEPT_SETTINGS.fullmatch(k)})
    if name == "metrics":
        return "".join(line for line in text.splitlines(True) if KEPT_METRICS.match(line))
    return text


@contextlib.asynccontextmanager
async def busy(http: httpx2.AsyncClient) -> AsyncIterator[None]:
    """The server writes one long text meanwhile."""
    body = {
        "input_ids": PROMPT,
        "sampling_params": {"max_new_tokens": 1900, "ignore_eos": True},
        "stream": True,
    }
    async with http.stream("POST", "/generate", json=body) as answer:
        pieces = answer.aiter_raw()
        for _ in range(50):
            await anext(pieces)
        yield


async def record(url: str, folder: Path, names: list[str]) -> None:
    # 0.4.3 closes the connection after a 500, so none is kept
    once = httpx2.Limits(max_keepalive_connections=0)
    async with httpx2.AsyncClient(
        base_url=url, timeout=60, limits=once, headers={"Accept-Encoding": "identity"}
    ) as http:
        release = (await http.get("/get_server_info")).json()["version"]
        (folder / release).mkdir(parents=True, exist_ok=True)
        for name, (method, path, body) in requests(output_ids=release >= "0.5").items():
            if names and name not in names:
                continue
            status, kind = 0, ""
            async with (
                busy(http) if name.endswith("_busy") else contextlib.nullcontext(),
                http.stream(
                    method,
                    path,
                    content=body or None,
                    headers={"Content-Type": "application/json"} if body else {},
                ) as response,
            ):
                status, kind = response.status_code, response.headers.get("content-type", "")
                pieces = [piece.decode() async for piece in response.aiter_raw()]
            if status == 404:
                continue  # not every release has every page
            if "event-stream" not in kind:
                pieces = [trimmed(name, "".join(pieces))]
            exchange = {
                "request": {"method": method, "path": path, "body": json.loads(body) if body else None},
                "response": {"status": status, "content_type": kind, "pieces": pieces},
            }
            if name == "refuses_too_long":
                exchange["request"]["body"]["input_ids"] = "2100 times 5"
            file = folder / release / f"{name}.json"
            file.write_text(json.dumps(exchange, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
