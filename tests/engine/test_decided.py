"""When a vote is decided: exactly never wrong, with an error at most as often as it was stated."""

import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atts_core.bus import Bus
from atts_core.config import Given, load
from atts_core.engine.decided import Decided
from atts_core.engine.session import open_session
from atts_core.engine.votes import vote
from atts_core.problems.load import Request, load_problems
from atts_core.runs.summary import summarise
from atts_core.state import RunState

Answers = Sequence[str | None]


def stopped_at(answers: Answers, order: Sequence[int], error: float) -> int | None:
    """How many samples had ended when it was decided; None: never before the last."""
    watch = Decided(len(answers), error)
    for count, sample in enumerate(order, start=1):
        if watch.ends(sample, answers[sample]) and count < len(answers):
            return count
    return None


@given(st.lists(st.sampled_from(["1", "2", "3", None]), min_size=1, max_size=9), st.randoms())
def test_an_exact_decision_holds_whatever_comes(answers: list[str | None], chance: random.Random) -> None:
    order = list(range(len(answers)))
    chance.shuffle(order)
    count = stopped_at(answers, order, 0.0)
    if count is None:
        return
    early: list[str | None] = [None] * len(answers)
    for sample in order[:count]:
        early[sample] = answers[sample]
    winner = vote(early).winner
    for other in ("1", "2", "3", "4"):
        late = [answers[sample] if sample in order[:count] else other for sample in range(len(answers))]
        assert vote(late).winner == winner
        assert not vote(late).tied


def test_an_exact_decision_comes_as_soon_as_it_can() -> None:
    assert stopped_at(["7"] * 16, range(16), 0.0) == 9
    assert stopped_at(["7", "8"] * 8, range(16), 0.0) is None
    assert stopped_at(["7"] * 8 + ["8"] * 8, range(16), 0.0) is None, "eight of sixteen can still be tied"
    assert stopped_at([None] * 10 + ["7"] * 4 + [None] * 2, range(16), 0.0) == 14


def test_agreement_decides_long_before_it_is_certain() -> None:
    assert [stopped_at(["7"] * m, range(m), 0.01) for m in (8, 16, 32, 64)] == [5, 6, 7, 8]
    assert [stopped_at(["7"] * m, range(m), 0.05) for m in (8, 16, 32, 64)] == [4, 5, 6, 6]


def test_only_samples_before_which_all_have_ended_are_looked_at() -> None:
    """Samples that end first are the short ones: their agreement says nothing of the others."""
    assert stopped_at(["7"] * 16, [*range(8, 16), *range(8)], 0.05) == 9
    assert stopped_at(["7"] * 16, [1, 0, 3, 2, 4, *range(5, 16)], 0.05) == 5


POPULATIONS = (
    {"a": 8, "b": 8},
    {"a": 9, "b": 7},
    {"a": 6, "b": 5, "c": 5},
    {"a": 5, "b": 4, "c": 4, "d": 3},
    {"a": 12, "b": 4},
    {"a": 7, "b": 5, None: 4},
    {"a": 2, **{str(n): 1 for n in range(14)}},
)
RUNS = 2000


@pytest.mark.parametrize("error", [0.05, 0.2])
@pytest.mark.parametrize("votes", POPULATIONS, ids=str)
def test_it_is_wrong_at_most_as_often_as_stated(votes: dict[str | None, int], error: float) -> None:
    """Of n = `RUNS` random orders at most ε·n + 4·√(n·ε·(1 − ε)) may be stopped with another answer than that
    of all 16, ties counted as errors: a rule whose error is ε fails this once in thirty thousand times."""
    answers = [answer for answer, count in votes.items() for _ in range(count)]
    chance, wrong = random.Random(f"{votes}{error}"), 0
    for _ in range(RUNS):
        chance.shuffle(answers)
        count = stopped_at(answers, range(16), error)
        if count is not None:
            counts = Counter(answer for answer in answers if answer is not None).most_common(2)
            tied = counts[0][1] == counts[1][1]
            wrong += tied or vote(answers[:count]).winner != counts[0][0]
    assert wrong <= error * RUNS + 4 * (RUNS * error * (1 - error)) ** 0.5


async def test_a_decided_problem_ends_at_once_and_its_tokens_are_accounted_for(
    embedded_pair: tuple[str, str],
) -> None:
    """Two samples at a time of twelve, so that some have not begun when the vote is decided."""
    given_ = Given(
        draft=embedded_pair[0], target=embedded_pair[1], strategy="target-only", samples=12, seed=1,
        stop_when_decided=0.0, target_concurrency=1, draft_concurrency=1,
    )  # fmt: skip
    problems = load_problems(Request(dataset="builtin", part="test", limit=1))
    async with open_session(load(given_, {}), {}) as opened:
        bus = Bus()
        subscription = bus.subscribe()
        engine = await opened.start(bus, problems, command="test", run="r")
        assert await engine.run() == "done"
    stamps = subscription.drain()
    state = RunState().fold(stamps)
    ends = Counter(sample.end for sample in state.problems[0].samples)
    assert ends["decided"] > 0
    assert ends["answered"] + ends["decided"] == 12
    assert state.problems[0].finished
    assert state.problems[0].answer == state.problems[0].tally[0][0]
    last = [type(stamped.event).__name__ for stamped in stamps[-2:]]
    assert last == ["ProblemFinished", "RunFinished"], "what was under way was cut off, and nothing follows"
    never = [sample for sample in state.problems[0].samples if sample.started_at is None]
    assert never
    assert all(sample.end == "decided" for sample in never)
    saved = summarise(state, len(stamps)).saved
    assert saved is not None
    assert saved.problems == 1
    assert saved.samples == ends["decided"]
    own = [s.target_tokens for s in state.problems[0].samples if s.end == "answered"]
    mean = sum(own) / len(own)
    spent = [s.target_tokens for s in state.problems[0].samples if s.end == "decided"]
    assert saved.target_tokens == round(sum(max(mean - tokens, 0) for tokens in spent))
