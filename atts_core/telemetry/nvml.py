"""The GPUs of this machine through NVML, in a thread of its own: a driver call may take 10 ms and more.

Every call may fail (a MIG instance has no utilisation, a container no process list, an old driver no power):
the field is then None and `GpuReading.missing` holds the driver's words. What never changes is asked once,
what changes slowly each five seconds.
"""

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import pynvml

from atts_core.telemetry.processes import LARGEST_PID, exists, owner, parent_process
from atts_core.telemetry.readings import GpuReading

SECONDS: Final = 1.0
SLOW_EVERY: Final = 5
"""Readings from one look at what changes slowly to the next."""
REOPEN_EVERY: Final = 30.0
"""Seconds before a driver that failed is opened again: it may have been loaded anew."""
LONGEST_CALL: Final = 2.0
"""Seconds that the end of a run waits for a call of the driver; one of a broken GPU may never return."""

THROTTLED: Final = {
    0x002: "set clocks",
    0x004: "power cap",
    0x008: "hardware slowdown",
    0x010: "sync boost",
    0x020: "heat (software)",
    0x040: "heat (hardware)",
    0x080: "power brake",
    0x100: "display clocks",
    0x200: "board limit",
    0x400: "reliability",
}
"""NVML's bits of what holds the clocks down. That a GPU idles (bit 0) holds nothing down."""

T = TypeVar("T")
Snapshot = tuple[tuple[GpuReading, ...], str]
"""The GPUs, and why there are none."""
Roles = Callable[[], Mapping[int, str]]
"""Gives the role by process id, of the servers on this machine."""


def read_gpus(*, library: Any = pynvml) -> Snapshot:
    """One reading of every GPU, and why there is none where there is none. `library`: pynvml, or its like."""
    reader = NvmlReader(dict, library=library)
    try:
        return reader.read()
    finally:
        reader.close()


@dataclass(slots=True)
class _Device:
    """What is known of one GPU or MIG instance besides its readings."""

    handle: Any
    index: int
    name: str
    uuid: str = ""
    instance: str = ""
    clock_limit: int | None = None
    power_limit: float | None = None
    ecc_errors: int | None = None
    divided: bool = False
    """It has MIG instances, which hold its processes."""
    missing: dict[str, str] = field(default_factory=dict)
    """Why static and slow fields are None."""


class NvmlReader:
    """Reads all GPUs, again and again. Use it from one thread."""

    def __init__(
        self,
        roles: Roles,
        *,
        library: Any = pynvml,
        parent: Callable[[int], int | None] = parent_process,
        visible: Callable[[int], bool] = exists,
    ) -> None:
        self._roles = roles
        self._library = library
        self._parent = parent
        self._visible = visible
        self._failures = (library.NVMLError, library.NVMLLibraryMismatchError)
        self._open = False
        self._readings = 0
        self._devices: list[_Device] = []
        self._role_of: Mapping[int, str] = {}
        self._owners: dict[int, str | None] = {}

    def read(self) -> Snapshot:
        """One reading of every GPU, and why there is none where there is none."""
        library = self._library
        try:
            if not self._open:
                library.nvmlInit()
                self._open, self._readings, self._devices = True, 0, []
            if self._readings % SLOW_EVERY == 0:
                self._look_around()
        except self._failures as error:
            self.close()
            return (), _words(error)
        self._readings += 1
        if not self._devices:
            return (), "the NVIDIA driver sees no GPU"
        return tuple(self._read(device) for device in self._devices), ""

    def close(self) -> None:
        """Let the driver go; the next reading opens it again."""
        if self._open:
            self._open = False
            with contextlib.suppress(*self._failures):
                self._library.nvmlShutdown()

    # What changes slowly, or never.

    def _look_around(self) -> None:
        library = self._library
        before = {device.index: device for device in self._devices if not device.instance}
        self._devices = []
        for index in range(library.nvmlDeviceGetCount()):
            gpu = before.get(index)
            if gpu is None or gpu.handle is None:
                gpu = self._meet(index)
            self._devices.append(gpu)
            if gpu.handle is None:
                continue
            self._look_at(gpu)
            instances = self._instances(gpu)
            gpu.divided = bool(instances)
            self._devices += instances
        self._role_of = dict(self._roles())
        self._owners = {}

    def _meet(self, index: int) -> _Device:
        library = self._library
        gpu = _Device(None, index, "unknown")
        gpu.handle = self._ask(gpu.missing, "name", lambda: library.nvmlDeviceGetHandleByIndex(index))
        if gpu.handle is not None:
            handle = gpu.handle
            said = self._ask(gpu.missing, "name", lambda: _text(library.nvmlDeviceGetName(handle)))
            gpu.name = said or "unknown"
            gpu.uuid = self._ask(gpu.missing, "uuid", lambda: _text(library.nvmlDeviceGetUUID(handle))) or ""
            gpu.clock_limit = self._ask(
                gpu.missing,
                "clock_limit",
                lambda: int(library.nvmlDeviceGetMaxClockInfo(handle, library.NVML_CLOCK_SM)),
            )
        return gpu

    def _look_at(self, gpu: _Device) -> None:
        library, handle = self._library, gpu.handle
        gpu.power_limit = self._ask(
            gpu.missing, "power_limit", lambda: library.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000
        )
        gpu.ecc_errors = self._ask(
            gpu.missing,
            "ecc_errors",
            lambda: int(
                library.nvmlDeviceGetTotalEccErrors(
                    handle, library.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, library.NVML_VOLATILE_ECC
                )
            ),
        )

    def _instances(self, gpu: _Device) -> list[_Device]:
        """The MIG instances of a GPU; none where it is not divided or its driver cannot be."""
        library, handle = self._library, gpu.handle
        ignored: dict[str, str] = {}
        mode = self._ask(ignored, "mig", lambda: library.nvmlDeviceGetMigMode(handle)[0])
        if mode != library.NVML_DEVICE_MIG_ENABLE:
            return []
        places = self._ask(ignored, "mig", lambda: int(library.nvmlDeviceGetMaxMigDeviceCount(handle))) or 0
        parts = [self._instance(gpu, place) for place in range(places)]
        return [part for part in parts if part is not None]

    def _instance(self, gpu: _Device, place: int) -> _Device | None:
        library = self._library
        ignored: dict[str, str] = {}
        handle = self._ask(
            ignored, "mig", lambda: library.nvmlDeviceGetMigDeviceHandleByIndex(gpu.handle, place)
        )
        if handle is None:  # an empty place
            return None
        uuid = self._ask(ignored, "uuid", lambda: _text(library.nvmlDeviceGetUUID(handle))) or ""
        number = self._ask(ignored, "mig", lambda: int(library.nvmlDeviceGetGpuInstanceId(handle)))
        shape = self._ask(ignored, "mig", lambda: library.nvmlDeviceGetAttributes(handle))
        profile = "MIG"
        if shape is not None:
            profile = f"{shape.gpuInstanceSliceCount}g.{round(shape.memorySizeMB / 1024)}gb"
        instance = f"{profile} #{place if number is None else number}"
        return _Device(handle, gpu.index, gpu.name, uuid, instance)

    # What changes all the time.

    def _read(self, device: _Device) -> GpuReading:
        library, handle, missing = self._library, device.handle, dict(device.missing)
        if handle is None:
            return GpuReading(index=device.index, name=device.name, missing=missing)

        def ask(name: str, call: Callable[[], T]) -> T | None:
            return self._ask(missing, name, call)

        memory = ask("memory_used", lambda: library.nvmlDeviceGetMemoryInfo(handle))
        used, total = (None, None) if memory is None else (int(memory.used), int(memory.total))
        by_role: dict[str, int] = {}
        if not device.divided:
            by_role = ask("memory_by_role", lambda: self._by_role(self._held(handle), total, missing)) or {}
        if device.instance:  # the rest is the whole GPU's
            return GpuReading(
                index=device.index,
                name=device.name,
                uuid=device.uuid,
                instance=device.instance,
                memory_used=used,
                memory_total=total,
                memory_by_role=by_role,
                missing=missing,
            )
        reasons = ask("throttled", lambda: int(self._reasons(handle)))
        return GpuReading(
            index=device.index,
            name=device.name,
            uuid=device.uuid,
            memory_used=used,
            memory_total=total,
            memory_by_role=by_role,
            utilisation=ask("utilisation", lambda: library.nvmlDeviceGetUtilizationRates(handle).gpu / 100),
            power=ask("power", lambda: library.nvmlDeviceGetPowerUsage(handle) / 1000),
            power_limit=device.power_limit,
            temperature=ask(
                "temperature",
                lambda: float(library.nvmlDeviceGetTemperature(handle, library.NVML_TEMPERATURE_GPU)),
            ),
            clock=ask("clock", lambda: int(library.nvmlDeviceGetClockInfo(handle, library.NVML_CLOCK_SM))),
            clock_limit=device.clock_limit,
            memory_clock=ask(
                "memory_clock", lambda: int(library.nvmlDeviceGetClockInfo(handle, library.NVML_CLOCK_MEM))
            ),
            throttled=throttle_words(reasons or 0),
            ecc_errors=device.ecc_errors,
            missing=missing,
        )

    def _reasons(self, handle: Any) -> int:
        """Newer drivers' documents name the first function only, older drivers have only the second."""
        library = self._library
        try:
            return int(library.nvmlDeviceGetCurrentClocksEventReasons(handle))
        except library.NVMLError as error:
            if error.value != library.NVML_ERROR_FUNCTION_NOT_FOUND:
                raise
            return int(library.nvmlDeviceGetCurrentClocksThrottleReasons(handle))

    def _held(self, handle: Any) -> list[tuple[int, int | None]]:
        """Process ids and what they hold. Drivers before 510 know only the older function."""
        library = self._library
        try:
            processes = library.nvmlDeviceGetComputeRunningProcesses(handle)
        except library.NVMLLibraryMismatchError:
            processes = library.nvmlDeviceGetComputeRunningProcesses_v2(handle)
        return [(int(process.pid), process.usedGpuMemory) for process in processes]

    def _by_role(
        self, held: list[tuple[int, int | None]], total: int | None, missing: dict[str, str]
    ) -> dict[str, int]:
        named = len(held)
        held = [(pid, size) for pid, size in held if 0 < pid <= LARGEST_PID]
        found = memory_by_role(held, total, self._owner)
        if named and not held:
            missing["memory_by_role"] = "the processes that the driver names cannot be"
        elif not found and held:
            if not any(self._visible(pid) for pid, _ in held):
                missing["memory_by_role"] = "its processes are not visible here, as in a container"
            elif all(size is None for pid, size in held if self._owner(pid)) and any(
                self._owner(pid) for pid, _ in held
            ):
                missing["memory_by_role"] = "the driver does not tell what a process holds"
        return found

    def _owner(self, pid: int) -> str | None:
        if pid not in self._owners:
            self._owners[pid] = owner(pid, self._role_of, self._parent)
        return self._owners[pid]

    def _ask(self, missing: dict[str, str], name: str, call: Callable[[], T]) -> T | None:
        missing.pop(name, None)
        try:
            return call()
        except self._failures as error:
            missing[name] = _words(error)
        except (TypeError, ValueError, AttributeError, IndexError) as error:
            missing[name] = f"the driver gave something unexpected ({error})"
        return None


def throttle_words(reasons: int) -> tuple[str, ...]:
    """What NVML's bits of throttle reasons say; empty where nothing holds the clocks down."""
    return tuple(words for bit, words in THROTTLED.items() if reasons & bit)


def memory_by_role(
    held: Iterable[tuple[int, int | None]], total: int | None, role_of: Callable[[int], str | None]
) -> dict[str, int]:
    """Bytes on one GPU by role.

    `held` lists (process id, bytes or None where the driver does not tell); more than the GPU has (`total`,
    where known) is a driver that does not match its library, and left out.
    """
    found: dict[str, int] = {}
    for pid, size in held:
        role = role_of(pid)
        if role is not None and size is not None and 0 <= size <= (total or size):
            found[role] = found.get(role, 0) + size
    return found


def _words(error: Exception) -> str:
    words = str(error)
    if "Shared Library Not Found" in words:
        return "no NVIDIA driver here (its NVML library was not found)"
    if isinstance(error, pynvml.NVMLLibraryMismatchError):
        return "NVML: this driver and its library are of different releases"
    return f"NVML: {words}"


def _text(name: str | bytes) -> str:
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
    return "".join(c for c in text if c.isprintable())


class GpuSampler:
    """Reads the GPUs once a second in a thread of its own until it is closed. Use it as a context.

    `deliver` is called in that thread. Where there is no NVML library it is called once, with the reason, and
    the thread ends; a driver that fails later is opened again now and then.
    """

    def __init__(
        self,
        deliver: Callable[[Snapshot], None],
        *,
        roles: Roles = dict,
        seconds: float = SECONDS,
        reopen: float = REOPEN_EVERY,
        library: Any = pynvml,
    ) -> None:
        self._deliver = deliver
        self._reader = NvmlReader(roles, library=library)
        self._seconds = seconds
        self._reopen = reopen
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gpu-sampler", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the thread. One that hangs in the driver is left behind: it delivers nothing any more."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(LONGEST_CALL)

    def _run(self) -> None:
        ever = False
        try:
            while not self._closing.is_set():
                snapshot = self._reader.read()
                if self._closing.is_set():
                    return
                self._deliver(snapshot)
                ever = ever or bool(snapshot[0])
                if not snapshot[0] and not ever:
                    return
                self._closing.wait(self._seconds if snapshot[0] else self._reopen)
        finally:
            self._reader.close()
