"""Which processes of this machine are the two servers: ours by their ids, others by the port they listen on.

Reads /proc and nothing else; where there is none, or it may not be read, nothing is found.
"""

import contextlib
import ipaddress
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
_LISTENS: Final = "0A"
"""The state of a listening socket in /proc/net/tcp."""
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


def listeners(ports: Iterable[int], proc: Path = PROC) -> dict[int, int]:
    """Process id by port, of those ports on which a process that we may look into listens on this machine."""
    inodes = _inodes(set(ports), proc)
    found: dict[int, int] = {}
    if not inodes:
        return found
    for process in _numbered(proc):
        try:
            descriptors = list((process / "fd").iterdir())
        except OSError:  # another user's, or gone
            continue
        for descriptor in descriptors:
            with contextlib.suppress(OSError):
                target = os.readlink(descriptor)  # noqa: PTH115  # not a path, a name of the kernel's
                port = inodes.get(target.removeprefix("socket:[").removesuffix("]"))
                if port is not None:
                    # Children inherit the socket; the oldest is the server itself.
                    found[port] = min(found.get(port, LARGEST_PID), int(process.name))
    return found


def _inodes(ports: set[int], proc: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / table).read_text(encoding="ascii", errors="replace").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            with contextlib.suppress(ValueError, IndexError):
                port = int(fields[1].rpartition(":")[2], 16)
                if fields[3] == _LISTENS and port in ports:
                    found[fields[9]] = port
    return found


def _numbered(proc: Path) -> list[Path]:
    try:
        return [process for process in proc.iterdir() if process.name.isdigit()]
    except OSError:
        return []


def is_local(host: str) -> bool:
    """Whether a host of a URL is this machine, as far as its name or address tells without asking anybody."""
    host = host.strip("[]").lower()
    if host in ("localhost", socket.gethostname().lower()):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
