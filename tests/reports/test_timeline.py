"""Where the time went: stages and waiting add up to the life of every sample."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as some

from atts_core import events as ev
from atts_core.reports.timeline import (
    StageTally,
    intervals,
    occupancy,
    painted,
    places_of,
)
from atts_core.state import ProblemState, RunState, SampleState, Span, Turn

LONGEST = 80.0
"""Seconds: more than four turns of three stages with their gaps can take."""

gaps = some.floats(0, 3).map(lambda value: round(value, 2))
stages = some.sampled_from(["draft", "verify", "target"])


@some.composite
def samples(draw) -> SampleState:
    """A chain with gaps of any length between its stages, ended or not."""
    at = draw(gaps)
    sample = SampleState(0, started_at=at)
    for _ in range(draw(some.integers(0, 4))):
        turn = Turn()
        for stage in draw(some.lists(stages, max_size=3)):
            at += draw(gaps)
            turn.spans.append(Span(stage, at, at := at + draw(gaps)))
        sample.turns.append(turn)
    if draw(some.booleans()):
        sample.ended_at = at + draw(gaps)
    elif sample.turns and sample.turns[-1].spans:
        sample.turns[-1].spans[-1].end = None
    return sample


@given(samples(), gaps)
def test_a_sample_is_always_at_something(sample: SampleState, later: float) -> None:
    now = (LONGEST if sample.ended_at is None else sample.ended_at) + later
    found = intervals(sample, now)
    end = now if sample.ended_at is None else sample.ended_at
    assert sum(part.end - part.start for part in found) == pytest.approx(end - (sample.started_at or 0.0))
    for before, after in pairwise(found):
        assert before.end == after.start


@given(samples())
def test_occupancy_holds_every_second_once(sample: SampleState) -> None:
    now = LONGEST if sample.ended_at is None else sample.ended_at
    problem = ProblemState(0, "a", "?", None, "", [sample], started_at=sample.started_at)
    found = occupancy([problem], now, 0.0, 100.0, 200)
    total = sum(map(sum, found)) * 0.5
    assert total == pytest.approx(now - (sample.started_at or 0.0))
    assert max(map(max, found)) <= 1 + 1e-9


def test_each_column_shows_what_lasted_longest() -> None:
    sample = SampleState(0, started_at=1.0, ended_at=8.0)
    sample.turns.append(
        Turn(spans=[Span("draft", 1.0, 3.2), Span("verify", 3.2, 3.5), Span("target", 5.0, 8.0)])
    )
    found = intervals(sample, 100.0)
    assert painted(found, 0.0, 10.0, 10) == [
        None, "draft", "draft", "wait", "wait", "target", "target", "target", None, None,
    ]  # fmt: skip
    assert painted(found, 3.0, 1.0, 4) == ["draft", "verify", "wait", "wait"]


def begun(**settings: object) -> ev.RunStarted:
    cards = tuple(
        ev.ModelCard(role=role, name=role, url="", release="", context_length=1, tokenizer="")
        for role in ("draft", "target")
    )
    return ev.RunStarted(
        run="r", command="eval", started_at=0.0, version="0", strategy="atts", takeover="rewrite", samples=1,
        turns=5, seed=0, models=(cards[0], cards[1]), calibration=None, settings=settings,
    )  # fmt: skip


def sample_events(problem: int, start: float, *, retried: bool = False) -> list[tuple[float, ev.AnyEvent]]:
    """One second of draft, two of waiting, three of scoring."""
    at = {"problem": problem, "sample": 0}
    step = {"text": "", "tokens": 1, "ended": False, "seconds": 1.0, "first_token_seconds": 0.1}
    return [
        (start, ev.SampleStarted(**at)),
        (start, ev.DraftStarted(**at, turn=0)),
        (start + 1, ev.DraftFinished(**at, turn=0, **step)),
        (start + 3, ev.VerificationStarted(**at, turn=0, tokens=1)),
        (
            start + 6,
            ev.VerdictReached(
                **at, turn=0, verdict="accept", ppl=1.5, p=0.1, alpha=0.6, threshold=2.0, mode="marginal",
                rule="conformal", size=3, tokens=1, seconds=3.0,
            ),
        ),
        (start + 6, ev.SampleFinished(**at, end="failed" if retried else "answered", answer=None)),
        (start + 6, ev.ProblemFinished(problem=problem, answer=None, tied=False, correct=None)),
    ]  # fmt: skip


def folded(items: list[tuple[float, ev.AnyEvent]], state: RunState | None = None) -> RunState:
    state = state or RunState()
    first = state.seq + 1
    return state.fold(ev.Stamped(number, at, event) for number, (at, event) in enumerate(items, first))


def test_times_of_a_run_add_up_whenever_it_is_asked() -> None:
    problems = 5
    start: list[tuple[float, ev.AnyEvent]] = [(0.0, begun(draft_concurrency=4, target_concurrency=2))]
    start += [(0.0, ev.ProblemAdded(problem=n, id=str(n), question="?")) for n in range(problems)]
    state, early = folded(start), StageTally()
    for problem in range(problems):
        for item in sample_events(problem, float(problem * 10)):
            folded([item], state)
            times = early.update(state)
    late = StageTally()
    assert late.update(state) == times
    assert (times.draft, times.verify, times.target, times.wait) == (5.0, 15.0, 0.0, 10.0)
    assert times.intensity == 2.0
    assert times.share("wait") == pytest.approx(1 / 3)
    assert times.elapsed == 46.0
    assert times.used("draft") == pytest.approx(5 / (4 * 46))
    assert times.used("target") == pytest.approx(15 / (2 * 46))


def test_a_long_run_is_added_up_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StageTally, "AT_ONCE", 2)
    items: list[tuple[float, ev.AnyEvent]] = [(0.0, begun())]
    items += [(0.0, ev.ProblemAdded(problem=n, id=str(n), question="?")) for n in range(5)]
    for problem in range(5):
        items += sample_events(problem, problem * 10.0)
    state, tally = folded(items), StageTally()
    seen = []
    while True:
        seen.append(tally.update(state).draft)
        if not tally.behind:
            break
    assert seen == [2.0, 4.0, 5.0]


def test_a_sample_that_is_tried_again_is_not_counted_twice() -> None:
    items = [(0.0, begun()), (0.0, ev.ProblemAdded(problem=0, id="0", question="?"))]
    state, tally = folded([*items, *sample_events(0, 0.0, retried=True)]), StageTally()
    assert tally.update(state).busy == 4.0
    at = {"problem": 0, "sample": 0}
    folded([(10.0, ev.SampleStarted(**at)), (10.0, ev.DraftStarted(**at, turn=1))], state)
    folded([(12.0, ev.RunPaused())], state)
    assert tally.update(state).busy == 6.0
    assert tally.update(state) == StageTally().update(state)


def test_settings_of_a_foreign_file_are_not_believed() -> None:
    state = folded([(0.0, begun(draft_concurrency="many", target_concurrency=True))])
    assert places_of(state) == (None, None)
    assert StageTally().update(state).used("draft") is None
    assert StageTally().update(state).intensity is None
