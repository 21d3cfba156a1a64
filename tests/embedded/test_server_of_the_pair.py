"""The embedded server over real HTTP: meaning of every field, every refusal, streams, aborts, disconnects."""

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from server_child import events, running_server
from tiny_llama import (
    RAW,
    log_probabilities,
    random_ids,
    random_weights,
    reference_logits,
    small_config,
    write_folder,
)

CONFIG = small_config()
PROMPT = random_ids(CONFIG, 30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def client(folder):
    with running_server(folder, "--max-running", 4, "--max-queued", 40) as (http, _):
        yield http


def generate(client, expected=200, **fields):
    sampling = {"max_new_tokens": 8, "temperature": 0.8, "sampling_seed": 1, "ignore_eos": True}
    sampling |= fields.pop("sampling_params", {})
    if "text" not in fields:
        fields.setdefault("input_ids", PROMPT)
    response = client.post("/generate", json={"sampling_params": sampling, **fields})
    assert response.status_code == expected, response.text
    return response.json()


def stream(client, path="/generate", **fields):
    sampling = {"max_new_tokens": 8, "temperature": 0.8, "sampling_seed": 1, "ignore_eos": True}
    if path == "/generate":
        fields = {
            "input_ids": PROMPT,
            **fields,
            "sampling_params": sampling | fields.get("sampling_params", {}),
        }
    with client.stream("POST", path, json={**fields, "stream": True}) as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        return events(response)


def count_running(client):
    page = client.get("/metrics").text
    return [
        float(line.rsplit(" ", 1)[1])
        for name in ("num_running_reqs", "num_queue_reqs")
        for line in page.splitlines()
        if line.startswith(f"sglang:{name}")
    ]


def until(condition):
    """Asks again until it holds; the question itself takes a round trip of HTTP, so nothing spins."""
    for _ in range(3000):
        if condition():
            return
    pytest.fail("it never came true")


# ---------------------------------------------------------------------- /generate


def test_log_probabilities_agree_with_the_reference(client):
    ids = random_ids(CONFIG, 150, 4)
    weights = random_weights(CONFIG)
    answer = generate(
        client,
        input_ids=ids,
        return_logprob=True,
        logprob_start_len=0,
        sampling_params={"temperature": 0.5, "max_new_tokens": 20},
    )
    meta = answer["meta_info"]
    logits = reference_logits(CONFIG, weights, ids + answer["output_ids"])
    expected = log_probabilities(logits)[np.arange(149), ids[1:]]
    given_back = [entry[0] for entry in meta["input_token_logprobs"]]
    assert given_back[0] is None
    assert np.abs(np.array(given_back[1:]) - expected).max() < 1e-4
    scaled = log_probabilities(logits / 0.5)[np.arange(149, 169), answer["output_ids"]]
    written = [entry[0] for entry in meta["output_token_logprobs"]]
    assert np.abs(np.array(written) - scaled).max() < 2e-4


def test_ids_text_and_put_mean_the_same_prompt(client):
    text = "".join(RAW[i] for i in PROMPT)
    from_text = generate(client, text=text)
    assert from_text["meta_info"]["prompt_tokens"] == 31  # the tokenizer adds a beginning of sequence
    assert from_text["output_ids"] == generate(client, input_ids=[1, *PROMPT])["output_ids"]
    assert from_text["text"] == "".join(RAW[i] for i in from_text["output_ids"])
    both = generate(client, text="a", input_ids=[1, *PROMPT])
    assert both["output_ids"] == from_text["output_ids"]
    body = {"input_ids": PROMPT, "sampling_params": {"max_new_tokens": 2}}
    assert client.put("/generate", json=body).status_code == 200


def test_same_seed_same_text_and_without_a_seed_the_server_tells_its_own(client):
    first = generate(client)
    assert generate(client)["output_ids"] == first["output_ids"]
    assert generate(client, sampling_params={"sampling_seed": 2})["output_ids"] != first["output_ids"]
    free = generate(client, sampling_params={"sampling_seed": None})
    seed = free["meta_info"]["sampling_seed"]
    assert seed != generate(client, sampling_params={"sampling_seed": None})["meta_info"]["sampling_seed"]
    again = generate(client, sampling_params={"sampling_seed": seed})
    assert again["output_ids"] == free["output_ids"]


def test_overlapping_requests_get_what_each_gets_alone(client):
    def ask(i):
        return generate(
            client,
            input_ids=PROMPT[: 5 + i],
            sampling_params={"sampling_seed": i, "max_new_tokens": 30 + i},
            return_logprob=True,
            logprob_start_len=i % 5,
        )

    def facts(answer):
        meta = answer["meta_info"]
        return answer["text"], meta["input_token_logprobs"], meta["output_token_logprobs"]

    alone = [facts(ask(i)) for i in range(20)]
    assert client.post("/flush_cache").status_code == 200
    with ThreadPoolExecutor(20) as pool:
        together = [facts(answer) for answer in pool.map(ask, range(20))]
    assert together == alone


@pytest.mark.parametrize(
    ("start", "entries"), [(0, 30), (1, 29), (12, 18), (29, 1), (30, 0), (-1, 0), (None, 0)]
)
def test_logprob_start_len(client, start, entries):
    meta = generate(client, return_logprob=True, logprob_start_len=start)["meta_info"]
    found = meta["input_token_logprobs"]
    assert len(found) == entries
    if entries:
        assert found[0] == [None, PROMPT[start], None]
        assert [entry[1] for entry in found] == PROMPT[start:]
        assert all(entry[0] <= 0 for entry in found[1:])
        assert meta["cached_tokens"] <= start
    assert len(meta["output_token_logprobs"]) == meta["completion_tokens"] == 8


def test_top_and_chosen_log_probabilities(client):
    meta = generate(
        client,
        return_logprob=True,
        logprob_start_len=20,
        top_logprobs_num=2,
        token_ids_logprob=[5, 82],
        return_text_in_logprobs=True,
    )["meta_info"]
    assert meta["input_top_logprobs"][0] is None
    assert [len(entry) for entry in meta["input_top_logprobs"][1:]] == [2] * 9
    for (value, token, text), top, chosen in zip(
        meta["output_token_logprobs"],
        meta["output_top_logprobs"],
        meta["output_token_ids_logprobs"],
        strict=True,
    ):
        assert text == RAW[token]
        assert top[0][0] >= top[1][0]
        assert value <= top[0][0]
        assert [entry[1] for entry in chosen] == [5, 82]
    assert meta["input_token_ids_logprobs"][0] is None
    assert meta["input_token_logprobs"][5][0] <= meta["input_top_logprobs"][5][0][0]


def test_batches_copies_and_lists_of_settings(client):
    two = generate(client, input_ids=[PROMPT, PROMPT[:9]], rid=["a", "b"], return_logprob=[True, False])
    assert [answer["meta_info"]["id"] for answer in two] == ["a", "b"]
    assert "output_token_logprobs" in two[0]["meta_info"]
    assert "output_token_logprobs" not in two[1]["meta_info"]
    assert isinstance(generate(client, input_ids=[PROMPT]), list)
    assert client.post("/generate", json={"text": []}).json() == []
    copies = generate(client, input_ids=[PROMPT, PROMPT[:9]], sampling_params={"n": 2})
    assert [answer["meta_info"]["prompt_tokens"] for answer in copies] == [30, 30, 9, 9]
    assert copies[0]["output_ids"] != copies[1]["output_ids"]
    assert copies[0]["output_ids"] == generate(client)["output_ids"]
    body = {
        "input_ids": [PROMPT, PROMPT],
        "sampling_params": [{"max_new_tokens": 1}, {"max_new_tokens": 2}],
    }
    assert [len(a["output_ids"]) for a in client.post("/generate", json=body).json()] == [1, 2]


def test_ends(client):
    whole = generate(client)
    assert whole["meta_info"]["finish_reason"] == {"type": "length", "length": 8}
    token = whole["output_ids"][4]
    stopped = generate(client, sampling_params={"stop_token_ids": [token], "ignore_eos": False})
    assert stopped["meta_info"]["finish_reason"] == {"type": "stop", "matched": token}
    stop = RAW[whole["output_ids"][3]] + RAW[whole["output_ids"][4]][:1]
    cut = generate(client, sampling_params={"stop": stop})
    assert cut["meta_info"]["finish_reason"] == {"type": "stop", "matched": stop}
    assert stop not in cut["text"]
    kept = generate(client, sampling_params={"stop": [stop], "no_stop_trim": True})
    assert kept["text"] == "".join(RAW[i] for i in kept["output_ids"])
    assert generate(client, sampling_params={"max_new_tokens": 0})["output_ids"] == []


def test_context_rules(client):
    most = 200 - 6
    ids = random_ids(CONFIG, 300)
    for length in (most + 1, 200, 300):
        assert "tokens" in generate(client, 400, input_ids=ids[:length])["error"]["message"]
    clipped = generate(client, input_ids=ids[:190], sampling_params={"max_new_tokens": 50})
    assert clipped["meta_info"]["finish_reason"] == {"type": "length", "length": 8}
    assert len(generate(client, input_ids=ids[:most], sampling_params={"max_new_tokens": None})["text"])


# ---------------------------------------------------------------------- streams


def test_streams_are_cumulative_and_end_as_the_answer_in_one_piece(client):
    fields = {"return_logprob": True, "logprob_start_len": 27, "top_logprobs_num": 1}
    sampling = {"max_new_tokens": 40}
    found = stream(client, sampling_params=sampling, **fields)
    whole = generate(client, sampling_params=sampling, **fields)
    counts = [event["meta_info"]["completion_tokens"] for event in found]
    assert counts == sorted(set(counts))
    for event in found:
        meta, count = event["meta_info"], event["meta_info"]["completion_tokens"]
        assert event["output_ids"] == whole["output_ids"][:count]
        assert whole["text"].startswith(event["text"])
        for name in ("output_token_logprobs", "output_top_logprobs"):
            assert meta[name] == whole["meta_info"][name][:count]
        assert meta["input_token_logprobs"] == whole["meta_info"]["input_token_logprobs"]
        assert (meta["finish_reason"] is None) == (event is not found[-1])
    assert found[-1]["text"] == whole["text"]
    assert found[-1]["meta_info"]["e2e_latency"] > 0
    assert "index" not in found[-1]


def test_a_streamed_batch_carries_an_index(client):
    found = stream(client, input_ids=[PROMPT, PROMPT[:7]], sampling_params={"n": 2})
    last = {event["index"]: event for event in found}
    assert sorted(last) == [0, 1, 2, 3]
    assert all(event["meta_info"]["finish_reason"] for event in last.values())


def test_a_stream_of_no_tokens_still_ends_well(client):
    (only,) = stream(client, sampling_params={"max_new_tokens": 0})
    assert only["meta_info"]["finish_reason"] == {"type": "length", "length": 0}


# ---------------------------------------------------------------------- refusals

BAD = {
    "neither text nor ids": {},
    "empty ids": {"input_ids": []},
    "an empty list in a batch": {"input_ids": [[5], []]},
    "id of the vocabulary's size": {"input_ids": [83]},
    "huge id": {"input_ids": [10**30]},
    "negative id": {"input_ids": [-3]},
    "ids that are strings": {"input_ids": ["a"]},
    "ids that are true": {"input_ids": [True]},
    "ids that are fractions": {"input_ids": [1.5]},
    "lists and ids mixed": {"input_ids": [[5], 5]},
    "ids that are an object": {"input_ids": {"a": 1}},
    "text that is a number": {"text": 5},
    "text list of numbers": {"text": ["a", 5]},
    "text beyond all measure": {"text": "ab " * 100_000},
    "start -5": {"input_ids": [5, 6], "return_logprob": True, "logprob_start_len": -5},
    "start beyond": {"input_ids": [5, 6], "return_logprob": True, "logprob_start_len": 3},
    "start of text": {"input_ids": [5, 6], "return_logprob": True, "logprob_start_len": "x"},
    "starts for another number of prompts": {"input_ids": [[5]], "logprob_start_len": [1, 2]},
    "top of -1": {"input_ids": [5], "return_logprob": True, "top_logprobs_num": -1},
    "top beyond the vocabulary": {"input_ids": [5], "return_logprob": True, "top_logprobs_num": 84},
    "chosen id beyond": {"input_ids": [5], "return_logprob": True, "token_ids_logprob": [83]},
    "rid in a list for one prompt": {"input_ids": [5], "rid": ["a"]},
    "rid that is a number": {"input_ids": [5], "rid": 5},
    "empty rid": {"input_ids": [5], "rid": ""},
    "endless rid": {"input_ids": [5], "rid": "r" * 1000},
    "equal rids": {"input_ids": [[5], [6]], "rid": ["a", "a"]},
    "stream of text": {"input_ids": [5], "stream": "yes"},
    "parameters in a string": {"input_ids": [5], "sampling_params": "none"},
    "too many copies": {"input_ids": [5], "sampling_params": {"n": 513}},
    "too many completions": {"input_ids": [[5]] * 300, "sampling_params": {"n": 2}},
    "too many prompts": {"input_ids": [[5]] * 513},
} | {
    f"{name} {value!r}": {"input_ids": [5], "sampling_params": {name: value}}
    for name, value in [
        ("foo", 1),
        ("max_tokens", 3),
        ("max_new_tokens", -1),
        ("max_new_tokens", "3"),
        ("max_new_tokens", 1.5),
        ("temperature", -0.5),
        ("temperature", "hot"),
        ("temperature", 10**400),
        ("top_p", 2),
        ("top_p", 0),
        ("top_k", 0),
        ("top_k", -2),
        ("min_p", 1.1),
        ("n", 0),
        ("stop", 5),
        ("stop", [""]),
        ("stop", ["x"] * 65),
        ("stop_token_ids", [83]),
        ("stop_token_ids", 5),
        ("sampling_seed", -1),
        ("sampling_seed", 2**63),
        ("sampling_seed", "one"),
        ("frequency_penalty", 3),
        ("repetition_penalty", 1.2),
        ("json_schema", "{}"),
        ("min_new_tokens", 3),
        ("ignore_eos", 1),
    ]
}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", BAD)
def test_a_bad_value_is_refused_in_a_sentence_and_hurts_nobody(client, name, streamed):
    response = client.post("/generate", json={"stream": streamed} | BAD[name])
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/json"
    message = response.json()["error"]["message"]
    assert 10 < len(message) < 400
    assert client.get("/health").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{not json",
        b"[]",
        b"5",
        b"null",
        b'{"text": "\xff"}',
        b'{"text": "\\ud800"}',
        b"[" * 100_000,
        b"NaN",
    ],
)
@pytest.mark.parametrize("path", ["/generate", "/v1/chat/completions", "/abort_request"])
def test_a_body_that_is_no_request_is_refused(client, path, body):
    response = client.post(path, content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert "message" in (response.json().get("error") or response.json())


def test_a_body_too_large_is_refused(client):
    response = client.post("/generate", content=b" " * (4 * 2**20 + 1))
    assert response.status_code == 413
    assert "bytes" in response.json()["error"]["message"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = [
    "text", "input_ids", "sampling_params", "rid", "return_logprob", "logprob_start_len", "top_logprobs_num",
    "token_ids_logprob", "return_text_in_logprobs", "messages", "max_tokens", "temperature", "stop", "n",
    "model", "stream_options", "logprobs", "top_logprobs", "continue_final_message", "seed",
]  # fmt: skip
PARAMS = [
    "max_new_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "n",
    "stop",
    "stop_token_ids",
    "sampling_seed",
]


@given(
    fields=st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4),
    params=st.dictionaries(st.sampled_from(PARAMS), VALUES, max_size=2),
    base=st.sampled_from([{}, {"input_ids": [5, 6]}, {"messages": [{"role": "user", "content": "ab"}]}]),
    path=st.sampled_from(["/generate", "/v1/chat/completions"]),
)
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
def test_no_value_of_any_field_can_break_the_server(client, fields, params, base, path):
    body = base | ({"sampling_params": {"max_new_tokens": 2} | params} if params else {}) | fields
    response = client.post(path, content=json.dumps(body))
    assert response.status_code in (200, 400), response.text
    assert client.get("/health").status_code == 200


# ---------------------------------------------------------------------- in flight


def test_duplicate_rid_abort_and_queue(client):
    """One client streams; others meet its name, abort it, and find the queue full."""
    long = {"input_ids": PROMPT, "sampling_params": {"max_new_tokens": None, "ignore_eos": True}}
    with client.stream("POST", "/generate", json={**long, "rid": "mine", "stream": True}) as response:
        lines = response.iter_lines()
        next(lines)
        refused = client.post("/generate", json={**long, "rid": "mine"})
        assert refused.status_code == 400
        assert "mine" in refused.json()["error"]["message"]
        assert client.post("/abort_request", json={"rid": "nobody"}).status_code == 200
        assert client.post("/abort_request", json={"rid": "mine"}).status_code == 200
        rest = [line for line in lines if line]
    assert rest[-1] == "data: [DONE]"
    last = json.loads(rest[-2].removeprefix("data: "))["meta_info"]
    assert last["finish_reason"]["type"] in ("abort", "length")
    full = client.post("/generate", json={**long, "input_ids": [PROMPT] * 41})
    assert full.status_code == 503
    assert full.json()["message"] == "The request queue is full."
    assert client.post("/abort_request", json={"rid": 5}).status_code == 400


def test_abort_all_ends_everything_with_status_200(client):
    body = {
        "input_ids": [PROMPT] * 30,
        "sampling_params": {"max_new_tokens": None, "ignore_eos": True, "temperature": 1.0},
    }
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.post, "/generate", json=body)
        until(lambda: count_running(client)[0] > 0)
        assert client.post("/abort_request", json={"abort_all": True}).status_code == 200
        reasons = [part["meta_info"]["finish_reason"] for part in answer.result().json()]
    assert {"type": "abort", "message": "Aborted", "status_code": None, "err_type": None} in reasons
    assert count_running(client) == [0, 0]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_client_that_goes_away_frees_its_place(client, streamed):
    body = json.dumps(
        {
            "input_ids": [PROMPT] * 30,
            "stream": streamed,
            "sampling_params": {"max_new_tokens": None, "ignore_eos": True},
        }
    )
    before = aborted(client)
    with socket.create_connection(("127.0.0.1", client.base_url.port)) as connection:
        connection.sendall(
            f"POST /generate HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
        )
        if streamed:
            assert b"200 OK" in connection.recv(1000)
        until(lambda: count_running(client)[0] > 0)
    until(lambda: count_running(client) == [0, 0])
    assert aborted(client) > before


def aborted(client):
    (line,) = [x for x in client.get("/metrics").text.splitlines() if x.startswith("sglang:num_aborted")]
    return float(line.rsplit(" ", 1)[1])


def test_a_reader_that_stalls_does_not_hold_up_the_others(client):
    body = json.dumps(
        {
            "input_ids": [PROMPT] * 4,
            "stream": True,
            "return_logprob": True,
            "logprob_start_len": 0,
            "top_logprobs_num": 50,
            "sampling_params": {"max_new_tokens": None, "ignore_eos": True},
        }
    )
    with socket.create_connection(("127.0.0.1", client.base_url.port)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(
            f"POST /generate HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
        )
        assert len(generate(client)["output_ids"]) == 8
        until(lambda: count_running(client) == [0, 0])


def test_flush_is_refused_while_requests_run(client):
    body = {
        "input_ids": PROMPT,
        "stream": True,
        "sampling_params": {"max_new_tokens": None, "ignore_eos": True},
    }
    generate(client)
    assert generate(client)["meta_info"]["cached_tokens"] == 29
    assert client.get("/flush_cache").status_code == 200
    assert generate(client)["meta_info"]["cached_tokens"] == 0
    answers = []
    stop = threading.Event()

    def keep_busy():
        while not stop.is_set():
            with client.stream("POST", "/generate", json=body) as response:
                events(response)

    thread = threading.Thread(target=keep_busy)
    thread.start()
    until(lambda: answers.append(client.post("/flush_cache").status_code) or 400 in answers)
    stop.set()
    thread.join()


# ---------------------------------------------------------------------- chat

MESSAGES = [{"role": "user", "content": "".join(RAW[i] for i in PROMPT[:9]).strip()}]


def chat(client, expected=200, **fields):
    response = client.post(
        "/v1/chat/completions",
        json={"messages": MESSAGES, "max_tokens": 6, "seed": 1, "ignore_eos": True, **fields},
    )
    assert response.status_code == expected, response.text
    return response.json()


def test_chat_is_generate_over_the_rendered_conversation(client):
    whole = chat(client, model="whatever", logprobs=True, top_logprobs=2)
    assert whole["model"] == "whatever"
    (choice,) = whole["choices"]
    assert choice["finish_reason"] == "length"
    assert "".join(entry["token"] for entry in choice["logprobs"]["content"]) == choice["message"]["content"]
    assert all(len(entry["top_logprobs"]) == 2 for entry in choice["logprobs"]["content"])
    usage = whole["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + 6
    assert chat(client, max_completion_tokens=3)["usage"]["completion_tokens"] == 3
    parts = [{"role": "user", "content": [{"type": "text", "text": MESSAGES[0]["content"]}]}]
    assert chat(client, messages=parts)["choices"][0]["message"] == choice["message"]
    assert len({c["message"]["content"] for c in chat(client, n=3)["choices"]}) == 3


def test_a_final_assistant_message_is_continued_when_asked(client):
    begun = [*MESSAGES, {"role": "assistant", "content": RAW[7]}]
    closed = chat(client, messages=begun)["usage"]["prompt_tokens"]
    assert chat(client, messages=begun, continue_final_message=True)["usage"]["prompt_tokens"] == closed - 1
    assert chat(client, 400, continue_final_message=True)["object"] == "error"


def test_streamed_chat_adds_up_to_the_answer_in_one_piece(client):
    fields = {"messages": MESSAGES, "max_tokens": 30, "seed": 1, "ignore_eos": True, "logprobs": True}
    found = stream(client, "/v1/chat/completions", stream_options={"include_usage": True}, **fields)
    whole = chat(client, max_tokens=30, logprobs=True)
    choice = whole["choices"][0]
    deltas = [event["choices"][0] for event in found if event["choices"]]
    assert deltas[0]["delta"]["role"] == "assistant"
    assert "".join(d["delta"].get("content") or "" for d in deltas) == choice["message"]["content"]
    entries = [entry for d in deltas if d["logprobs"] for entry in d["logprobs"]["content"]]
    assert entries == choice["logprobs"]["content"]
    assert [d["finish_reason"] for d in deltas if d["finish_reason"]] == ["length"]
    assert found[-1]["usage"] == whole["usage"]
    assert len({event["id"] for event in found}) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": []},
        {"messages": None},
        {"messages": "hello"},
        {"messages": [{"role": "robot", "content": "x"}]},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        {"messages": [{"role": "user", "content": "ab " * 5000}]},
        {"max_tokens": -2},
        {"tools": [{"type": "function"}]},
        {"response_format": {"type": "json_object"}},
        {"top_logprobs": 500, "logprobs": True},
        {"n": 0},
        {"stream_options": "yes", "stream": True},
    ],
)
def test_bad_chats_are_refused_in_openais_shape(client, fields):
    error = chat(client, 400, **fields)
    assert error == {
        "object": "error",
        "message": error["message"],
        "type": "BadRequestError",
        "param": None,
        "code": 400,
    }


# ---------------------------------------------------------------------- about the server


def test_information(client, folder):
    for path in ("/get_server_info", "/server_info"):
        info = client.get(path).json()
        assert info["version"].startswith("atts-embedded-")
        assert (info["context_length"], info["vocab_size"], info["max_running_requests"]) == (200, 83, 4)
        assert info["model_path"] == str(folder)
        assert len(info["tokenizer_identity"]) == len(info["weights_sha256"]) == 64
        assert info["sampling_seed_supported"] is True
    for path in ("/get_model_info", "/model_info"):
        assert client.get(path).json()["is_generation"] is True
    (card,) = client.get("/v1/models").json()["data"]
    assert (card["id"], card["max_model_len"]) == ("tiny", 200)
    for path in ("/health", "/health_generate"):
        response = client.get(path)
        assert (response.status_code, response.content) == (200, b"")
    assert client.get("/metrics").headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_unknown_paths_and_methods(client):
    assert client.get("/nope").json() == {"detail": "Not Found"}
    assert client.get("/nope").status_code == 404
    assert client.get("/generate").status_code == 405
    assert client.get("/generate").json() == {"detail": "Method Not Allowed"}
