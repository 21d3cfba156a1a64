"""Everything that is looked at beside a run, at once, over real sockets; GPUs of the FAKE library."""

import asyncio
import json
import os
import socket
from pathlib import Path

import pytest
from fake_nvml import Library, eight, playing

from atts_core import events as ev
from atts_core.bus import Bus
from atts_core.errors import RunError
from atts_core.servers.use import started_processes
from atts_core.state import RunState
from atts_core.telemetry.sources import Source
from atts_core.telemetry.watch import local_servers, watching

PAGE = b'DCGM_FI_DEV_FB_USED{gpu="0",modelName="NVIDIA L4"} 7\n'


async def test_servers_and_gpus_here_and_elsewhere_come_as_events() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(PAGE), PAGE))
        await writer.drain()
        writer.close()

    async def draft(path: str) -> str | None:
        return "sglang:num_running_reqs 3\n" if path == "/metrics" else None

    async def target(_: str) -> str | None:
        raise RunError("it is gone")

    exporter = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{exporter.sockets[0].getsockname()[1]}/metrics"
    bus = Bus()
    here: ev.GpusRead | None = None
    there: ev.GpusRead | None = None
    read: dict[str, ev.ServerRead] = {}
    with playing(Library(eight(draft=os.getpid()))), bus.subscribe() as subscription:
        async with watching(
            bus,
            {("draft", "http://far:1"): draft, ("target", "http://far:2"): target},
            processes=lambda: {os.getpid(): "draft"},
            sources=[Source(url, ("target",))],
        ):
            async for batch in subscription.batches():
                for event in (stamped.event for stamped in batch):
                    if isinstance(event, ev.ServerRead):
                        read[event.url] = event
                    elif isinstance(event, ev.GpusRead):
                        here, there = (event, there) if not event.source else (here, event)
                if here and there and len(read) == 2:
                    break
    exporter.close()
    assert here is not None
    assert there is not None
    assert (here.kind, len(here.gpus)) == ("NVML", 8)
    assert list(here.gpus[0].memory_by_role) == ["draft"]
    assert (there.source, there.roles, there.gpus[0].name) == (url, ("target",), "NVIDIA L4")
    assert read["http://far:1"].reading.running == 3
    assert read["http://far:2"].reading.unavailable == "it is gone"


async def test_the_servers_behind_a_router_are_read_themselves() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        body = b"sglang:num_running_reqs 5\n" if b" /metrics " in asked else b""
        status = b"200 OK" if body else b"404 Not Found"
        writer.write(
            b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, len(body), body)
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    worker = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def router(path: str) -> str | None:
        assert path == "/workers"  # it has no metrics of its workers
        return json.dumps({"workers": [{"url": worker, "model_id": "tiny", "is_healthy": True, "load": 0}]})

    bus = Bus()
    with bus.subscribe() as subscription:
        async with watching(bus, {("draft", "http://far:1"): router}, routers=["http://far:1"]):
            async for batch in subscription.batches():
                read = [s.event for s in batch if isinstance(s.event, ev.ServerRead)]
                if read:
                    break
    server.close()
    (event,) = read
    assert (event.role, event.url, event.router) == ("draft", worker, "http://far:1")
    assert event.reading.running == 5
    state = RunState().fold([ev.Stamped(1, 1.0, event)])
    assert state.servers["draft"].workers == {}  # whether the role is lost is a matter of its router
    assert state.machines.loads["draft"][worker].reading == event.reading


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc here")
def test_servers_of_this_machine_are_found_by_their_ports() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        servers = {("target", f"http://127.0.0.1:{port}"): None, ("draft", f"http://elsewhere:{port}"): None}
        assert local_servers(servers) == {os.getpid(): "target"}  # type: ignore[arg-type]


def test_where_no_pair_was_started_no_process_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTS_HOME", str(tmp_path))
    assert started_processes({"http://127.0.0.1:1"}) == {}
    broken = tmp_path / "servers" / "main" / "state.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("{")
    assert started_processes({"http://127.0.0.1:1"}) == {}
