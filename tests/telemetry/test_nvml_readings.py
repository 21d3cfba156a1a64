"""GPUs through NVML: nvidia-ml-py over a FAKE library in which anything may fail; a machine without one."""

import queue
import threading
from collections.abc import Iterator
from typing import Any

import pynvml
import pytest
from fake_nvml import GIB, Gpu, Instance, Library, Process, eight, playing

from atts_core.telemetry import nvml
from atts_core.telemetry.nvml import SLOW_EVERY, GpuSampler, NvmlReader, read_gpus, throttle_words

PARENTS = {101: 100, 102: 101, 201: 200, 999: 1, 1: None}
ROLES = {100: "draft", 200: "target"}


@pytest.fixture
def library() -> Iterator[Library]:
    with playing(Library(eight(draft=102, target=201))) as played:
        yield played


def reader(**settings: Any) -> NvmlReader:
    return NvmlReader(lambda: ROLES, parent=PARENTS.get, visible=PARENTS.__contains__, **settings)


def test_a_healthy_host_of_eight(library: Library) -> None:
    read = reader()
    gpus, unavailable = read.read()
    assert unavailable == ""
    assert [gpu.index for gpu in gpus] == list(range(8))
    first = gpus[0]
    assert (first.name, first.uuid, first.instance) == ("NVIDIA H100 80GB HBM3", "GPU-0", "")
    assert (first.memory_used, first.memory_total) == (72 * GIB, 80 * GIB)
    assert (first.utilisation, first.power, first.power_limit) == (0.87, 412.5, 700.0)
    assert (first.temperature, first.clock, first.clock_limit, first.memory_clock) == (61.0, 1755, 1980, 2619)
    assert (first.throttled, first.ecc_errors, first.missing) == ((), 0, {})
    assert first.memory_by_role == {"draft": 71 * GIB}  # two generations below the server
    assert gpus[1].memory_by_role == gpus[2].memory_by_role == {"target": 56 * GIB}
    assert gpus[2].throttled == ("power cap", "heat (hardware)")
    assert gpus[5].memory_by_role == {}  # somebody else's
    assert gpus[3].throttled == ()  # idle is no trouble
    assert gpus[7].ecc_errors == 3
    read.close()
    assert library.opened == 0


@pytest.mark.parametrize(
    ("function", "field"),
    [
        ("nvmlDeviceGetMemoryInfo", "memory_used"),
        ("nvmlDeviceGetUtilizationRates", "utilisation"),
        ("nvmlDeviceGetPowerUsage", "power"),
        ("nvmlDeviceGetEnforcedPowerLimit", "power_limit"),
        ("nvmlDeviceGetTemperature", "temperature"),
        ("nvmlDeviceGetClockInfo", "clock"),
        ("nvmlDeviceGetMaxClockInfo", "clock_limit"),
        ("nvmlDeviceGetTotalEccErrors", "ecc_errors"),
        ("nvmlDeviceGetCurrentClocksEventReasons", "throttled"),
        ("nvmlDeviceGetComputeRunningProcesses_v3", "memory_by_role"),
        ("nvmlDeviceGetName", "name"),
        ("nvmlDeviceGetHandleByIndex_v2", "name"),
    ],
)
def test_every_call_may_fail_and_says_why(library: Library, function: str, field: str) -> None:
    library.broken[function] = pynvml.NVML_ERROR_NOT_SUPPORTED
    gpus, unavailable = reader().read()
    assert unavailable == ""
    assert len(gpus) == 8
    assert gpus[0].missing[field] == "NVML: Not Supported"
    assert not getattr(gpus[0], field) or field == "name"
    assert len(gpus[0].missing) == (2 if function == "nvmlDeviceGetClockInfo" else 1)


def test_one_gpu_that_falls_off_the_bus_takes_no_other_with_it(library: Library) -> None:
    for name in ("nvmlDeviceGetMemoryInfo", "nvmlDeviceGetUtilizationRates", "nvmlDeviceGetPowerUsage"):
        library.broken[name, 4] = pynvml.NVML_ERROR_GPU_IS_LOST
    gpus, _ = reader().read()
    assert gpus[4].missing["memory_used"] == "NVML: GPU is lost"
    assert gpus[5].memory_used == 30 * GIB


def test_what_came_back_is_no_longer_missing(library: Library) -> None:
    read = reader()
    library.broken["nvmlDeviceGetPowerUsage"] = pynvml.NVML_ERROR_TIMEOUT
    assert "power" in read.read()[0][0].missing
    library.broken.clear()
    again = read.read()[0][0]
    assert (again.power, again.missing) == (412.5, {})


def test_names_and_limits_are_asked_once_and_slow_fields_now_and_then(library: Library) -> None:
    read = reader()
    for _ in range(2 * SLOW_EVERY):
        read.read()
    calls = {name: library.calls.count(name) // len(library.gpus) for name in set(library.calls)}
    assert calls["nvmlDeviceGetName"] == calls["nvmlDeviceGetMaxClockInfo"] == 1
    assert calls["nvmlDeviceGetTotalEccErrors"] == calls["nvmlDeviceGetEnforcedPowerLimit"] == 2
    assert calls["nvmlDeviceGetMemoryInfo"] == 2 * SLOW_EVERY
    assert library.calls.count("nvmlInitWithFlags") == 1


def test_an_old_driver_knows_older_names_only(library: Library) -> None:
    library.absent = {"nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetComputeRunningProcesses_v3"}
    gpus, _ = reader().read()
    assert gpus[2].throttled == ("power cap", "heat (hardware)")
    assert gpus[0].memory_by_role == {"draft": 71 * GIB}
    library.absent.add("nvmlDeviceGetComputeRunningProcesses_v2")
    pynvml._nvmlGetFunctionPointer_cache.clear()
    assert reader().read()[0][0].missing["memory_by_role"] == "NVML: Function Not Found"


def test_a_driver_that_does_not_match_its_library_gives_garbage_which_is_dropped(library: Library) -> None:
    library.gpus[0].processes = [
        Process(0xFFFFFFFF, 3 * GIB),
        Process(0, GIB),
        Process(102, 5000 * GIB),
        Process(101, 7 * GIB),
    ]
    assert reader().read()[0][0].memory_by_role == {"draft": 7 * GIB}
    library.gpus[0].processes = [Process(0xFFFFFFFF, 3 * GIB)]
    first = reader().read()[0][0]
    assert first.memory_by_role == {}
    assert first.missing["memory_by_role"] == "the processes that the driver names cannot be"
    library.broken["nvmlInitWithFlags"] = pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH
    assert reader().read() == ((), "NVML: RM has detected an NVML/RM version mismatch.")


def test_processes_that_cannot_be_told_apart_say_why(library: Library) -> None:
    library.gpus[0].processes = [Process(102, None)]
    library.gpus[1].processes = [Process(555_555, GIB)]
    library.gpus[2].processes = []
    gpus, _ = reader().read()
    assert gpus[0].missing["memory_by_role"] == "the driver does not tell what a process holds"
    assert "not visible here" in gpus[1].missing["memory_by_role"]
    assert "memory_by_role" not in gpus[2].missing
    assert all(not gpu.memory_by_role for gpu in gpus[:3])


def test_mig_instances_have_rows_of_their_own(library: Library) -> None:
    library.gpus = [
        Gpu(
            instances={
                0: Instance(7, 1, 9856, 9 * GIB, [Process(102, 8 * GIB)]),
                3: Instance(9, 3, 40_448, 30 * GIB, [Process(201, 29 * GIB)]),
            },
            processes=[Process(102, 8 * GIB), Process(201, 29 * GIB)],
        ),
        Gpu(uuid="GPU-1"),
    ]
    gpus, _ = reader().read()
    assert [(gpu.index, gpu.instance) for gpu in gpus] == [
        (0, ""),
        (0, "1g.10gb #7"),
        (0, "3g.40gb #9"),
        (1, ""),
    ]
    whole, small, large, _ = gpus
    assert whole.memory_by_role == {}  # its instances have them, and nothing counts twice
    assert whole.missing["utilisation"] == "NVML: Not Supported"
    assert whole.power == 412.5
    assert small.memory_by_role == {"draft": 8 * GIB}
    assert (large.memory_used, large.memory_total) == (30 * GIB, 40_448 << 20)
    assert large.memory_by_role == {"target": 29 * GIB}
    assert small.missing == {}


def test_instances_that_come_and_go_are_noticed(library: Library) -> None:
    library.gpus = [Gpu(instances={0: Instance(7, 1, 9856, GIB)})]
    read = reader()
    assert len(read.read()[0]) == 2
    library.gpus[0].instances = {}
    assert [len(read.read()[0]) for _ in range(SLOW_EVERY)][-1] == 1


@pytest.mark.parametrize(
    ("function", "code", "words"),
    [
        ("nvmlInitWithFlags", pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "NVML: Driver Not Loaded"),
        ("nvmlDeviceGetCount_v2", pynvml.NVML_ERROR_UNKNOWN, "NVML: Unknown Error"),
        ("nvmlInitWithFlags", 12345, "an error of a newer driver"),
    ],
)
def test_no_gpus(library: Library, function: str, code: int, words: str) -> None:
    library.broken[function] = code
    gpus, unavailable = read_gpus()
    assert gpus == ()
    assert words in unavailable
    assert library.opened == 0


def test_a_driver_without_gpus() -> None:
    with playing(Library([])):
        assert read_gpus() == ((), "the NVIDIA driver sees no GPU")


def test_this_machine() -> None:
    """The real library where there is one, and one clear sentence where there is none."""
    gpus, unavailable = read_gpus()
    assert bool(gpus) != bool(unavailable)
    if not gpus:
        assert "NVIDIA driver" in unavailable or "NVML" in unavailable


def test_throttle_reasons_in_words() -> None:
    assert throttle_words(pynvml.nvmlClocksEventReasonGpuIdle) == ()
    assert throttle_words(pynvml.nvmlClocksThrottleReasonAll) == throttle_words(0x7FE)
    assert all(throttle_words(1 << bit) for bit in range(1, 11))
    assert throttle_words(1 << 60) == ()


def test_the_sampler_reads_until_it_is_closed(library: Library) -> None:
    seen: queue.Queue[Any] = queue.Queue()
    with GpuSampler(seen.put, seconds=0.0):
        for _ in range(3):
            gpus, _ = seen.get(timeout=20)
            assert len(gpus) == 8
    assert library.opened == 0


def test_a_driver_that_hangs_does_not_hold_up_the_end_of_a_run(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvml, "LONGEST_CALL", 0.1)
    called, let_go = threading.Event(), threading.Event()

    def hang() -> dict[int, str]:
        called.set()
        let_go.wait(20)
        return {}

    seen: queue.Queue[Any] = queue.Queue()
    with GpuSampler(seen.put, roles=hang) as sampler:
        assert called.wait(20)
    assert sampler._thread.is_alive()
    let_go.set()
    sampler._thread.join(20)
    assert seen.empty()
    assert library.opened == 0


def test_the_sampler_says_once_that_there_is_no_driver(library: Library) -> None:
    library.broken["nvmlInitWithFlags"] = pynvml.NVML_ERROR_LIBRARY_NOT_FOUND
    seen: queue.Queue[Any] = queue.Queue()
    with GpuSampler(seen.put, seconds=0.0, reopen=0.0) as sampler:
        assert seen.get(timeout=20) == ((), "no NVIDIA driver here (its NVML library was not found)")
        sampler._thread.join(20)
    assert seen.empty()


def test_the_sampler_opens_a_driver_again_that_was_loaded_anew(library: Library) -> None:
    seen: queue.Queue[Any] = queue.Queue()
    with GpuSampler(seen.put, seconds=0.0, reopen=0.0):
        assert seen.get(timeout=20)[0]
        library.broken["nvmlDeviceGetCount_v2"] = pynvml.NVML_ERROR_UNINITIALIZED
        while seen.get(timeout=20)[0]:
            pass
        library.broken.clear()
        while not seen.get(timeout=20)[0]:
            pass
    assert library.opened == 0
