"""The GPUs of this machine through NVML, in a thread of its own: a driver call may take 10 ms and more.

Every call may fail (a MIG slice has no utilisation, a container no process list, an old driver no power): the
field is then None and `GpuReading.missing` holds the driver's words.
"""

import contextlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import pynvml

from atts_core.telemetry.readings import GpuReading

_DEEPEST: Final = 32
"""Generations of processes that are climbed from a GPU process to the server that was started."""

T = TypeVar("T")
Snapshot = tuple[tuple[GpuReading, ...], str]
"""The GPUs, and why there are none."""


def read_gpus(
    processes: Mapping[str, int] | None = None,
    *,
    library: Any = pynvml,
    parent: Callable[[int], int | None] | None = None,
) -> Snapshot:
    """One reading of every GPU, and why there is none where there is none.

    `processes` maps a role to the process id of its server on this machine; memory of its descendants counts
    for it. `library` is pynvml or a recording of it.
    """
    try:
        library.nvmlInit()
    except library.NVMLError as error:
        return (), _words(error)
    try:
        return _read_all(library, processes or {}, parent or parent_process)
    finally:
        with contextlib.suppress(library.NVMLError):
            library.nvmlShutdown()


def _read_all(library: Any, processes: Mapping[str, int], parent: Callable[[int], int | None]) -> Snapshot:
    try:
        count = library.nvmlDeviceGetCount()
    except library.NVMLError as error:
        return (), _words(error)
    if count == 0:
        return (), "the NVIDIA driver sees no GPU"
    return tuple(_read_one(library, index, processes, parent) for index in range(count)), ""


def _read_one(
    library: Any, index: int, processes: Mapping[str, int], parent: Callable[[int], int | None]
) -> GpuReading:
    missing: dict[str, str] = {}

    def ask(field: str, call: Callable[[], T]) -> T | None:
        try:
            return call()
        except library.NVMLError as error:
            missing[field] = _words(error)
        except (TypeError, ValueError, AttributeError) as error:
            missing[field] = f"the driver gave something unexpected ({error})"
        return None

    handle = ask("name", lambda: library.nvmlDeviceGetHandleByIndex(index))
    if handle is None:
        return GpuReading(index=index, name="unknown", missing=missing)
    memory = ask("memory_used", lambda: library.nvmlDeviceGetMemoryInfo(handle))
    by_role = ask(
        "memory_by_role",
        lambda: memory_by_role(
            [
                (process.pid, process.usedGpuMemory)
                for process in library.nvmlDeviceGetComputeRunningProcesses(handle)
            ],
            processes,
            parent,
        ),
    )
    return GpuReading(
        index=index,
        name=ask("name", lambda: _text(library.nvmlDeviceGetName(handle))) or "unknown",
        memory_used=None if memory is None else int(memory.used),
        memory_total=None if memory is None else int(memory.total),
        memory_by_role=by_role or {},
        utilisation=ask("utilisation", lambda: library.nvmlDeviceGetUtilizationRates(handle).gpu / 100),
        power=ask("power", lambda: library.nvmlDeviceGetPowerUsage(handle) / 1000),
        temperature=ask(
            "temperature",
            lambda: float(library.nvmlDeviceGetTemperature(handle, library.NVML_TEMPERATURE_GPU)),
        ),
        missing=missing,
    )


def memory_by_role(
    held: list[tuple[int, int | None]],
    processes: Mapping[str, int],
    parent: Callable[[int], int | None],
) -> dict[str, int]:
    """Bytes on one GPU by role. `held` lists (process id, bytes or None where the driver does not tell)."""
    role_of = {pid: role for role, pid in processes.items()}
    found: dict[str, int] = {}
    for pid, size in held:
        ancestor: int | None = pid
        for _ in range(_DEEPEST):
            if ancestor is None or ancestor in role_of:
                break
            ancestor = parent(ancestor)
        if ancestor in role_of and size is not None:
            role = role_of[ancestor]
            found[role] = found.get(role, 0) + size
    return found


def parent_process(pid: int) -> int | None:
    """The process that started `pid`, from /proc; None where it is gone or there is no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        # the name in brackets may hold anything, so count from its end: state, then the parent
        return int(stat.rpartition(")")[2].split()[1]) or None
    except (OSError, ValueError, IndexError):
        return None


def _words(error: Exception) -> str:
    words = str(error)
    if "Shared Library Not Found" in words:
        return "no NVIDIA driver here (its NVML library was not found)"
    return f"NVML: {words}"


def _text(name: str | bytes) -> str:
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
    return "".join(c for c in text if c.isprintable())


class GpuSampler:
    """Reads the GPUs once a second in a thread of its own until it is closed. Use it as a context.

    `deliver` is called in that thread. Where there is no NVML library it is called once, with the reason, and
    the thread ends.
    """

    def __init__(
        self,
        deliver: Callable[[Snapshot], None],
        *,
        processes: Mapping[str, int] | None = None,
        seconds: float = 1.0,
        library: Any = pynvml,
    ) -> None:
        self._deliver = deliver
        self._processes = dict(processes or {})
        self._seconds = seconds
        self._library = library
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
        """Ends the thread; returns once it has."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        library = self._library
        try:
            library.nvmlInit()  # once: opening the driver costs more than all readings of a minute
        except library.NVMLError as error:
            self._deliver(((), _words(error)))
            return
        try:
            while not self._closing.is_set():
                self._deliver(_read_all(library, self._processes, parent_process))
                self._closing.wait(self._seconds)
        finally:
            with contextlib.suppress(library.NVMLError):
                library.nvmlShutdown()
