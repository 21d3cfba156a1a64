"""Pages of dcgm-exporter and nvitop-exporter as GPUs.

The dcgm-exporter's page is written after its documents and default counters; the nvitop-exporter's is written
by the Prometheus client that it uses itself, with the names, units and labels of its source.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge, Info, generate_latest

from atts_core.errors import SettingsError
from atts_core.telemetry.exporters import DCGM, NVITOP, PageError, Pages, poll_gpus, read_page
from atts_core.telemetry.prometheus import samples
from atts_core.telemetry.sources import Source, sources

MIB = 1 << 20
DCGM_PAGE = """\
# HELP DCGM_FI_DEV_SM_CLOCK SM clock frequency (in MHz).
# TYPE DCGM_FI_DEV_SM_CLOCK gauge
DCGM_FI_DEV_SM_CLOCK{gpu="0",UUID="GPU-a",pci_bus_id="00000000:17:00.0",device="nvidia0",modelName="NVIDIA H100 80GB HBM3",Hostname="h1",DCGM_FI_DRIVER_VERSION="570.86.15"} 1755
DCGM_FI_DEV_SM_CLOCK{gpu="1",UUID="GPU-b",pci_bus_id="00000000:2A:00.0",device="nvidia1",modelName="NVIDIA H100 80GB HBM3",Hostname="h1",DCGM_FI_DRIVER_VERSION="570.86.15"} 345
DCGM_FI_DEV_MEM_CLOCK{gpu="0",UUID="GPU-a",modelName="NVIDIA H100 80GB HBM3"} 2619
DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-a",modelName="NVIDIA H100 80GB HBM3"} 64
DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="GPU-a",modelName="NVIDIA H100 80GB HBM3"} 612.482000
DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-a",modelName="NVIDIA H100 80GB HBM3"} 97
DCGM_FI_DEV_GPU_UTIL{gpu="1",UUID="GPU-b",modelName="NVIDIA H100 80GB HBM3"} 0
DCGM_FI_DEV_FB_FREE{gpu="0",UUID="GPU-a",modelName="NVIDIA H100 80GB HBM3"} 9600
DCGM_FI_DEV_FB_USED{gpu="0",UUID="GPU-a",modelName="NVIDIA H100 80GB HBM3"} 71480
DCGM_FI_DEV_FB_USED{gpu="1",UUID="GPU-b",modelName="NVIDIA H100 80GB HBM3"} 9223372036854775794
"""  # noqa: E501


def nvitop_page(command: str = "python -m sglang.launch_server --port 30000") -> str:
    registry = CollectorRegistry()
    labels = {"hostname": "h1", "index": "0", "devicename": "NVIDIA H200", "uuid": "GPU-a"}
    for name, unit, value in (
        ("gpu_utilization", "Percentage", 93.0),
        ("gpu_memory_total", "MiB", 143_771.0),
        ("gpu_memory_used", "MiB", 131_000.0),
        ("gpu_memory_utilization", "Percentage", 61.0),
        ("gpu_clock_sm", "MHz", 1980.0),
        ("gpu_clock_memory", "MHz", 3201.0),
        ("gpu_power_usage", "W", 588.0),
        ("gpu_power_limit", "W", 700.0),
        ("gpu_temperature", "C", 61.0),
    ):
        gauge = Gauge(name, "documentation", list(labels), unit=unit, registry=registry)
        gauge.labels(**labels).set(value)
    whose = {**labels, "pid": "4711", "username": "me"}
    Info("process_info", "Process information.", list(whose), registry=registry).labels(**whose).info(
        {"status": "running", "command": command}
    )
    Gauge(
        "process_gpu_memory", "Process GPU memory (MiB).", list(whose), unit="MiB", registry=registry
    ).labels(**whose).set(130_000.0)
    return generate_latest(registry).decode()


def test_a_dcgm_exporter() -> None:
    kind, gpus = read_page(DCGM_PAGE, ("target",))
    assert kind == DCGM
    first, second = gpus
    assert (first.index, first.name, first.uuid) == (0, "NVIDIA H100 80GB HBM3", "GPU-a")
    assert (first.memory_used, first.memory_total) == (71_480 * MIB, 81_080 * MIB)
    assert (first.utilisation, first.power, first.temperature) == (0.97, 612.482, 64.0)
    assert (first.clock, first.memory_clock, first.power_limit) == (1755, 2619, None)
    assert first.memory_by_role == {}  # it knows no processes
    assert (second.index, second.utilisation, second.memory_used) == (1, 0.0, None)  # DCGM's blank value
    assert "FB_USED" in second.missing["memory_used"]


def test_what_an_operator_may_have_added_to_a_dcgm_exporter() -> None:
    page = DCGM_PAGE + "".join(
        f'DCGM_FI_DEV_{name}{{gpu="0"}} {value}\n'
        for name, value in (
            ("FB_TOTAL", 81_559), ("ECC_DBE_VOL_TOTAL", 2), ("CLOCK_THROTTLE_REASONS", 68),
            ("ENFORCED_POWER_LIMIT", 700), ("MAX_SM_CLOCK", 1980),
        )
    )  # fmt: skip
    first = read_page(page)[1][0]
    assert (first.memory_total, first.ecc_errors, first.power_limit) == (81_559 * MIB, 2, 700.0)
    assert first.throttled == ("power cap", "heat (hardware)")
    assert first.clock_limit == 1980


def test_mig_instances_of_a_dcgm_exporter() -> None:
    page = (
        'DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-a"} 40\n'
        'DCGM_FI_DEV_FB_USED{gpu="0",UUID="GPU-a",GPU_I_PROFILE="1g.10gb",GPU_I_ID="7"} 100\n'
        'DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu="0",UUID="GPU-a",GPU_I_PROFILE="1g.10gb",GPU_I_ID="7"} 0.5\n'
    )
    whole, part = read_page(page)[1]
    assert (whole.instance, whole.temperature, whole.memory_used) == ("", 40.0, None)
    assert (part.instance, part.memory_used) == ("1g.10gb #7", 100 * MIB)


def test_an_nvitop_exporter() -> None:
    kind, (gpu,) = read_page(nvitop_page(), ("target",))
    assert kind == NVITOP
    assert (gpu.index, gpu.name, gpu.uuid) == (0, "NVIDIA H200", "GPU-a")
    assert (gpu.memory_used, gpu.memory_total) == (131_000 * MIB, 143_771 * MIB)
    assert (gpu.utilisation, gpu.power, gpu.power_limit, gpu.temperature) == (0.93, 588.0, 700.0, 61.0)
    assert (gpu.clock, gpu.memory_clock) == (1980, 3201)
    assert gpu.memory_by_role == {"target": 130_000 * MIB}


def test_whose_processes_they_are_is_not_guessed() -> None:
    assert read_page(nvitop_page(), ("draft", "target"))[1][0].memory_by_role == {}
    assert read_page(nvitop_page('python train.py "a b"'), ("draft",))[1][0].memory_by_role == {}


@pytest.mark.parametrize("page", ["", "<html>", "node_load1 0.3\n", "sglang:num_running_reqs 3\n"])
def test_pages_of_other_programs(page: str) -> None:
    assert read_page(page) == ("", ())


@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    read_page(text)
    read_page(f'DCGM_FI_DEV_FB_USED{{gpu="{text}"}} 1\nDCGM_FI_DEV_{text}')
    read_page(f'gpu_memory_used_MiB{{index="0",devicename="{text}"}} 1\n')


@given(st.dictionaries(st.sampled_from(["a", "b"]), st.text(max_size=20)), st.floats(0, 1e12))
def test_what_the_prometheus_client_writes_is_read_back(labels: dict[str, str], value: float) -> None:
    registry = CollectorRegistry()
    gauge = Gauge("series", "documentation", list(labels), registry=registry)
    (gauge.labels(**labels) if labels else gauge).set(value)
    if any(
        character in text for text in labels.values() for character in "\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
    ):
        return  # line ends to Python, and nothing that a label holds
    (found,) = samples(generate_latest(registry).decode())
    assert (found.name, found.labels, found.value) == ("series", labels, value)


def test_sources_are_said_by_role() -> None:
    given_twice = ["draft=http://h1:9400/metrics", "target=http://h2:8000", "target=http://h1:9400/metrics"]
    assert sources(given_twice) == (
        Source("http://h1:9400/metrics", ("draft", "target")),
        Source("http://h2:8000/metrics", ("target",)),
    )
    assert Source("http://me:secret@h1:9400/metrics", ("draft",)).shown == "http://h1:9400/metrics"


@pytest.mark.parametrize(
    "wrong",
    [
        "http://h1:9400",
        "both=http://h1:9400",
        "draft=h1:9400",
        "draft=",
        "=",
        "draft=http://",
        "target=ftp://x",
    ],
)
def test_sources_that_are_none_are_refused_in_a_sentence(wrong: str) -> None:
    with pytest.raises(SettingsError, match=r"--gpu-metrics .*http://gpu1:9400/metrics"):
        sources([wrong])


def test_a_secret_in_a_wrong_source_is_not_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        sources(["draft=ftp://me:secret@h1"])
    assert "secret" not in str(caught.value)


Answer = Callable[[], bytes]


@asynccontextmanager
async def exporter(answer: Answer) -> AsyncIterator[str]:
    """A real HTTP server on loopback that sends these bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/metrics"
    finally:
        server.close()


def http(body: str, status: str = "200 OK") -> bytes:
    data = body.encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode() + data


async def test_a_page_over_http_that_fails_and_comes_back() -> None:
    answers = iter([http(DCGM_PAGE), http("no", "503 Service Unavailable"), http("<html>"), http(DCGM_PAGE)])
    seen, waits = [], []
    over = asyncio.Event()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 4:
            over.set()
            await asyncio.Event().wait()

    async with exporter(lambda: next(answers)) as url, Pages() as pages:
        source = Source(url, ("draft",))
        task = asyncio.create_task(poll_gpus(source, pages.read, seen.append, seconds=5.0, sleep=sleep))
        await over.wait()
        task.cancel()
    assert [event.unavailable for event in seen] == [
        "",
        "it answers with HTTP status 503",
        "what answers there is neither a dcgm-exporter nor an nvitop-exporter",
        "",
    ]
    assert [len(event.gpus) for event in seen] == [2, 0, 0, 2]
    assert (seen[0].source, seen[0].kind, seen[0].roles) == (url, DCGM, ("draft",))
    assert waits == [5.0, 10.0, 20.0, 5.0]


async def test_pages_that_are_not_there_or_too_large() -> None:
    async with Pages() as pages:
        async with exporter(lambda: http("x" * (9 << 20))) as url:
            with pytest.raises(PageError, match="larger than 8 MiB"):
                await pages.read(url)
        with pytest.raises(PageError, match="nothing listens there"):
            await pages.read(url)
