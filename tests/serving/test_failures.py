"""Every shape of an error body, and when a request may be repeated."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atts_core.errors import AttsError
from atts_core.serving import errors
from atts_core.serving.answers import Finish, StreamedError
from atts_core.serving.failures import aborted, refusal, server_words, stream_refusal
from atts_core.serving.retries import Retries

WHERE: dict[str, Any] = {"role": "target", "url": "http://h:1"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "too long"}}, "too long"),
        ({"error": {"message": "m", "type": "t", "code": 400}}, "m"),
        ({"error": "unknown field `foo`"}, "unknown field `foo`"),
        ({"object": "error", "message": "bad", "type": "BadRequestError", "code": 400}, "bad"),
        (
            {"detail": [{"loc": ["body", "text", 0], "msg": "a string", "input": "SECRET"}, {"msg": "b"}]},
            "body.text.0: a string; b",
        ),
        ({"detail": "Not Found"}, "Not Found"),
        ("plain", "plain"),
        ({"detail": [1, None]}, ""),
        ({"error": 5}, ""),
        ([], ""),
    ],
)
def test_shapes(body: Any, words: str) -> None:
    assert server_words(json.dumps(body).encode()) == words


def test_plain_text_and_what_is_not_text() -> None:
    assert server_words(b"Internal Server Error") == "Internal Server Error"
    assert server_words(b"") == ""
    assert server_words(b"\x1b[31mred\xff\x00\r\n") == "[31mred\ufffd"
    assert server_words(b"[" * 100_000).startswith("[[[")


@given(st.binary(max_size=4000), st.integers(400, 599))
def test_any_body_gives_one_printable_sentence(body: bytes, status: int) -> None:
    found = refusal(status, body, **WHERE)
    assert isinstance(found, AttsError)
    assert str(found).isprintable()
    assert len(str(found)) < 600


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (400, errors.RequestRefused, False),
        (422, errors.RequestRefused, False),
        (404, errors.RequestRefused, False),
        (401, errors.KeyRefused, False),
        (403, errors.KeyRefused, False),
        (429, errors.ServerBusy, True),
        (503, errors.ServerBusy, True),
        (500, errors.ServerFailed, True),
        (502, errors.ServerFailed, True),
    ],
)
def test_kinds_by_status(status: int, kind: type, retryable: bool) -> None:
    found = refusal(status, b"", **WHERE)
    assert type(found) is kind
    assert found.retryable is retryable


def test_errors_inside_a_stream() -> None:
    assert type(stream_refusal(StreamedError(message="m"), **WHERE)) is errors.RequestRefused
    assert type(stream_refusal("m", **WHERE)) is errors.RequestRefused
    assert type(stream_refusal(StreamedError(message="m", code=503), **WHERE)) is errors.ServerBusy
    assert stream_refusal(StreamedError(message="m", code=500, retryable=False), **WHERE).retryable is False
    assert type(stream_refusal(StreamedError(message="m", code="x"), **WHERE)) is errors.RequestRefused


def test_aborts() -> None:
    assert type(aborted(Finish("abort", message="m"), **WHERE)) is errors.ServerFailed
    assert type(aborted(Finish("abort", message="m", status_code=400), **WHERE)) is errors.RequestRefused


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_delays_grow_to_a_limit(attempt: int, drawn: float) -> None:
    retries = Retries(attempts=9, first=0.5, most=10.0)
    delay = retries.delay(attempt, lambda: drawn)
    assert 0.25 <= delay <= 10.0
    assert delay <= retries.delay(attempt + 1, lambda: drawn)
