"""Prometheus text of both name generations as one reading."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atts_core.serving.errors import ServerUnreachable
from atts_core.telemetry.readings import ServerReading
from atts_core.telemetry.server_metrics import METRICS_OFF, parse_metrics, poll_metrics, read_metrics

RECORDED = Path(__file__).parents[1] / "serving" / "recorded"


def text_of(release: str) -> str:
    exchange: dict[str, Any] = json.loads((RECORDED / release / "metrics.json").read_text(encoding="utf-8"))
    return "".join(exchange["response"]["pieces"])


def test_0_4_3() -> None:
    reading = parse_metrics(text_of("0.4.3.post4"))
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
    assert reading == ServerReading(running=3)


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


async def test_metrics_that_are_off_name_the_flag() -> None:
    async def off() -> None:
        return None

    reading = await read_metrics(off)
    assert reading.unavailable == METRICS_OFF
    assert "--enable-metrics" in reading.unavailable


async def test_a_server_that_fails_gives_a_reading_that_says_so() -> None:
    async def gone() -> str:
        raise ServerUnreachable("nothing listens", role="draft", url="http://h:1")

    assert (await read_metrics(gone)).unavailable == "nothing listens"


async def test_a_poller_delivers_what_changed() -> None:
    texts = iter(
        ["sglang:num_running_reqs 1\n", "sglang:num_running_reqs 1\n", "sglang:num_running_reqs 2\n"]
    )
    seen: list[int | None] = []
    over = asyncio.Event()

    async def fetch() -> str | None:
        text = next(texts, None)
        if text is None:
            over.set()
            await asyncio.Event().wait()
        return text

    async def at_once(_: float) -> None:
        await asyncio.sleep(0)

    polling = asyncio.ensure_future(poll_metrics(fetch, lambda r: seen.append(r.running), sleep=at_once))
    await over.wait()
    polling.cancel()
    assert seen == [1, 2]
