"""Where run files live, what they are called, and how a user's word for one becomes a path."""

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import platformdirs

from atts_core.errors import SettingsError

SUFFIX = ".atts"
FOLDER_MODE = 0o700
"""Run files hold prompts and model text: they are their user's own."""
_BEGAN = re.compile(r"\d{8}-\d{6}-")
"""How the name of a run begins that was recorded here."""
_NAMED = 5
"""Runs named in a message at most."""


def runs_folder(given: str | Path | None = None, environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of run files: `given` (--runs-dir), else `runs` in `ATTS_HOME`, else the platform's place.

    Raises:
        SettingsError: there is something else where the folder should be.
    """
    if given:
        folder = Path(given).expanduser()
    elif environment.get("ATTS_HOME"):
        folder = Path(environment["ATTS_HOME"]).expanduser() / "runs"
    else:
        folder = platformdirs.user_data_path("atts") / "runs"
    if folder.exists() and not folder.is_dir():
        raise SettingsError(f"{folder} is no folder; name another one with --runs-dir.")
    return folder


def make_folder(folder: Path) -> None:
    """Make the folder, readable by its user only, where it does not exist.

    Raises:
        SettingsError: it cannot be made.
    """
    try:
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"The folder {folder} for run files cannot be made ({error.strerror}); name another one with"
            " --runs-dir."
        ) from None


def new_run(folder: Path, command: str, now: float) -> str:
    """An identity for a run begun at `now` (seconds since the epoch) that no file in the folder has yet."""
    name = f"{datetime.fromtimestamp(now, UTC):%Y%m%d-%H%M%S}-{command}"
    unique, number = name, 1
    while run_path(folder, unique).exists():
        number += 1
        unique = f"{name}-{number}"
    return unique


def run_path(folder: Path, run: str) -> Path:
    """Where the file of a run lies."""
    return folder / f"{run}{SUFFIX}"


def run_files(folder: Path) -> list[Path]:
    """All run files of a folder, newest first by when they began (their names say it), imported ones last.

    Raises:
        SettingsError: the folder cannot be read.
    """
    try:
        found = [path for path in folder.iterdir() if path.suffix == SUFFIX and path.is_file()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SettingsError(f"The folder {folder} cannot be read: {error.strerror}.") from None
    return sorted(found, key=lambda path: (_BEGAN.match(path.name) is not None, path.name), reverse=True)


def find_run(name: str | None, folder: Path) -> Path:
    """The file that a user means: a path, an identity, the unique beginning of one, or None for the newest.

    Raises:
        SettingsError: there is no such run, or several begin so.
    """
    if name:
        path = Path(name).expanduser()
        if path.is_file():
            return path
        if path.name != name:
            raise SettingsError(f"There is no run file {name}.")
    files = run_files(folder)
    if not files:
        raise SettingsError(f"There are no runs in {folder}; `atts demo` makes one.")
    if not name:
        return files[0]
    wanted = name.removesuffix(SUFFIX)
    same = [path for path in files if path.stem == wanted]
    found = same or [path for path in files if path.stem.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.stem for path in (found or files)[:_NAMED])
    if found:
        raise SettingsError(f"Several runs begin with {name}: {names}; say more of the name.")
    raise SettingsError(f"There is no run {name} in {folder}; the newest are {names}.")
