"""Reads .npy without executing or over-allocating anything: header first, checked, then exactly its bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import IO

import numpy as np
from numpy.typing import NDArray

from atts_core.errors import SettingsError


def read_header(file: IO[bytes], source: str) -> tuple[tuple[int, ...], bool, "np.dtype[np.generic]"]:
    """(shape, Fortran order, dtype) of an .npy stream, left at its data; SettingsError for no .npy."""
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            return np.lib.format.read_array_header_1_0(file)
        if version == (2, 0):
            return np.lib.format.read_array_header_2_0(file)
    except (ValueError, EOFError, UnicodeDecodeError) as error:
        raise SettingsError(f"{source} is not a numpy array file ({_first_line(error)}).") from None
    raise SettingsError(f"{source} is a numpy file of version {version}, which no calibration uses.")


def read_data(
    file: IO[bytes],
    header: tuple[tuple[int, ...], bool, "np.dtype[np.generic]"],
    most: int,
    source: str,
) -> NDArray[np.generic]:
    """The array that `header` announces, of at most `most` plain numbers, with nothing after it."""
    shape, fortran, dtype = header
    if dtype.kind not in "fiu":
        raise SettingsError(f"{source} holds {dtype}, not plain numbers.")
    count = 1
    for length in shape:
        count *= length
    if count > most:
        raise SettingsError(f"{source} claims {count:,} entries; at most {most:,} are read.")
    data = file.read(count * dtype.itemsize)
    if len(data) != count * dtype.itemsize:
        raise SettingsError(
            f"{source} is cut off: {len(data):,} bytes of {count * dtype.itemsize:,} are there."
        )
    if file.read(1):
        raise SettingsError(f"{source} goes on after its array; it is not a calibration file.")
    return np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if fortran else "C")


@contextmanager
def replacing(path: Path, *, overwrite: bool) -> Iterator[IO[bytes]]:
    """A file beside `path` that takes its place once everything is written: never a part of one.

    SettingsError where `path` exists and `overwrite` is not set, or where it cannot be written.
    """
    taken = f"{path} exists already and is left as it is; name another file, or say that it may be replaced."
    if path.exists() and not overwrite:
        raise SettingsError(taken)
    part = path.with_name(f".{path.name}.{token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield file
        if overwrite:
            part.replace(path)
        else:
            # A link fails where the name was taken meanwhile, where a rename would replace without a word.
            path.hardlink_to(part)
    except FileExistsError:
        raise SettingsError(taken) from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror or error}.") from None
    finally:
        part.unlink(missing_ok=True)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
