"""Which server a process of this machine belongs to, and which servers are on this machine at all."""

import ipaddress
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
_DEEPEST: Final = 32
"""Generations of processes that are climbed from a GPU process to the server that was started."""
LARGEST_PID: Final = 1 << 22
"""Linux gives no greater ones; a driver that does not match its library does."""


def parent_process(pid: int, proc: Path = PROC) -> int | None:
    """The process that started `pid`; None where it is gone or there is no /proc."""
    try:
        stat = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        # the name in brackets may hold anything, so count from its end: state, then the parent
        return int(stat.rpartition(")")[2].split()[1]) or None
    except (OSError, ValueError, IndexError):
        return None


def exists(pid: int, proc: Path = PROC) -> bool:
    """Whether a process of this id is visible here."""
    return (proc / str(pid)).exists()


def owner(pid: int, roles: Mapping[int, str], parent: Callable[[int], int | None]) -> str | None:
    """The role of the server that `pid` belongs to: its own or that of a process it descends from."""
    ancestor: int | None = pid
    for _ in range(_DEEPEST):
        if ancestor is None:
            return None
        if ancestor in roles:
            return roles[ancestor]
        ancestor = parent(ancestor)
    return None


def is_local(host: str) -> bool:
    """Whether a host of a URL is this machine, as far as its name or address tells without asking anybody."""
    host = host.strip("[]").lower()
    if host in ("localhost", socket.gethostname().lower()):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
