"""What a run keeps of its machines: bounded, exact, and honest about what is old."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atts_core import events as ev
from atts_core.state import RunState
from atts_core.telemetry.history import MOST_BINS, MOST_SOURCES, MOST_STRETCHES, BySamples, Machines, Series
from atts_core.telemetry.readings import GpuReading, ServerReading

GIB = 1 << 30


def gpu(index: int, used: int, **by_role: int) -> GpuReading:
    return GpuReading(index=index, name="g", memory_used=used, memory_total=80 * GIB, memory_by_role=by_role)


def fold(*items: tuple[float, ev.AnyEvent]) -> Machines:
    state = RunState()
    state.fold(ev.Stamped(number, at, event) for number, (at, event) in enumerate(items, 1))
    return state.machines


def read(role: ev.Role, url: str = "http://a:1", **values: object) -> ev.ServerRead:
    return ev.ServerRead(role=role, url=url, reading=ServerReading(**values))  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.integers(0, 100_000), st.floats(0, 1e12)), max_size=300))
def test_memory_by_samples_is_bounded_and_loses_no_peak(readings: list[tuple[int, float]]) -> None:
    kept = BySamples()
    for samples, value in readings:
        kept.add(samples, value)
    assert len(kept.bins) <= MOST_BINS
    assert sum(found.count for found in kept.bins.values()) == len(readings)
    points = kept.points()
    assert points == sorted(points)
    assert max((largest for *_, largest in points), default=0) == max((v for _, v in readings), default=0)
    for samples, value in readings:
        assert kept.bins[samples // kept.width].largest >= value


@given(st.lists(st.tuples(st.floats(0, 1e12), st.floats(0, 1e6)), max_size=100))
def test_a_series_is_bounded_and_keeps_the_mean(readings: list[tuple[float, float]]) -> None:
    series = Series()
    for at, value in sorted(readings):
        series.add(at, value)
    assert len(series.means()) <= MOST_STRETCHES
    assert sum(series.counts) == len(readings)
    assert sum(series.totals) == pytest.approx(sum(value for _, value in readings))


def test_stretches_join_as_the_run_goes_on() -> None:
    series = Series()
    for second in range(2 * MOST_STRETCHES):
        series.add(float(second), float(second))
    assert series.seconds == 2.0
    assert series.means() == [2 * stretch + 0.5 for stretch in range(MOST_STRETCHES)]


def test_the_peak_of_a_role_is_that_of_all_its_gpus_at_one_time() -> None:
    machines = fold(
        (1, ev.GpusRead(gpus=(gpu(0, 9, draft=5), gpu(1, 9, target=20), gpu(2, 9, target=30)))),
        (2, ev.GpusRead(gpus=(gpu(0, 9, draft=7), gpu(1, 9, target=45), gpu(2, 9, target=1)))),
        (3, ev.GpusRead(gpus=(gpu(0, 9, draft=6),))),
    )
    draft, target = machines.peaks["draft"], machines.peaks["target"]
    assert (draft.memory, draft.memory_at, draft.basis) == (7, 2, "processes")
    assert (target.memory, target.memory_at) == (50, 1)


def test_the_summary_is_what_a_figure_needs() -> None:
    told = fold(
        (1, ev.GpusRead(gpus=(gpu(0, 9, draft=5),))),
        (2, read("target", running=2, used_tokens=300, cache_usage=0.3)),
    ).summary()
    assert msgspec.to_builtins(told) == told  # plain values
    peaks, by_samples = told["peaks"], told["by_samples_running"]
    assert peaks["draft"]["gpu_memory_bytes"] == 5  # type: ignore[index]
    assert peaks["draft"]["gpu_memory_of"] == "processes"  # type: ignore[index]
    assert peaks["target"] == {  # type: ignore[index]
        "gpu_memory_bytes": None, "gpu_memory_of": None, "gpu_memory_at_seconds": None,
        "kv_tokens": 300, "kv_tokens_at_seconds": 2, "kv_usage": 0.3,
    }  # fmt: skip
    assert by_samples["kv_tokens"]["target"] == [{"samples": 0.0, "mean": 300.0, "largest": 300.0}]  # type: ignore[index]


def test_without_processes_the_devices_of_a_role_s_machine_count_and_that_is_said() -> None:
    whole = gpu(0, 60)
    part = msgspec.structs.replace(gpu(0, 30), instance="3g.40gb #9")
    machines = fold(
        (
            1,
            ev.GpusRead(
                gpus=(whole, part), source="http://h:9400/metrics", kind="dcgm-exporter", roles=("draft",)
            ),
        ),
        (1, ev.GpusRead(gpus=(gpu(0, 70),), source="http://i:9400/metrics", roles=("draft", "target"))),
    )
    assert (machines.peaks["draft"].memory, machines.peaks["draft"].basis) == (60, "devices")
    assert machines.peaks["target"].memory is None  # its machine is shared: nobody can tell


def test_memory_against_samples() -> None:
    run = [
        (0.0, ev.ProblemAdded(problem=0, id="p", question="?")),
        *((1.0 + k, ev.SampleStarted(problem=0, sample=k)) for k in range(3)),
    ]
    state = RunState()
    state.fold([ev.Stamped(1, 0.0, _started(3))])
    for number, (at, event) in enumerate(
        [
            *run,
            (4.0, ev.GpusRead(gpus=(gpu(0, 9, draft=5),))),
            (4.0, read("target", running=2, used_tokens=300, cache_usage=0.3)),
            (5.0, ev.SampleFinished(problem=0, sample=0, end="turn-limit")),
            (6.0, ev.GpusRead(gpus=(gpu(0, 9, draft=4),))),
        ],
        2,
    ):
        state.apply(ev.Stamped(number, at, event))
    assert state.machines.memory["draft"].points() == [(2.0, 4.0, 4.0), (3.0, 5.0, 5.0)]
    assert state.machines.tokens["target"].points() == [(3.0, 300.0, 300.0)]
    assert (state.machines.peaks["target"].tokens, state.machines.peaks["target"].usage) == (300, 0.3)


def _started(samples: int) -> ev.RunStarted:
    cards = tuple(
        ev.ModelCard(role=role, name=role, url="", release="", context_length=1, tokenizer="")
        for role in ("draft", "target")
    )
    return ev.RunStarted(
        run="r", command="eval", started_at=0.0, version="0", strategy="atts", takeover="rewrite",
        samples=samples, turns=5, seed=0, models=cards, calibration=None, settings={},
    )  # fmt: skip


def test_gauges_that_do_not_move_are_old_and_count_for_nothing() -> None:
    """SGLang keeps its last gauges when the last request ends (FACTS: measured on 0.4.3.post4)."""
    values = {"running": 4, "used_tokens": 900, "generation_throughput": 950.0, "requests": 3}
    machines = fold(
        (1, read("draft", **values)),
        (6, read("draft", **values)),
        (13, read("draft", **values)),
        (18, read("draft", **values)),
    )
    load = machines.loads["draft"]["http://a:1"]
    assert load.moved_at == 1
    assert machines.still("draft", "http://a:1", 9) is None
    assert machines.still("draft", "http://a:1", 18) == 17
    assert load.used_tokens == 0
    assert load.throughput.means()[1] == load.throughput.means()[6] == 950.0
    assert load.throughput.means()[13] == 0.0
    assert machines.peaks["draft"].tokens == 900


def test_gauges_of_the_moment_are_never_old() -> None:
    values = {"running": 4, "used_tokens": 900, "fresh": True}
    machines = fold((1, read("draft", **values)), (30, read("draft", **values)))
    assert machines.still("draft", "http://a:1", 31) is None
    assert machines.loads["draft"]["http://a:1"].used_tokens == 900


def test_a_rate_that_stays_after_the_last_request_is_not_counted() -> None:
    machines = fold((1, read("draft", running=0, generation_throughput=951.0)))
    assert machines.loads["draft"]["http://a:1"].throughput.means()[1] == 0.0


def test_tokens_of_a_role_are_those_of_all_its_servers() -> None:
    machines = fold(
        (1, read("draft", "http://a:1", running=1, used_tokens=100)),
        (2, read("draft", "http://b:1", running=1, used_tokens=50)),
        (3, read("draft", "http://a:1", running=1, used_tokens=10)),
    )
    assert machines.peaks["draft"].tokens == 150


def test_readings_stay_when_a_source_fails_and_say_why() -> None:
    machines = fold(
        (1, ev.GpusRead(gpus=(gpu(0, 5),), source="u", kind="dcgm-exporter", roles=("draft",))),
        (9, ev.GpusRead(gpus=(), unavailable="nothing listens there", source="u", roles=("draft",))),
    )
    source = machines.sources["u"]
    assert (len(source.gpus), source.read_at, source.unavailable) == (1, 1, "nothing listens there")
    assert source.kind == "dcgm-exporter"


def test_a_hostile_file_fills_no_memory_and_breaks_nothing() -> None:
    machines = fold(
        *((1, ev.GpusRead(gpus=(), source=str(number))) for number in range(500)),
        *((1, read("draft", str(number), running=1, used_tokens=-5)) for number in range(500)),
        (2, read("target", running=1, used_tokens=2**60, cache_usage=-1.0, generation_throughput=1e308)),
        (2, ev.GpusRead(gpus=(gpu(0, 1, target=2**62, somebody=3),))),
    )
    assert len(machines.sources) == MOST_SOURCES
    assert len(machines.loads["draft"]) <= 64
    assert machines.peaks["target"].tokens is None
    assert machines.peaks["target"].memory is None
