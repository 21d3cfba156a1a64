"""Calibration files: what goes in comes out, what cannot be is refused, nothing is half written."""

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from atts_core.conformal import (
    Calibration,
    Identity,
    check_identity,
    load_calibration,
    save_authors_file,
    save_calibration,
)
from atts_core.conformal.npy import replacing
from atts_core.errors import SettingsError

Make = Callable[..., Calibration]
KNOWN = Identity(
    draft_model="d", target_model="t", draft_tokenizer="1", target_tokenizer="2",
    dataset="math500", dataset_fingerprint="5", prompt_version="6", draft_tokens=500,
    target_tokens=500, temperature=0.8, stop_rule="boxed", takeover="continue",
)  # fmt: skip


def _files(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if entry.is_file()]


def _refused(path: Path, words: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_calibration(path)
    sentence = str(caught.value)
    assert words in sentence
    assert str(path) in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


def test_what_was_saved_is_loaded(tmp_path: Path, make_calibration: Make) -> None:
    made = make_calibration(identity=KNOWN)
    save_calibration(made, tmp_path / "a.npz")
    read = load_calibration(tmp_path / "a.npz")
    for name in ("ppl", "turn", "problem", "sample"):
        assert np.array_equal(getattr(read, name), getattr(made, name))
        assert getattr(read, name).dtype == getattr(made, name).dtype
    assert (read.problems, read.identity, read.fingerprint) == (made.problems, KNOWN, made.fingerprint)
    assert read.created
    assert read.version
    with np.load(tmp_path / "a.npz", allow_pickle=False) as plain:
        assert sorted(plain.files) == ["about", "ppl", "problem", "sample", "turn"]


def test_a_file_is_not_replaced_unless_told(tmp_path: Path, make_calibration: Make) -> None:
    path = tmp_path / "a.npz"
    save_calibration(make_calibration(), path)
    before = path.read_bytes()
    with pytest.raises(SettingsError, match="exists already and is left as it is"):
        save_calibration(make_calibration(seed=1), path)
    assert path.read_bytes() == before
    save_calibration(make_calibration(seed=1), path, overwrite=True)
    assert load_calibration(path).fingerprint == make_calibration(seed=1).fingerprint
    assert _files(tmp_path) == ["a.npz"]


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"before")

    def stops_halfway() -> None:
        with replacing(path, overwrite=True) as file:
            file.write(b"half")
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        stops_halfway()
    assert path.read_bytes() == b"before"
    assert _files(tmp_path) == ["a.npz"]
    with (
        pytest.raises(SettingsError, match="cannot be written"),
        replacing(tmp_path / "none" / "a.npz", overwrite=False),
    ):
        pass


def test_a_name_taken_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"

    def overtaken() -> None:
        with replacing(path, overwrite=False) as file:
            file.write(b"mine")
            path.write_bytes(b"theirs")

    with pytest.raises(SettingsError, match="exists already"):
        overtaken()
    assert path.read_bytes() == b"theirs"
    assert _files(tmp_path) == ["a.npz"]


def test_no_such_file(tmp_path: Path) -> None:
    _refused(tmp_path / "none.npz", "There is no calibration file")
    _refused(tmp_path, "cannot be read")


@pytest.mark.parametrize("content", [b"", b"hello", b"{}", b"PK", os.urandom(300)], ids=lambda c: str(c[:5]))
def test_foreign_bytes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    _refused(path, "no calibration file of atts")


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_truncated(tmp_path: Path, make_calibration: Make, share: float) -> None:
    path = tmp_path / "a.npz"
    save_calibration(make_calibration(), path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    _refused(path, "damaged or cut off")


def test_every_flipped_byte_is_noticed_or_harmless(tmp_path: Path, make_calibration: Make) -> None:
    good, path = tmp_path / "good.npz", tmp_path / "bad.npz"
    save_calibration(make_calibration(problems=2, samples=2, turns=1), good)
    expected, content = load_calibration(good), good.read_bytes()
    for at in range(0, len(content), 3):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
        try:
            read = load_calibration(path)
        except SettingsError:
            continue
        assert read.fingerprint == expected.fingerprint


def _npz(path: Path, about: dict[str, Any] | None = None, **arrays: Any) -> Path:
    members: dict[str, Any] = {
        "ppl": np.array([1.5, 1.6]),
        "turn": np.zeros(2, "<i4"),
        "problem": np.zeros(2, "<i4"),
        "sample": np.arange(2, dtype="<i4"),
    } | arrays
    told = {
        "format": "atts-calibration",
        "format_version": 1,
        "atts_version": "0",
        "created": "now",
        "fingerprint": "?",
        "problems": ["p"],
        "identity": {},
    } | (about or {})
    np.savez(path, about=np.frombuffer(json.dumps(told).encode(), np.uint8), **members)
    return path


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"ppl": np.array([1.5, np.nan])}, "1 scores of 2 that are NaN or infinite"),
        ({"ppl": np.array([np.inf, 2.0])}, "NaN or infinite"),
        ({"ppl": np.array([1.5, 0.5])}, "1 scores of 2 below 1, the smallest being 0.5"),
        ({"ppl": np.array([1.5, -2.0])}, "below 1"),
        ({"ppl": np.array([])}, "holds no scores"),
        ({"ppl": np.ones((1, 2))}, "a flat one of float64"),
        ({"ppl": np.ones(2, "f4")}, "a flat one of float64"),
        ({"turn": np.zeros(3, "<i4")}, "2 scores but a turn array of shape (3,)"),
        ({"turn": np.full(2, -1, "<i4")}, "negative turn"),
        ({"problem": np.ones(2, "<i4")}, "does not name every problem"),
        ({}, "are not those it was written with"),
    ],
    ids=str,
)
def test_contents_that_cannot_be(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    _refused(_npz(tmp_path / "a.npz", **arrays), words)


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"format": "other"}, "no calibration file of atts"),
        (
            {"format_version": 2, "atts_version": "9.9"},
            "has format 2, made by atts 9.9; this atts reads format 1",
        ),
        ({"identity": {"draft_tokens": "many"}}, "does not describe itself"),
        ({"problems": 3}, "does not describe itself"),
        ({"extra": 3}, "does not describe itself"),
    ],
    ids=str,
)
def test_descriptions_that_cannot_be(tmp_path: Path, about: dict[str, Any], words: str) -> None:
    _refused(_npz(tmp_path / "a.npz", about), words)


def _with_member(path: Path, name: str, content: bytes) -> Path:
    _npz(path)
    with zipfile.ZipFile(path) as old:
        members = {info.filename: old.read(info) for info in old.infolist()}
    members[name] = content
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for key, value in members.items():
            new.writestr(key, value)
    return path


def test_a_header_that_claims_a_petabyte_costs_nothing(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**14,)})
    _refused(
        _with_member(tmp_path / "a.npz", "ppl.npy", header.getvalue()), "claims 100,000,000,000,000 entries"
    )
    flat = tmp_path / "flat.npy"
    flat.write_bytes(header.getvalue())
    _refused(flat, "claims 100,000,000,000,000 entries")


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    good = _npz(tmp_path / "good.npz")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new, zipfile.ZipFile(good) as old:
        for name in ("about.npy", "turn.npy", "problem.npy", "sample.npy"):
            new.writestr(name, old.read(name))
        with new.open("ppl.npy", "w") as member:
            for _ in range(200):
                member.write(b"\0" * 1_000_000)
    assert path.stat().st_size < 1_000_000
    _refused(path, "claims 200,000,000 bytes of ppl")


def test_a_pickle_in_our_file_is_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    np.lib.format.write_array(content, np.array([{"a": 1}], dtype=object))
    _refused(_with_member(tmp_path / "a.npz", "ppl.npy", content.getvalue()), "not plain numbers")


def test_identities_that_differ_are_named(make_calibration: Make) -> None:
    run = msgspec.structs.replace(KNOWN, draft_model="other", temperature=0.6)
    assert check_identity(KNOWN, KNOWN) == []
    (warning,) = check_identity(KNOWN, run)
    assert "the draft model (calibrated with 'd', the run uses 'other')" in warning
    assert "the temperature (calibrated with 0.8, the run uses 0.6)" in warning
    with pytest.raises(SettingsError, match="the draft model"):
        check_identity(KNOWN, run, strict=True)


def test_what_a_file_does_not_say_is_named() -> None:
    (warning,) = check_identity(msgspec.structs.replace(KNOWN, prompt_version=None), KNOWN)
    assert "does not say the prompt" in warning


def test_first_steps_do_not_depend_on_the_target_writing() -> None:
    first = msgspec.structs.replace(KNOWN, takeover="none")
    run = msgspec.structs.replace(KNOWN, takeover="rewrite", target_tokens=100)
    assert check_identity(first, run) == []
    assert "the take-over variant" in check_identity(KNOWN, run)[0]


# The authors' files


def test_flat_and_per_question_load_the_same(tmp_path: Path) -> None:
    scores = 1 + np.random.default_rng(0).gamma(2, 0.3, (5, 16))
    np.save(tmp_path / "flat.npy", scores.ravel())
    np.save(tmp_path / "table.npy", scores)
    np.save(
        tmp_path / "pickled.npy",
        np.array({q: list(row) for q, row in reversed(list(enumerate(scores)))}, dtype=object),
        allow_pickle=True,
    )
    flat, table, pickled = (
        load_calibration(tmp_path / f"{name}.npy") for name in ("flat", "table", "pickled")
    )
    assert flat.fingerprint == table.fingerprint == pickled.fingerprint
    assert flat.problems == ("0", "1", "2", "3", "4")
    assert np.array_equal(flat.scores_of("3"), scores[3])
    assert flat.identity.takeover == "none"
    assert len(load_calibration(tmp_path / "flat.npy", samples=8).problems) == 10


@pytest.mark.parametrize("per_question", [False, True])
def test_saved_in_the_authors_layout(tmp_path: Path, make_calibration: Make, per_question: bool) -> None:
    made = make_calibration(turns=2)
    save_authors_file(made, tmp_path / "a.npy", per_question=per_question)
    read = np.load(tmp_path / "a.npy", allow_pickle=False)
    first = made.ppl[made.turn == 0]
    assert read.shape == ((6, 4) if per_question else (24,))
    assert np.array_equal(read.ravel(), first)
    assert len(load_calibration(tmp_path / "a.npy", samples=4).problems) == 6
    with pytest.raises(SettingsError, match="exists already"):
        save_authors_file(made, tmp_path / "a.npy")
    with pytest.raises(SettingsError, match="same number of turn-0 scores"):
        save_authors_file(made.select(np.arange(len(made)) > 0), tmp_path / "b.npy")


def test_every_published_array_loads(data: Path) -> None:
    index = json.loads((data / "index.json").read_text())
    assert len(index["arrays"]) == 30
    for entry in index["arrays"]:
        samples = 4 if "s4" in entry["file"] else 16
        read = load_calibration(data / entry["file"], samples)
        assert len(read) == np.prod(entry["shape"])
        assert read.ppl.min() == entry["min"]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([]), "holds no scores"),
        (np.ones((2, 0)), "shape (2, 0)"),
        (np.ones((2, 2, 2)), "shape (2, 2, 2)"),
        (np.ones(17), "are not 16 for every problem"),
        (np.array(1.5), "shape ()"),
        (np.array([1.5, np.nan] * 8), "8 scores of 16 that are NaN or infinite"),
        (np.zeros(16), "below 1"),
        (np.array(["a"] * 16), "not plain numbers"),
        (np.ones(16, complex), "not plain numbers"),
        (np.ones(16, [("a", "f8")]), "not plain numbers"),
    ],
    ids=lambda value: (getattr(value, "shape", None) and str(value.dtype)) or None,
)
def test_arrays_of_theirs_that_cannot_be(tmp_path: Path, array: Any, words: str) -> None:
    np.save(tmp_path / "a.npy", array)
    _refused(tmp_path / "a.npy", words)


def test_theirs_cut_off_or_longer_than_said(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.full(32, 1.5))
    content = path.read_bytes()
    path.write_bytes(content[:-9])
    _refused(path, "is cut off")
    path.write_bytes(content + b"x")
    _refused(path, "goes on after its array")
    path.write_bytes(content[:20])
    _refused(path, "not a numpy array file")


class _Runs:
    def __init__(self, told: Path) -> None:
        self._told = told

    def __reduce__(self) -> Any:
        return (Path.touch, (self._told,))


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_would_run_something_is_refused_and_does_not(tmp_path: Path, protocol: int) -> None:
    told = tmp_path / "ran"
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": "|O", "fortran_order": False, "shape": ()})
    path = tmp_path / "a.npy"
    path.write_bytes(content.getvalue() + pickle.dumps({0: _Runs(told)}, protocol))
    sentence = _refused(path, "nothing of it was executed")
    assert "asks for" in sentence
    assert not told.exists()
    pickle.loads(pickle.dumps({0: _Runs(told)}, protocol))  # noqa: S301 - that the pickle is a real one
    assert told.exists()
