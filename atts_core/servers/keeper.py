"""Keeps a pair alive: notices a server that died, in whole or in part, and starts it again.

`python -m atts_core.servers.keeper` is what `atts servers up --restart` leaves behind; it reads its order
from standard input and writes what it does to `keeper.log`.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

import msgspec

from atts_core.errors import AttsError, RunError
from atts_core.servers.launch import ended, entry_of, quoted, start_server, wait_ready
from atts_core.servers.plan import PairPlan, ServerPlan
from atts_core.servers.ports import require_free
from atts_core.servers.state import (
    KEEPER_LOG,
    PairState,
    Server,
    identify,
    log_path,
    servers_folder,
    this_process,
    write_state,
)
from atts_core.servers.stop import IMPATIENT, stop_server

MODULE: Final = "atts_core.servers.keeper"
LOOK: Final = 1.0
"""Seconds between looks at the processes."""
BACKOFF: Final = 1.0
LONGEST: Final = 60.0
"""Seconds before a restart: the first, doubling, and at most."""
STEADY: Final = 300.0
"""Seconds after which a server counts as well again."""
GIVE_UP: Final = 6
"""Starts in a row that never answered."""
_PORT: Final = 30.0
"""Seconds that a dead server's port may stay taken."""

Say = Callable[[str], None]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a keeper is told to keep."""

    plan: PairPlan
    state: PairState


class Keeper:
    """Watches the servers of a pair while `keep` runs."""

    def __init__(
        self,
        order: Order,
        say: Say,
        *,
        environment: Mapping[str, str] = os.environ,
        processes: "Mapping[str, subprocess.Popen[bytes]] | None" = None,
    ) -> None:
        """`processes` are those of the servers that are children of this very process."""
        self.plan, self.state = order.plan, order.state
        self._say = say
        self._environment = environment
        self._processes = dict(processes or {})

    async def keep(self) -> None:
        """Run until cancelled, with `restart`; else until the first death.

        Raises:
            RunError: a server died and is not to be started again, or never came back.
        """
        async with asyncio.TaskGroup() as group:
            for server in self.plan.servers:
                group.create_task(self._keep(server))

    async def _keep(self, server: ServerPlan) -> None:
        failures, well_since = 0, time.monotonic()
        while True:
            await asyncio.sleep(LOOK)
            process = self._processes.get(server.label)
            if process is not None:
                process.poll()  # reap it
            why = self._entry(server.label).dead_part()
            if why is None:
                continue
            if process is not None and process.returncode is not None:
                why = f"it {ended(process.returncode)}"
            log = log_path(self.plan.name, server.label)
            if not self.plan.restart:
                raise RunError(f"The {server.label} server died: {why}{quoted(log)}.")
            self._say(f"{server.label} died: {why}{quoted(log)}")
            if time.monotonic() - well_since > STEADY:
                failures = 0
            in_vain = 0
            while not await self._restart(server, failures + in_vain, why):
                in_vain += 1
                if in_vain >= GIVE_UP:
                    self._note(server.label, f"given up after {in_vain} restarts that never answered")
                    raise RunError(f"The {server.label} server never came back{quoted(log)}.")
            failures += 1
            well_since = time.monotonic()

    async def _restart(self, server: ServerPlan, failures: int, why: str) -> bool:
        pause = min(LONGEST, BACKOFF * 2**failures)
        self._note(server.label, f"{why}; starts again in {pause:g} s")
        await stop_server(self._entry(server.label), patience=0.0)  # what it left holds memory and port
        await asyncio.sleep(pause)
        before = self._entry(server.label)
        try:
            await self._port_free(server)
            process = start_server(self.plan.name, server, self._environment, fresh=False)
            self._processes[server.label] = process
            entry = msgspec.structs.replace(
                entry_of(server, process), restarts=before.restarts + 1, note=f"started again: {why}"
            )
            self._replace(entry)
            parts = await wait_ready(self.plan, server, process, lambda _, __: None)
        except AttsError as error:
            self._say(f"{server.label} did not come back: {error}")
            await stop_server(self._entry(server.label), patience=IMPATIENT)
            return False
        self._replace(msgspec.structs.replace(entry, ready=True, parts=parts))
        self._say(f"{server.label} answers again (restart {entry.restarts})")
        return True

    async def _port_free(self, server: ServerPlan) -> None:
        limit = time.monotonic() + _PORT
        while True:
            try:
                require_free(server.host, server.port, option=f"--{server.role}-port")
            except AttsError:
                if time.monotonic() > limit:
                    raise
                await asyncio.sleep(LOOK)
            else:
                return

    def _entry(self, label: str) -> Server:
        return next(entry for entry in self.state.servers if entry.label == label)

    def _note(self, label: str, words: str) -> None:
        self._replace(msgspec.structs.replace(self._entry(label), ready=False, note=words))

    def _replace(self, entry: Server) -> None:
        self.state = self.state.with_server(entry)
        write_state(self.state)


def start_keeper(plan: PairPlan, state: PairState, environment: Mapping[str, str] = os.environ) -> PairState:
    """Leave a keeper behind for servers that answer; returns the state that names it."""
    log = servers_folder() / plan.name / KEEPER_LOG
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        process = subprocess.Popen(  # noqa: S603  # ourselves
            [sys.executable, "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=dict(environment),
        )
    state = msgspec.structs.replace(state, keeper=identify(process.pid, MODULE), starter=None)
    write_state(state)
    assert process.stdin is not None  # noqa: S101  # a pipe, as asked for above
    with process.stdin:
        process.stdin.write(msgspec.json.encode(Order(plan=plan, state=state)))
    return state


def main() -> int:
    """The program: keeps what standard input tells; ends on SIGTERM and leaves the servers alone."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    order = msgspec.structs.replace(
        order, state=msgspec.structs.replace(order.state, keeper=this_process(MODULE))
    )

    def say(words: str) -> None:
        sys.stdout.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {words}\n")
        sys.stdout.flush()

    async def run() -> int:
        task = asyncio.create_task(Keeper(order, say).keep())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        say(f"keeping {', '.join(server.label for server in order.plan.servers)}")
        try:
            await task
        except asyncio.CancelledError:
            return 0
        except BaseExceptionGroup as failures:
            for failure in failures.exceptions:
                say(str(failure))
        return 1

    return asyncio.run(run())


if __name__ == "__main__":
    sys.exit(main())
