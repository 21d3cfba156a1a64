"""What a run keeps of its machines: the newest readings, peaks, memory against samples, load over time.

A part of RunState: a pure fold, kept in snapshots, and bounded however long the run is.
"""

from dataclasses import dataclass, field
from typing import Final, Literal, TypeGuard, TypeVar

from atts_core.telemetry.readings import GpuReading, ServerReading

HERE: Final = ""
"""The name of this machine among the sources."""
MOST_SOURCES: Final = 64
MOST_SERVERS: Final = 64
MOST_BINS: Final = 128
MOST_STRETCHES: Final = 240
STILL_AFTER: Final = 10.0
"""Run seconds without any number of a server moving, after which its gauges are called old: a running SGLang
writes them anew every 40 decode steps, which take about a second."""

LARGEST: Final = 2**53
"""No number of a machine is as large; one that is came out of a broken file, and is left out."""

Basis = Literal["processes", "devices"]
"""Whether GPU memory is that of the servers' own processes, or all that is used on their machines."""


Number = TypeVar("Number", int, float)


def _sane(value: Number | None) -> TypeGuard[Number]:
    return value is not None and 0 <= value < LARGEST


@dataclass(slots=True)
class GpuSource:
    """The GPUs of one machine."""

    gpus: tuple[GpuReading, ...] = ()
    """As last read; they stay when a later reading fails."""
    read_at: float | None = None
    """Run time of that reading."""
    unavailable: str = ""
    """Why there is none, or nothing newer."""
    kind: str = ""
    """What reads them: NVML, dcgm-exporter, nvitop-exporter."""
    roles: tuple[str, ...] = ()
    """Whose servers are on that machine, where the user said it."""


@dataclass(slots=True)
class Bin:
    """Readings taken while so many samples ran."""

    count: int = 0
    total: float = 0.0
    largest: float = 0.0


@dataclass(slots=True)
class BySamples:
    """A quantity against the number of samples running, in at most `MOST_BINS` bins of equal width."""

    width: int = 1
    """Numbers of samples in one bin; doubles when there would be too many bins."""
    bins: dict[int, Bin] = field(default_factory=dict)
    """By number of samples // width."""

    def add(self, samples: int, value: float) -> None:
        """One reading."""
        place = max(samples, 0) // self.width
        while place >= MOST_BINS:
            self._widen()
            place //= 2
        found = self.bins.setdefault(place, Bin())
        found.count += 1
        found.total += value
        found.largest = max(found.largest, value)

    def _widen(self) -> None:
        self.width *= 2
        before, self.bins = self.bins, {}
        for place, old in before.items():
            found = self.bins.setdefault(place // 2, Bin())
            found.count += old.count
            found.total += old.total
            found.largest = max(found.largest, old.largest)

    def points(self) -> list[tuple[float, float, float]]:
        """Samples running (the middle of a bin), mean, largest; by samples."""
        return [
            (place * self.width + (self.width - 1) / 2, found.total / found.count, found.largest)
            for place, found in sorted(self.bins.items())
        ]


@dataclass(slots=True)
class Series:
    """Means over stretches of the run: at most `MOST_STRETCHES`, which double in length as it goes on."""

    seconds: float = 1.0
    """Of one stretch."""
    counts: list[int] = field(default_factory=list)
    totals: list[float] = field(default_factory=list)

    def add(self, at: float, value: float) -> None:
        """One reading at a run time."""
        while at >= self.seconds * MOST_STRETCHES:
            self.counts = [sum(self.counts[i : i + 2]) for i in range(0, len(self.counts), 2)]
            self.totals = [sum(self.totals[i : i + 2]) for i in range(0, len(self.totals), 2)]
            self.seconds *= 2
        place = max(int(at / self.seconds), 0)
        while len(self.counts) <= place:
            self.counts.append(0)
            self.totals.append(0.0)
        self.counts[place] += 1
        self.totals[place] += value

    def means(self) -> list[float | None]:
        """Of each stretch from the run's beginning; None where nothing was read."""
        return [
            total / count if count else None for total, count in zip(self.totals, self.counts, strict=True)
        ]


@dataclass(slots=True)
class ServerLoad:
    """What one server's readings say over time."""

    reading: ServerReading | None = None
    """The newest."""
    read_at: float | None = None
    router: str = ""
    """URL of the router that it is behind; empty where the run speaks to it itself."""
    moved_at: float = 0.0
    """Run time at which any of its numbers last changed, or was of the moment of asking."""
    used_tokens: int = 0
    """Tokens in its KV cache, if that is known to be so now."""
    throughput: Series = field(default_factory=Series)
    """Tokens per second, as the server counts them."""
    usage: Series = field(default_factory=Series)
    """Share of its KV cache in use."""


@dataclass(slots=True)
class Peak:
    """The most that one role ever held."""

    memory: int | None = None
    """Bytes of GPU memory."""
    memory_at: float = 0.0
    basis: Basis = "processes"
    tokens: int | None = None
    """Tokens in the KV caches of all its servers."""
    tokens_at: float = 0.0
    usage: float | None = None
    """Share of the fullest KV cache."""


def _roles() -> dict[str, Peak]:
    return {"draft": Peak(), "target": Peak()}


def _by_samples() -> dict[str, BySamples]:
    return {"draft": BySamples(), "target": BySamples()}


@dataclass(slots=True)
class Machines:
    """Servers and GPUs of one run."""

    sources: dict[str, GpuSource] = field(default_factory=dict)
    """By URL of the page; `HERE` is this machine."""
    loads: dict[str, dict[str, ServerLoad]] = field(default_factory=lambda: {"draft": {}, "target": {}})
    """By role and URL of the server."""
    peaks: dict[str, Peak] = field(default_factory=_roles)
    memory: dict[str, BySamples] = field(default_factory=_by_samples)
    """Bytes of GPU memory of a role against samples running."""
    tokens: dict[str, BySamples] = field(default_factory=_by_samples)
    """Tokens in a role's KV caches against samples running."""

    def read_gpus(
        self,
        name: str,
        gpus: tuple[GpuReading, ...],
        unavailable: str,
        kind: str,
        roles: tuple[str, ...],
        *,
        at: float,
        samples: int,
    ) -> None:
        """A machine's GPUs were read, or could not be; `samples` run now."""
        if name not in self.sources and len(self.sources) >= MOST_SOURCES:
            return
        source = self.sources.setdefault(name, GpuSource())
        source.unavailable, source.roles = unavailable, roles
        if gpus or not source.gpus:
            source.gpus, source.read_at = gpus, at if gpus else None
            source.kind = kind or source.kind
        if not gpus:
            return
        for role, peak in self.peaks.items():
            held, basis = self.memory_of(role)
            if not _sane(held):
                continue
            self.memory[role].add(samples, float(held))
            if peak.memory is None or held > peak.memory or (basis, peak.basis) == ("processes", "devices"):
                peak.memory, peak.memory_at, peak.basis = held, at, basis

    def memory_of(self, role: str) -> tuple[int | None, Basis]:
        """Bytes of GPU memory that a role's servers hold, as last read, and what that is the sum of."""
        processes = [
            gpu.memory_by_role[role]
            for source in self.sources.values()
            for gpu in source.gpus
            if role in gpu.memory_by_role
        ]
        if processes:
            return sum(processes), "processes"
        devices = [
            gpu.memory_used
            for source in self.sources.values()
            if source.roles == (role,)
            for gpu in source.gpus
            if gpu.memory_used is not None and not gpu.instance
        ]
        return (sum(devices), "devices") if devices else (None, "devices")

    def read_server(
        self,
        role: str,
        url: str,
        reading: ServerReading,
        router: str = "",
        *,
        at: float,
        samples: int,
    ) -> None:
        """A server told its metrics, or why it does not; `samples` run now."""
        loads = self.loads[role]
        if url not in loads and len(loads) >= MOST_SERVERS:
            return
        load = loads.setdefault(url, ServerLoad())
        if reading.fresh or reading != load.reading:
            load.moved_at = at
        load.reading, load.read_at, load.router = reading, at, router
        if reading.unavailable:
            load.used_tokens = 0
            return
        live = at - load.moved_at <= STILL_AFTER
        busy = live and reading.running != 0
        if _sane(reading.generation_throughput):
            # The gauge stays at its last value when the last request ends.
            load.throughput.add(at, reading.generation_throughput if busy else 0.0)
        if _sane(reading.cache_usage):
            load.usage.add(at, reading.cache_usage if busy else 0.0)
        if not _sane(reading.used_tokens):
            return
        load.used_tokens = reading.used_tokens if busy else 0
        tokens = sum(other.used_tokens for other in loads.values())
        self.tokens[role].add(samples, float(tokens))
        peak = self.peaks[role]
        if peak.tokens is None or tokens > peak.tokens:
            peak.tokens, peak.tokens_at = tokens, at
        if busy and _sane(reading.cache_usage):
            peak.usage = max(peak.usage or 0.0, reading.cache_usage)

    def summary(self) -> dict[str, object]:
        """Peaks and memory against samples, as plain values: what a figure is drawn of."""
        return {
            "peaks": {
                role: {
                    "gpu_memory_bytes": peak.memory,
                    "gpu_memory_of": peak.basis if peak.memory is not None else None,
                    "gpu_memory_at_seconds": peak.memory_at if peak.memory is not None else None,
                    "kv_tokens": peak.tokens,
                    "kv_tokens_at_seconds": peak.tokens_at if peak.tokens is not None else None,
                    "kv_usage": peak.usage,
                }
                for role, peak in self.peaks.items()
            },
            "by_samples_running": {
                quantity: {
                    role: [
                        {"samples": samples, "mean": mean, "largest": largest}
                        for samples, mean, largest in found.points()
                    ]
                    for role, found in kept.items()
                }
                for quantity, kept in (("gpu_memory_bytes", self.memory), ("kv_tokens", self.tokens))
            },
        }

    def still(self, role: str, url: str, now: float) -> float | None:
        """Seconds for which no number of a server has moved, where its gauges are old for it; else None."""
        load = self.loads[role].get(url)
        if load is None or now - load.moved_at <= STILL_AFTER:
            return None
        return now - load.moved_at
