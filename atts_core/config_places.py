"""Where settings are said: `atts.toml` and variables, decoded into structs; messages name the place."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

import msgspec
import platformdirs

from atts_core.errors import SettingsError

T = TypeVar("T", bound=msgspec.Struct)

OTHER_VARIABLES = {
    "ATTS_CONFIG",
    "ATTS_HOME",
    "ATTS_API_KEY",
    "ATTS_DRAFT_API_KEY",
    "ATTS_TARGET_API_KEY",
    "ATTS_JUDGE_API_KEY",
    "ATTS_DETACHED",
    "ATTS_REAL_SGLANG_DRAFT",
    "ATTS_REAL_SGLANG_TARGET",
    "ATTS_REAL_SGLANG_RELEASE",
    "ATTS_REAL_SGLANG_PROBLEMS",
    "ATTS_REAL_SGLANG_FAULTS",
    "ATTS_REAL_SGLANG_HOME",
}
"""Variables of ours that are no settings; any other `ATTS_…` is a slip and refused."""


def config_path(environment: Mapping[str, str]) -> Path | None:
    """The file that `ATTS_CONFIG` names, or `./atts.toml`, or that of the user's configuration folder.

    Raises:
        SettingsError: `ATTS_CONFIG` names no file.
    """
    named = environment.get("ATTS_CONFIG")
    if named:
        if not Path(named).is_file():
            raise SettingsError(f"ATTS_CONFIG names {named}, but there is no such file.")
        return Path(named)
    for folder in (Path(), Path(platformdirs.user_config_dir("atts"))):
        if (folder / "atts.toml").is_file():
            return folder / "atts.toml"
    return None


def from_file(path: Path, kind: type[T]) -> T:
    """What a file says.

    Raises:
        SettingsError: it cannot be read, a key is unknown, or a value is of a wrong kind.
    """
    try:
        return msgspec.toml.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not a text file in UTF-8.") from None
    except (msgspec.DecodeError, ValueError) as error:
        words = str(error).replace(" | null", "").replace(" - at `$.", " at `").replace("`$`", "the top")
        raise SettingsError(f"{path}: {words}.") from None


def from_environment(environment: Mapping[str, str], kind: type[T], *, not_there: frozenset[str]) -> T:
    """What variables say: `ATTS_` and a field's name in capitals, but for the fields that are `not_there`.

    Raises:
        SettingsError: a variable of ours means nothing, or its value is of a wrong kind.
    """
    said_there = {}
    names = [name for name in kind.__struct_fields__ if name not in not_there]
    known = {f"ATTS_{name.upper()}" for name in names} | OTHER_VARIABLES
    for variable in environment:
        if variable.startswith("ATTS_") and variable not in known:
            near = get_close_matches(variable, known, n=1)
            meant = f"; is {near[0]} meant?" if near else "."
            raise SettingsError(f"The variable {variable} means nothing to atts{meant}")
    for name in names:
        value = environment.get(f"ATTS_{name.upper()}")
        if value:
            said_there[name] = value
    try:
        return msgspec.convert(said_there, kind, strict=False)
    except msgspec.ValidationError as error:
        wanted, _, place = str(error).partition(" - at `$.")
        field = place.rstrip("`")
        wanted = wanted.replace(" | null", "")
        raise SettingsError(f"ATTS_{field.upper()}={said_there.get(field, '')}: {wanted}.") from None
