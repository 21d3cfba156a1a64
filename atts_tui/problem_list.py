"""Which problems the Run screen lists, in what order: sorted and filtered once a second, not each frame."""

from collections.abc import Callable
from typing import Literal, get_args

from atts_core.state import ProblemState, RunState

ProblemOrder = Literal[
    "newest first", "number", "needs a look first", "accepted least", "target wrote most", "tokens", "time"
]
PROBLEM_ORDERS: tuple[ProblemOrder, ...] = get_args(ProblemOrder)

FRAMES_BETWEEN = 3
"""Unhurried frames for which a list of many problems stays as it is: about a second."""
MANY = 500

STATES: dict[str, Callable[[RunState, ProblemState], bool]] = {
    "running": lambda state, problem: problem.index in state.overview.running,
    "waiting": lambda _, problem: problem.started_at is None,
    "finished": lambda _, problem: problem.finished,
    "right": lambda _, problem: problem.correct is True,
    "wrong": lambda _, problem: problem.correct is False,
    "look": lambda state, problem: problem.index in state.overview.looks,
    "failed": lambda _, problem: problem.failed > 0,
    "undecided": lambda state, problem: state.overview.looks.get(problem.index) == "undecided",
    "slow": lambda state, problem: state.overview.looks.get(problem.index) == "slow",
}
"""Words of a filter that mean a state; any other is looked for in number, name, question and answers."""
FILTER_WORDS = "running, failed, wrong, look, undecided, slow, or any text"


class ProblemList:
    """The order of the problems for one screen."""

    def __init__(self) -> None:
        self.sort: ProblemOrder = "newest first"
        self.wanted = ""
        self.rows: list[int] = []
        """Indices of the problems that pass, from top to bottom."""
        self._made_of: tuple[object, ...] = ()
        self._asked: tuple[object, ...] = ()
        self._age = 0

    def next_sort(self) -> ProblemOrder:
        """Change to the next order."""
        self.sort = PROBLEM_ORDERS[(PROBLEM_ORDERS.index(self.sort) + 1) % len(PROBLEM_ORDERS)]
        return self.sort

    def update(self, state: RunState, epoch: int) -> bool:
        """Bring the order up to date, of many problems not each time; whether it was made anew."""
        asked = (self.sort, self.wanted, epoch)
        overview, moving = state.overview, self.sort not in ("number", "newest first")
        made_of = (
            len(state.problems), overview.finished, tuple(overview.running), len(overview.looks),
            state.samples_failed, state.seq if moving else 0,
        )  # fmt: skip
        self._age += 1
        if asked == self._asked:
            if made_of == self._made_of:
                return False
            if len(state.problems) > MANY and self._age < FRAMES_BETWEEN:
                return False
        self._asked, self._made_of, self._age = asked, made_of, 0
        self.rows = self._sorted(state, self._passing(state))
        return True

    def _passing(self, state: RunState) -> list[ProblemState]:
        words = self.wanted.casefold().split()
        tests = [STATES[word] for word in words if word in STATES]
        texts = [word for word in words if word not in STATES]
        return [
            problem
            for problem in state.problems
            if all(test(state, problem) for test in tests)
            and all(word in _searched(problem) for word in texts)
        ]

    def _sorted(self, state: RunState, problems: list[ProblemState]) -> list[int]:
        looks = state.overview.looks
        match self.sort:
            case "newest first":
                problems.sort(key=_by_age)
            case "needs a look first":
                places = {index: place for place, index in enumerate(looks)}
                problems.sort(key=lambda problem: (-places.get(problem.index, -1), *_by_age(problem)))
            case "accepted least":
                problems.sort(key=lambda problem: _or_last(problem.accept_share))
            case "target wrote most":
                problems.sort(key=lambda problem: -_or_last(problem.target_share, -1.0))
            case "tokens":
                problems.sort(key=lambda problem: -problem.tokens)
            case "time":
                problems.sort(key=lambda problem: -elapsed(state, problem))
        return [problem.index for problem in problems]


def elapsed(state: RunState, problem: ProblemState) -> float:
    """Seconds that a problem took, or takes so far."""
    if problem.started_at is None:
        return 0.0
    end = problem.finished_at if problem.finished_at is not None else state.now
    return end - problem.started_at


def _by_age(problem: ProblemState) -> tuple[int, float]:
    """Running ones, the newest first; then finished ones, the newest first; then those that wait."""
    if problem.started_at is None:
        return (2, problem.index)
    if problem.finished:
        return (1, -(problem.finished_at or 0.0))
    return (0, -problem.started_at)


def _or_last(value: float | None, last: float = 2.0) -> float:
    return last if value is None else value


def _searched(problem: ProblemState) -> str:
    parts = (f"#{problem.index + 1}", problem.id, problem.question, problem.answer, problem.gold)
    return "\n".join(part for part in parts if part).casefold()
