"""Grading: by spelling, by calculation in a process that may die, by the letter of a choice."""

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from atts_core.problems.grading import Graded, Grader, by_spelling, letter
from atts_core.problems.mathematics import Mathematics


@pytest.fixture(scope="module")
def mathematics() -> Iterator[Mathematics]:
    with contextlib.closing(Mathematics()) as made:
        yield made


@pytest.mark.parametrize(
    ("answer", "gold", "right"),
    [("7", "07", True), (None, "7", False), ("7", None, None), ("8", "7", False), (r"\frac12", "0.5", True)],
)
def test_by_spelling(answer: str | None, gold: str | None, right: bool | None) -> None:
    assert by_spelling(answer, gold) is right


@pytest.mark.parametrize(
    ("gold", "answer", "equality"),
    [
        (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}", "equal"),
        ("2k+2", "2(k+1)", "equal"),
        ("28800", r"2 \cdot 5! \cdot 5!", "equal"),
        ("10", "8 + 2 = 10", "equal"),
        ("8", "8 + 2 = 10", "different"),
        ("-2,1", "x=1, x=-2", "equal"),
        ("(1,2)", "(2,1)", "different"),
        (r"\frac13", "0.333333", "equal"),
        (r"\frac13", "0.333", "different"),
        (".0000672", "0.000067", "different"),  # agrees to six decimals, and not at all
        ("0.5", r"50\%", "equal"),
        ("7", r"\text{no idea}", "different"),
        ("7", "\x00", "different"),
        ("7", "__import__('os').abort()", "different"),
    ],
)
def test_calculation(mathematics: Mathematics, gold: str, answer: str, equality: str) -> None:
    assert mathematics.compare(gold, answer) == equality


@pytest.mark.parametrize(
    "hostile",
    [
        "9^{9^{9^{9^9}}}",
        "5000!",
        "10^{100000}!",
        r"\binom{10^{9}}{5\cdot 10^8}",
        "(x+1)^{2000}",
        "x" * 100_000,
        "{" * 390,
        r"\frac{" * 10_000,
    ],
)
def test_what_is_too_large_is_not_calculated(mathematics: Mathematics, hostile: str) -> None:
    restarts = mathematics.restarts
    assert mathematics.compare("5", hostile) == "unknown"
    assert mathematics.compare(hostile, "5") == "unknown"
    assert mathematics.restarts == restarts  # decided by size, not by a clock


def test_a_process_that_dies_is_started_again(mathematics: Mathematics) -> None:
    assert mathematics.compare("4", "2^2") == "equal"
    process = mathematics._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert mathematics.compare("4", "2^2") == "equal"
    assert not mathematics.trouble


def test_processor_time_ends_what_does_not_end() -> None:
    code = (
        "import atts_core.problems.math_worker as w; w.SECONDS = 0; w._allow_seconds(); "
        "pow(7, 10**9) if True else 0"  # one C function that no Python handler could leave
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGXCPU


def test_it_calculates_beside_thousands_of_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    if most < 1200:
        pytest.skip("this system allows too few open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    with contextlib.ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(1100):
            stack.callback(os.close, os.dup(0))
        mathematics = stack.enter_context(contextlib.closing(Mathematics()))
        assert mathematics.compare("2k+2", "2(k+1)") == "equal"


def test_no_process_is_said_once_and_spelling_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    said: list[str] = []
    with contextlib.closing(Grader(said.append)) as grader:
        assert grader.grade_now("2(k+1)", "2k+2", "math") == Graded(correct=False, how="fallback")
        assert grader.grade_now("k+k", "2k", "math").how == "fallback"
        assert grader.grade_now("0.50", r"\frac{1}{2}", "math") == Graded(correct=True, how="spelling")
    assert len(said) == 1
    assert "no process for it could be started" in said[0]


async def test_grading_leaves_the_loop_free_and_asks_once() -> None:
    with contextlib.closing(Grader()) as grader:
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                beats += 1
                await asyncio.sleep(0)

        heart = asyncio.create_task(beat())
        graded = await asyncio.gather(*(grader.grade("2(k+1)", "2k+2", "math") for _ in range(20)))
        heart.cancel()
        assert set(graded) == {Graded(correct=True, how="math")}
        assert beats > 100  # starting the process alone takes half a second
        assert len(grader._known) == 1
        assert await grader.grade("x", "y", "exact") == Graded(correct=False, how="spelling")
        assert await grader.grade("x", None, "math") == Graded(correct=None, how="")
        assert await grader.grade(None, "1", "choice") == Graded(correct=False, how="spelling")


@pytest.mark.parametrize(
    ("answer", "choice"),
    [
        ("B", "B"), ("(b)", "B"), (r"\text{B. Because it is.}", "B"), ("Option C", "C"), ("**D**", "D"),
        ("The correct answer is (A)", "A"), ("B) 5 m/s", "B"), ("A dog", "Adog"), ("bee", "bee"),
    ],
)  # fmt: skip
def test_letter_of_a_choice(answer: str, choice: str) -> None:
    assert letter(answer) == choice


def test_choices_are_graded_by_letter() -> None:
    with contextlib.closing(Grader()) as grader:
        assert grader.grade_now("(C)", "C", "choice") == Graded(correct=True, how="choice")
        assert grader.grade_now("C or D", "C", "choice").correct is False
