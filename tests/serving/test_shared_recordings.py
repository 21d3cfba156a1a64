"""Every recorded exchange of `../shared/sglang/recorded`, where that folder is there."""

import json
from pathlib import Path
from typing import Any

import pytest

from atts_core.serving.answers import (
    EventSplitter,
    Finish,
    GenerateUpdate,
    StreamReader,
    generation,
    step_score,
)
from atts_core.serving.errors import InvalidRequest, RequestRefused, ServerBusy, ServerFailed
from atts_core.serving.failures import refusal, stream_refusal
from atts_core.serving.requests import Bounds, Checker, GenerateRequest, Sampling
from atts_core.serving.server_info import read_server
from atts_core.telemetry.server_metrics import parse_metrics

ROOT = Path(__file__).parents[3] / "shared" / "sglang" / "recorded"
FOLDERS = ("0.4.3.post4", "0.5.23", "router-0.3.2")
VOCABULARY = 437


def exchanges(folder: str) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for path in sorted((ROOT / folder).glob("*.json")) if ROOT.is_dir() else []:
        body = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(body, dict) and "response" in body:
            found.append((path.stem, body))
    return found


ALL = [pytest.param(f, n, e, id=f"{f}-{n}") for f in FOLDERS for n, e in exchanges(f)]


def single(request: Any) -> bool:
    """One prompt and one sample: the only kind that we send."""
    body = request["body"]
    return (
        isinstance(body, dict)
        and not isinstance(body.get("text"), list)
        and not any(isinstance(i, list) for i in body.get("input_ids") or [])
        and isinstance(body.get("sampling_params", {}), dict)
        and body.get("sampling_params", {}).get("n", 1) == 1
    )


def body_of(response: dict[str, Any]) -> bytes:
    if "body" in response:
        return json.dumps(response["body"]).encode()
    if "lines" in response:
        return "".join(line for _, line in response["lines"]).encode()
    return str(response.get("body_text", "")).encode()


@pytest.mark.skipif(not ROOT.is_dir(), reason="the shared recordings are not here")
def test_recordings_are_found() -> None:
    assert len(ALL) > 200


@pytest.mark.parametrize(("folder", "name", "exchange"), ALL)
def test_a_recorded_exchange(folder: str, name: str, exchange: dict[str, Any]) -> None:
    request, response = exchange["request"], exchange["response"]
    status, body = response["status"], body_of(response)
    where: Any = {"role": "target", "url": "http://h:1"}
    if status != 200:
        error = refusal(status, body, **where)
        assert isinstance(error, RequestRefused | ServerFailed | ServerBusy)
        assert str(error).isprintable()
        if status in (400, 422) and name != "get_root":
            assert len(str(error).partition(") ")[2] or str(error)) > 40
        return
    if request["path"].startswith("/metrics"):
        reading = parse_metrics(body.decode())
        assert reading.running is not None
        assert reading.unavailable == ""
    if request["path"] != "/generate" or request["method"] == "GET" or not single(request):
        return
    if "lines" in response:
        stream(request, body, where)
    elif request["body"].get("input_ids") != []:
        whole(request, body)


def stream(request: dict[str, Any], body: bytes, where: Any) -> None:
    events = EventSplitter().feed(body)
    if not events:
        return  # 0.4.3 cuts the connection instead of answering
    wants = bool(request["body"].get("return_logprob"))
    first = json.loads(events[0])
    if "error" in first:
        reader = StreamReader(prompt_tokens=1, vocab_size=VOCABULARY, want_logprobs=wants)
        carried = reader.update(events[0])
        assert not isinstance(carried, GenerateUpdate)
        assert isinstance(stream_refusal(carried, **where), RequestRefused)
        assert events[-1] == b"[DONE]"
        return
    assert events.pop() == b"[DONE]"
    meta = first["meta_info"]
    if "output_ids" not in first and not wants:
        return  # 0.4.x gives ids only with log-probabilities, which we therefore always ask for
    reader = StreamReader(prompt_tokens=meta["prompt_tokens"], vocab_size=VOCABULARY, want_logprobs=wants)
    text, ids = "", []
    for event in events:
        update = reader.update(event)
        assert isinstance(update, GenerateUpdate)
        text = text[: len(text) - update.retracted] + update.text
        ids += update.ids
        assert (update.logprobs is not None) == wants
    last = json.loads(events[-1])
    assert text == last["text"]
    assert len(ids) == last["meta_info"]["completion_tokens"]
    assert isinstance(reader.finish, Finish)


def whole(request: dict[str, Any], body: bytes) -> None:
    answer = json.loads(body)
    meta = answer["meta_info"]
    wants = bool(request["body"].get("return_logprob"))
    if "output_ids" in answer or wants:
        found = generation(
            body, prompt_tokens=meta["prompt_tokens"], vocab_size=VOCABULARY, want_logprobs=wants
        )
        assert found.completion_tokens == len(found.ids) == meta["completion_tokens"]
        assert found.text == answer["text"]
    start = request["body"].get("logprob_start_len")
    ids = request["body"].get("input_ids")
    if wants and isinstance(ids, list) and isinstance(start, int) and 0 <= start < len(ids) - 1:
        score = step_score(body, ids[: start + 1], ids[start + 1 :], vocab_size=VOCABULARY, seconds=0.0)
        assert len(score.logprobs) == len(ids) - start - 1


@pytest.mark.skipif(not ROOT.is_dir(), reason="the shared recordings are not here")
@pytest.mark.parametrize("folder", FOLDERS)
def test_the_servers_themselves(folder: str) -> None:
    found = dict(exchanges(folder))

    def part(name: str) -> bytes | None:
        response = found[name]["response"]
        return body_of(response) if response["status"] == 200 else None

    info = read_server(
        role="draft",
        url="http://h:1",
        server=part("get_get_server_info"),
        model=part("get_get_model_info"),
        models=part("get_v1_models"),
    )
    if folder == "router-0.3.2":
        assert (info.kind, info.model) == ("router", "tiny")
    else:
        assert (info.kind, info.release, info.context_length) == ("sglang", folder, 2048)


NO_EXCHANGE = {
    "bench_tiny": "figures",
    "chunked_prefill_logprobs": "a table of comparisons: lengths and errors, no answers",
    "exit_SIGINT_idle": "how the process ended",
    "exit_SIGTERM_idle": "how the process ended",
    "prom_after_death": "a router's own metrics, which we do not read",
}
"""Recordings that hold no request with its answer, and what else they are."""


def test_every_recording_is_looked_at_or_accounted_for() -> None:
    for folder in FOLDERS:
        looked_at = {name for name, _ in exchanges(folder)}
        for path in (ROOT / folder).iterdir() if ROOT.is_dir() else []:
            lives = path.stem.startswith("life_")  # sequences of events: `test_broken_servers` plays them
            known = path.stem in looked_at or path.stem in NO_EXCHANGE or lives
            assert known or "client_error" in path.read_text(encoding="utf-8"), path


def killers() -> list[Any]:
    """Requests of which a whole server died or hung."""
    found = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).glob("*.json")) if ROOT.is_dir() else []:
            body = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(body, dict) and body.get("server_died_or_hung"):
                found.append(pytest.param(body["request"]["body"], id=f"{folder}-{path.stem}"))
    return found


@pytest.mark.parametrize("body", killers())
def test_what_killed_a_server_never_leaves(body: dict[str, Any]) -> None:
    bounds = Bounds(
        vocab_size=VOCABULARY, context_length=2048, max_prompt=2042, sampling_seed=True, output_ids=True
    )
    checker = Checker(bounds, role="target", url="http://h:1")
    start = body.get("logprob_start_len", 0)
    if start < 0:
        # Ours is the length of the prefix less one: it cannot be said, and an empty prefix is refused.
        with pytest.raises(InvalidRequest):
            checker.scoring([], [1, 2], rid="a")
        return
    request = GenerateRequest(input_ids=body["input_ids"], sampling=Sampling(max_new_tokens=1))
    with pytest.raises(InvalidRequest, match="outside the vocabulary"):
        checker.generation(request, stream=False, rid="a")
    with pytest.raises(InvalidRequest, match="outside the vocabulary"):
        checker.scoring(body["input_ids"], [1], rid="a")
