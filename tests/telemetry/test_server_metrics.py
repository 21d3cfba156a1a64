"""Prometheus text of both name generations as one reading."""

import asyncio
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atts_core.errors import AttsError
from atts_core.serving.errors import ServerTimeout, ServerUnreachable
from atts_core.telemetry.readings import ServerReading
from atts_core.telemetry.server_metrics import (
    LOADS_AGAIN,
    METRICS_OFF,
    Page,
    ServerPoller,
    parse_loads,
    parse_metrics,
    parse_old_load,
    poll_server,
)

RECORDED = Path(__file__).parents[1] / "serving" / "recorded"


def text_of(release: str, name: str = "metrics") -> str:
    exchange: dict[str, Any] = json.loads((RECORDED / release / f"{name}.json").read_text(encoding="utf-8"))
    return "".join(exchange["response"]["pieces"])


@pytest.mark.parametrize("release", ["0.4.3.post4", "0.4.10.post2"])
def test_0_4(release: str) -> None:
    reading = parse_metrics(text_of(release))
    assert reading.unavailable == ""
    assert (reading.running, reading.queued) == (0, 0)
    assert reading.cache_usage is not None
    assert reading.requests is not None
    assert reading.generated_tokens is not None
    assert reading.generation_throughput is not None


def test_0_5_23_sums_what_it_splits_over_labels() -> None:
    reading = parse_metrics(text_of("0.5.23"))
    assert (reading.running, reading.queued) == (0, 0)
    assert reading.requests is not None
    assert reading.requests > 1
    lines = [line for line in text_of("0.5.23").splitlines() if line.startswith("sglang:num_requests_total")]
    assert len(lines) == 2
    assert reading.requests == sum(float(line.rpartition(" ")[2]) for line in lines)


def test_a_series_that_is_not_there_is_none() -> None:
    reading = parse_metrics("sglang:num_running_reqs 3.0\n")
    assert reading == ServerReading(running=3, source="/metrics")


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1", "1e300", "x", ""])
def test_a_value_that_is_no_number_is_none(value: str) -> None:
    reading = parse_metrics(f'sglang:token_usage{{a="b"}} {value}\nsglang:num_running_reqs 1\n')
    assert reading.cache_usage is None
    assert reading.running == 1


def test_the_fullest_rank_counts_for_the_cache_and_all_for_the_requests() -> None:
    text = "".join(
        f'sglang:{name}{{dp_rank="{rank}"}} {value}\n'
        for name, values in (("token_usage", (0.2, 0.9)), ("num_running_reqs", (3, 4)))
        for rank, value in enumerate(values)
    )
    reading = parse_metrics(text)
    assert (reading.cache_usage, reading.running) == (0.9, 7)


@pytest.mark.parametrize("text", ["", "<html>", "smg_requests_total 4\n"])
def test_other_programs(text: str) -> None:
    assert "not an SGLang" in parse_metrics(text).unavailable


@given(st.text(max_size=300))
def test_any_text_gives_a_reading(text: str) -> None:
    parse_metrics(text)
    parse_metrics("sglang:" + text)


def pages(**texts: str | AttsError | None) -> Page:
    """A server with these pages: `metrics`, `loads`, `old`."""
    names = {"/metrics": "metrics", "/v1/loads": "loads", "/get_load": "old"}
    asked = []

    async def page(path: str) -> str | None:
        asked.append(path)
        text = texts.get(names[path])
        if isinstance(text, AttsError):
            raise text
        return text

    page.asked = asked  # type: ignore[attr-defined]
    return page


METRICS = (
    "sglang:num_running_reqs 3\nsglang:num_queue_reqs 2\nsglang:num_used_tokens 900\n"
    "sglang:gen_throughput 951.5\nsglang:num_requests_total 54\nsglang:token_usage 0.5\n"
)
LOADS = (
    '{"timestamp":"2026-11-20T08:49:55+00:00","version":"0.5.9","loads":[{"dp_rank":0,"num_running_reqs":1,'
    '"num_waiting_reqs":0,"num_used_tokens":40,"max_total_num_tokens":1000,"token_usage":0.04,'
    '"gen_throughput":80.5,"cache_hit_rate":0.25,"queues":{"waiting":0}},{"dp_rank":1,"num_running_reqs":2,'
    '"num_waiting_reqs":5,"num_used_tokens":60,"max_total_num_tokens":1000,"token_usage":0.06,'
    '"gen_throughput":19.5,"cache_hit_rate":0.5}]}'
)
"""Of two ranks, as none was recorded."""


async def test_metrics_that_are_off_name_the_flag() -> None:
    reading = await ServerPoller(pages()).read()
    assert reading.unavailable == METRICS_OFF
    assert "--enable-metrics" in reading.unavailable


async def test_a_server_that_fails_gives_a_reading_that_says_so() -> None:
    gone = ServerUnreachable("nothing listens", role="draft", url="http://h:1")
    assert (await ServerPoller(pages(metrics=gone)).read()).unavailable == "nothing listens"


async def test_gauges_of_the_moment_replace_old_ones_and_counts_stay() -> None:
    reading = await ServerPoller(pages(metrics=METRICS, loads=LOADS)).read()
    assert (reading.running, reading.queued, reading.used_tokens, reading.capacity) == (3, 5, 100, 2000)
    assert (reading.cache_usage, reading.cache_hit_rate) == (0.06, 0.5)
    assert reading.generation_throughput == 100.0
    assert reading.requests == 54
    assert reading.fresh
    assert reading.source == "/v1/loads and /metrics"
    alone = await ServerPoller(pages(loads=LOADS)).read()
    assert (alone.unavailable, alone.running, alone.requests) == ("", 3, None)


async def test_the_load_of_0_4_10_tells_an_idle_server_and_nothing_more() -> None:
    idle = await ServerPoller(pages(metrics=METRICS, old='{"load":0}')).read()
    assert (idle.running, idle.queued, idle.used_tokens, idle.fresh) == (0, 0, 0, True)
    assert idle.requests == 54
    busy = await ServerPoller(pages(metrics=METRICS, old='{"load":77}')).read()
    assert busy == parse_metrics(METRICS)
    assert not busy.fresh
    assert (await ServerPoller(pages(old='{"load":77}')).read()).used_tokens == 77


async def test_recorded_loads() -> None:
    def old(name: str) -> Page:
        return pages(metrics=text_of("0.4.10.post2"), old=text_of("0.4.10.post2", name))

    idle = await ServerPoller(old("load")).read()
    assert (idle.running, idle.used_tokens, idle.fresh) == (0, 0, True)
    assert not (await ServerPoller(old("load_busy")).read()).fresh
    for name, running in (("loads", 0), ("loads_busy", 1)):
        page = pages(metrics=text_of("0.5.23"), loads=text_of("0.5.23", name))
        reading = await ServerPoller(page).read()
        assert (reading.running, reading.queued, reading.capacity, reading.fresh) == (running, 0, 65536, True)
        assert (reading.used_tokens == 0) is (running == 0)


async def test_a_load_that_a_hanging_scheduler_left_is_an_old_one() -> None:
    """0.5.23 goes on giving it: seen with a scheduler that was held (SIGSTOP)."""
    busy = text_of("0.5.23", "loads_busy")
    said = json.loads(busy)
    said["loads"][0]["timestamp"] -= 60
    held = await ServerPoller(pages(metrics=METRICS, loads=json.dumps(said))).read()
    assert (held.running, held.fresh) == (1, False)
    assert held.requests == parse_metrics(METRICS).requests
    alone = await ServerPoller(pages(loads=json.dumps(said))).read()
    assert (alone.running, alone.fresh) == (1, False)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_a_time_without_a_zone_is_taken_for_universal_time(
    monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    said = json.loads(LOADS) | {"timestamp": "2026-11-20T08:49:55"}
    wrote = datetime(2026, 11, 20, 8, 49, 55, tzinfo=UTC).timestamp()
    for age, fresh in ((1, True), (60, False)):
        for load in said["loads"]:
            load["timestamp"] = wrote - age
        reading = parse_loads(json.dumps(said))
        assert reading is not None
        assert reading.fresh is fresh
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("asked", [None, 5, "yesterday", "2026-11-20T08:49:55"])
def test_a_load_that_does_not_tell_its_time_is_believed(asked: Any) -> None:
    said = json.loads(LOADS) | {"timestamp": asked}
    for load in said["loads"]:
        load["timestamp"] = "now"
    reading = parse_loads(json.dumps(said))
    assert reading is not None
    assert reading.fresh


async def test_the_load_by_rank() -> None:
    text = (
        '[{"dp_rank":0,"num_reqs":5,"num_waiting_reqs":2,"num_tokens":9},'
        '{"dp_rank":1,"num_reqs":1,"num_waiting_reqs":0}]'
    )
    reading = await ServerPoller(pages(metrics=METRICS, old=text)).read()
    assert (reading.running, reading.queued, reading.fresh) == (4, 2, True)


async def test_paths_that_a_release_has_not_are_asked_for_once() -> None:
    page = pages(metrics=METRICS)
    poller = ServerPoller(page)
    for _ in range(3):
        await poller.read()
    assert page.asked == ["/metrics", "/v1/loads", "/get_load", "/metrics", "/metrics"]  # type: ignore[attr-defined]


async def test_a_load_that_hangs_leaves_the_metrics_alone() -> None:
    page = pages(metrics=METRICS, loads=ServerUnreachable("too late", role="draft", url="http://h:1"))
    poller = ServerPoller(page)
    for _ in range(5):
        assert (await poller.read()).requests == 54
    assert page.asked.count("/v1/loads") == 1  # type: ignore[attr-defined]


WHERE: dict[str, Any] = {"role": "draft", "url": "http://h:1"}


@pytest.mark.parametrize(
    ("failure", "again"),
    [
        (ServerTimeout("too late", kind="first token", **WHERE), False),
        (ServerUnreachable("not there", **WHERE), True),
    ],
)
async def test_only_an_old_load_that_hung_is_never_believed_again(failure: AttsError, again: bool) -> None:
    """Seen on 0.4.10 with its scheduler held: the first who asks waits, others hear of before."""
    said: list[str | AttsError] = [failure, '{"load":0}']

    async def page(path: str) -> str | None:
        if path != "/get_load":
            return METRICS if path == "/metrics" else None
        told = said.pop(0)
        if isinstance(told, AttsError):
            raise told
        return told

    poller = ServerPoller(page)
    fresh = [(await poller.read()).fresh for _ in range(LOADS_AGAIN + 2)]
    assert fresh == [False] * (LOADS_AGAIN + 1) + [again]


ODD = [
    LOADS,
    '{"load":-1}',
    '{"loads":[1]}',
    "[[]]",
    '[{"num_reqs":"x"}]',
    '[{"num_running_reqs":1},"timestamp"]',
]


@given(st.text(max_size=200) | st.sampled_from(ODD))
def test_any_load_gives_a_reading_or_none(text: str) -> None:
    for parse in (parse_loads, parse_old_load):
        reading = parse(text)
        assert reading is None or reading.unavailable == ""


async def test_a_poller_delivers_what_changed_and_signs_of_life() -> None:
    counts = iter([1, 1, 2, 2, 2, 2, 2, 2])
    seen: list[int | None] = []
    over = asyncio.Event()

    async def page(path: str) -> str | None:
        if path != "/metrics":
            return None
        count = next(counts, None)
        if count is None:
            over.set()
            await asyncio.Event().wait()
        return f"sglang:num_running_reqs {count}\n"

    async def at_once(_: float) -> None:
        await asyncio.sleep(0)

    polling = asyncio.ensure_future(
        poll_server(page, lambda reading: seen.append(reading.running), heartbeat=3.0, sleep=at_once)
    )
    await over.wait()
    polling.cancel()
    assert seen == [1, 2, 2]
