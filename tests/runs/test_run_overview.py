"""The numbers that the fold keeps are those that a look at everything gives; what is put away can be read."""

import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from atts_core import events as ev
from atts_core import overview
from atts_core.conformal.intervals import Estimate, ratio_interval
from atts_core.conformal.live import DecisionTally, estimate, realised, signal_so_far
from atts_core.overview import SHARE_BINS, STEP, Sums
from atts_core.problems.metrics import achieved, measure, target_share
from atts_core.reports.compare import Named, facts, pairing
from atts_core.runs.file import About, RunFile
from atts_core.runs.reader import RunReader
from atts_core.runs.summary import summarise
from atts_core.runs.writer import RunWriter
from atts_core.state import RunState

pytestmark = pytest.mark.usefixtures("no_power_cut")

Simulate = Callable[..., list[ev.Stamped]]


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the newest finished problem keeps its texts."""
    monkeypatch.setattr(overview, "DETAILS_BYTES", 1)


def unlimited(stamps: list[ev.Stamped]) -> RunState:
    """The state that keeps everything."""
    before, overview.DETAILS_BYTES = overview.DETAILS_BYTES, 10**12
    try:
        return RunState().fold(stamps)
    finally:
        overview.DETAILS_BYTES = before


def with_copies(stamps: list[ev.Stamped]) -> list[ev.Stamped]:
    """The second problem is a copy of the first, every other one stands for itself."""
    found = []
    for stamped in stamps:
        event = stamped.event
        if isinstance(event, ev.ProblemAdded):
            event = msgspec.structs.replace(event, repeats="p0" if event.problem == 1 else "")
        found.append(ev.Stamped(stamped.seq, stamped.at, event))
    return found


def told(estimate: Estimate) -> object:
    return pytest.approx([estimate.value, estimate.low, estimate.high])


def again(stamps: list[ev.Stamped], problem: int, sample: int) -> list[ev.Stamped]:
    """The events, and after the last of them one sample that goes on and ends anew."""
    state = RunState().fold(stamps)
    here = {"problem": problem, "sample": sample}
    turn = state.sample(problem, sample).turn_count
    more: list[ev.AnyEvent] = [
        ev.SampleStarted(**here),
        ev.DraftStarted(**here, turn=turn),
        ev.DraftFinished(
            **here, turn=turn, text="2", tokens=1, ended=True, seconds=1.0, first_token_seconds=0.5
        ),
        ev.SampleFinished(**here, end="answered", answer="2", correct=True),
        ev.ProblemFinished(problem=problem, answer="2", tied=False, correct=True),
    ]
    return [*stamps, *(ev.Stamped(state.seq + n, state.now + n, event) for n, event in enumerate(more, 1))]


@given(seed=st.integers(0, 2**32), at=st.integers(0, 10**6), retried=st.booleans())
@settings(max_examples=40)
def test_numbers_are_those_of_all_problems(seed: int, at: int, retried: bool, simulate: Simulate) -> None:
    stamps = with_copies(simulate(seed, problems=4))
    stamps = again(stamps, 1, 1) if retried else stamps[: at % len(stamps) + 1]
    state = RunState().fold(stamps)
    samples = [sample for problem in state.problems for sample in problem.samples]
    kept = state.overview
    assert kept.samples == len(samples)
    assert kept.unbegun == sum(not s.turn_count and s.end is None for s in samples)
    went_on = [*kept.reached, 0][1:]
    for turn, (reached, later, ended) in enumerate(
        zip(kept.reached, went_on, kept.ended_after, strict=False)
    ):
        assert reached - later - ended == sum(s.turn_count == turn + 1 and s.end is None for s in samples)
    assert kept.turns_done == sum(max(s.turn_count - (s.end is None), 0) for s in samples)
    finished = [problem for problem in state.problems if problem.finished]
    assert kept.finished == len(finished)
    assert list(kept.running) == sorted(
        (p.index for p in state.problems if p.started_at is not None and not p.finished),
        key=list(kept.running).index,
    )
    shares = [p.target_share for p in finished if p.target_share is not None]
    places = [min(int(share * SHARE_BINS), SHARE_BINS - 1) for share in shares]
    bins = [places.count(place) for place in range(SHARE_BINS)]
    assert kept.shares == bins
    for problem in state.problems:
        assert problem.tokens == sum(s.draft_tokens + s.target_tokens for s in problem.samples)
        assert problem.failed == sum(s.end == "failed" for s in problem.samples)
        assert (problem.index in kept.looks) >= (problem.failed > 0)
    rate = realised(state)
    assert rate.decisions == state.overall.decisions
    assert [turn.decisions for turn in rate.by_turn] == [t.decisions for t in state.by_turn if t.decisions]
    sums, exact = estimate(kept.taken_over), rate.overall
    assert [sums.value, sums.low, sums.high] == told(exact)
    assert sums.value == state.overall.realised
    reached = achieved(state)
    for sums, exact in ((kept.right_samples, reached.sample), (kept.by_vote, reached.majority)):
        found = estimate(sums)
        assert [found.value, found.low, found.high] == told(exact)
    short = summarise(state, 1)
    assert (short.accuracy, short.majority) == (reached.sample.value, reached.majority.value)
    assert (short.problems_graded, short.takeover_rate) == (reached.problems, exact_rate(state))
    assert state.target_share == target_share(state).value
    assert state.verified_tokens == sum(p.verified_tokens for p in state.problems) + 3 * collected(stamps)
    if finished:
        seconds = statistics.median_low(max(p.seconds, 0.001) for p in finished)
        assert kept.median_seconds == pytest.approx(seconds, rel=STEP - 1)


def exact_rate(state: RunState) -> float | None:
    return realised(state).overall.value


def collected(stamps: list[ev.Stamped]) -> int:
    return sum(isinstance(stamped.event, ev.ScoreCollected) for stamped in stamps)


@pytest.mark.parametrize("early", [False, True])
def test_a_vote_decided_early_leaves_no_accuracy_per_sample_anywhere(simulate: Simulate, early: bool) -> None:
    found = []
    for stamped in simulate(3, problems=3):
        event = stamped.event
        if isinstance(event, ev.SampleFinished) and (event.problem, event.sample) == (0, 2):
            event = msgspec.structs.replace(event, end="decided" if early else "answered", correct=None)
            event = event if early else msgspec.structs.replace(event, correct=False)
        elif isinstance(event, ev.SampleFinished):
            event = msgspec.structs.replace(event, end="answered", correct=event.sample == 0)
        elif isinstance(event, ev.ProblemFinished):
            event = msgspec.structs.replace(event, correct=True)
        found.append(ev.Stamped(stamped.seq, stamped.at, event))
    state = RunState().fold(found)
    per_sample = None if early else pytest.approx(1 / 3)
    assert estimate(state.overview.right_samples).value == per_sample
    assert achieved(state).sample.value == per_sample
    assert summarise(state, 1).accuracy == per_sample
    assert facts(Named("r", state)).accuracy.value == per_sample
    measured = measure(state)
    assert (measured.best_of_m.value is None) == early
    assert (measured.right_per_1000_target_tokens.value is None) == early
    pair = pairing(Named("r", state), Named("s", state))
    compared = {difference.name: difference.first for difference in pair.differences}
    assert compared.get("accuracy per sample") == per_sample
    assert compared["accuracy by vote"] == 1.0
    assert any("decided before" in caution for caution in pair.cautions) == early
    for value in (estimate(state.overview.by_vote), achieved(state).majority):
        assert value.value == 1.0


def test_every_try_of_a_turn_is_a_decision_and_one_of_them_is_the_chain(
    run_started: Callable[..., ev.RunStarted],
) -> None:
    here: dict[str, int] = {"problem": 0, "sample": 0, "turn": 0}
    events: list[ev.AnyEvent] = [
        run_started(1),
        ev.ProblemAdded(problem=0, id="p", question="?", gold="2"),
        ev.SampleStarted(problem=0, sample=0),
    ]
    for ppl in (1.9, 1.7, 1.8):
        events += [
            ev.DraftStarted(**here),
            ev.DraftFinished(
                **here, text="x", tokens=1, ended=False, seconds=0.0, first_token_seconds=0.0
            ),
            ev.VerificationStarted(**here, tokens=1),
            ev.VerdictReached(
                **here, verdict="take-over", ppl=ppl, p=0.9, alpha=0.5, threshold=1.5, mode="marginal",
                rule="conformal", size=10, again=True, tokens=1, seconds=0.0,
            ),
        ]  # fmt: skip
    live, state = DecisionTally(), RunState()
    ended = ev.SampleFinished(problem=0, sample=0, end="answered", answer="2", correct=True)
    events += [ev.AttemptKept(**here, attempt=1), ended]
    for seq, event in enumerate(events, 1):
        state.apply(ev.Stamped(seq, float(seq), event))
        live.update(state)
    sample = state.sample(0, 0)
    for _ in range(2):
        assert [(j.ppl, j.discarded) for j in sample.judged()] == [(1.9, True), (1.7, False), (1.8, True)]
        assert live.realised() == realised(state)
        assert realised(state).decisions == state.overall.decisions == sample.decisions == 3
        assert live.signal(state) == signal_so_far(state)
        assert measure(state).problems[0].mean_ppl == 1.7
        sample.put_away()
    assert sample.digest


@given(clusters=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_sums_give_the_interval_of_the_clusters(clusters: list[tuple[int, int]]) -> None:
    sums = Sums()
    for hits, more in clusters:
        sums.add(hits, hits + more)
    sums.add(3, 4)
    sums.add(3, 4, -1)
    known = [(hits, hits + more) for hits, more in clusters if hits + more]
    assume(len({hits / size for hits, size in known}) != 1)  # floating point may see a difference
    exact = ratio_interval(
        np.array([hits for hits, _ in known], float), np.array([size for _, size in known], float)
    )
    found = estimate(sums)
    assert [found.value, found.low, found.high] == pytest.approx([exact.value, exact.low, exact.high])


@pytest.mark.usefixtures("little_room")
def test_put_away_it_still_knows_what_was_decided(simulate: Simulate) -> None:
    stamps = simulate(5, problems=4)
    small, whole = RunState().fold(stamps), unlimited(stamps)
    assert [problem.put_away for problem in small.problems].count(True) == 3
    assert realised(small) == realised(whole)
    assert signal_so_far(small) == signal_so_far(whole)
    for away, full in zip(small.problems, whole.problems, strict=True):
        for one, other in zip(away.samples, full.samples, strict=True):
            assert list(one.judged()) == list(other.judged())
            assert (one.turn_count, one.characters) == (other.turn_count, other.characters)
            assert not away.put_away or not (one.turns or one.steps)


@pytest.mark.usefixtures("little_room")
@pytest.mark.parametrize("retried", [False, True])
def test_details_come_back_from_the_file(
    simulate: Simulate, about: About, tmp_path: Path, retried: bool
) -> None:
    stamps = simulate(9, problems=4)
    away = next(p.index for p in RunState().fold(stamps).problems if p.put_away)
    # The first sample begins in the moment in which its problem is added.
    start = next(n for n, s in enumerate(stamps) if isinstance(s.event, ev.SampleStarted))
    stamps = [ev.Stamped(s.seq, 0.0, s.event) for s in stamps[: start + 1]] + stamps[start + 1 :]
    if retried:
        stamps = again(stamps, away, 1)
        more = stamps[-1]
        end = ev.ProblemFinished(problem=(away + 1) % 4, answer="2", tied=False, correct=True)
        stamps = [*stamps, ev.Stamped(more.seq + 1, more.at + 1, end)]
    writer = RunWriter.create(tmp_path / "r.atts", about)
    writer.append(stamps)
    writer.close()
    reader = RunReader.open(tmp_path / "r.atts")
    whole = unlimited(stamps)
    for problem in reader.state.problems:
        if problem.put_away:
            found = reader.details(reader.state, problem.index)
            assert found is not None
            wanted = whole.problems[problem.index]
            for one, other in zip(found.samples, wanted.samples, strict=True):
                assert [(s.turn, s.role, s.text, s.tokens, s.discarded) for s in one.steps] == [
                    (s.turn, s.role, s.text, s.tokens, s.discarded) for s in other.steps
                ]
                assert one.turns == other.turns
                assert one.end == other.end
            assert (found.tally, found.answer, found.tokens) == (wanted.tally, wanted.answer, wanted.tokens)
    reader.close()


@pytest.mark.usefixtures("little_room")
@given(seed=st.integers(0, 2**32), cut=st.integers(1, 60), failed=st.integers(0, 2))
@settings(max_examples=25)
def test_a_sample_of_a_problem_put_away_that_goes_on_is_in_the_keyframes(
    seed: int, cut: int, failed: int, simulate: Simulate, same: Callable[[RunState], bytes], about: About,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    stamps = again(simulate(seed, problems=3), failed, failed)
    writer = RunWriter.create(tmp_path_factory.mktemp("k") / "r.atts", about)
    for begin in range(0, len(stamps), cut):
        writer.append(stamps[begin : begin + cut])
        writer._keyframer.write(writer.last)
    writer.close()
    file = RunFile.open(writer.path)
    for ordinal in range(1, len(stamps) + 1, 5):
        state = file.state(file.place_of_ordinal(ordinal))
        assert same(state) == same(RunState().fold(stamps[:ordinal]))
    assert same(file.state(file.last())) == same(RunState().fold(stamps))
    file.close()


def decided(problem: int, tally: tuple[tuple[str, int], ...], **said: object) -> Iterator[ev.AnyEvent]:
    votes = sum(count for _, count in tally)
    yield ev.VoteChanged(problem=problem, tally=tally, voted=votes, ended=2)
    yield ev.ProblemFinished(problem=problem, **said)  # type: ignore[arg-type]


def test_what_needs_a_look_and_why(run_started: Callable[..., ev.RunStarted]) -> None:
    said = [
        ((("3", 2),), {"answer": "3", "tied": False, "correct": False}, "wrong"),
        ((("3", 1), ("4", 1)), {"answer": "3", "tied": True, "correct": False}, "undecided"),
        ((), {"answer": None, "tied": False, "correct": False}, "undecided"),
        ((("2", 2),), {"answer": "2", "tied": False, "correct": True}, None),
        ((("3", 1),), {"answer": "3", "tied": False, "correct": False}, None),
    ]
    quick = [((("2", 2),), {"answer": "2", "tied": False, "correct": True}, None)] * 6
    events: list[tuple[float, ev.AnyEvent]] = [(0.0, run_started(2))]
    at = 0.0
    for problem, (tally, end, _) in enumerate([*said, *quick]):
        events.append((at, ev.ProblemAdded(problem=problem, id="p", question="?", gold="2")))
        events += [(at, ev.SampleStarted(problem=problem, sample=number)) for number in range(2)]
        slow = problem == len(said) + len(quick) - 1
        at += 40 if slow else 1
        for number in range(2):
            events.append((at, ev.SampleFinished(problem=problem, sample=number, end="answered")))
        events += [(at, event) for event in decided(problem, tally, **end)]
    state = RunState().fold(ev.Stamped(seq, at, event) for seq, (at, event) in enumerate(events, 1))
    wanted = {problem: look for problem, (_, _, look) in enumerate(said) if look}
    assert state.overview.looks == wanted | {len(said) + len(quick) - 1: "slow"}
    failed = ev.SampleFinished(problem=3, sample=0, end="failed", message="no")
    state.apply(ev.Stamped(1000, at, ev.SampleStarted(problem=3, sample=0)))
    state.apply(ev.Stamped(1001, at, failed))
    assert state.overview.looks[3] == "failed"
    state.apply(ev.Stamped(1002, at, ev.SampleStarted(problem=3, sample=0)))
    assert 3 not in state.overview.looks
