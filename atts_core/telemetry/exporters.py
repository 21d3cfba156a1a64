"""GPUs of other machines, through the page of a dcgm-exporter or an nvitop-exporter that runs there.

Which of the two answers is seen by its names: `DCGM_FI_DEV_…` (dcgm-exporter's default counters, and those
that an operator may have added), or `gpu_…_MiB` and the like (nvitop-exporter, whose units are in its names).
Both give memory in MiB.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import httpx2

from atts_core.errors import AttsError
from atts_core.events import GpusRead, Role
from atts_core.telemetry.nvml import throttle_words
from atts_core.telemetry.prometheus import Sample, samples
from atts_core.telemetry.readings import GpuReading
from atts_core.telemetry.sources import Source

SECONDS: Final = 5.0
"""Between two readings. A dcgm-exporter itself looks only every 30 s unless told otherwise."""
SLOWEST: Final = 60.0
"""Seconds between two tries at a page that does not answer."""
TIMEOUT: Final = 5.0
LARGEST: Final = 8 << 20
"""Bytes of a page: eight GPUs with every counter are about 100 kB."""
MOST_GPUS: Final = 256

DCGM: Final = "dcgm-exporter"
NVITOP: Final = "nvitop-exporter"
_MIB: Final = 1 << 20

Page = Callable[[str], Awaitable[str]]


def read_page(text: str, roles: Sequence[Role] = ()) -> tuple[str, tuple[GpuReading, ...]]:
    """Which exporter wrote this page, and the GPUs on it; an empty name where neither did.

    Where the machine is one role's alone, what SGLang's processes hold there (nvitop-exporter tells) is its.
    """
    found = list(samples(text))
    if any(sample.name.startswith("DCGM_FI_") for sample in found):
        return DCGM, _dcgm(found)
    if any(sample.name.startswith("gpu_memory_used") for sample in found):
        return NVITOP, _nvitop(found, roles[0] if len(roles) == 1 else None)
    return "", ()


def _dcgm(found: list[Sample]) -> tuple[GpuReading, ...]:
    by_gpu: dict[tuple[int, str], dict[str, Sample]] = defaultdict(dict)
    for sample in found:
        index = sample.labels.get("gpu", "")
        if not sample.name.startswith("DCGM_FI_") or not index.isdecimal() or len(by_gpu) >= MOST_GPUS:
            continue
        number = sample.labels.get("GPU_I_ID", "")
        instance = f"{sample.labels.get('GPU_I_PROFILE', 'MIG')} #{number}" if number else ""
        by_gpu[int(index), instance][sample.name.removeprefix("DCGM_FI_DEV_")] = sample
    return tuple(_dcgm_gpu(*place, by_gpu[place]) for place in sorted(by_gpu))


def _dcgm_gpu(index: int, instance: str, said: dict[str, Sample]) -> GpuReading:
    def value(*names: str) -> float | None:
        return next((said[name].value for name in names if name in said), None)

    labels = next(iter(said.values())).labels
    used, free, total = value("FB_USED"), value("FB_FREE"), value("FB_TOTAL")
    if total is None and used is not None and free is not None:
        total = used + free + (value("FB_RESERVED") or 0)
    busy = value("GPU_UTIL")
    if busy is None and (active := value("DCGM_FI_PROF_GR_ENGINE_ACTIVE")) is not None:
        busy = active * 100
    return GpuReading(
        index=index,
        name=_line(labels.get("modelName", "")) or "unknown",
        uuid=_line(labels.get("UUID", "")),
        instance=_line(instance),
        memory_used=_bytes(used),
        memory_total=_bytes(total),
        utilisation=None if busy is None else min(busy / 100, 1.0),
        power=value("POWER_USAGE"),
        power_limit=value("ENFORCED_POWER_LIMIT", "POWER_MGMT_LIMIT"),
        temperature=value("GPU_TEMP"),
        clock=_whole(value("SM_CLOCK")),
        clock_limit=_whole(value("MAX_SM_CLOCK")),
        memory_clock=_whole(value("MEM_CLOCK")),
        throttled=throttle_words(_whole(value("CLOCKS_EVENT_REASONS", "CLOCK_THROTTLE_REASONS")) or 0),
        ecc_errors=_whole(value("ECC_DBE_VOL_TOTAL")),
        missing={}
        if used is not None
        else {"memory_used": f"this {DCGM} does not export DCGM_FI_DEV_FB_USED"},
    )


_UNITS: Final = ("MiB", "Percentage", "W", "C", "MHz")


def _nvitop(found: list[Sample], role: Role | None) -> tuple[GpuReading, ...]:
    by_gpu: dict[str, dict[str, Sample]] = defaultdict(dict)
    held: dict[str, dict[str, float]] = defaultdict(dict)
    commands: dict[str, str] = {}
    for name, labels, value in found:
        place = labels.get("index", "")
        if name in ("process_info_info", "process_info"):
            commands[labels.get("pid", "")] = labels.get("command", "")
        elif name.startswith("process_gpu_memory_MiB"):
            held[place][labels.get("pid", "")] = value
        elif name.startswith("gpu_") and (place in by_gpu or len(by_gpu) < MOST_GPUS):
            stem, _, unit = name.removeprefix("gpu_").rpartition("_")
            by_gpu[place][stem if unit in _UNITS else name.removeprefix("gpu_")] = Sample(name, labels, value)
    readings = []
    for place, said in by_gpu.items():
        index, _, part = place.partition(":")
        if not index.isdecimal():
            continue
        mine = sum(size for pid, size in held[place].items() if "sglang" in commands.get(pid, ""))
        by_role = {role: mine * _MIB} if role is not None and mine else {}
        readings.append(_nvitop_gpu(int(index), part, said, {k: round(v) for k, v in by_role.items()}))
    return tuple(sorted(readings, key=lambda gpu: (gpu.index, gpu.instance)))


def _nvitop_gpu(index: int, part: str, said: dict[str, Sample], by_role: dict[str, int]) -> GpuReading:
    def value(name: str) -> float | None:
        return said[name].value if name in said else None

    labels = next(iter(said.values())).labels
    busy = value("utilization")
    return GpuReading(
        index=index,
        name=_line(labels.get("devicename", "")) or "unknown",
        uuid=_line(labels.get("uuid", "")),
        instance=_line(f"MIG #{part}") if part else "",
        memory_used=_bytes(value("memory_used")),
        memory_total=_bytes(value("memory_total")),
        memory_by_role=by_role,
        utilisation=None if busy is None else min(busy / 100, 1.0),
        power=value("power_usage"),
        power_limit=value("power_limit"),
        temperature=value("temperature"),
        clock=_whole(value("clock_sm")),
        memory_clock=_whole(value("clock_memory")),
        missing={"throttled": f"the {NVITOP} does not tell", "ecc_errors": f"the {NVITOP} does not tell"},
    )


def _bytes(mib: float | None) -> int | None:
    return None if mib is None or mib > 1e9 else round(mib * _MIB)


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _line(text: str) -> str:
    return "".join(character for character in text if character.isprintable())[:80]


async def poll_gpus(
    source: Source,
    page: Page,
    deliver: Callable[[GpusRead], object],
    *,
    seconds: float = SECONDS,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Reads a page every `seconds`, more rarely while it does not answer, until cancelled."""
    pause = seconds
    while True:
        event = await read_source(source, page)
        deliver(event)
        pause = min(pause * 2, SLOWEST) if event.unavailable else seconds
        await sleep(pause)


async def read_source(source: Source, page: Page) -> GpusRead:
    """One reading of a page; why there is none where it does not answer or is another program's."""
    said = {"source": source.shown, "roles": source.roles}
    try:
        kind, gpus = read_page(await page(source.url), source.roles)
    except PageError as error:
        return GpusRead(gpus=(), unavailable=str(error), **said)  # type: ignore[arg-type]
    why = "" if kind else f"what answers there is neither a {DCGM} nor an {NVITOP}"
    if kind and not gpus:
        why = f"the {kind} there tells of no GPU"
    return GpusRead(gpus=gpus, unavailable=why, kind=kind, **said)  # type: ignore[arg-type]


class PageError(AttsError):
    """A page could not be read; the message says why in a few words."""

    status = 0
    """Of the HTTP answer that was no page; 0 where there was no answer."""


class Pages:
    """Reads pages over HTTP, with time-outs and a largest size. Use it as a context."""

    def __init__(self) -> None:
        self._http = httpx2.AsyncClient(timeout=TIMEOUT, trust_env=False, follow_redirects=False)

    async def __aenter__(self) -> "Pages":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def read(self, url: str) -> str:
        """The text of a page. Raises `PageError`."""
        body = bytearray()
        try:
            async with asyncio.timeout(2 * TIMEOUT), self._http.stream("GET", url) as response:
                if response.status_code != httpx2.codes.OK:
                    error = PageError(f"it answers with HTTP status {response.status_code}")
                    error.status = response.status_code
                    raise error
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > LARGEST:
                        raise PageError(f"its page is larger than {LARGEST >> 20} MiB")
        except (TimeoutError, httpx2.TimeoutException):
            raise PageError(f"no answer within {TIMEOUT:g} s") from None
        except httpx2.ConnectError:
            raise PageError("nothing listens there") from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise PageError(f"the connection failed ({type(error).__name__})") from None
        return body.decode("utf-8", "replace")

    def of(self, base: str) -> Callable[[str], Awaitable[str | None]]:
        """The pages of one server, as `SGLangClient.page` gives them, but without its key."""

        async def page(path: str) -> str | None:
            try:
                return await self.read(base.rstrip("/") + path)
            except PageError as error:
                if error.status == httpx2.codes.NOT_FOUND:
                    return None
                raise

        return page
