"""Laws of the built-in problems: solver = gold, worked steps hold, streams are disjoint and repeatable."""

import random
import re
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atts_core.errors import SettingsError
from atts_core.problems.builtin import (
    FAMILIES,
    LEVELS,
    check_step,
    endless,
    problems,
    readable,
    solve,
)
from atts_core.problems.builtin.arithmetic import LARGEST, apply, worked
from atts_core.problems.builtin.families import draw

families_and_levels = st.sampled_from([(family, level) for family in FAMILIES for level in LEVELS[family]])
streams = st.sampled_from(["train", "calibration", "test"])


@given(families_and_levels, st.integers(0, 10**9))
@settings(max_examples=400, deadline=None)
def test_the_solver_agrees_with_the_gold_answer(kind, seed):
    family, level = kind
    drawn = draw(random.Random(seed), family, level)
    assert solve(drawn.question) == str(drawn.result)


@given(families_and_levels, st.integers(0, 10**9))
@settings(max_examples=400, deadline=None)
def test_every_equation_of_a_worked_solution_holds(kind, seed):
    family, level = kind
    drawn = draw(random.Random(seed), family, level)
    verdicts = [check_step(step) for step in drawn.steps]
    assert False not in verdicts
    assert sum(verdict is True for verdict in verdicts) == level
    assert drawn.steps[-1] == f"So the answer is \\boxed{{{drawn.result}}}."
    assert 0 <= drawn.result <= LARGEST


@given(families_and_levels, st.integers(0, 10**9), st.data())
@settings(max_examples=200, deadline=None)
def test_a_changed_result_does_not_pass_the_check(kind, seed, data):
    family, level = kind
    drawn = draw(random.Random(seed), family, level)
    # What stands after "so" is algebra, which the checker leaves alone.
    checked = [step for step in drawn.steps if check_step(step) and ", so" not in step]
    head, result = data.draw(st.sampled_from(checked)).removesuffix(".").rsplit("= ", 1)
    assert check_step(f"{head}= {int(result) + data.draw(st.integers(1, 50))}.") is False


@pytest.mark.parametrize(
    ("step", "verdict"),
    [
        ("So the answer is \\boxed{7}.", None),
        ("(1) Ann has 60 shells.", None),
        ("b = a + 4 = 8 + 4 = 12.", True),
        ("b = a + 4 = 8 + 4 = 13.", False),
        ("Collect x: 5 - 3 = 2, so 2x + 51 = 54.", True),
        ("Collect x: 5 - 3 = 4, so 4x + 51 = 54.", False),
        ("c mod 9: 47 - 9 * 5 = 47 - 45 = 2.", True),
        ("x = 84 / 4 = 80 / 4 + 4 / 4 = 20 + 1 = 21.", True),
        ("5 / 0 = 3.", False),
        ("7 / 2 = 3.", False),
    ],
)
def test_the_checker_on_known_steps(step, verdict):
    assert check_step(step) is verdict


@given(st.integers(0, LARGEST), st.sampled_from("+-*/"), st.integers(1, LARGEST))
def test_worked_equations_hold_and_end_in_the_result(left, operator, right):
    if operator == "/":
        left -= left % right
    if operator == "-" and right > left:
        left, right = right, left
    text = worked(left, operator, right)
    assert check_step(text)
    assert text.endswith(f"= {apply(left, operator, right)}")


@given(st.integers(0, 1000))
@settings(max_examples=5, deadline=None)
def test_streams_share_no_question_and_no_arithmetic(seed):
    texts = {}
    for stream in ("train", "calibration", "test"):
        rows = problems(stream, seed, 150)
        texts[stream] = {problem.question for problem in rows}
        assert len(texts[stream]) == 150
    assert not texts["train"] & texts["test"]
    assert not texts["train"] & texts["calibration"]
    assert not texts["calibration"] & texts["test"]


@given(families_and_levels, st.integers(0, 10**9))
@settings(max_examples=100, deadline=None)
def test_names_and_things_have_no_say_in_a_problems_stream(kind, seed):
    family, level = kind
    drawn = draw(random.Random(seed), family, level)
    words_of = set(re.findall("[A-Za-z]+", drawn.skeleton))
    assert words_of <= {"x", "mod"} | {f"{digits}x" for digits in "123456789"}


@given(streams, st.integers(0, 100))
@settings(max_examples=6, deadline=None)
def test_a_stream_repeats_itself(stream, seed):
    assert problems(stream, seed, 20) == problems(stream, seed, 20)
    assert problems(stream, seed, 20)[:7] == problems(stream, seed, 7)
    assert problems(stream, seed, 20) != problems(stream, seed + 1, 20)


def test_levels_and_families_can_be_chosen():
    assert {problem.level for problem in problems("test", 1, 30, level=5)} == {5}
    assert {problem.family for problem in islice(endless("test", 1, family="shop"), 10)} == {"shop"}


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: problems("test", 1, 0),
        lambda: problems("test", 1, 5, level=6),
        lambda: endless("test", 1, family="poem"),
        lambda: endless("test", 1, 5, "equation"),
    ],
)
def test_wrong_wishes_are_named(wrong):
    with pytest.raises(SettingsError):
        wrong()


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Ann has 10 shells. She finds 3 more. How many shells does she have now?", "13"),
        ("  (1) Ann has 10\n shells. How many shells does she have now?", "10"),
        ("(1) Ann has 10 shells. (2) She sells 11. How many shells does she have now?", None),
        ("(1) Ann has 10 shells. (2) She finds 3 more. How many books does she have now?", None),
        ("Let a = 12 + 7. Let b = a * a. What is b?", "361"),
        ("Let a = 12 + 7. What is b?", None),
        ("Let a = 12 / 7. What is a?", None),
        ("Let a = 12 + b. What is a?", None),
        ("Let a = 12 + 7. What is a mod 0?", None),
        ("Solve 2x + 3 = 4 for x.", None),
        ("Solve 2x + 3 = 2x + 3 for x.", None),
        ("Solve x + 3 = 9 for x. What is 4x?", "24"),
        ("The pens cost 7 coins each. Tom buys 2 eggs. How many coins does he pay?", None),
        ("What is the meaning of life?", None),
        ("", None),
    ],
)
def test_the_solver_on_typed_questions(question, answer):
    assert solve(question) == answer


@given(st.text(max_size=200))
def test_the_solver_survives_any_text(text):
    assert solve(text) is None or solve(text).isdigit()


def test_an_unknown_word_is_named_and_three_examples_are_shown():
    result = readable("(1) Bob has 12 pears. How many pears does he have now?")
    assert not result.readable
    assert result.unknown == ("Bob", "pears")
    assert '"Bob", "pears"' in result.explain()
    assert all(example in result.explain() for example in result.examples)
    assert len({question.split()[0] for question in result.examples}) == 3
    assert all(solve(question) for question in result.examples)


def test_known_words_in_another_order_are_told_apart_from_a_problem():
    result = readable("How many apples does a lucky wizard have?")
    assert result.gold is None
    assert "not this kind of problem" in result.explain()


def test_a_problem_of_the_families_needs_no_explanation():
    result = readable(problems("test", 9, 1)[0].question)
    assert result.readable
    assert result.gold
    assert not result.explain()
