"""Numbers and verdicts in words."""

import pytest
from msgspec.structs import replace

from atts_core.events import VerdictReached
from atts_core.state import ProblemState
from atts_tui import words

VERDICT = VerdictReached(
    problem=0, sample=0, turn=2, verdict="take-over", ppl=1.717, p=0.85, alpha=0.6, threshold=1.04,
    mode="marginal", rule="conformal", size=1600, tokens=20, seconds=0.1,
)  # fmt: skip


def test_a_verdict_explains_itself() -> None:
    assert words.explain(VERDICT) == (
        "Turn 3 (PPL 1.717): the step surprised the target more than 85 % of the calibration steps did; "
        "over 60 % is too much: the target took over."
    )
    accepted = replace(VERDICT, verdict="accept", p=0.31)
    assert words.explain(accepted).endswith("up to 60 % is fine: accepted.")
    assert words.explain_short(accepted) == "Turn 3: surprise 31 % ≤ 60 % limit: accepted"
    unusable = replace(VERDICT, verdict="unverifiable", p=None, ppl=None)
    assert (
        words.explain(unusable) == "Turn 3: the draft's step could not be checked, so the target took over."
    )


def test_a_verdict_near_the_limit_never_reads_as_a_contradiction() -> None:
    assert "60.01 % > 60.00 %" in words.explain_short(replace(VERDICT, p=0.6001))


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0"), (1282, "1,282"), (9999.4, "9,999"), (12_345, "12.3k"), (345_678, "346k"), (4_500_000, "4.5M")],
)
def test_numbers_stay_short(count: float, said: str) -> None:
    assert words.number(count) == said


@pytest.mark.parametrize(
    ("value", "said"), [(None, " – "), (0.0, ".00"), (0.6, ".60"), (0.994, ".99"), (1.0, "1.0")]
)
def test_probabilities_take_three_cells(value: float | None, said: str) -> None:
    assert words.probability(value) == said


def test_durations() -> None:
    assert [words.clock(seconds) for seconds in (0, 42.9, 723, 3723)] == ["0:00", "0:42", "12:03", "1:02:03"]


def _problem(**changes: object) -> ProblemState:
    problem = ProblemState(0, "id", "?", None, "", [])
    for name, value in changes.items():
        setattr(problem, name, value)
    return problem


def test_ties_are_said() -> None:
    assert words.leader_words(_problem(tally=(("1", 3), ("2", 3)))) == "tied: 2 answers with 3 votes each"
    assert words.leader_words(_problem(tally=(("1", 1),))) == "leads: 1 with 1 vote so far"
    finished = _problem(tally=(("1", 3), ("2", 3)), finished=True, answer="1", tied=True)
    assert words.leader_words(finished) == "the vote: 1 (tied with 1 more)"
    assert words.leader_words(_problem(finished=True)) == "no sample found an answer"


@pytest.mark.parametrize(
    ("fields", "long", "short"),
    [
        (
            {"p": None, "rank": 2, "size": 14},
            "the step surprised the target 2nd most of 14 in its round: the target took over.",
            "rank 2 of 14: target took over",
        ),
        (
            {"verdict": "accept", "p": None, "rating": 8, "least_rating": 7},
            "the target rated the step 8 of 9, 7 is enough: accepted.",
            "rated 8 of 9: accepted",
        ),
        ({"verdict": "accept", "p": None}, "accepted.", "accepted"),
        (
            {"again": True, "verdict": "unverifiable"},
            "the draft's step could not be checked, so it was drawn again.",
            "step could not be checked, drawn again",
        ),
    ],
)
def test_verdicts_of_every_strategy_in_words(fields: dict[str, object], long: str, short: str) -> None:
    verdict = replace(VERDICT, **fields)
    assert words.explain(verdict) == f"Turn 3 (PPL 1.717): {long}"
    assert words.explain_short(verdict) == f"Turn 3: {short}"
