"""Our calibration file: one compressed .npz without pickle, which says what its scores are."""

import zipfile
import zlib
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

import atts_core
from atts_core.conformal.authors_files import AUTHORS_SAMPLES, load_authors_file
from atts_core.conformal.calibration import MOST_SCORES, Calibration
from atts_core.conformal.identity import Identity
from atts_core.conformal.npy import read_data, read_header, replacing
from atts_core.errors import SettingsError

FORMAT = "atts-calibration"
FORMAT_VERSION = 1
_ARRAYS = {"ppl": "<f8", "turn": "<i4", "problem": "<i4", "sample": "<i4"}
_MOST_ABOUT = 64_000_000
"""Bytes of the JSON member: ids of a million problems fit many times over."""


class _About(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The JSON member `about` of the file, as bytes."""

    format: str
    format_version: int
    atts_version: str
    created: str
    fingerprint: str
    problems: list[str]
    identity: Identity


def save_calibration(calibration: Calibration, path: Path, *, overwrite: bool = False) -> None:
    """Writes the file in one step: a reader sees the old file or the whole new one, never a part.

    `created` and `version` are filled in where the calibration does not have them. SettingsError where the
    file exists and `overwrite` is not set, or where the folder cannot be written.
    """
    about = _About(
        format=FORMAT,
        format_version=FORMAT_VERSION,
        atts_version=calibration.version or atts_core.__version__,
        created=calibration.created or datetime.now(UTC).isoformat(timespec="seconds"),
        fingerprint=calibration.fingerprint,
        problems=list(calibration.problems),
        identity=calibration.identity,
    )
    members: dict[str, NDArray[np.generic]] = {
        name: getattr(calibration, name).astype(kind) for name, kind in _ARRAYS.items()
    }
    members["about"] = np.frombuffer(msgspec.json.encode(about), dtype=np.uint8)
    with replacing(path, overwrite=overwrite) as file:
        np.savez_compressed(file, **members)  # type: ignore[arg-type]  # numpy types its keywords as one flag


def load_calibration(path: Path, samples: int = AUTHORS_SAMPLES) -> Calibration:
    """Reads our file, or one of the authors' .npy files (of `samples` a question, where it is flat).

    SettingsError, one sentence, for a missing, truncated, altered or foreign file.
    """
    if path.is_file() and _begins(path, b"\x93NUMPY"):
        return load_authors_file(path, samples)
    foreign = f"{path} is no calibration file of atts; make one with `atts calibrate`."
    try:
        with zipfile.ZipFile(path) as archive:
            names = {f"{name}.npy" for name in (*_ARRAYS, "about")}
            if not names <= set(archive.namelist()):
                raise SettingsError(foreign)
            raw = _member(archive, "about", _MOST_ABOUT, path)
            arrays = {name: _member(archive, name, MOST_SCORES, path) for name in _ARRAYS}
    except FileNotFoundError:
        raise SettingsError(f"There is no calibration file {path}; make one with `atts calibrate`.") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror or error}.") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError):
        if _begins(path, b"PK\x03\x04"):
            raise SettingsError(f"{path} is damaged or cut off; copy it again, or calibrate again.") from None
        raise SettingsError(foreign) from None
    try:
        about = msgspec.json.decode(raw.tobytes(), type=_About)
    except msgspec.MsgspecError as error:
        raise SettingsError(f"{path} does not describe itself as a calibration file does: {error}.") from None
    if about.format != FORMAT:
        raise SettingsError(foreign)
    if about.format_version != FORMAT_VERSION:
        raise SettingsError(
            f"{path} has format {about.format_version}, made by atts {about.atts_version}; this atts reads"
            f" format {FORMAT_VERSION}: calibrate again, or use that atts."
        )
    calibration = Calibration(
        ppl=arrays["ppl"].astype(np.float64),
        turn=arrays["turn"].astype(np.int32),
        problem=arrays["problem"].astype(np.int32),
        sample=arrays["sample"].astype(np.int32),
        problems=tuple(about.problems),
        identity=about.identity,
        created=about.created,
        version=about.atts_version,
        source=str(path),
    )
    if calibration.fingerprint != about.fingerprint:
        raise SettingsError(
            f"The scores in {path} are not those it was written with (fingerprint {calibration.fingerprint},"
            f" written {about.fingerprint}); calibrate again."
        )
    return calibration


def _member(archive: zipfile.ZipFile, name: str, most: int, path: Path) -> NDArray[np.generic]:
    info = archive.getinfo(f"{name}.npy")
    kind = np.dtype(_ARRAYS.get(name, "u1"))
    # The declared size is checked first: a small file can unpack to terabytes.
    if info.file_size > most * kind.itemsize + 65536:
        raise SettingsError(
            f"{path} claims {info.file_size:,} bytes of {name}, which is no calibration's size."
        )
    with archive.open(info) as member:
        array = read_data(member, read_header(member, f"{name} in {path}"), most, f"{name} in {path}")
    if array.dtype != kind or array.ndim != 1:
        raise SettingsError(
            f"{name} in {path} is an array of {array.dtype} with shape {array.shape}, where a flat one"
            f" of {kind} belongs; calibrate again."
        )
    return array


def _begins(path: Path, magic: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(magic)) == magic
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror or error}.") from None
