"""The laid-out runs keep every rule that they claim, and their makespans are what the rules give."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as some

from atts_core.reports.barrier import barrier_cost, lay_out, recorded_chain
from atts_core.reports.timeline import Interval
from atts_core.state import ProblemState, SampleState, Span, Turn

seconds = some.integers(1, 9).map(float)
turns = some.tuples(seconds, seconds, seconds | some.none()).map(
    lambda turn: [("draft", turn[0]), ("verify", turn[1]), *([("target", turn[2])] if turn[2] else [])]
)
chains = some.lists(turns, max_size=4)
problems = some.lists(some.lists(chains, min_size=1, max_size=4), min_size=1, max_size=3)
MANY = 1000


@given(problems)
def test_with_places_for_all_only_the_barrier_makes_anyone_wait(problems) -> None:
    free = lay_out(problems, MANY, MANY, barrier=False)
    lengths = [sum(time for turn in chain for _, time in turn) for chains in problems for chain in chains]
    assert free.makespan == max(lengths)
    assert all(part.doing != "wait" for lanes in free.chains for lane in lanes for part in lane)
    barrier = lay_out(problems, MANY, MANY, barrier=True)
    expected = 0.0
    for chains in problems:
        total = 0.0
        for turn in range(max(map(len, chains))):
            own = [chain[turn] for chain in chains if len(chain) > turn]
            total += max(sum(time for stage, time in jobs if stage != "target") for jobs in own)
            total += max(sum(time for stage, time in jobs if stage == "target") for jobs in own)
        expected = max(expected, total)
    assert barrier.makespan == expected
    assert barrier.makespan >= free.makespan


@given(problems, some.integers(1, 4), some.integers(1, 4), some.booleans())
def test_every_layout_keeps_stages_places_and_order(problems, draft_places, target_places, barrier) -> None:
    found = lay_out(problems, draft_places, target_places, barrier=barrier)
    everything: list[Interval] = []
    for chains, lanes in zip(problems, found.chains, strict=True):
        for chain, lane in zip(chains, lanes, strict=True):
            stages = [part for part in lane if part.doing != "wait"]
            assert [(part.doing, part.end - part.start) for part in stages] == [
                job for turn in chain for job in turn
            ]
            for before, after in pairwise(lane):
                assert before.end == after.start
            everything += stages
    for server, places in (({"draft"}, draft_places), ({"verify", "target"}, target_places)):
        own = [part for part in everything if part.doing in server]
        for part in own:
            assert sum(other.start <= part.start < other.end for other in own) <= places
        work = sum(part.end - part.start for part in own)
        assert found.makespan >= work / places - 1e-9
    assert found.makespan == max((part.end for part in everything), default=0.0)


@given(problems, some.integers(1, 3), some.integers(1, 3))
def test_with_a_barrier_nobody_is_a_phase_ahead(problems, draft_places, target_places) -> None:
    found = lay_out(problems, draft_places, target_places, barrier=True)
    for chains, lanes in zip(problems, found.chains, strict=True):
        ends: dict[int, float] = {}
        starts: dict[int, float] = {}
        for chain, lane in zip(chains, lanes, strict=True):
            parts = iter([part for part in lane if part.doing != "wait"])
            for turn, jobs in enumerate(chain):
                for stage, _ in jobs:
                    part, phase = next(parts), 2 * turn + (stage == "target")
                    starts[phase] = min(starts.get(phase, part.start), part.start)
                    ends[phase] = max(ends.get(phase, 0.0), part.end)
        for before, after in pairwise(sorted(starts)):
            assert ends[before] <= starts[after]


def problem_of(index: int, *chains: list[list[tuple[str, float]]]) -> ProblemState:
    samples = []
    for number, chain in enumerate(chains):
        sample, at = SampleState(number, started_at=0.0), 0.0
        for jobs in chain:
            turn = Turn()
            for stage, time in jobs:
                turn.spans.append(Span(stage, at, at + time))
                at += time + 1
            sample.turns.append(turn)
        samples.append(sample)
    return ProblemState(index, str(index), "?", None, "", samples)


def test_the_cost_of_a_barrier_by_hand() -> None:
    quick = [[("draft", 1.0), ("verify", 1.0)], [("draft", 1.0), ("verify", 1.0)]]
    slow = [[("draft", 1.0), ("verify", 1.0), ("target", 4.0)]]
    cost = barrier_cost([problem_of(0, quick, slow)], 2, 2)
    # Without: the quick one needs 4, the slow one 6. With: 2, then 4 while the quick one waits, then 2.
    assert (cost.free, cost.barrier, cost.problems, cost.stages) == (6.0, 8.0, 1, 7)
    assert cost.speed_up == pytest.approx(8 / 6)


def test_scoring_goes_before_writing_that_came_earlier() -> None:
    writes = [[("draft", 1.0), ("verify", 1.0), ("target", 4.0)]]
    long_check = [[("draft", 1.0), ("verify", 3.0)]]
    late = [[("draft", 4.0), ("verify", 1.0)]]
    lanes = lay_out([[writes, long_check, late]], 3, 1, barrier=False).chains[0]
    assert lanes[2][-1] == ("verify", 5.0, 6.0)  # while the first has waited to write since 2
    assert lanes[0][-1] == ("target", 6.0, 10.0)


def test_stages_under_way_do_not_count_and_long_runs_are_cut() -> None:
    problem = problem_of(0, [[("draft", 1.0), ("verify", 1.0)]])
    problem.samples[0].turns[0].spans[1].end = None
    assert recorded_chain(problem.samples[0]) == [[("draft", 1.0)]]
    many = [problem_of(n, [[("draft", 1.0), ("verify", 1.0)]]) for n in range(10)]
    assert barrier_cost(many, 1, 1, most_stages=7).problems == 3
    assert barrier_cost(many, 1, 1, most_stages=1).problems == 1
    assert barrier_cost([], 1, 1).speed_up is None
    with pytest.raises(ValueError, match="without places"):
        barrier_cost(many, 0, 1)
