"""A run whose machines are looked at: eight GPUs, three servers, readings each second. Numbers invented.

The GPUs are what our NVML reader makes of the FAKE library of tests/telemetry: no GPU was at hand. The
servers' readings have the fields of real SGLang.
"""

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import synthetic

from atts_core import events as ev
from atts_core.events import Stamped
from atts_core.telemetry.nvml import NvmlReader
from atts_core.telemetry.readings import GpuReading, ServerReading

sys.path.insert(0, str(Path(__file__).parents[1] / "telemetry"))

import fake_nvml

URLS = {
    "draft": ("http://gpu1:30000",),
    "target": ("http://gpu1:30100", "http://gpu2:30100"),
}
SAMPLES = 64


def started(urls: dict[str, tuple[str, ...]] = URLS) -> ev.RunStarted:
    """The first event, with real models' names."""
    first = synthetic.started(SAMPLES, 15, 1)
    names = {"draft": "DeepSeek-R1-Distill-Llama-8B", "target": "QwQ-32B"}
    cards = tuple(
        msgspec.structs.replace(
            card, name=names[card.role], url=urls[card.role][0], urls=urls[card.role], release="0.4.3.post4"
        )
        for card in first.models
    )
    return msgspec.structs.replace(first, models=cards, strategy="atts")


def gpus(gpus: list[fake_nvml.Gpu] | None = None) -> tuple[GpuReading, ...]:
    """What the reader makes of the fake host."""
    with fake_nvml.playing(fake_nvml.Library(gpus if gpus is not None else fake_nvml.eight())):
        reader = NvmlReader(lambda: {100: "draft", 200: "target"}, parent={}.get, visible=lambda _: True)
        found, _ = reader.read()
        reader.close()
    return found


def divided() -> tuple[GpuReading, ...]:
    """A host with MIG instances, a GPU that fell off the bus and a card that tells little."""
    host = [
        fake_nvml.Gpu(
            instances={
                0: fake_nvml.Instance(7, 1, 9856, 9 << 30, [fake_nvml.Process(100, 8 << 30)]),
                3: fake_nvml.Instance(9, 3, 40_448, 30 << 30, [fake_nvml.Process(200, 29 << 30)]),
            }
        ),
        fake_nvml.Gpu(name="Tesla T4", uuid="GPU-1", total=16 << 30, used=2 << 30),
    ]
    library = fake_nvml.Library(host)
    library.broken["nvmlDeviceGetPowerUsage", 1] = 3
    library.broken["nvmlDeviceGetTotalEccErrors", 1] = 3
    with fake_nvml.playing(library):
        reader = NvmlReader(lambda: {100: "draft", 200: "target"}, parent={}.get, visible=lambda _: True)
        found, _ = reader.read()
        reader.close()
    return found


def readings(second: int, running: int) -> Iterator[ev.ServerRead]:
    """All servers at one second."""
    wave = 1 + 0.15 * math.sin(second / 4)
    for role, urls in URLS.items():
        capacity = 65_536 if role == "draft" else 98_304
        for number, url in enumerate(urls):
            share = running // (2 if role == "draft" else 6) + number
            used = int(share * (420 + 9 * second) * (1 if role == "draft" else 1.6))
            yield ev.ServerRead(
                role=role,  # type: ignore[arg-type]
                url=url,
                reading=ServerReading(
                    running=share, queued=3 if number and second > 60 else 0,
                    used_tokens=used, capacity=capacity,
                    cache_usage=min(used / capacity, 0.99), generation_throughput=share * 38 * wave,
                    prompt_tokens=900 * second + 1, cached_tokens=640 * second,
                    generated_tokens=1500 * second,
                    requests=second, source="/metrics",
                ),
            )  # fmt: skip


def planned(seconds: int = 90) -> Iterator[synthetic.Planned]:
    """Events with their times: samples begin one after another, and memory grows with them."""
    yield 0.0, started()
    yield 0.0, ev.ProblemAdded(problem=0, id="aime-1", question="How many?")
    host = gpus()
    for second in range(seconds):
        running = min(second, SAMPLES)
        if second < SAMPLES:
            yield second + 0.0, ev.SampleStarted(problem=0, sample=second)
        for event in readings(second, running):
            yield second + 0.2, event
        grown = tuple(
            msgspec.structs.replace(
                gpu, memory_by_role={role: int(size * (0.7 + 0.3 * running / SAMPLES)) for role, size in
                                     gpu.memory_by_role.items()}
            ) for gpu in host
        )  # fmt: skip
        yield second + 0.4, ev.GpusRead(gpus=grown, kind="NVML")


def events(seconds: int = 90, *more: ev.AnyEvent) -> list[Stamped]:
    """The run, and what happened at its end."""
    stamps = synthetic.stamped(list(planned(seconds)))
    for event in more:
        last = stamps[-1]
        stamps.append(Stamped(last.seq + 1, last.at + 0.1, event))
    return stamps
