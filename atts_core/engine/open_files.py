"""A request under way holds an open file, and systems allow a process few of them unless asked for more."""

import contextlib
import resource
from typing import Final

from atts_core.errors import SettingsError

OTHERS: Final = 128
"""Open files beside those of requests: the run file, pipes, the screen, servers asked about themselves."""


def allow_requests(count: int, options: str) -> None:
    """Raise this process's limit of open files as far as `count` requests at once need, and never lower it.

    Processes started later inherit it. `options` say what would make them fewer.

    Raises:
        SettingsError: the system forbids so many.
    """
    needed = count + OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed < needed:
        raise SettingsError(
            f"{count:,} requests under way need {needed:,} open files, and this system allows a process"
            f" {allowed if hard == resource.RLIM_INFINITY else hard:,}: lower {options}, or have the limit"
            " raised (`ulimit -Hn` shows it)."
        )
