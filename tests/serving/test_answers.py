"""What is believed: streams diffed into what is new, and nothing unusable passes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atts_core.serving import answers
from atts_core.serving.answers import (
    EventSplitter,
    GenerateUpdate,
    StreamReader,
    Unusable,
    generation,
    shared_prefix,
    step_score,
)

PROMPT = [0, 278, 297, 300, 298, 302, 295, 269, 303, 301, 18]


def event(
    text: str,
    ids: list[int],
    *,
    own: bool,
    finish: Any = None,
    logprobs: list[Any] | None = None,
    prompt: int = 3,
    **meta: Any,
) -> bytes:
    info = {"prompt_tokens": prompt, "completion_tokens": len(ids), "finish_reason": finish, **meta}
    if logprobs is not None or not own:
        values = logprobs if logprobs is not None else [-0.5] * len(ids)
        info["output_token_logprobs"] = [[v, i, None] for v, i in zip(values, ids, strict=True)]
    body: dict[str, Any] = {"text": text, "meta_info": info}
    if own:
        body["output_ids"] = ids
    return json.dumps(body).encode()


def reader(**options: Any) -> StreamReader:
    return StreamReader(**{"prompt_tokens": 3, "vocab_size": 500, "want_logprobs": False, **options})


def update(source: StreamReader, body: bytes) -> GenerateUpdate:
    found = source.update(body)
    assert isinstance(found, GenerateUpdate)
    return found


STEPS = st.lists(st.tuples(st.lists(st.integers(0, 499), max_size=4), st.text(max_size=6), st.integers(0, 5)))


@given(steps=STEPS, own=st.booleans(), spaced=st.booleans())
def test_updates_add_up_to_the_last_event(
    steps: list[tuple[list[int], str, int]], own: bool, spaced: bool
) -> None:
    source = reader()
    ids: list[int] = []
    text, got_ids, got_text = "", [], ""
    for new, more, cut in steps:
        ids = ids + new
        text = text[: max(len(text) - cut, 0)] + more
        body = event(text, ids, own=own)
        if not spaced:  # orjson, which SGLang answers with, writes no spaces
            body = json.dumps(json.loads(body), separators=(",", ":")).encode()
        found = update(source, body)
        got_ids += found.ids
        got_text = got_text[: len(got_text) - found.retracted] + found.text
        assert (got_ids, got_text, found.completion_tokens) == (ids, text, len(ids))


def test_an_id_whose_digits_begin_with_those_of_the_last_is_not_glued() -> None:
    source = reader()
    update(source, event("", [10], own=True))
    with pytest.raises(Unusable):
        update(source, event("", [105], own=True))  # another token where 10 was
    source = reader()
    assert update(source, event("", [1], own=True)).ids == [1]
    assert update(source, event("", [1, 12], own=True)).ids == [12]


def test_log_probabilities_come_with_their_ids() -> None:
    source = reader(want_logprobs=True)
    first = update(source, event("a", [7], own=True, logprobs=[-1.0]))
    second = update(source, event("ab", [7, 8, 9], own=True, logprobs=[-1.0, -2.0, 1e-7]))
    assert first.logprobs == [-1.0]
    assert second.ids == [8, 9]
    assert second.logprobs == [-2.0, 0.0]


def test_a_server_with_incremental_output_sends_pieces() -> None:
    source = reader(incremental_text=True)
    first = json.loads(event("ab", [1, 2], own=True))
    second = json.loads(event("c", [3], own=True))
    second["meta_info"]["completion_tokens"] = 3
    assert update(source, json.dumps(first).encode()).ids == [1, 2]
    found = update(source, json.dumps(second).encode())
    assert (found.ids, found.text, found.retracted) == ([3], "c", 0)


def test_a_server_with_stream_output_sends_pieces_of_ids_only() -> None:
    source = reader(incremental_ids=True)
    update(source, event("ab", [1, 2], own=True))
    second = json.loads(event("abc", [3], own=True))
    second["meta_info"]["completion_tokens"] = 3
    found = update(source, json.dumps(second).encode())
    assert (found.ids, found.text) == ([3], "c")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"garbage",
        b"[]",
        b'{"text":"x"}',
        b'{"text":5,"meta_info":{"prompt_tokens":3,"completion_tokens":0}}',
        b'{"text":"\xff","meta_info":{"prompt_tokens":3,"completion_tokens":0}}',
        b"[" * 100_000,
        event("", [1], own=True, prompt=4),
        event("", [500], own=True),
        event("", [-1], own=True),
        event("", [1], own=True).replace(b"[1]", b"[1.5]"),
        event("", [1], own=True).replace(b"[1]", b'["1"]'),
        event("", [1, 2], own=True).replace(b'"completion_tokens": 2', b'"completion_tokens": 3'),
        event("", [1], own=False).replace(b"[[-0.5, 1, null]]", b"[[-0.5]]"),
        event("", [1], own=True).replace(b"[1]", b"{}"),
    ],
)
def test_an_unusable_event_is_refused(body: bytes) -> None:
    with pytest.raises(Unusable):
        reader().update(body)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), float("-inf"), 0.5])
def test_a_log_probability_that_is_none_is_refused(value: float | None) -> None:
    body = event("", [1], own=True, logprobs=[value])
    with pytest.raises(Unusable):
        reader(want_logprobs=True).update(body)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), float("-inf"), 0.01])
def test_no_impossible_number_passes_as_a_log_probability(value: float | None) -> None:
    with pytest.raises(Unusable):
        answers.checked_logprob(value)


def test_counts_and_tokens_that_shrink_are_refused() -> None:
    source = reader()
    update(source, event("", [1, 2, 3], own=True))
    with pytest.raises(Unusable):
        source.update(event("", [1, 2], own=True))


def test_missing_log_probabilities_are_refused_where_asked_for() -> None:
    with pytest.raises(Unusable, match="missing"):
        reader(want_logprobs=True).update(event("", [1], own=True))


def test_an_aborted_request_ends_where_it_stood() -> None:
    source = reader()
    update(source, event("ab", [1, 2], own=True))
    body = json.dumps({"text": "", "meta_info": {"finish_reason": {"type": "abort", "message": "x"}}})
    found = update(source, body.encode())
    assert (found.ids, found.completion_tokens, found.finish and found.finish.type) == ([], 2, "abort")


@given(st.text(max_size=8), st.text(max_size=8))
def test_shared_prefix(a: str, b: str) -> None:
    at = shared_prefix(a, b)
    assert a[:at] == b[:at]
    assert at in (len(a), len(b)) or a[at] != b[at]


def score_body(values: list[Any], ids: list[int], prompt: int) -> bytes:
    meta = {
        "prompt_tokens": prompt,
        "completion_tokens": 1,
        "input_token_logprobs": [[v, i, None] for v, i in zip(values, ids, strict=True)],
        "output_token_logprobs": [[-1.0, 1, None]],
        "finish_reason": {"type": "length", "length": 1},
    }
    return json.dumps({"text": "x", "meta_info": meta}).encode()


def score(body: bytes, prefix: list[int], step: list[int]) -> tuple[float, ...]:
    return step_score(body, prefix, step, vocab_size=437, seconds=0.1).logprobs


def test_a_score_covers_exactly_the_step() -> None:
    assert score(score_body([None, -1.0, -2.0], [5, 6, 7], 4), [4, 5], [6, 7]) == (-1.0, -2.0)


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        ([None, -1.0], [5, 6]),
        ([None, -1.0, -2.0, -3.0], [5, 6, 7, 8]),
        ([-0.1, -1.0, -2.0], [5, 6, 7]),
        ([None, None, -2.0], [5, 6, 7]),
        ([None, -1.0, float("nan")], [5, 6, 7]),
        ([None, -1.0, float("-inf")], [5, 6, 7]),
        ([None, 0.1, -2.0], [5, 6, 7]),
        ([None, -1.0, -2.0], [5, 6, 8]),
        ([None, -1.0, -2.0], [5, 6, 0]),
    ],
)
def test_a_score_of_other_tokens_or_impossible_numbers_is_refused(values: list[Any], ids: list[int]) -> None:
    with pytest.raises(Unusable):
        score(score_body(values, ids, 4), [4, 5], [6, 7])


def test_a_score_without_its_list_names_the_router_that_drops_it() -> None:
    body = json.dumps({"text": "", "meta_info": {"prompt_tokens": 2}}).encode()
    with pytest.raises(Unusable, match=r"0\.1\.9"):
        score(body, [1], [2])


def test_the_last_id_of_the_vocabulary_may_be_reported_as_0(recorded: Any, release: str) -> None:
    exchange = recorded(release, "score_last_id")
    body = "".join(exchange["response"]["pieces"]).encode()
    logprobs = score(body, PROMPT, [436, 18, 436, 0])
    assert len(logprobs) == 4
    assert all(value < 0 for value in logprobs)
    with pytest.raises(Unusable):  # only that id
        score(body, PROMPT, [435, 18, 436, 0])


def test_a_recorded_score_is_the_same_on_all_releases(recorded: Any, releases: tuple[str, ...]) -> None:
    found = [
        score("".join(recorded(release, "score")["response"]["pieces"]).encode(), PROMPT[:5], PROMPT[5:])
        for release in releases
    ]
    assert len(found[0]) == 6
    assert max(max(values) - min(values) for values in zip(*found, strict=True)) < 1e-4


def test_a_recorded_whole_answer(recorded: Any, release: str) -> None:
    body = "".join(recorded(release, "whole")["response"]["pieces"]).encode()
    found = generation(body, prompt_tokens=11, vocab_size=437, want_logprobs=False)
    assert found.ids == [105, 110, 300, 121, 14, 65]
    assert (found.completion_tokens, found.finish.type) == (6, "length")
    with pytest.raises(Unusable, match="12 were sent"):
        generation(body, prompt_tokens=12, vocab_size=437, want_logprobs=False)


@given(st.lists(st.binary(max_size=20).filter(lambda b: not set(b) & {10, 13}), max_size=6), st.data())
def test_events_are_cut_alike_wherever_the_network_cuts(bodies: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(b"data: " + body + b"\n\n" for body in bodies)
    splitter = EventSplitter()
    found: list[bytes] = []
    at = 0
    while at < len(stream):
        end = data.draw(st.integers(at + 1, len(stream)))
        found += splitter.feed(stream[at:end])
        at = end
    assert found == bodies


def test_comments_line_ends_and_several_data_lines_of_an_event() -> None:
    splitter = EventSplitter()
    assert splitter.feed(b": ping\r\n\r\ndata: 1\r\n\r\nid: 4\ndata: a\ndata:b\n\n") == [b"1", b"a\nb"]


def test_an_endless_event_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "LARGEST_EVENT", 100)
    splitter = EventSplitter()
    splitter.feed(b"data: " + b"x" * 90)
    with pytest.raises(Unusable, match="MiB"):
        splitter.feed(b"y" * 20)
