"""What leaves: every body that a server would die of is stopped, and the recorded requests are reproduced."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atts_core.serving.errors import ContextFull, InvalidRequest
from atts_core.serving.requests import Bounds, Checker, GenerateRequest, Sampling, new_rid

OLD = Bounds(vocab_size=437, context_length=2048, max_prompt=2042, sampling_seed=False, output_ids=False)
NEW = Bounds(vocab_size=437, context_length=2048, max_prompt=2042, sampling_seed=True, output_ids=True)


def checker(bounds: Bounds = OLD) -> Checker:
    return Checker(bounds, role="target", url="http://host:1")


def generation(bounds: Bounds = OLD, ids: Any = (1, 2, 3), **sampling: Any) -> dict[str, Any]:
    request = GenerateRequest(input_ids=ids, sampling=Sampling(**{"max_new_tokens": 8, **sampling}))
    body: dict[str, Any] = json.loads(checker(bounds).generation(request, stream=True, rid="r"))
    return body


@pytest.mark.parametrize(
    "ids",
    [(), (1, -1), (437,), (1, True), (1, 2.0), ("a",), "abc", (2**70,), (None,)],
)
def test_ids_that_kill_a_server_do_not_leave(ids: Any) -> None:
    with pytest.raises(InvalidRequest, match="not sent"):
        generation(ids=ids)
    if ids:
        with pytest.raises(InvalidRequest):
            checker().scoring((1,), ids, rid="r")
        with pytest.raises(InvalidRequest):
            checker().scoring(ids, (1,), rid="r")


def test_nothing_leaves_before_the_vocabulary_is_known() -> None:
    unknown = Bounds(vocab_size=None, context_length=9, max_prompt=9, sampling_seed=True, output_ids=True)
    with pytest.raises(InvalidRequest, match="vocabulary is not known"):
        generation(unknown)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_new_tokens", 0),
        ("max_new_tokens", -1),
        ("max_new_tokens", 1.5),
        ("max_new_tokens", True),
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("temperature", "1"),
        ("top_p", 0.0),
        ("top_p", 1.01),
        ("top_k", 0),
        ("top_k", -2),
        ("min_p", 1.1),
        ("frequency_penalty", 2.1),
        ("presence_penalty", -2.1),
        ("repetition_penalty", 0.0),
        ("min_new_tokens", 9),
        ("seed", -1),
        ("seed", 2**63),
        ("stop", ("",)),
        ("stop", ("a",) * 65),
        ("stop", (1,)),
        ("stop_token_ids", (437,)),
    ],
)
def test_a_sampling_parameter_out_of_range_does_not_leave(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequest, match="not sent"):
        generation(**{name: value})


@pytest.mark.parametrize("rid", ["", "é", "a\nb", ["x"], 7])
def test_a_bad_rid_does_not_leave(rid: Any) -> None:
    request = GenerateRequest(input_ids=(1,), sampling=Sampling(max_new_tokens=1))
    with pytest.raises(InvalidRequest):
        checker().generation(request, stream=False, rid=rid)


def test_the_context_limit_is_the_servers_equal_is_already_too_much() -> None:
    generation(ids=(1,) * 2039, max_new_tokens=8)
    with pytest.raises(ContextFull):
        generation(ids=(1,) * 2040, max_new_tokens=8)
    with pytest.raises(ContextFull):
        generation(ids=(1,) * 2043, max_new_tokens=1)
    checker().scoring((1,) * 2000, (1,) * 42, rid="r")
    with pytest.raises(ContextFull):
        checker().scoring((1,) * 2000, (1,) * 43, rid="r")


def test_an_old_server_gets_no_seed_and_is_asked_for_log_probabilities_to_learn_the_ids() -> None:
    old, new = generation(OLD, seed=5), generation(NEW, seed=5)
    assert "sampling_seed" not in old["sampling_params"]
    assert old["return_logprob"] is True
    assert new["sampling_params"]["sampling_seed"] == 5
    assert "return_logprob" not in new
    assert "logprob_start_len" not in old  # the default keeps the whole prefix reusable


@given(
    prefix=st.lists(st.integers(0, 436), min_size=1, max_size=40),
    step=st.lists(st.integers(0, 436), min_size=1, max_size=40),
)
def test_scoring_starts_one_before_the_step_and_inside_the_prompt(prefix: list[int], step: list[int]) -> None:
    body = json.loads(checker().scoring(prefix, step, rid="r"))
    assert body["input_ids"] == prefix + step
    assert body["logprob_start_len"] if len(prefix) > 1 else body.get("logprob_start_len", -1) == 0
    assert 0 <= body["logprob_start_len"] == len(prefix) - 1 < len(body["input_ids"])
    assert body["sampling_params"] == {"max_new_tokens": 1, "temperature": 0.0}


def test_an_empty_prefix_or_step_is_refused() -> None:
    for prefix, step in (((), (1,)), ((1,), ())):
        with pytest.raises(InvalidRequest):
            checker().scoring(prefix, step, rid="r")


def test_rids_are_unique() -> None:
    assert len({new_rid() for _ in range(1000)}) == 1000


def test_bodies_are_those_that_the_real_server_was_recorded_with(recorded: Any, release: str) -> None:
    bounds = NEW if release.startswith("0.5") else OLD
    prompt = [0, 278, 297, 300, 298, 302, 295, 269, 303, 301, 18]
    for name, sampling in (
        ("stream", Sampling(max_new_tokens=24, temperature=0.0)),
        ("stream_retracts", Sampling(max_new_tokens=40, temperature=0.0, stop=(" 10V br",))),
    ):
        wanted = recorded(release, name)["request"]["body"]
        request = GenerateRequest(input_ids=prompt, sampling=sampling)
        body = checker(bounds).generation(request, stream=True, rid=wanted["rid"])
        assert json.loads(body) == wanted
    wanted = recorded(release, "score")["request"]["body"]
    assert json.loads(checker(bounds).scoring(prompt[:5], prompt[5:], rid=wanted["rid"])) == wanted
