"""What one server says of itself, as one typed reading, and a poller of it.

From /metrics (Prometheus text; only with --enable-metrics) come counts and gauges; the gauges are old ones
between two looks of the scheduler (`ServerReading`). Where the release has /v1/loads (newer ones of 0.5.x),
its gauges are taken instead: the scheduler of 0.5.23 leaves them in shared memory at every step, with the
time, and they are old ones where it hangs. /get_load (0.4.10, and 0.5.x until it went) asks the scheduler,
for the tokens held and waited for as one number, or requests and tokens by rank (a shape from the source);
0.4.3 and 0.5.23 have none.

The names are those of SGLang 0.4.3.post4, 0.4.10.post2 and 0.5.23, which agree where they have one; 0.5.x
splits a counter over labels, which are summed. A series appears only after its first observation, so any
field may be None.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from atts_core.errors import AttsError
from atts_core.serving.errors import ServerTimeout
from atts_core.telemetry.prometheus import LARGEST, samples
from atts_core.telemetry.readings import ServerReading

METRICS_OFF: Final = "the server gives no metrics: start it with --enable-metrics"
METRICS: Final = "/metrics"
LOADS: Final = "/v1/loads"
OLD_LOAD: Final = "/get_load"
HEARTBEAT: Final = 5.0
"""Seconds after which a reading is delivered again though nothing in it changed: a sign of life."""
LOADS_AGAIN: Final = 30
"""Readings without /v1/loads after it failed: its scheduler may hang, and /metrics still answers."""

LOADS_OLD: Final = 5.0
"""Seconds after which a load is one of the past: an idle scheduler may sleep, a long prefill takes time."""

Page = Callable[[str], Awaitable[str | None]]
"""Gives the text of a path of the server, None where it has no such path; raises AttsError where it fails."""

_PREFIX: Final = "sglang:"


def parse_metrics(text: str) -> ServerReading:
    """Reads the text of /metrics. Lines of other programs, and values that are no numbers, are left out."""
    values: dict[str, list[float]] = {}
    for sample in samples(text, _PREFIX):
        values.setdefault(sample.name.removeprefix(_PREFIX), []).append(sample.value)
    if not values:
        return ServerReading(unavailable="what /metrics answers is not an SGLang server's", source=METRICS)
    return msgspec.structs.replace(
        _gauges(values, queued="num_queue_reqs"),
        prompt_tokens=_count(values, "prompt_tokens_total"),
        generated_tokens=_count(values, "generation_tokens_total"),
        cached_tokens=_count(values, "cached_tokens_total"),
        requests=_count(values, "num_requests_total"),
        source=METRICS,
    )


def _gauges(values: dict[str, list[float]], *, queued: str) -> ServerReading:
    """What both pages tell under the same names, but for the requests that wait."""
    return ServerReading(
        running=_count(values, "num_running_reqs"),
        queued=_count(values, queued),
        cache_usage=_share(values, "token_usage"),
        cache_hit_rate=_share(values, "cache_hit_rate"),
        generation_throughput=_sum(values, "gen_throughput"),
        used_tokens=_count(values, "num_used_tokens"),
        capacity=_count(values, "max_total_num_tokens"),
    )


def _sum(values: dict[str, list[float]], name: str) -> float | None:
    return sum(values[name]) if name in values else None


def _count(values: dict[str, list[float]], name: str) -> int | None:
    total = _sum(values, name)
    return None if total is None else round(total)


def _share(values: dict[str, list[float]], name: str) -> float | None:
    """The fullest of the data-parallel ranks: that one makes requests wait."""
    return min(max(values[name]), 1.0) if name in values else None


def parse_loads(text: str) -> ServerReading | None:
    """Reads the JSON of /v1/loads: gauges of the moment of asking, unless it says itself that they are older.

    None where it holds none.
    """
    said = _json(text)
    loads = _ranks(said, "loads")
    values: dict[str, list[float]] = {}
    for load in loads:
        for name, value in load.items():
            if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LARGEST:
                values.setdefault(name, []).append(float(value))
    if "num_running_reqs" not in values:
        return None
    fresh = _oldest(said.get("timestamp") if isinstance(said, dict) else None, loads) < LOADS_OLD
    return msgspec.structs.replace(_gauges(values, queued="num_waiting_reqs"), fresh=fresh, source=LOADS)


def _oldest(asked: Any, loads: list[dict[str, Any]]) -> float:
    """Age of what the ranks wrote (Unix times) at the answer (ISO 8601), in seconds; 0 where untold."""
    try:
        time = datetime.fromisoformat(asked)
        now = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
        return max((now - load["timestamp"] for load in loads if "timestamp" in load), default=0.0)
    except (TypeError, ValueError, OverflowError):
        return 0.0


def parse_old_load(text: str) -> ServerReading | None:
    """Reads the JSON of /get_load: `{"load": tokens}`, or a list with requests by data-parallel rank."""
    said = _json(text)
    tokens = said.get("load") if isinstance(said, dict) else None
    if isinstance(tokens, int) and 0 <= tokens < LARGEST:
        if tokens:  # prompts that wait are in it as well, so it is no more than a hint
            return ServerReading(used_tokens=tokens, source=OLD_LOAD)
        return ServerReading(
            running=0,
            queued=0,
            cache_usage=0.0,
            generation_throughput=0.0,
            used_tokens=0,
            fresh=True,
            source=OLD_LOAD,
        )
    ranks = [rank for rank in _ranks(said, "") if isinstance(rank.get("num_reqs"), int)]
    if not ranks:
        return None
    queued = sum(_natural(rank, "num_waiting_reqs") for rank in ranks)
    return ServerReading(
        running=max(sum(_natural(rank, "num_reqs") for rank in ranks) - queued, 0),
        queued=queued,
        fresh=True,
        source=OLD_LOAD,
    )


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.MsgspecError:
        return None


def _ranks(said: Any, key: str) -> list[dict[str, Any]]:
    listed = said.get(key) if isinstance(said, dict) else said
    return [rank for rank in listed if isinstance(rank, dict)] if isinstance(listed, list) else []


def _natural(rank: dict[str, Any], name: str) -> int:
    value = rank.get(name)
    return value if isinstance(value, int) and 0 <= value < LARGEST else 0


_GAUGES: Final = (
    "running",
    "queued",
    "cache_usage",
    "cache_hit_rate",
    "generation_throughput",
    "used_tokens",
    "capacity",
)


def joined(metrics: ServerReading, load: ServerReading | None) -> ServerReading:
    """Counts of /metrics with the gauges of a load, which are never older than those of /metrics."""
    if load is None:
        return metrics
    if metrics.unavailable:
        return load
    if load.running is None:
        return metrics  # a busy 0.4.10: its one number counts what waits as well
    newer = {name: value for name in _GAUGES if (value := getattr(load, name)) is not None}
    source = f"{load.source} and {metrics.source}"
    return msgspec.structs.replace(metrics, **newer, fresh=load.fresh, source=source)


class ServerPoller:
    """Reads one server, again and again, and learns which paths it has."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._paths: dict[str, Callable[[str], ServerReading | None]] = {
            LOADS: parse_loads,
            OLD_LOAD: parse_old_load,
        }
        """Of the load, those that the server may have."""
        self._wait = 0

    async def read(self) -> ServerReading:
        """One reading; where the server fails it says so."""
        try:
            text = await self._page(METRICS)
        except AttsError as error:
            return ServerReading(unavailable=str(error), source=METRICS)
        metrics = ServerReading(unavailable=METRICS_OFF) if text is None else parse_metrics(text)
        return joined(metrics, await self._load())

    async def _load(self) -> ServerReading | None:
        if self._wait:
            self._wait -= 1
            return None
        for path, parse in list(self._paths.items()):
            try:
                text = await self._page(path)
            except AttsError as error:
                self._wait = LOADS_AGAIN
                if path == OLD_LOAD and isinstance(error, ServerTimeout):
                    # While one asks in vain, 0.4.10 tells every other the last number, be it of long ago.
                    del self._paths[path]
                return None
            reading = parse(text) if text is not None else None
            if reading is not None:
                return reading
            del self._paths[path]
        return None


async def poll_server(
    page: Page,
    deliver: Callable[[ServerReading], None],
    *,
    seconds: float = 1.0,
    heartbeat: float = HEARTBEAT,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Reads every `seconds` until cancelled; delivers what differs from before, and a sign of life."""
    poller = ServerPoller(page)
    before: ServerReading | None = None
    unsaid = 0.0
    while True:
        reading = await poller.read()
        unsaid += seconds
        if reading != before or unsaid >= heartbeat:
            deliver(reading)
            before, unsaid = reading, 0.0
        await sleep(seconds)
