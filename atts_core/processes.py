"""Which process a number means: numbers come again, and mean nothing on another machine or after a boot."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_LISTENING: Final = "0A"
"""The state of a listening socket in /proc/net/tcp."""


def process_start(pid: int) -> str | None:
    """Something that tells this process from any other of the same number; None where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None if Path("/proc/self").exists() else _without_proc(pid)
    except OSError:
        return None
    after_name = stat.rpartition(")")[2].split()
    return None if after_name[0] == "Z" else after_name[19]


def _without_proc(pid: int) -> str | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "there"


@lru_cache(maxsize=1)
def boot_identity() -> str:
    """Something that tells this boot of this machine from any other."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        # Without such an identity: the moment of boot, to the minute, on this host.
        return f"{socket.gethostname()} {round((time.time() - time.monotonic()) / 60)}"


@lru_cache(maxsize=1)
def process_space() -> str:
    """The process-number space that this process lives in; empty where the system has but one."""
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115  # not a path, a name of the kernel's
    except OSError:
        return ""


def command_line(pid: int) -> str:
    """The command line of a process, or the title that it gave itself; empty where it cannot be read."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return "" if Path("/proc/self").exists() else _shown_by_ps(pid)
    return b" ".join(words).decode("utf-8", "replace").strip()


def _shown_by_ps(pid: int) -> str:
    shown = subprocess.run(  # noqa: S603
        ["ps", "-o", "command=", "-p", str(pid)],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    return shown.stdout.strip()


def session_members(session: int) -> list[int]:
    """The processes of a session, its leader first; only the leader where there is no /proc."""
    if not Path("/proc/self").exists():
        return [session] if process_start(session) is not None else []
    members = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        fields = stat.rpartition(")")[2].split()
        if fields[0] != "Z" and int(fields[3]) == session:
            members.append(int(entry.name))
    return sorted(members, key=lambda pid: (pid != session, pid))


def listeners(ports: Iterable[int], proc: Path = _PROC) -> dict[int, int]:
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
            port = inodes.get(_inode(descriptor))
            if port is not None:
                # Children inherit the socket; the oldest is the server itself.
                found[port] = min(found.get(port, int(process.name)), int(process.name))
    return found


def listens(session: int, port: int) -> bool | None:
    """Whether a process of this session listens on a port of this machine. None: the system does not tell, or
    nobody listens there."""
    inodes = _inodes({port}, _PROC)
    if not inodes:
        return None
    for pid in session_members(session):
        try:
            descriptors = list((_PROC / str(pid) / "fd").iterdir())
        except OSError:
            continue
        if any(_inode(descriptor) in inodes for descriptor in descriptors):
            return True
    return False


def _inode(descriptor: Path) -> str:
    """Of the socket behind a descriptor; "" where there is none."""
    try:
        target = os.readlink(descriptor)  # noqa: PTH115  # not a path, a name of the kernel's
    except OSError:
        return ""
    return target.removeprefix("socket:[").removesuffix("]")


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
                if fields[3] == _LISTENING and port in ports:
                    found[fields[9]] = port
    return found


def _numbered(proc: Path) -> list[Path]:
    try:
        return [process for process in proc.iterdir() if process.name.isdigit()]
    except OSError:
        return []
