"""`atts web`: a run's screens in a browser."""

import argparse
import asyncio
import contextlib
import ipaddress
import secrets
import signal
import sys

from atts_core.errors import SettingsError
from atts_core.runs.folder import find_run, runs_folder

EXTRA = "A browser view needs the extra `web`: pip install 'atts[web]'."


def web(arguments: argparse.Namespace) -> int:
    """The whole of `atts web`; returns the exit status."""
    try:
        from atts_tui.web.server import WebServer  # noqa: PLC0415  # an extra
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("aiohttp", "textual_serve"):
            raise
        raise SettingsError(EXTRA) from None
    if not 0 <= arguments.port <= 65535:
        raise SettingsError(f"--port {arguments.port}: a port lies between 1 and 65535 (0: any free one).")
    if arguments.viewers < 1:
        raise SettingsError(f"--viewers {arguments.viewers}: at least one browser must be let in.")
    path = find_run(arguments.run, runs_folder(arguments.runs_dir))
    if arguments.replay and arguments.control:
        raise SettingsError("--replay and --control: a replay has nothing to control; leave one out.")
    command = [sys.executable, "-m", "atts_tui.cli", "replay" if arguments.replay else "watch", str(path)]
    if not arguments.replay and not arguments.control:
        command.append("--read-only")
    for option in ("theme", "fps"):
        value = getattr(arguments, option)
        if value is not None:
            command += [f"--{option}", str(value)]
    if arguments.ascii:
        command.append("--ascii")
    server = WebServer(
        command,
        host=arguments.host,
        port=arguments.port,
        secret=secrets.token_urlsafe(24),
        viewers=arguments.viewers,
    )

    def ready(address: str) -> None:
        kind = "a replay" if arguments.replay else "with control" if arguments.control else "read-only"
        sys.stdout.write(f"{path.stem}, {kind}: {address}\n")
        if not _loopback(arguments.host):
            sys.stdout.write(
                "anybody who can reach this machine and knows the address can look, unencrypted: put a "
                "server with TLS in front\n"
            )
        sys.stdout.write("ctrl-C ends it; the run goes on\n")
        sys.stdout.flush()

    async def serve() -> None:
        task = asyncio.ensure_future(server.run(ready))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    try:
        asyncio.run(serve())
    except OSError as error:
        raise SettingsError(
            f"{arguments.host}:{arguments.port} cannot be served on ({error.strerror or error}): "
            "name another with --port or --host."
        ) from None
    return 0


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
