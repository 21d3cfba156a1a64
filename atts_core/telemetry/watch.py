"""Watches the servers and the GPUs beside a run, and publishes what they say."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx2

from atts_core import events as ev
from atts_core.bus import Bus
from atts_core.config import without_credentials
from atts_core.errors import AttsError
from atts_core.processes import listeners
from atts_core.serving.server_info import router_workers
from atts_core.telemetry.exporters import Pages, poll_gpus
from atts_core.telemetry.history import MOST_SERVERS
from atts_core.telemetry.nvml import GpuSampler, Snapshot
from atts_core.telemetry.processes import is_local
from atts_core.telemetry.readings import ServerReading
from atts_core.telemetry.server_metrics import Page, poll_server
from atts_core.telemetry.sources import Source

ROUTER_SECONDS: Final = 30.0
"""Between two looks at which servers a router has."""


@asynccontextmanager
async def watching(
    bus: Bus,
    servers: Mapping[tuple[ev.Role, str], Page],
    *,
    routers: Collection[str] = (),
    processes: Callable[[], Mapping[int, str]] = dict,
    sources: Sequence[Source] = (),
    seconds: float = 1.0,
) -> AsyncIterator[None]:
    """Reads every `seconds` while the block runs. No failure of a reading ever reaches the run.

    `servers` gives the pages of each server, by role and URL; those among `routers` are asked for the servers
    behind them, which are then read themselves. `processes` gives the role by process id of those that were
    started on this machine, asked now and then in a thread; `sources` are exporters elsewhere.
    """
    loop = asyncio.get_running_loop()
    known = dict.fromkeys(servers)

    def gpus(snapshot: Snapshot) -> None:
        found, unavailable = snapshot
        event = ev.GpusRead(gpus=found, unavailable=unavailable, kind="NVML")
        loop.call_soon_threadsafe(bus.publish, event)

    def poll(role: ev.Role, url: str, page: Page, router: str = "") -> Coroutine[Any, Any, None]:
        def publish(reading: ServerReading) -> None:
            bus.publish(ev.ServerRead(role=role, url=url, reading=reading, router=router))

        known[role, url] = None
        return poll_server(page, publish, seconds=seconds)

    def roles() -> dict[int, str]:
        return local_servers(tuple(known)) | dict(processes())

    async def behind(role: ev.Role, url: str, page: Page) -> None:
        """Reads the servers behind a router, as many as it names."""
        async with asyncio.TaskGroup() as group:
            begun: set[str] = set()
            while True:
                with contextlib.suppress(AttsError):
                    named = router_workers((await page("/workers") or "").encode())
                    for worker in named if len(begun) < MOST_SERVERS else ():
                        if worker not in begun:
                            begun.add(worker)
                            shown = without_credentials(worker)
                            group.create_task(poll(role, shown, pages.of(worker), url))
                await asyncio.sleep(ROUTER_SECONDS)

    async with Pages() as pages:
        pollers: list[Coroutine[Any, Any, None]] = [
            behind(role, url, page) if url in routers else poll(role, url, page)
            for (role, url), page in servers.items()
        ]
        pollers += [poll_gpus(source, pages.read, bus.publish) for source in sources]
        tasks = [asyncio.create_task(poller, name="telemetry") for poller in pollers]
        try:
            with GpuSampler(gpus, roles=roles, seconds=seconds):
                yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def local_servers(servers: Iterable[tuple[ev.Role, str]]) -> dict[int, str]:
    """Role by process id, of those servers whose URL is of this machine and whose port a process holds."""
    ports: dict[int, ev.Role] = {}
    for role, url in servers:
        parsed = httpx2.URL(url)
        if is_local(parsed.host):
            ports[parsed.port or (443 if parsed.scheme == "https" else 80)] = role
    return {pid: ports[port] for port, pid in listeners(ports).items()}
