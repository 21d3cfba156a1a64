"""The Machines screen: what it says of GPUs and servers, how old that is, and why there is none."""

from typing import Any

import machine_events
import msgspec
import pytest
import synthetic
from driving import running, text

from atts_core import events as ev
from atts_core.events import Stamped
from atts_core.telemetry.readings import GpuReading, ServerReading
from atts_tui.layout.frame import Rect
from atts_tui.layout.machines import arrange_machines
from atts_tui.widgets.server_rows import tell_apart

SIZES = [(200, 60), (120, 40), (80, 24)]


async def shown(stamps: list[Stamped], size: tuple[int, int] = (120, 40), **settings: Any) -> str:
    """The text of the screen over these events."""
    from driving import frame

    async with running(stamps, size, **settings) as (pilot, app, _):
        await pilot.press("5")
        await frame(pilot)
        await frame(pilot)
        return text(app)


def line(screen: str, holds: str) -> str:
    return next(row for row in screen.splitlines() if holds in row)


def later(stamps: list[Stamped], seconds: float, *more: ev.AnyEvent) -> list[Stamped]:
    """The same run, and something that happened so much later."""
    last = stamps[-1]
    return [
        *stamps,
        *(Stamped(last.seq + number, last.at + seconds, event) for number, event in enumerate(more, 1)),
    ]


@pytest.mark.parametrize("size", SIZES)
async def test_eight_gpus_and_three_servers(size: tuple[int, int]) -> None:
    screen = await shown(machine_events.events(), size)
    assert "NVML" in screen
    hot = line(screen, "88 °C")
    assert "slowed: heat (hardware)" in hot
    assert "98 %" in hot
    assert "3 memory errors" in screen
    for number in range(8):
        assert any(row.strip("│ ").startswith(f"{number} ") for row in screen.splitlines())
    draft = line(screen, "● draft")
    assert "60 %" in draft
    assert "71 %" in draft  # prefix hits
    assert "1,169" in draft
    assert "/metrics" in screen
    assert "draft peak 76 GB" in screen


async def test_whose_memory_it_is() -> None:
    screen = await shown(machine_events.events())
    assert "draft 76" in line(screen, "87 %")
    assert "target 60" in line(screen, "88 °C")
    assert "others 32" in line(screen, "45 %")


async def test_instances_and_what_a_driver_does_not_tell() -> None:
    host = ev.GpusRead(gpus=machine_events.divided(), kind="NVML")
    screen = await shown(machine_events.events(20, host))
    assert "divided (MIG)" in screen
    assert "9.7/10" in line(screen, "1g.10gb #7 draft 8.6")
    assert "3g.40gb #9 target 31" in screen
    assert "N/A" in line(screen, "divided (MIG)")
    assert "N/A busy, memory errors, power: NVML: Not Supported" in screen


async def test_no_gpu_says_why_and_what_would_show_one() -> None:
    screen = await shown(synthetic.events(until=4.0))
    assert "no NVIDIA driver on this machine" in screen
    assert "--gpu-metrics draft=http://gpu1:9400/metrics" in screen


async def test_a_remote_machine_that_no_longer_answers() -> None:
    card = GpuReading(index=0, name="NVIDIA H200", memory_used=90 << 30, memory_total=140 << 30)
    page = {"source": "http://gpu2:9400/metrics", "roles": ("target",)}
    stamps = later(synthetic.events(until=4.0), 0.1, ev.GpusRead(gpus=(card,), kind="dcgm-exporter", **page))  # type: ignore[arg-type]
    stamps = later(stamps, 14.0, ev.GpusRead(gpus=(), unavailable="nothing listens there", **page))  # type: ignore[arg-type]
    screen = await shown(stamps)
    assert "target: http://gpu2:9400/metrics · dcgm-exporter · 14 s old" in screen
    assert "Nothing listens there." in screen
    assert "97/150" in line(screen, "target's machine")
    assert "target peak 97 GB (all on its GPUs)" in screen
    assert "no NVIDIA driver" not in screen


async def test_servers_without_metrics_lost_and_silent() -> None:
    stamps = later(
        machine_events.events(30),
        16.0,
        ev.ServerRead(
            role="draft",
            url="http://gpu1:30000",
            reading=ServerReading(unavailable="the server gives no metrics: start it with --enable-metrics"),
        ),
        ev.ServerLost(role="target", url="http://gpu2:30100", message="connection refused"),
        ev.Warned(message="time passes"),
    )
    screen = await shown(stamps)
    assert "start it with --enable-metrics" in screen
    assert "does not answer: connection refused" in screen
    assert "not heard of for 16 s: these numbers are old" in screen
    rows = screen.splitlines()
    band = next(number for number, row in enumerate(rows) if row.startswith("│ draft   │"))
    assert rows[band + 1].startswith("│         │")  # nobody reads it, so no rate is shown as that of now


async def test_gauges_that_no_longer_move_are_old_though_they_are_read() -> None:
    stamps = machine_events.events(30)
    last = [s.event for s in stamps if isinstance(s.event, ev.ServerRead)][-3:]
    for _ in range(4):
        stamps = later(stamps, 5.0, *last)
    screen = await shown(stamps)
    assert screen.count("nothing has moved for 20 s: it idles, and these numbers are old (/metrics)") == 3


async def test_a_rate_that_stays_after_the_last_request_is_not_shown() -> None:
    """As recorded of SGLang 0.4.3.post4: gen_throughput 951 with no request running."""
    ended = ServerReading(running=0, cache_usage=0.0, generation_throughput=951.0, source="/metrics")
    stamps = machine_events.events(5, ev.ServerRead(role="draft", url="http://gpu1:30000", reading=ended))
    assert "951" not in line(await shown(stamps), "● draft")


async def test_a_server_that_says_so_now_is_idle_and_not_old() -> None:
    idle = ServerReading(running=0, queued=0, cache_usage=0.0, fresh=True, source="/v1/loads and /metrics")
    quiet = ev.ServerRead(role="draft", url="http://gpu1:30000", reading=idle)
    screen = await shown(later(machine_events.events(30), 16.0, quiet))
    assert "/v1/loads" in line(screen, "● draft")
    assert "now" in line(screen, "● draft") or "…" in line(screen, "● draft")
    assert "not heard of" not in "".join(screen.partition("● draft")[2].partition("● target")[0])


async def test_servers_behind_a_router_are_listed_under_it() -> None:
    url = machine_events.URLS["draft"][0]
    stamps = [
        stamped
        for stamped in machine_events.events(10)
        if not (isinstance(stamped.event, ev.ServerRead) and stamped.event.role == "draft")
    ]
    for port in (31001, 31002):
        reading = ServerReading(running=port - 31000, cache_usage=0.5, source="/metrics")
        event = ev.ServerRead(role="draft", url=f"http://gpu1:{port}", reading=reading, router=url)
        stamps = later(stamps, 0.1, event)
    for size in SIZES:
        rows = (await shown(stamps, size)).splitlines()
        place = next(number for number, row in enumerate(rows) if "a router; the servers behind it:" in row)
        assert ":31001" in rows[place + 1]
        assert ":31002" in rows[place + 2]
        assert "50 %" in rows[place + 2]


async def test_before_the_run_and_after_it() -> None:
    assert "Waiting for the run to begin." in await shown([])
    done = later(machine_events.events(30), 1.0, ev.RunFinished(end="done"))
    screen = await shown(done)
    assert "last read at 0:29" in screen
    assert "old" not in screen


async def test_numbers_of_a_broken_file_draw_something() -> None:
    card = GpuReading(index=7, name="g", memory_used=-5, memory_total=0, power=1e300, temperature=-1.0)
    reading = ServerReading(
        running=-4, cache_usage=7.5, used_tokens=-3, generation_throughput=1e300, queued=10**15
    )
    stamps = machine_events.events(
        5, ev.GpusRead(gpus=(card,)), ev.ServerRead(role="target", url="u", reading=reading)
    )
    for size in SIZES[1:]:
        assert "Servers" in await shown(stamps, size)


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("lines", [(1, 1), (3, 3), (12, 4), (4, 30), (60, 60)])
@pytest.mark.parametrize(
    ("height", "compact"), [(12, True), (21, True), (27, False), (37, False), (57, False)]
)
def test_panes_fill_the_body_and_do_not_overlap(
    width: int, height: int, lines: tuple[int, int], compact: bool
) -> None:
    body = Rect(0, 2, width, height)
    panes = arrange_machines(body, *lines, compact=compact)
    cells = [
        (x, y)
        for rect in panes.values()
        for y in range(rect.y, rect.y + rect.height)
        for x in (rect.x, rect.x + rect.width - 1)
    ]
    assert len(cells) == len(set(cells))
    assert all(rect.height >= 2 for rect in panes.values())
    assert max(rect.y + rect.height for rect in panes.values()) == body.y + height
    assert max(rect.x + rect.width for rect in panes.values()) == width


def test_servers_of_one_role_are_told_apart_as_shortly_as_may_be() -> None:
    assert list(tell_apart(["http://a:1", "http://a:2"], 8).values()) == [":1", ":2"]
    assert list(tell_apart(["http://gpu1:1", "http://gpu2:1"], 8).values()) == ["gpu1", "gpu2"]
    long = ["http://a-long-host-1:1", "http://a-long-host-2:1"]
    assert list(tell_apart(long, 8).values()) == ["no. 1", "no. 2"]
    assert tell_apart([""], 8) == {"": ""}


def test_readings_survive_the_run_file() -> None:
    for event in machine_events.planned(3):
        stamped = Stamped(1, *event)
        assert ev.decode(ev.encode(stamped)) == stamped
    assert b"instance" not in ev.encode(Stamped(1, 0.0, ev.GpusRead(gpus=machine_events.gpus())))
    assert msgspec.json.decode(ev.encode(stamped))


async def test_the_line_of_the_servers_counts_those_of_several_that_are_lost() -> None:
    lost = ev.ServerLost(role="target", url="http://gpu2:30100", message="connection refused")
    stamps = machine_events.events()
    count = len(
        {e.event.url for e in stamps if isinstance(e.event, ev.ServerRead) and e.event.role == "target"}
    )
    for events, said in ((stamps, False), (later(stamps, 0.1, lost), True)):
        async with running(events) as (_, app, _):
            assert (f"1 of {count} lost" in line(text(app), "● target")) is said
    found = ev.ServerFound(role="target", url="http://gpu2:30100")
    async with running(later(stamps, 0.1, lost, found)) as (_, app, _):
        assert "lost" not in line(text(app), "● target")
