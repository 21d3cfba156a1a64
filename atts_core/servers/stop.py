"""Stops what was started, and nothing else: every process is told from any other of its number first."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable
from typing import Final

from atts_core.processes import process_start
from atts_core.servers.state import Process, Server

PATIENCE: Final = 30.0
"""Seconds to finish what is under way. On SIGTERM SGLang 0.4.3 looks every 5 s whether it may end, goes on
taking requests meanwhile, and then kills itself; 0.5 refuses /health and does the same. Under steady traffic
that can take for ever."""
IMPATIENT: Final = 5.0
"""For servers that never answered: nothing is under way there."""
_REST: Final = 3.0
"""Seconds that the processes of a server get after its leader has ended."""
_GONE: Final = 20.0
"""Seconds that a killed process may take to go: a GPU's memory is given back first."""
_LOOK: Final = 0.1


async def stop_servers(servers: Iterable[Server], *, patience: float) -> dict[str, str]:
    """Stop the routers, then all the others at once; returns by label, in words, what came of each."""
    servers = tuple(servers)
    outcome: dict[str, str] = {}
    for wave in (
        [server for server in servers if server.kind == "router"],
        [server for server in servers if server.kind != "router"],
    ):
        words = await asyncio.gather(*(stop_server(server, patience=patience) for server in wave))
        outcome.update(zip((server.label for server in wave), words, strict=True))
    return outcome


async def stop_server(server: Server, *, patience: float) -> str:
    """SIGTERM to its leader, time to finish, then SIGKILL to every process of its session.

    Returns in words what came of it; says so where something could not be stopped.
    """
    began = time.monotonic()
    known: dict[int, str | None] = {}

    def left() -> list[int]:
        """Processes of it that live. Each is known by number and start, for once the leader is gone its
        session tells less of who belongs there."""
        known.update((pid, process_start(pid)) for pid in server.members() if pid not in known)
        return [pid for pid, start in known.items() if start is not None and process_start(pid) == start]

    if not left():
        return "was gone already"
    if server.process.alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(server.process.pid, signal.SIGTERM)
        with contextlib.suppress(ProcessLookupError):
            os.kill(server.process.pid, signal.SIGCONT)  # one that is held could not even end
        await _wait(lambda: left() == [] or not server.process.alive, patience)
    killed = server.process.alive
    if not killed:
        await _wait(lambda: not left(), _REST)
    for pid in left():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    await _wait(lambda: not left(), _GONE)
    seconds = time.monotonic() - began
    if left():
        return f"still has process {', '.join(map(str, left()))} after {seconds:.0f} s and a SIGKILL"
    return f"killed after {seconds:.0f} s" if killed else f"stopped within {seconds:.0f} s"


async def stop_process(process: Process, *, patience: float) -> bool:
    """SIGTERM, patience, SIGKILL, to one process; whether it is gone."""
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, _GONE)):
        if process.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
            await _wait(lambda: not process.alive, seconds)
    return not process.alive


async def _wait(done: Callable[[], bool], seconds: float) -> None:
    limit = time.monotonic() + seconds
    while not done() and time.monotonic() < limit:  # noqa: ASYNC110  # other processes tell us nothing
        await asyncio.sleep(_LOOK)
