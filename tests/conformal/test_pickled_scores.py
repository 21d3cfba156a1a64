"""The pickle reader: numbers come out as Python would read them, everything else is refused."""

import collections
import fractions
import io
import os
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atts_core.conformal.pickled_scores import read_pickled_scores
from atts_core.errors import SettingsError

_numbers = st.lists(st.floats(allow_nan=False) | st.integers(-(2**70), 2**70), max_size=8)


@given(scores=st.dictionaries(st.integers(0, 10**6), _numbers, max_size=5), protocol=st.integers(0, 5))
def test_dictionaries_of_numbers(scores: dict[int, list[float]], protocol: int) -> None:
    read = read_pickled_scores(pickle.dumps(scores, protocol), "a.npy")
    assert read == {str(key): [float(value) for value in own] for key, own in scores.items()}


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize(
    "own",
    [
        [np.float64(1.5), np.float32(2.5), np.int64(3)],
        np.array([1.5, 2.5]),
        np.array([1.5, 2.5], "f4"),
        np.array([1.5, 2.5], ">f8"),
        (1.5, 2.5),
        [],
    ],
    ids=str,
)
def test_numbers_of_numpy(own: Any, protocol: int) -> None:
    read = read_pickled_scores(pickle.dumps({0: own, "q": [1.0]}, protocol), "a.npy")
    assert read == {"0": [float(value) for value in own], "q": [1.0]}


def test_as_numpy_saves_it() -> None:
    content = io.BytesIO()
    np.lib.format.write_array(content, np.array({3: [np.float64(1.5)], 1: [2.0]}, dtype=object))
    data = content.getvalue()
    pickled = data[data.index(b"\n") + 1 :]
    assert read_pickled_scores(pickled, "a.npy") == {"3": [1.5], "1": [2.0]}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "value",
    [
        {0: [os.getcwd]},
        {0: collections.OrderedDict()},
        {0: [fractions.Fraction(1, 2)]},
        {0: [np.random.default_rng]},
        collections.deque([1.0]),
    ],
    ids=str,
)
def test_anything_that_names_something_else_is_refused(value: Any, protocol: int) -> None:
    with pytest.raises(SettingsError, match=r"a\.npy holds a pickle that .* nothing of it was executed"):
        read_pickled_scores(pickle.dumps(value, protocol), "a.npy")


@pytest.mark.parametrize(
    "value",
    [[1.0], 1.5, None, {0: 1.5}, {0: ["a"]}, {0: [True]}, {0: [[1.0]]}, {1.5: [1.0]}, {0: {1: 2}}],
    ids=str,
)
def test_other_plain_data_is_refused(value: Any) -> None:
    with pytest.raises(SettingsError, match="damaged or foreign pickle"):
        read_pickled_scores(pickle.dumps(value), "a.npy")


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for pickled in (data, data + b".", b"\x80\x04" + data):
        try:
            read_pickled_scores(pickled, "a.npy")
        except SettingsError:
            continue


@given(at=st.integers(0, 400), value=st.integers(0, 255))
def test_a_damaged_pickle_is_read_or_refused(at: int, value: int) -> None:
    data = bytearray(pickle.dumps({0: [1.5, np.float64(2.5)], 1: np.array([1.0, 2.0])}, 4))
    data[at % len(data)] = value
    try:
        read_pickled_scores(bytes(data), "a.npy")
    except SettingsError:
        return


def test_a_list_that_holds_itself_is_refused() -> None:
    own: list[Any] = []
    own.append(own)
    with pytest.raises(SettingsError, match="pickle"):
        read_pickled_scores(pickle.dumps({0: own}), "a.npy")


def test_one_list_named_a_million_times_is_not_copied() -> None:
    own = [1.5] * 100_000
    with pytest.raises(SettingsError, match="more than 2,000,000 numbers"):
        read_pickled_scores(pickle.dumps(dict.fromkeys(range(1000), own)), "a.npy")
