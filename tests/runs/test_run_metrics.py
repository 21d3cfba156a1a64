"""A run's own metrics: the same numbers as RunState's, in text that a real Prometheus parser reads."""

import asyncio
import socket
from collections.abc import Callable, Iterable

import httpx2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from atts_core import events as ev
from atts_core.bus import Bus
from atts_core.errors import SettingsError
from atts_core.state import RunState
from atts_core.telemetry.counters import TOKENS, RunCounters
from atts_core.telemetry.run_metrics import CONTENT_TYPE, ENDS, KINDS, RunMetrics, listen, serving

Stamps = list[ev.Stamped]


class Given:
    """A source of these events."""

    def __init__(self, stamps: Iterable[ev.Stamped] = ()) -> None:
        self.waiting = list(stamps)

    def drain(self) -> Stamps:
        waiting, self.waiting = self.waiting, []
        return waiting


def numbers(counters: RunCounters) -> dict[str, object]:
    rates = [(place, [counts[kind] for kind in TOKENS]) for place, counts in counters.rates.export()]
    return {name: value for name, value in vars(counters).items() if name != "rates"} | {
        "rates": [(place, counts) for place, counts in rates if any(counts)],
        "ends": +counters.ends,
        "verdicts": +counters.verdicts,
        "losses": None,  # a state does not count them
        "lost": None,  # an old run file's servers have no URL
    }


def counted(stamps: Stamps, counters: RunCounters | None = None) -> RunCounters:
    found = counters or RunCounters()
    for stamped in stamps:
        found.fold(stamped)
    return found


@pytest.mark.parametrize("seed", range(6))
def test_counters_are_those_of_the_state_from_any_moment_on(
    seed: int, simulate: Callable[..., Stamps]
) -> None:
    stamps = simulate(seed)
    whole = counted(stamps)
    assert numbers(whole) == numbers(RunCounters.of(RunState().fold(stamps)))
    for cut in range(0, len(stamps), 37):
        state = RunState().fold(stamps[:cut])
        assert numbers(counted(stamps[cut:], RunCounters.of(state))) == numbers(whole)


def test_a_run_that_goes_on_forgets_what_was_under_way(
    simulate: Callable[..., Stamps], run_started: Callable[..., ev.RunStarted]
) -> None:
    stamps = simulate(3)
    for cut in range(5, len(stamps), 29):
        again = [*stamps[:cut], ev.Stamped(stamps[cut - 1].seq + 1, stamps[cut - 1].at, run_started())]
        assert numbers(counted(again)) == numbers(RunCounters.of(RunState().fold(again)))


def page_of(stamps: Stamps) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = list(text_string_to_metric_families(RunMetrics(Given(stamps)).page()))
    assert len({family.name for family in families}) == len(families)
    assert all(family.documentation and family.name.startswith("atts_") for family in families)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_the_page_in_prometheus_own_parser(simulate: Callable[..., Stamps]) -> None:
    stamps = simulate(1)
    state = RunState().fold(stamps)
    page = page_of(stamps)

    def value(name: str, **labels: str) -> float:
        return page[f"atts_{name}", tuple(sorted(labels.items()))]

    assert value("problems", state="finished") == 3
    assert sum(value("samples", state=end) for end in ENDS) == state.samples_ended == 9
    assert value("samples", state="running") == value("samples", state="pending") == 0
    assert value("verdicts_total", verdict="take-over") == state.overall.taken_over
    assert value("verdicts_total", verdict="accept") == state.overall.decisions - state.overall.taken_over
    assert value("takeover_rate_realised") == pytest.approx(state.overall.realised)
    assert value("tokens_total", kind="draft") == state.draft_tokens
    assert value("tokens_total", kind="verified") == state.verified_tokens
    assert value("run_state", state="done") == 1
    assert sum(value("tokens_per_second", kind=kind) for kind in KINDS.values()) == 0


def test_before_anything_happened_there_is_a_page_too() -> None:
    page = page_of([])
    assert page["atts_run_state", (("state", "waiting"),)] == 1
    assert page["atts_samples", (("state", "pending"),)] == 0


@given(st.text())
@example('\\n"\\')
def test_no_name_breaks_the_page(name: str) -> None:
    card = ev.ModelCard(role="draft", name=name, url="", release="", context_length=1, tokenizer="")
    started = ev.RunStarted(
        run=name, command="eval", started_at=1e9, version="0", strategy="atts", takeover="rewrite",
        samples=1, turns=1, seed=0, models=(card, card), calibration=None, settings={}, dataset=name,
    )  # fmt: skip
    (labels,) = (
        dict(labels) for series, labels in page_of([ev.Stamped(1, 0.0, started)]) if "info" in series
    )
    assert labels["draft"] == "".join(c if c.isprintable() else " " for c in name)


def test_a_counter_never_falls() -> None:
    metrics = RunMetrics(Given())
    metrics.counters.tokens["draft"] = 9
    assert 'atts_tokens_total{kind="draft"} 9' in metrics.page()
    metrics.counters.tokens["draft"] = 4  # a server took a stop string back
    assert 'atts_tokens_total{kind="draft"} 9' in metrics.page()


async def test_served_over_http_until_the_block_ends(simulate: Callable[..., Stamps]) -> None:
    bus = Bus()
    listener = listen("127.0.0.1", 0, "--metrics-port")
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with bus.subscribe() as subscription:
        metrics = RunMetrics(subscription)
        metrics.gauges["bus_queue_events"] = lambda: bus.backlog
        async with serving(metrics, listener), httpx2.AsyncClient(trust_env=False) as client:
            first = await client.get(f"{url}/metrics")
            assert first.headers["content-type"] == CONTENT_TYPE
            for stamped in simulate(2):
                bus.publish(stamped.event)
            text = (await client.get(f"{url}/metrics")).text
            assert 'atts_run_state{state="done"} 1' in text
            assert "atts_bus_queue_events 0" in text
            assert (await client.get(url)).status_code == 404
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))


def test_a_port_in_use_and_an_address_of_somebody_else_are_refused_in_a_sentence() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            SettingsError, match=rf"^--metrics-port {port}: port {port} on 127.0.0.1 is in use"
        ):
            listen("127.0.0.1", port, "--metrics-port")
    with pytest.raises(SettingsError, match="--metrics-port 9: "):
        listen("192.0.2.1", 9, "--metrics-port")
