"""A request under way holds an open file, and systems allow a process few of them unless asked for more."""

import contextlib
import resource
from typing import Final

from atts_core.errors import SettingsError
from atts_core.serving.client import CONTROL_CONNECTIONS

OTHERS: Final = 64
"""Open files beside those of servers, at most: run file, pipes, screen, models (about 20 in a demo)."""


def allow_requests(count: int, servers: int) -> int:
    """Raise this process's limit of open files as far as `count` requests at once, to so many servers in all,
    need; never lower it. Processes started later inherit it.

    Returns how many open files are still missing, 0 where there are enough.
    """
    needed = count + CONTROL_CONNECTIONS * servers + OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return 0
    reachable = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, hard))
    return max(needed - resource.getrlimit(resource.RLIMIT_NOFILE)[0], 0)


def require_requests(count: int, servers: int, options: str) -> None:
    """The same where nothing may be missing. `options` say what would make the requests fewer.

    Raises:
        SettingsError: the system forbids so many.
    """
    missing = allow_requests(count, servers)
    if missing:
        allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        raise SettingsError(
            f"{count:,} requests under way need {allowed + missing:,} open files, and this system allows a"
            f" process {allowed:,}: lower {options}, or have the limit raised (`ulimit -Hn` shows it)."
        )
