"""Answers, votes and seeds: pure functions of their input."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atts_core.engine.answers import MAX_ANSWER, find_answer
from atts_core.engine.seeds import request_seed
from atts_core.engine.spelling import normalise
from atts_core.engine.votes import vote


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{204}.", "204"),
        (r"\boxed{\dfrac{5}{7}} done", r"\dfrac{5}{7}"),
        (r"first \boxed{1}, no: \boxed{2}", "2"),
        (r"\boxed{1} and then \boxed{2 is open", "1"),
        (r"cut \boxed{20", None),
        (r"\boxed{}", None),
        (r"\boxed{ } then \fbox{3}", "3"),
        (r"\boxed {7}", "7"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{a\}", None),
        ("thus\nANSWER: 12 \nmore", "12"),
        ("**Answer: B**", "B"),
        ("the answer: 4", None),
        ("ANSWER:", None),
        (r"ANSWER: 3 and \boxed{4}", "4"),
        ("**Answer:** 12", "12"),
        (r"x = \boxed{-2} or $x = \boxed{1}$", "-2, 1"),
        (r"$\boxed{3}$, $\boxed{5}$, and $\boxed{7}$", "3, 5, 7"),
        (r"\boxed{\frac12}, \boxed{0.5}", r"\frac12"),
        (r"\boxed{3} so then \boxed{4}", "4"),
        ("\\boxed{3}\n\n\\boxed{4}", "4"),
        (r"\boxed{x = \boxed{0}}", "0"),
        ("", None),
        (r"\boxed{" + "9" * (MAX_ANSWER + 1) + "}", None),
    ],
)
def test_find_answer(text: str, answer: str | None) -> None:
    assert find_answer(text) == answer


def test_a_box_cut_between_two_steps_is_found_once_they_are_joined() -> None:
    first, second = r"So the answer is \boxed{\frac{1", r"}{2}}."
    assert find_answer(first) is None
    assert find_answer(first + second) == r"\frac{1}{2}"


@given(st.text(r"\boxed{}ANSWER: 12", max_size=200))
def test_no_text_breaks_it_and_a_longer_text_keeps_its_answer(text: str) -> None:
    answer = find_answer(text)
    assert answer is None or answer.strip() == answer != ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("007", "7"),
        ("1,234", "1234"),
        (r"\dfrac{1}{2}", r"\frac{1}{2}"),
        (r"\left( 1, 2 \right)", "(1,2)"),
        (r"$12$.", "12"),
        ("-0", "0"),
        (r"\text{B}", "{B}"),
        ("(B)", r"\textbf{B}."),
        ("0.50", r"\frac{1}{2}"),
        (r"\frac59", "5/9"),
        ("12 cm", r"12\text{ inches}"),
        ("5 square units", "5"),
        (r"50\%", "50"),
        (r"90^\circ", "90"),
        (r"\$1,234.50", "1234.5"),
        (r"10,\!000", "10000"),
        ("x = 5", "5"),
        ("1, -2", "x=-2, x=1"),
        (r"\{1, 2\}", "2,1"),
        ("2516_{8}", "2516_8"),
        (r"\(7\)", "7"),
    ],
)
def test_typography_does_not_divide_votes(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1,2", "12"),
        ("1", "-1"),
        ("0.5", "5"),
        ("x", "X"),
        ("(1,2)", "(2,1)"),
        ("100, 200", "100,200"),
        (r"50\%", "0.5"),
        (r"5 \text{ or } 7", "5"),
        (r"3 \text{ million}", "3"),
        ("2m", "2"),
        ("1/3", "0.333"),
    ],
)
def test_different_answers_stay_different(one: str, other: str) -> None:
    assert normalise(one) != normalise(other)


@given(st.text(max_size=50))
def test_normalise_is_idempotent(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


def test_vote_counts_spellings_together_and_says_ties() -> None:
    outcome = vote(["7", None, "007", "8", "8"])
    assert outcome.tally == (("7", 2), ("8", 2))
    assert outcome.winner == "7"
    assert outcome.tied
    assert vote([None, "3"]) == ((("3", 1),), "3", False)
    assert vote([None, None]) == ((), None, False)


@given(st.lists(st.none() | st.sampled_from("abc"), max_size=12))
def test_the_winner_has_the_most_votes(answers: list[str | None]) -> None:
    outcome = vote(answers)
    counts = {answer: answers.count(answer) for answer in answers if answer is not None}
    assert dict(outcome.tally) == counts
    if counts:
        assert outcome.winner is not None
        assert counts[outcome.winner] == max(counts.values())
        assert outcome.tied == (list(counts.values()).count(max(counts.values())) > 1)


def test_a_seed_depends_on_everything_that_names_its_request() -> None:
    base = (0, "p", 1, 2, "draft", 0)
    others = [(1, "p", 1, 2, "draft", 0), (0, "q", 1, 2, "draft", 0), (0, "p", 2, 1, "draft", 0)]
    others += [(0, "p", 1, 2, "target", 0), (0, "p", 1, 2, "draft", 1), (0, "p", 12, 2, "draft", 0)]
    seeds = {request_seed(*key) for key in [base, *others]}  # type: ignore[arg-type]
    assert len(seeds) == 1 + len(others)
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert request_seed(*base) == request_seed(*base)  # type: ignore[arg-type]
