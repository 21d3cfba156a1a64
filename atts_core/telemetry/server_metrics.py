"""A server's /metrics (Prometheus text) as one typed reading, and a poller of it.

The names are those of SGLang 0.4.3.post4 and 0.5.23, which agree where both have one; 0.5.x splits a counter
over labels, which are summed. A series appears only after its first observation, so any field may be None.
"""

import asyncio
import math
import re
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from atts_core.errors import AttsError
from atts_core.telemetry.readings import ServerReading

METRICS_OFF: Final = "the server gives no metrics: start it with --enable-metrics"

_SAMPLE = re.compile(r"sglang:(\w+)(?:\{[^}]*\})?\s+([^\s]+)")
_LARGEST: Final = 2.0**53
"""A count beyond this is no count; floats are exact below it."""


def parse_metrics(text: str) -> ServerReading:
    """Reads the text of /metrics. Lines of other programs, and values that are no numbers, are left out."""
    values: dict[str, list[float]] = {}
    for line in text.splitlines():
        found = _SAMPLE.match(line)
        if found:
            number = _finite(found[2])
            if number is not None:
                values.setdefault(found[1], []).append(number)
    if not values:
        return ServerReading(unavailable="what /metrics answers is not an SGLang server's")
    return ServerReading(
        running=_count(values, "num_running_reqs"),
        queued=_count(values, "num_queue_reqs"),
        cache_usage=_share(values, "token_usage"),
        cache_hit_rate=_share(values, "cache_hit_rate"),
        generation_throughput=_sum(values, "gen_throughput"),
        used_tokens=_count(values, "num_used_tokens"),
        prompt_tokens=_count(values, "prompt_tokens_total"),
        generated_tokens=_count(values, "generation_tokens_total"),
        cached_tokens=_count(values, "cached_tokens_total"),
        requests=_count(values, "num_requests_total"),
    )


def _finite(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and 0 <= number < _LARGEST else None


def _sum(values: dict[str, list[float]], name: str) -> float | None:
    return sum(values[name]) if name in values else None


def _count(values: dict[str, list[float]], name: str) -> int | None:
    total = _sum(values, name)
    return None if total is None else round(total)


def _share(values: dict[str, list[float]], name: str) -> float | None:
    """The fullest of the data-parallel ranks: that one makes requests wait."""
    return min(max(values[name]), 1.0) if name in values else None


async def read_metrics(fetch: Callable[[], Awaitable[str | None]]) -> ServerReading:
    """One reading. `fetch` is `SGLangClient.metrics_text`; where it fails the reading says so."""
    try:
        text = await fetch()
    except AttsError as error:
        return ServerReading(unavailable=str(error))
    return ServerReading(unavailable=METRICS_OFF) if text is None else parse_metrics(text)


async def poll_metrics(
    fetch: Callable[[], Awaitable[str | None]],
    deliver: Callable[[ServerReading], None],
    *,
    seconds: float = 1.0,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Reads every `seconds` until cancelled; delivers a reading only where it differs from the one before."""
    before: ServerReading | None = None
    while True:
        reading = await read_metrics(fetch)
        if before is None or msgspec.structs.astuple(reading) != msgspec.structs.astuple(before):
            deliver(reading)
            before = reading
        await sleep(seconds)
