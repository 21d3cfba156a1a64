"""Framing of bodies, wherever the network cuts them, and the clock of a request."""

import asyncio
from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atts_core.serving.connection import Patience, _Connection, _Framing


def framing(*headers: tuple[str, str], status: int = 200, method: bytes = b"GET") -> _Framing:
    return _Framing(method, h11.Response(status_code=status, headers=list(headers)))


CHUNKED = ("Transfer-Encoding", "chunked")


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=5),
    trailer=st.sampled_from([b"", b"X-T: 1\r\n"]),
    data=st.data(),
)
def test_chunks_come_out_whole_wherever_they_are_cut(chunks: list[bytes], trailer: bytes, data: Any) -> None:
    wire = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(c), c) for c in chunks) + b"0\r\n" + trailer + b"\r\n"
    frame = framing(CHUNKED)
    rest = out = b""
    at = 0
    while at < len(wire):
        assert not frame.done
        end = data.draw(st.integers(at + 1, len(wire)))
        piece, rest = frame.take(rest + wire[at:end])
        out += piece
        at = end
    assert out == b"".join(chunks)
    assert frame.done
    assert not rest


def test_what_follows_an_answer_is_not_part_of_it() -> None:
    frame = framing(("Content-Length", "3"))
    assert frame.take(b"abcHTTP/1.1") == (b"abc", b"HTTP/1.1")
    assert frame.done


def test_bodies_that_are_empty() -> None:
    assert framing(("Content-Length", "0")).done
    assert framing(CHUNKED, status=204).done
    assert framing(("Content-Length", "9"), method=b"HEAD").done


@pytest.mark.parametrize(
    "wire",
    [
        b"zz\r\n",
        b"-1\r\n",
        b"+1\r\na\r\n",
        b"1_0\r\n",
        b"0x1\r\na",
        b"\r\n",
        b"1\r\nabc",
        b"f" * 17 + b"\r\n",
    ],
)
def test_bad_chunks(wire: bytes) -> None:
    with pytest.raises(ValueError, match="chunk"):
        framing(CHUNKED).take(wire)


def test_endless_sizes_and_trailers() -> None:
    with pytest.raises(ValueError, match="no size"):
        framing(CHUNKED).take(b"1" * 300)
    with pytest.raises(ValueError, match="trailers"):
        framing(CHUNKED).take(b"0\r\n" + b"X" * 70_000)


async def test_a_reader_that_is_busy_does_not_make_the_server_late() -> None:
    """The clock runs out for the server only while somebody waits for it."""
    connection = _Connection(asyncio.get_running_loop(), memoryview(bytearray(64)))
    patience = Patience(connect=1, first=5, between=5, total=1000)
    now = asyncio.get_running_loop().time()
    connection._patience, connection._deadline = patience, now + 1000
    connection._silent_since = now - 100
    connection._tick()  # nobody waits: our own reader is at work
    assert patience.ran_out is None
    waiting = asyncio.ensure_future(connection.more())
    await asyncio.sleep(0)
    connection._silent_since = now - 100
    connection._tick()
    assert patience.ran_out == "first token"
    with pytest.raises(Exception, match="closed"):
        await waiting
