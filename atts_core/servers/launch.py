"""Starts servers as processes that outlive the terminal, and waits until they really answer."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from atts_core.errors import RunError
from atts_core.processes import command_line, listens, session_members
from atts_core.servers import logs
from atts_core.servers.plan import PairPlan, ServerPlan, environment_of
from atts_core.servers.ports import require_free
from atts_core.servers.state import (
    PairState,
    Process,
    Server,
    forget_state,
    identify,
    log_path,
    this_process,
    write_state,
)
from atts_core.servers.stop import IMPATIENT, stop_servers
from atts_core.serving.client import SGLangClient
from atts_core.serving.timeouts import Timeouts

Tell = Callable[[str, str], None]
"""Is told a server's label and in a few words what it does."""

STARTER_MARK: Final = "servers"
_LOOK: Final = 0.4
"""Seconds between looks at a starting server."""
_ANSWER: Final = 30.0
"""Seconds for one token: a first request may still compile kernels."""
_PART: Final = "sglang::"
"""How SGLang's processes call themselves. Others of its session (a resource tracker, a compiler's
workers) come and go."""


async def launch(
    plan: PairPlan, tell: Tell, environment: Mapping[str, str] = os.environ
) -> tuple[PairState, dict[str, "subprocess.Popen[bytes]"]]:
    """Start every server of the plan and wait until all answer. If anything fails, or this is cancelled,
    everything that was started is stopped, and nothing else.

    Raises:
        SettingsError: a port is in use, or a program is not there.
        RunError: a server ended or did not answer in time; with its log's own last error line.
    """
    for server in plan.servers:
        require_free(server.host, server.port, option=f"--{server.role}-port")
    state = PairState(
        name=plan.name,
        preset=plan.preset,
        release=plan.release,
        servers=(),
        starter=this_process(STARTER_MARK),
    )
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for wave in plan.waves():
            for server in wave:
                process = start_server(plan.name, server, environment, fresh=True)
                processes[server.label] = process
                state = state.with_server(entry_of(server, process))
                write_state(state)
            async with asyncio.TaskGroup() as group:
                waits = [
                    group.create_task(wait_ready(plan, server, processes[server.label], tell))
                    for server in wave
                ]
            for server, wait in zip(wave, waits, strict=True):
                found = next(entry for entry in state.servers if entry.label == server.label)
                state = state.with_server(msgspec.structs.replace(found, ready=True, parts=wait.result()))
            write_state(state)
    except BaseException as failure:
        stops = asyncio.ensure_future(stop_servers(state.servers, patience=IMPATIENT))
        while not stops.done():  # a second ctrl-C must not leave them behind either
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(stops)
        forget_state(plan.name)
        if isinstance(failure, BaseExceptionGroup):
            raise failure.exceptions[0] from None
        raise
    return state, processes


def start_server(
    name: str, server: ServerPlan, environment: Mapping[str, str], *, fresh: bool
) -> "subprocess.Popen[bytes]":
    """Start one server in a session of its own, its words going to its log.

    Raises:
        RunError: the program cannot be started.
    """
    path = log_path(name, server.label)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (os.O_TRUNC if fresh else 0)
    with os.fdopen(os.open(path, flags, 0o600), "wb") as log:
        log.write(f"{logs.HEADER}{datetime.now():%Y-%m-%d %H:%M:%S} {server.shown()}\n".encode())
        log.flush()
        try:
            return subprocess.Popen(  # noqa: S603  # what the user asked to be started
                server.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment_of(server, environment),
            )
        except OSError as error:
            raise RunError(f"{server.command[0]} cannot be started: {error.strerror}.") from None


async def wait_ready(
    plan: PairPlan, server: ServerPlan, process: "subprocess.Popen[bytes]", tell: Tell
) -> tuple[Process, ...]:
    """Wait until the server generates a token; returns the processes that it needs for that.

    Raises:
        RunError: it ended, or its patience ran out; with what its log said last. Or another program answers.
    """
    log = log_path(plan.name, server.label)
    began = time.monotonic()
    works = asyncio.create_task(_until_it_works(server))
    try:
        while not works.done():
            status = process.poll()
            if status is not None:
                raise RunError(f"The {server.label} server {ended(status)}{quoted(log)}.")
            if time.monotonic() - began > plan.patience:
                raise RunError(
                    f"The {server.label} server did not answer within {plan.patience:g} s (see --patience)"
                    f"{quoted(log)}."
                )
            tell(server.label, logs.progress(log))
            await asyncio.wait([works], timeout=_LOOK)
        works.result()
        if listens(process.pid, server.port) is False:
            raise RunError(
                f"What answers on port {server.port} is not the {server.label} server that was started: "
                f"another program took the port meanwhile; choose another with --{server.role}-port."
            )
    finally:
        works.cancel()
    tell(server.label, "answering")
    return parts_of(process.pid)


async def _until_it_works(server: ServerPlan) -> None:
    client = SGLangClient(server.url, role=server.role, connections=1, timeouts=Timeouts(connect=2.0))
    try:
        while not await client.works(_ANSWER):  # noqa: ASYNC110  # another process tells no event of ours
            await asyncio.sleep(_LOOK)
    finally:
        await client.close()


def parts_of(session: int) -> tuple[Process, ...]:
    """SGLang's own processes of a session, besides its leader."""
    titles = {pid: command_line(pid).split(" ")[0] for pid in session_members(session) if pid != session}
    return tuple(identify(pid, title) for pid, title in titles.items() if title.startswith(_PART))


def entry_of(server: ServerPlan, process: "subprocess.Popen[bytes]") -> Server:
    """What is remembered of a server that has just been started."""
    return Server(
        label=server.label,
        role=server.role,
        kind=server.kind,
        model=server.model,
        url=server.url,
        process=identify(process.pid, server.mark),
        began=time.time(),
    )


def ended(status: int) -> str:
    """How a process ended, in words."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


def quoted(log: Path) -> str:
    """The log's own last error, or else its last line, to be put after a sentence's first half."""
    error = logs.last_error(log)
    said = error or logs.last_line(log)
    if not said:
        return f"; its log {log} is empty"
    return f"; its log {log} {'says' if error else 'ends'}: {said.rstrip('.')}"
