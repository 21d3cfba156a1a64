"""Reports, screens and exports say the same of a run whether or not its finished problems were put away."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from atts_core import digest, overview
from atts_core import events as ev
from atts_core.conformal.live import DecisionTally
from atts_core.reports.barrier import barrier_cost, recorded_chain
from atts_core.reports.compare import Named, compare
from atts_core.reports.html import report
from atts_core.reports.timeline import StageTally, intervals, occupancy
from atts_core.runs.export import FORMATS, export
from atts_core.runs.file import About
from atts_core.runs.reader import RunReader
from atts_core.runs.writer import RunWriter
from atts_core.state import RunState

pytestmark = pytest.mark.usefixtures("no_power_cut")

Simulate = Callable[..., list[ev.Stamped]]


@contextmanager
def room(weight: int) -> Iterator[None]:
    """So many bytes of details stay in memory."""
    before, overview.DETAILS_BYTES = overview.DETAILS_BYTES, weight
    try:
        yield
    finally:
        overview.DETAILS_BYTES = before


def both(stamps: list[ev.Stamped]) -> tuple[RunState, RunState]:
    """The state with all but one finished problem put away, and the one that keeps everything."""
    with room(0):
        small = RunState().fold(stamps)
    with room(10**12):
        return small, RunState().fold(stamps)


def tried_again(stamps: list[ev.Stamped], problem: int, *, scoring: bool) -> list[ev.Stamped]:
    """A sample goes on after the end, fails, perhaps while its draft is scored, and goes on once more."""
    state = RunState().fold(stamps)
    here = {"problem": problem, "sample": 1}
    turn = state.sample(problem, 1).turn_count
    step = {"text": "2", "tokens": 3, "ended": True, "seconds": 1.0, "first_token_seconds": 0.5}
    failed: list[ev.AnyEvent] = [
        ev.SampleStarted(**here),
        ev.DraftStarted(**here, turn=turn),
        ev.DraftFinished(**here, turn=turn, **step),
        *([ev.VerificationStarted(**here, turn=turn, tokens=9)] if scoring else []),
        ev.SampleFinished(**here, end="failed", answer=None),
        ev.ProblemFinished(problem=problem, answer=None, tied=False, correct=None),
    ]
    other = ev.ProblemFinished(problem=(problem + 1) % 3, answer=None, tied=False, correct=None)
    more = [
        *failed, other, ev.SampleStarted(**here), ev.TakeOverStarted(**here, turn=turn, variant="rewrite"),
        ev.TakeOverFinished(**here, turn=turn, **step),
        ev.SampleFinished(**here, end="answered", answer="2", correct=True),
        ev.ProblemFinished(problem=problem, answer="2", tied=False, correct=True), other,
    ]  # fmt: skip
    return [*stamps, *(ev.Stamped(state.seq + n, state.now + n, event) for n, event in enumerate(more, 1))]


@given(seed=st.integers(0, 2**32), again=st.sampled_from(["", "writing", "scoring"]), cut=st.integers(0, 5))
@example(seed=5, again="scoring", cut=0)
@settings(max_examples=25)
def test_what_every_sample_did_when_is_known_to_the_last_digit(
    seed: int, again: str, cut: int, simulate: Simulate
) -> None:
    stamps = simulate(seed, problems=3)
    if again:
        stamps = tried_again(stamps, 0, scoring=again == "scoring")
        stamps = stamps[: len(stamps) - cut]
    small, whole = both(stamps)
    assert any(problem.put_away for problem in small.problems)
    for away, full in zip(small.problems, whole.problems, strict=True):
        for one, other in zip(away.samples, full.samples, strict=True):
            assert intervals(one, small.now) == intervals(other, whole.now)
            assert recorded_chain(one) == recorded_chain(other)
            assert list(one.judged()) == list(other.judged())
            assert sum(tokens for tokens, _ in one.written()) == sum(tokens for tokens, _ in other.written())
    assert StageTally().update(small) == StageTally().update(whole)
    assert StageTally().update(small).busy > 0
    seen = occupancy(small.problems, small.now, 0.0, small.now, 40)
    assert seen == occupancy(whole.problems, whole.now, 0.0, whole.now, 40)
    assert barrier_cost(small.problems, 2, 2) == barrier_cost(whole.problems, 2, 2)


def test_a_tally_that_saw_the_run_grow_is_that_of_one_who_comes_late(simulate: Simulate) -> None:
    early = StageTally()
    with room(0):
        state = RunState()
        for stamped in simulate(3, problems=4):
            state.apply(stamped)
            times = early.update(state)
    assert StageTally().update(state).total == pytest.approx(times.total)


def test_reports_and_comparisons_are_the_same(simulate: Simulate) -> None:
    first, second = both(simulate(5, problems=4)), both(simulate(6, problems=4))
    assert sum(problem.put_away for problem in first[0].problems) == 3
    small, whole = ([Named("a", one), Named("b", two)] for one, two in zip(first, second, strict=True))
    assert compare(small) == compare(whole)
    assert report(small) == report(whole)
    alone = report(small[:1])
    assert alone == report(whole[:1])
    assert "What every sample did when" in alone


@pytest.mark.parametrize("form", FORMATS)
def test_exports_are_the_same(form: str, simulate: Simulate, about: About, tmp_path: Path) -> None:
    found = []
    for weight in (0, 10**12):
        folder = tmp_path / str(weight)
        folder.mkdir()
        with room(weight):
            writer = RunWriter.create(folder / "r.atts", about)
            writer.append(simulate(5, problems=4))
            writer.close()
            export(folder / "r.atts", form, folder / "out")  # type: ignore[arg-type]
        target = folder / "out"
        files = sorted(target.iterdir()) if target.is_dir() else [target]
        found.append([file.read_bytes() for file in files])
    assert found[0] == found[1]
    assert any(found[0])


def test_attached_with_problems_put_away_the_figures_are_the_same(
    simulate: Simulate, about: About, tmp_path: Path
) -> None:
    stamps = simulate(8, problems=4)
    with room(0):
        writer = RunWriter.create(tmp_path / "r.atts", about)
        writer.append(stamps)
        writer.close()
        reader = RunReader.open(tmp_path / "r.atts")
    whole = both(stamps)[1]
    assert any(problem.put_away for problem in reader.state.problems)
    assert StageTally().update(reader.state) == StageTally().update(whole)
    early, late = DecisionTally(), DecisionTally()
    early.update(reader.state)
    late.update(whole)
    assert early.realised() == late.realised()
    reader.close()


@given(seed=st.integers(0, 2**32), at_once=st.integers(1, 40), start=st.integers(0, 10**6))
@settings(max_examples=25)
def test_decisions_taken_in_by_parts_are_those_taken_in_at_once(
    seed: int, at_once: int, start: int, simulate: Simulate
) -> None:
    """Whatever is decided between two parts, of problems already looked through or not."""
    # In rounds a score is known before it is decided on: what is looked through has another time then.
    stamps = [stamp for stamp in simulate(seed, problems=3) if not getattr(stamp.event, "for_round", False)]
    start %= len(stamps)
    with room(0):
        state = RunState().fold(stamps[:start])
        state.decisions.clear()  # as if far more had been decided than the state remembers
        parts = DecisionTally()
        for begin in range(start, len(stamps), 7):
            state.fold(stamps[begin : begin + 7])
            if state.decisions:
                parts.update(state, at_once)
        while parts.behind:
            parts.update(state, at_once)
    if not state.decisions:
        return
    whole = DecisionTally()
    whole.update(both(stamps)[1])
    assert parts.count == whole.count
    assert parts.realised() == whole.realised()
    assert parts.over_time(0.0, state.now, 9) == whole.over_time(0.0, state.now, 9)


@given(st.binary(max_size=400))
def test_bytes_of_a_foreign_file_are_read_as_far_as_they_go(data: bytes) -> None:
    assert digest.turn_count(data) <= len(data) // 45
    assert all(judged.turn < digest.turn_count(data) for judged in digest.judged_of(data))
    assert len(list(digest.stages_of(data))) <= len(data) // 25
