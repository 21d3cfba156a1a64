"""The embedded server's answers beside what real SGLang servers answered to the same requests.

The recordings lie beside the repository, not in it; without them these tests are skipped.
"""

import json
from pathlib import Path

import pytest
from server_child import running_server
from tiny_llama import write_folder

RECORDED = Path(__file__).parents[3] / "shared" / "sglang" / "recorded"

pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason="there are no recordings of SGLang here")

# SGLang's own bookkeeping, which no client of ours reads.
UNSHARED = {
    "num_retractions", "storage_prefetch_wait", "storage_staging_wait", "forward_entry_time", "dp_rank",
    "prefill_finished_time", "queue_time", "reasoning_tokens", "weight_versions", "cached_tokens_details",
    "request_received_ts", "first_token_latency", "api_server_dispatch_finish_ts", "request_finished_ts",
    "decode_throughput", "response_sent_to_client_ts", "completion_tokens_details", "metadata", "tool_calls",
    "load_format", "reasoning_parser", "tool_call_parser", "disaggregation_mode", "has_image_understanding",
    "has_audio_understanding", "embedding",
}  # fmt: skip
# Where the releases differ from each other or from good sense, on purpose: see FACTS.md.
OTHER_STATUS = {
    "err_n0": 400,
    "err_rid_list_single": 400,
    "err_stop_empty_string": 400,
    "err_no_content_type": 200,
    "stream_err_badparam": 400,
    "stream_err_too_long": 400,
    # Its context is 2048 tokens, ours 200.
    "err_prompt_plus_max_ctx_minus1": 400,
    "err_prompt_plus_max_eq_ctx": 400,
    "gen_input_ids": 200,
}
NOT_OURS = {"post_tokenize", "completions_basic"}


def names(release, *prefixes, streamed=False, good=False):
    """The recordings of one request and one answer whose names begin so."""
    found = []
    for path in sorted((RECORDED / release).glob("*.json")):
        answer = (record(release, path.stem) or {}).get("response")
        if answer is None or not path.stem.startswith(prefixes) or ("lines" in answer) != streamed:
            continue
        if not good or answer.get("status") == 200:
            found.append(path.stem)
    return found


def record(release, name):
    found = json.loads((RECORDED / release / f"{name}.json").read_text())
    return found if isinstance(found, dict) and isinstance(found.get("response"), dict) else None


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with running_server(write_folder(tmp_path_factory.mktemp("models") / "tiny")) as (http, _):
        yield http


def adapted(value):
    """The request with token ids of our small vocabulary."""
    if isinstance(value, dict):
        return {
            key: small_ids(item)
            if key in ("input_ids", "stop_token_ids", "token_ids_logprob")
            else adapted(item)
            for key, item in value.items()
        }
    return value


def small_ids(value):
    if isinstance(value, list):
        return [small_ids(item) for item in value]
    return value % 83 if isinstance(value, int) and value >= 0 else value


def ask(client, request):
    body, headers = request["body"], request["headers"] or {}
    content = body if isinstance(body, str) else json.dumps(adapted(body)) if body is not None else None
    return client.request(request["method"], request["path"], content=content, headers=headers)


def missing(theirs, ours, where=""):
    """What the recorded value has and ours lacks, or has of another type."""
    kinds = {bool: "flag", int: "number", float: "number"}
    if theirs is None or ours is None:
        found = []
    elif kinds.get(type(theirs), type(theirs)) != kinds.get(type(ours), type(ours)):
        found = [f"{where}: {theirs!r} but {ours!r}"]
    elif isinstance(theirs, list):
        found = [missing(a, b, f"{where}[{i}]") for i, (a, b) in enumerate(zip(theirs, ours, strict=False))]
        found = [problem for problems in found for problem in problems]
    elif isinstance(theirs, dict) and theirs.get("type") == ours.get("type"):
        found = [f"{where}.{key} is absent" for key in theirs.keys() - ours.keys() - UNSHARED]
        for key in (theirs.keys() & ours.keys()) - UNSHARED:
            found += missing(theirs[key], ours[key], f"{where}.{key}")
    else:
        # Two ends of different kinds, as two different models come to them.
        found = []
    return found


def test_the_comparison_notices_what_is_missing():
    assert missing({"a": [1, {"b": None}]}, {"a": [2.0, {"b": 3}], "c": 1}) == []
    assert missing({"a": 1}, {}) == [".a is absent"]
    assert missing([{"a": 1}], [{"a": "1"}]) == ["[0].a: 1 but '1'"]


@pytest.mark.parametrize("name", names("0.5.23", "gen_", "lp_", "chat_", "err_"))
def test_answers_have_the_shape_of_0_5_23(client, name):
    recorded = record("0.5.23", name)
    ours = ask(client, recorded["request"])
    expected = recorded["response"]
    assert ours.status_code == OTHER_STATUS.get(name, expected["status"]), ours.text
    if ours.status_code == expected["status"] == 200:
        assert missing(expected["body"], ours.json()) == []
        assert ours.headers["content-type"] == "application/json"
        assert isinstance(ours.json(), list) == isinstance(expected["body"], list)
    elif ours.status_code == 400:
        body = ours.json()
        assert isinstance(body.get("message") or body["error"]["message"], str)


@pytest.mark.parametrize("name", names("0.4.3.post4", "gen_", "lp_", "chat_", good=True))
def test_what_0_4_3_answers_is_there_too(client, name):
    recorded = record("0.4.3.post4", name)
    ours = ask(client, recorded["request"])
    assert ours.status_code == 200, ours.text
    assert missing(recorded["response"]["body"], ours.json()) == []


@pytest.mark.parametrize(
    "name", [n for n in names("0.5.23", "stream_", "chat_stream", streamed=True) if "err" not in n]
)
def test_streams_have_the_shape_of_0_5_23(client, name):
    recorded = record("0.5.23", name)
    theirs = [line.strip() for _, line in recorded["response"]["lines"] if line.strip()]
    ours = [line for line in ask(client, recorded["request"]).iter_lines() if line]
    assert theirs[-1] == ours[-1] == "data: [DONE]"
    first, last = (json.loads(lines[0].removeprefix("data: ")) for lines in (theirs, ours))
    assert missing(first, last) == []
    first, last = (json.loads(lines[-2].removeprefix("data: ")) for lines in (theirs, ours))
    assert missing(first, last) == []


@pytest.mark.parametrize(
    "name", ["get_health", "get_health_generate", "get_get_model_info", "get_model_info", "get_v1_models",
             "get_nope", "get_flush_cache", "get_ping", "method_get_generate", "post_abort_request",
             "post_flush_cache", "put_generate", "get_metrics"]
)  # fmt: skip
def test_other_routes_have_the_shape_of_0_5_23(client, name):
    recorded = record("0.5.23", name)
    ours = ask(client, recorded["request"])
    expected = recorded["response"]
    assert ours.status_code == expected["status"]
    if isinstance(expected.get("body"), dict):
        assert missing(expected["body"], ours.json()) == []


def test_server_info_says_what_clients_read(client):
    theirs = record("0.5.23", "get_server_info")["response"]["body"]
    ours = client.get("/server_info").json()
    for key in (
        "model_path",
        "tokenizer_path",
        "served_model_name",
        "max_running_requests",
        "version",
        "port",
    ):
        assert key in theirs
        assert key in ours
