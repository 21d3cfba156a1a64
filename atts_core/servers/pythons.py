"""Which Python has sglang, and of what release. It is asked, never imported."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from atts_core.errors import SettingsError
from atts_core.serving.server_info import release_number
from atts_core.serving.wording import readable

OLDEST: Final = (0, 4, 3)
DETERMINISTIC_SINCE: Final = (0, 5, 3)
"""`--enable-deterministic-inference` came with it."""
ROUTER_SINCE: Final = (0, 3, 2)
"""Routers before it drop `logprob_start_len`: every verification would come back without its scores."""
_PATIENCE: Final = 60.0
_QUESTION: Final = """
import importlib.metadata as m, json
def version(name):
    try:
        return m.version(name)
    except m.PackageNotFoundError:
        return ""
print(json.dumps({"sglang": version("sglang"), "router": version("sglang-router")}))
"""


class Found(msgspec.Struct, frozen=True):
    """A Python and its sglang."""

    python: str
    release: str = ""
    router: str = ""

    @property
    def number(self) -> tuple[int, int, int] | None:
        """The release as numbers; None where it was not asked or is not numbered so."""
        return release_number(self.release)


def named_python(given: str | None) -> str:
    """The path of the Python that was named, or of this one.

    Raises:
        SettingsError: there is no such program.
    """
    if not given:
        return sys.executable
    path = Path(given).expanduser()
    if path.is_dir():
        path /= "bin/python"
    found = shutil.which(str(path))
    if found is None:
        raise SettingsError(
            f"There is no Python at {given}: name one that has sglang with --python, or python in [servers]."
        )
    return str(Path(found).absolute())  # not resolved: a virtual environment is known by the link


def ask_python(python: str, *, router: bool) -> Found:
    """What this Python has.

    Raises:
        SettingsError: no sglang (or no router where one is wanted), or one too old for what atts needs.
    """
    versions = _versions(python)
    found = Found(python, _word(versions, "sglang"), _word(versions, "router"))
    if not found.release:
        raise SettingsError(
            f"{python} has no sglang: install it there, or name a Python that has it with --python (or "
            "python in [servers])."
        )
    if found.number is not None and found.number < OLDEST:
        raise SettingsError(f"{python} has sglang {found.release}; atts speaks to 0.4.3 and later.")
    if router:
        check_router(found)
    return found


def ask_router(python: str) -> Found:
    """The same where only a router is wanted, as in front of embedded servers."""
    versions = _versions(python)
    found = Found(python, _word(versions, "sglang"), _word(versions, "router"))
    check_router(found)
    return found


def check_router(found: Found) -> None:
    """Raises SettingsError where the router is missing or drops what verification needs."""
    if not found.router:
        raise SettingsError(
            f"--router: {found.python} has no sglang-router; install it there, "
            "as in: pip install 'sglang-router>=0.3.2'."
        )
    number = release_number(found.router)
    if number is not None and number < ROUTER_SINCE:
        raise SettingsError(
            f"--router: {found.python} has sglang-router {found.router}, which drops the log-probabilities "
            "that verification needs; install 0.3.2 or later."
        )


def _versions(python: str) -> dict[str, Any]:
    try:
        done = subprocess.run(  # noqa: S603  # the Python that the user named, and a question of ours
            [python, "-c", _QUESTION],
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except OSError as error:
        raise SettingsError(f"{python} cannot be run: {error.strerror}.") from None
    except subprocess.TimeoutExpired:
        raise SettingsError(f"{python} did not say within {_PATIENCE:g} s whether it has sglang.") from None
    try:
        versions = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        words = readable((done.stderr.strip().splitlines() or ["nothing"])[-1])
        raise SettingsError(f"{python} is no Python that works; it said: {words}.") from None
    return versions if isinstance(versions, dict) else {}


def _word(versions: dict[str, Any], name: str) -> str:
    value = versions.get(name)
    return readable(value) if isinstance(value, str) else ""
