"""Watches both servers and this machine's GPUs beside a run, and publishes what they say."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from atts_core import events as ev
from atts_core.bus import Bus
from atts_core.telemetry.nvml import GpuSampler, Snapshot
from atts_core.telemetry.readings import ServerReading
from atts_core.telemetry.server_metrics import poll_metrics

Fetch = Callable[[], Awaitable[str | None]]


@asynccontextmanager
async def watching(
    bus: Bus, fetch: Mapping[ev.Role, Fetch], processes: Mapping[str, int], *, seconds: float = 1.0
) -> AsyncIterator[None]:
    """Reads every `seconds` while the block runs. No failure of a reading ever reaches the run.

    `fetch` gives each server's /metrics text; `processes` maps a role to the process id of its server, where
    it runs on this machine.
    """
    loop = asyncio.get_running_loop()

    def gpus(snapshot: Snapshot) -> None:
        found, unavailable = snapshot
        loop.call_soon_threadsafe(bus.publish, ev.GpusRead(gpus=found, unavailable=unavailable))

    def server(role: ev.Role) -> Callable[[ServerReading], None]:
        def publish(reading: ServerReading) -> None:
            bus.publish(ev.ServerRead(role=role, reading=reading))

        return publish

    tasks = [
        asyncio.create_task(poll_metrics(text, server(role), seconds=seconds), name=f"metrics of the {role}")
        for role, text in fetch.items()
    ]
    sampler = GpuSampler(gpus, processes=processes, seconds=seconds)
    try:
        with sampler:
            yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
