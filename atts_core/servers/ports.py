"""Whether a port is free, and who holds it where that can be known."""

import errno
import os
import socket
from pathlib import Path
from typing import Final

from atts_core.errors import SettingsError
from atts_core.processes import command_line
from atts_core.serving.wording import readable

_LISTENING: Final = "0A"
_SHOWN: Final = 80


def require_free(host: str, port: int, *, option: str) -> None:
    """Raises SettingsError unless the port can be listened on; it names the holder where that is known."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise SettingsError(f"Nothing can listen on {host}, port {port}: {error.strerror}.") from None
        held = holder(port)
        by = f" by process {held[0]} ({held[1]})" if held else ""
        raise SettingsError(
            f"Port {port} on {host} is in use{by}: choose another with {option}, or stop what uses it."
        ) from None


def holder(port: int) -> tuple[int, str] | None:
    """The process that listens on a port, and its command line; None where the system does not tell."""
    inodes = _listeners(port)
    if not inodes:
        return None
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            for descriptor in (entry / "fd").iterdir():
                if os.readlink(descriptor) in inodes:  # noqa: PTH115  # not a path, a name of the kernel's
                    pid = int(entry.name)
                    words = readable(command_line(pid))
                    return pid, words if len(words) <= _SHOWN else words[: _SHOWN - 1] + "…"
        except OSError:
            continue  # another user's process, or one that has just ended
    return None


def _listeners(port: int) -> set[str]:
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{fields[9]}]")
    return found
