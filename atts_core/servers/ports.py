"""Whether a port is free, and who holds it where that can be known."""

import errno
import socket
from typing import Final

from atts_core.errors import SettingsError
from atts_core.processes import command_line, listeners
from atts_core.serving.wording import readable

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
    pid = listeners([port]).get(port)
    if pid is None:
        return None
    words = readable(command_line(pid))
    return pid, words if len(words) <= _SHOWN else words[: _SHOWN - 1] + "…"
