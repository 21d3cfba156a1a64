"""GPUs through NVML: a driver in which anything may fail, and a machine without one."""

import os
import queue
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from atts_core.telemetry.nvml import GpuSampler, memory_by_role, parent_process, read_gpus

GIB = 1 << 30


class Driver:
    """Answers as pynvml does; `broken` names the calls that fail."""

    NVMLError = pynvml.NVMLError
    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU

    def __init__(self, broken: tuple[str, ...] = (), gpus: int = 2) -> None:
        self.broken = broken
        self.gpus = gpus
        self.opened = 0

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvml"):
            raise AttributeError(name)
        if name in self.broken:

            def fail(*_: Any) -> None:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

            return fail
        return getattr(self, "_" + name)

    def _nvmlInit(self) -> None:  # noqa: N802
        self.opened += 1

    def _nvmlShutdown(self) -> None:  # noqa: N802
        self.opened -= 1

    def _nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return self.gpus

    def _nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def _nvmlDeviceGetName(self, _: int) -> bytes:  # noqa: N802
        return b"NVIDIA H100\x1b[2J"

    def _nvmlDeviceGetMemoryInfo(self, _: int) -> Any:  # noqa: N802
        return SimpleNamespace(used=60 * GIB, total=80 * GIB)

    def _nvmlDeviceGetUtilizationRates(self, _: int) -> Any:  # noqa: N802
        return SimpleNamespace(gpu=87, memory=40)

    def _nvmlDeviceGetPowerUsage(self, _: int) -> int:  # noqa: N802
        return 412_500

    def _nvmlDeviceGetTemperature(self, _: int, sensor: int) -> int:  # noqa: N802
        assert sensor == pynvml.NVML_TEMPERATURE_GPU
        return 61

    def _nvmlDeviceGetComputeRunningProcesses(self, index: int) -> list[Any]:  # noqa: N802
        return [
            SimpleNamespace(pid=101 + index, usedGpuMemory=50 * GIB),
            SimpleNamespace(pid=999, usedGpuMemory=GIB),
            SimpleNamespace(pid=101, usedGpuMemory=None),
        ]


PARENTS = {101: 100, 102: 200, 999: 1, 1: None}


def test_a_healthy_driver() -> None:
    driver = Driver()
    gpus, unavailable = read_gpus({"draft": 100, "target": 200}, library=driver, parent=PARENTS.get)
    assert unavailable == ""
    assert [g.index for g in gpus] == [0, 1]
    first = gpus[0]
    assert first.name.isprintable()
    assert (first.memory_used, first.memory_total) == (60 * GIB, 80 * GIB)
    assert (first.utilisation, first.power, first.temperature) == (0.87, 412.5, 61.0)
    assert first.memory_by_role == {"draft": 50 * GIB}
    assert gpus[1].memory_by_role == {"target": 50 * GIB}
    assert first.missing == {}
    assert driver.opened == 0


@pytest.mark.parametrize(
    ("call", "field"),
    [
        ("nvmlDeviceGetMemoryInfo", "memory_used"),
        ("nvmlDeviceGetUtilizationRates", "utilisation"),
        ("nvmlDeviceGetPowerUsage", "power"),
        ("nvmlDeviceGetTemperature", "temperature"),
        ("nvmlDeviceGetComputeRunningProcesses", "memory_by_role"),
        ("nvmlDeviceGetName", "name"),
        ("nvmlDeviceGetHandleByIndex", "name"),
    ],
)
def test_every_call_may_fail_and_says_why(call: str, field: str) -> None:
    gpus, unavailable = read_gpus(library=Driver(broken=(call,)))
    assert unavailable == ""
    assert len(gpus) == 2
    assert gpus[0].missing[field] == "NVML: Not Supported"
    assert not getattr(gpus[0], field) or field == "name"


@pytest.mark.parametrize(
    ("driver", "words"),
    [
        (Driver(broken=("nvmlInit",)), "Not Supported"),
        (Driver(broken=("nvmlDeviceGetCount",)), "Not Supported"),
        (Driver(gpus=0), "sees no GPU"),
    ],
)
def test_no_gpus(driver: Driver, words: str) -> None:
    gpus, unavailable = read_gpus(library=driver)
    assert gpus == ()
    assert words in unavailable


def test_this_machine() -> None:
    """The real library where there is one, and one clear sentence where there is none."""
    gpus, unavailable = read_gpus()
    assert bool(gpus) != bool(unavailable)
    if not gpus:
        assert "NVIDIA driver" in unavailable or "NVML" in unavailable


def test_memory_of_processes_that_loop_or_are_gone() -> None:
    loop = {1: 2, 2: 1}
    assert memory_by_role([(1, 5)], {"draft": 7}, loop.get) == {}
    assert memory_by_role([(7, 5), (7, 6)], {"draft": 7}, loop.get) == {"draft": 11}


def test_the_parent_of_a_real_process() -> None:
    if not os.path.exists("/proc/self/stat"):  # noqa: PTH110
        pytest.skip("no /proc here")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert parent_process(child.pid) == os.getpid()
    finally:
        child.communicate(b"\n")
    assert parent_process(child.pid) is None


def test_the_sampler_reads_until_it_is_closed() -> None:
    seen: queue.Queue[Any] = queue.Queue()
    driver = Driver()
    with GpuSampler(seen.put, seconds=0.0, library=driver):
        for _ in range(3):
            gpus, _ = seen.get(timeout=20)
            assert len(gpus) == 2
    assert driver.opened == 0


def test_the_sampler_says_once_that_there_is_no_driver() -> None:
    seen: queue.Queue[Any] = queue.Queue()
    with GpuSampler(seen.put, library=Driver(broken=("nvmlInit",))) as sampler:
        gpus, words = seen.get(timeout=20)
        assert gpus == ()
        assert words
    sampler.close()
    assert seen.empty()
