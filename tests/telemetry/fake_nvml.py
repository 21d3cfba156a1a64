"""A FAKE of NVIDIA's library, at its C interface: nvidia-ml-py's own code runs over it unchanged.

No GPU was at hand. What is played here are the functions of `libnvidia-ml.so` that pynvml calls through
ctypes, as its source declares them: return codes, out-parameters, `0xFFFF…` for "not available", functions
that an old driver does not export. The numbers are invented.
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pynvml

GIB = 1 << 30
NOT_AVAILABLE = (1 << 64) - 1


@dataclass
class Process:
    pid: int
    used: int | None
    """None: the driver does not tell."""


@dataclass
class Instance:
    """A MIG instance."""

    gpu_instance: int
    slices: int
    memory_mb: int
    used: int
    processes: list[Process] = field(default_factory=list)


@dataclass
class Gpu:
    name: str = "NVIDIA H100 80GB HBM3"
    uuid: str = "GPU-0"
    total: int = 80 * GIB
    used: int = 60 * GIB
    utilisation: int = 87
    power: int = 412_500
    power_limit: int = 700_000
    temperature: int = 61
    clocks: dict[int, int] = field(
        default_factory=lambda: {pynvml.NVML_CLOCK_SM: 1755, pynvml.NVML_CLOCK_MEM: 2619}
    )
    clock_limit: int = 1980
    reasons: int = 0
    ecc: int = 0
    processes: list[Process] = field(default_factory=list)
    instances: dict[int, Instance] = field(default_factory=dict)
    """By place; places without one are empty."""


class Library:
    """`broken` maps a function, or (function, GPU), to the code that it returns instead; `absent` functions
    are not exported at all."""

    def __init__(self, gpus: list[Gpu]) -> None:
        self.gpus = gpus
        self.broken: dict[str | tuple[str, int], int] = {}
        self.absent: set[str] = set()
        self.opened = 0
        self.calls: list[str] = []
        self._handles: dict[int, tuple[int, int | None]] = {}
        self._alive: list[Any] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_") or name in self.absent:
            raise AttributeError(name)
        body = getattr(type(self), "_" + name, None)
        if body is None:
            raise AttributeError(name)

        def function(*arguments: Any) -> Any:
            self.calls.append(name)
            code = self.broken.get(name)
            if code is None and arguments and isinstance(arguments[0], pynvml.c_nvmlDevice_t):
                code = self.broken.get((name, self._who(arguments[0])[0]))
            if code is not None:
                return code
            if self._is_gone(arguments):
                return int(pynvml.NVML_ERROR_INVALID_ARGUMENT)
            return body(self, *arguments) or pynvml.NVML_SUCCESS

        return function

    def _is_gone(self, arguments: tuple[Any, ...]) -> bool:
        if not arguments or not isinstance(arguments[0], pynvml.c_nvmlDevice_t):
            return False
        gpu, place = self._who(arguments[0])
        return place is not None and place not in self.gpus[gpu].instances

    def _handle(self, reference: Any, gpu: int, place: int | None = None) -> None:
        thing = pynvml.struct_c_nvmlDevice_t()
        self._alive.append(thing)  # its address is the handle
        self._handles[ctypes.addressof(thing)] = (gpu, place)
        reference._obj.contents = thing

    def _who(self, handle: Any) -> tuple[int, int | None]:
        return self._handles[ctypes.addressof(handle.contents)]

    def _gpu(self, handle: Any) -> Gpu:
        return self.gpus[self._who(handle)[0]]

    def _part(self, handle: Any) -> Instance | None:
        gpu, place = self._who(handle)
        return None if place is None else self.gpus[gpu].instances[place]

    # The functions, with the names of the library.

    def _nvmlInitWithFlags(self, flags: int) -> None:  # noqa: N802
        self.opened += 1

    def _nvmlShutdown(self) -> None:  # noqa: N802
        self.opened -= 1

    def _nvmlDeviceGetCount_v2(self, count: Any) -> None:  # noqa: N802
        count._obj.value = len(self.gpus)

    def _nvmlDeviceGetHandleByIndex_v2(self, index: Any, device: Any) -> None:  # noqa: N802
        self._handle(device, index.value)

    def _nvmlDeviceGetName(self, handle: Any, buffer: Any, size: Any) -> None:  # noqa: N802
        buffer.value = self._gpu(handle).name.encode()

    def _nvmlDeviceGetUUID(self, handle: Any, buffer: Any, size: Any) -> None:  # noqa: N802
        part = self._part(handle)
        buffer.value = (f"MIG-{part.gpu_instance}" if part else self._gpu(handle).uuid).encode()

    def _nvmlDeviceGetMaxClockInfo(self, handle: Any, kind: Any, out: Any) -> None:  # noqa: N802
        out._obj.value = self._gpu(handle).clock_limit

    def _nvmlDeviceGetClockInfo(self, handle: Any, kind: Any, out: Any) -> None:  # noqa: N802
        out._obj.value = self._gpu(handle).clocks[kind.value]

    def _nvmlDeviceGetMemoryInfo(self, handle: Any, out: Any) -> None:  # noqa: N802
        part, gpu = self._part(handle), self._gpu(handle)
        total, used = (part.memory_mb << 20, part.used) if part else (gpu.total, gpu.used)
        out._obj.total, out._obj.used, out._obj.free = total, used, total - used

    def _nvmlDeviceGetUtilizationRates(self, handle: Any, out: Any) -> int:  # noqa: N802
        gpu = self._gpu(handle)
        if gpu.instances:
            return pynvml.NVML_ERROR_NOT_SUPPORTED
        out._obj.gpu, out._obj.memory = gpu.utilisation, 40
        return 0

    def _nvmlDeviceGetPowerUsage(self, handle: Any, out: Any) -> None:  # noqa: N802
        out._obj.value = self._gpu(handle).power

    def _nvmlDeviceGetEnforcedPowerLimit(self, handle: Any, out: Any) -> None:  # noqa: N802
        out._obj.value = self._gpu(handle).power_limit

    def _nvmlDeviceGetTemperature(self, handle: Any, sensor: Any, out: Any) -> int:  # noqa: N802
        if sensor.value != pynvml.NVML_TEMPERATURE_GPU:
            return pynvml.NVML_ERROR_INVALID_ARGUMENT
        out._obj.value = self._gpu(handle).temperature
        return 0

    def _nvmlDeviceGetCurrentClocksEventReasons(self, handle: Any, out: Any) -> None:  # noqa: N802
        out._obj.value = self._gpu(handle).reasons

    _nvmlDeviceGetCurrentClocksThrottleReasons = _nvmlDeviceGetCurrentClocksEventReasons  # noqa: N815

    def _nvmlDeviceGetTotalEccErrors(self, handle: Any, kind: Any, counter: Any, out: Any) -> int:  # noqa: N802
        if (kind.value, counter.value) != (
            pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
            pynvml.NVML_VOLATILE_ECC,
        ):
            return pynvml.NVML_ERROR_INVALID_ARGUMENT
        out._obj.value = self._gpu(handle).ecc
        return 0

    def _nvmlDeviceGetMigMode(self, handle: Any, current: Any, pending: Any) -> None:  # noqa: N802
        current._obj.value = pending._obj.value = int(bool(self._gpu(handle).instances))

    def _nvmlDeviceGetMaxMigDeviceCount(self, handle: Any, out: Any) -> None:  # noqa: N802
        out._obj.value = 7

    def _nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Any, index: Any, out: Any) -> int:  # noqa: N802
        if index.value not in self._gpu(handle).instances:
            return pynvml.NVML_ERROR_NOT_FOUND
        self._handle(out, self._who(handle)[0], index.value)
        return 0

    def _nvmlDeviceGetGpuInstanceId(self, handle: Any, out: Any) -> None:  # noqa: N802
        part = self._part(handle)
        assert part is not None
        out._obj.value = part.gpu_instance

    def _nvmlDeviceGetAttributes_v2(self, handle: Any, out: Any) -> None:  # noqa: N802
        part = self._part(handle)
        assert part is not None
        out._obj.gpuInstanceSliceCount, out._obj.memorySizeMB = part.slices, part.memory_mb

    def _nvmlDeviceGetComputeRunningProcesses_v3(self, handle: Any, count: Any, out: Any) -> int:  # noqa: N802
        part = self._part(handle)
        processes = part.processes if part else self._gpu(handle).processes
        room, count._obj.value = count._obj.value, len(processes)
        if not processes:
            return 0
        if out is None or room < len(processes):
            return pynvml.NVML_ERROR_INSUFFICIENT_SIZE
        for place, process in enumerate(processes):
            out[place].pid = process.pid & 0xFFFFFFFF
            out[place].usedGpuMemory = NOT_AVAILABLE if process.used is None else process.used
        return 0

    _nvmlDeviceGetComputeRunningProcesses_v2 = _nvmlDeviceGetComputeRunningProcesses_v3  # noqa: N815

    def _nvmlErrorString(self, code: int) -> bytes:  # noqa: N802
        return b"an error of a newer driver"


@contextmanager
def playing(library: Library) -> Iterator[Library]:
    """pynvml over this library, instead of a driver's."""
    before = pynvml.nvmlLib
    pynvml.nvmlLib = library
    pynvml._nvmlGetFunctionPointer_cache.clear()
    try:
        yield library
    finally:
        pynvml.nvmlLib = before
        pynvml._nvmlGetFunctionPointer_cache.clear()


def eight(draft: int = 100, target: int = 200) -> list[Gpu]:
    """Eight GPUs: the draft on the first, the target on the second and third, a stranger on the sixth."""
    gpus = [
        Gpu(uuid=f"GPU-{index}", used=GIB, utilisation=0, power=71_000, temperature=31, reasons=1)
        for index in range(8)
    ]
    gpus[0] = Gpu(uuid="GPU-0", used=72 * GIB, processes=[Process(draft, 71 * GIB)])
    for index, temperature in ((1, 74), (2, 88)):
        gpus[index] = Gpu(
            uuid=f"GPU-{index}",
            used=57 * GIB,
            utilisation=98,
            power=694_000,
            temperature=temperature,
            reasons=pynvml.nvmlClocksEventReasonSwPowerCap,
            processes=[Process(target, 56 * GIB)],
        )
    gpus[2].reasons |= pynvml.nvmlClocksEventReasonHwThermalSlowdown
    gpus[2].clocks = {pynvml.NVML_CLOCK_SM: 1215, pynvml.NVML_CLOCK_MEM: 2619}
    gpus[5] = Gpu(uuid="GPU-5", used=30 * GIB, utilisation=45, processes=[Process(999, 29 * GIB)])
    gpus[7].ecc = 3
    return gpus
