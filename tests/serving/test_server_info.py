"""What a server is, from what it says about itself."""

import json
from typing import Any

import pytest

from atts_core.serving.errors import ContextFull, NotSGLang
from atts_core.serving.server_info import ServerInfo, read_server, release_number


def read(server: Any = None, model: Any = None, models: Any = None) -> ServerInfo:
    encoded = [None if part is None else json.dumps(part).encode() for part in (server, model, models)]
    return read_server(role="draft", url="http://h:1", server=encoded[0], model=encoded[1], models=encoded[2])


def sglang(release: str, **more: Any) -> ServerInfo:
    return read({"version": release, "model_path": "/m", "max_req_input_len": 506, **more})


@pytest.mark.parametrize(
    ("release", "number"),
    [
        ("0.4.3.post4", (0, 4, 3)),
        ("0.4.10.post2", (0, 4, 10)),
        ("0.5.3rc0", (0, 5, 3)),
        ("v0.5.23", (0, 5, 23)),
        ("1.0", (1, 0, 0)),
        ("0.5.4.dev12+gabc", (0, 5, 4)),
        ("main", None),
        ("", None),
    ],
)
def test_release_numbers(release: str, number: Any) -> None:
    assert release_number(release) == number


@pytest.mark.parametrize(
    ("release", "seed", "abort", "ids", "note"),
    [
        ("0.4.3.post4", False, False, False, ""),
        ("0.4.6.post5", False, True, False, ""),
        ("0.4.10.post2", False, True, False, ""),
        ("0.5.2", False, True, True, ""),
        ("0.5.3", True, True, True, ""),
        ("0.5.23", True, True, True, ""),
        ("0.6.0", True, True, True, "newer than 0.5.23"),
        ("0.4.1", False, False, False, "older than 0.4.3"),
        ("nightly", True, True, False, "does not know"),
    ],
)
def test_features_by_release(release: str, seed: bool, abort: bool, ids: bool, note: str) -> None:
    flag = {"enable_deterministic_inference": False} if seed else {}
    info = sglang(release, **flag)
    found = info.features
    assert (found.sampling_seed, found.abort, found.output_ids) == (seed, abort, ids)
    assert note in "".join(info.notes)
    assert bool(info.notes) is bool(note)


def test_a_seed_counts_only_with_deterministic_inference() -> None:
    assert sglang("0.5.23", enable_deterministic_inference=True).features.seeded
    assert not sglang("0.5.23", enable_deterministic_inference=False).features.seeded
    assert not sglang("0.5.23").features.sampling_seed  # a fork without the flag has no parameter either


def test_the_embedded_pairs_server() -> None:
    info = read(
        {"version": "atts-embedded-0.1.0", "model_path": "/m", "context_length": 512, "vocab_size": 209},
        {"model_path": "/m", "tokenizer_path": "/t", "is_generation": True},
        {"data": [{"id": "atts-draft", "max_model_len": 512}]},
    )
    assert (info.kind, info.context_length, info.vocab_size, info.tokenizer_path) == (
        "embedded",
        512,
        209,
        "/t",
    )
    assert info.features.seeded
    assert info.notes == ()


def test_the_smallest_of_what_is_said_about_the_context_counts() -> None:
    assert sglang("0.4.3.post4").context_length == 512
    assert sglang("0.4.3.post4", context_length=300).context_length == 300
    info = read(
        {"version": "0.5.23", "model_path": "/m", "max_req_input_len": 2042},
        None,
        {"data": [{"id": "m", "max_model_len": 100}]},
    )
    assert info.context_length == 100


def test_room_for_new_tokens() -> None:
    info = sglang("0.4.3.post4")
    assert info.room(100, 50) == 50
    assert info.room(500, 50) == 11
    assert info.room(506, 50) == 5
    with pytest.raises(ContextFull):
        info.room(507, 50)  # longer than the longest prompt
    with pytest.raises(ContextFull):
        sglang("0.4.3.post4", context_length=300).room(299, 1)


def test_a_router_hides_its_workers() -> None:
    info = read(
        {"router_manager": True, "routers_count": 1, "workers_count": 2},
        {"model_path": "/m", "tokenizer_path": "/t", "is_generation": True},
        {"object": "list", "data": [{"id": "tiny", "owned_by": "local"}]},
    )
    assert (info.kind, info.model, info.model_path, info.context_length) == ("router", "tiny", "/m", None)
    assert not info.features.sampling_seed
    assert not info.features.output_ids
    assert "router" in info.notes[0]
    assert info.room(10**6, 50) == 50  # its workers check


def test_an_embedding_model_is_not_for_us() -> None:
    with pytest.raises(NotSGLang, match="does not generate"):
        read({"version": "0.5.23", "model_path": "/m"}, {"model_path": "/m", "is_generation": False})


@pytest.mark.parametrize(
    "server", [None, {}, [], {"version": 1}, {"version": "0.5"}, {"model_path": "/m"}, "x"]
)
def test_other_servers(server: Any) -> None:
    with pytest.raises(NotSGLang):
        read(server)


def test_hostile_values_are_left_out() -> None:
    info = sglang("0.5.23\x1b[2J", context_length=-5, vocab_size="many", enable_metrics="yes")
    assert info.release.isprintable()
    assert (info.context_length, info.vocab_size, info.metrics) == (512, None, None)
