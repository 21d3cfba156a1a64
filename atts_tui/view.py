"""What a person looks at: which problem and sample, in which order, following or not. Holds no screen.

Every widget is given one `View` a frame and reads the state through it.
"""

from dataclasses import dataclass, field
from typing import Literal, get_args

from atts_core.reports.compare import Named
from atts_core.runs.details import Details
from atts_core.runs.player import Player
from atts_core.state import ProblemState, RunState, SampleState
from atts_tui.narrator import Narrator
from atts_tui.palette import Glyphs, Palette
from atts_tui.words import run_word

SortOrder = Literal["number", "running first", "surprise", "tokens", "answer"]
SORT_ORDERS: tuple[SortOrder, ...] = get_args(SortOrder)

FOLLOW_HOLD = 3.0
"""Run seconds for which a followed sample stays on screen: long enough to read a step."""

MANY_SAMPLES = 64

LINGER = 3.0
"""Run seconds for which a finished problem stays on screen before the view follows to the next."""

RESORT_EVERY = 1.0
"""Run seconds between two sortings by values that move."""


@dataclass(slots=True)
class View:
    """The state and what of it is looked at."""

    state: RunState
    palette: Palette
    glyphs: Glyphs
    title: str = ""
    problem_index: int = 0
    sample_index: int = 0
    follow: bool = True
    sort: SortOrder = "number"
    frozen: bool = False
    waiting: int = 0
    """Events that came and are not shown, while frozen."""
    unhurried: bool = True
    """Whether this frame also draws what needs not be drawn each frame: counts, rates, charts."""
    notice: str = ""
    """What is being prepared, before the run begins."""
    life: str = ""
    """`gone` or `stalled` where this screen watches a run whose engine is; else empty."""
    player: Player | None = None
    """The transport, where a recorded run is replayed."""
    log_read: int = 0
    """Sequence number of the newest line of the log that was seen."""
    narrator: Narrator | None = None
    """Where the run is told to an audience: what is being said."""
    epoch: int = 0
    """Counts the jumps of a replay: what was drawn of another one may lie in the future."""
    beside: tuple[Named, Named] | None = None
    """Two runs that are compared, the first of them that of `state`."""
    details: Details | None = None
    """Where the turns and texts of a problem come from that the state has put away."""
    condense: bool | None = None
    """Whether samples have a cell each instead of a row; None: where there are more than `MANY_SAMPLES`."""
    chart_of: Literal["p", "ppl"] = "p"
    """What the chart of decisions shows."""
    raw: bool = False
    """Whether texts are shown as the models wrote them, LaTeX and all."""
    _whole: ProblemState | None = field(default=None)
    """The problem last read back."""
    _followed_at: float | None = field(default=None)
    _order: list[int] = field(default_factory=list)
    _ordered: tuple[int, str, int, float] | None = field(default=None)

    @property
    def problem(self) -> ProblemState | None:
        """The problem looked at with all that is known of it, None before the first."""
        problems = self.state.problems
        if self.problem_index >= len(problems):
            return None
        problem = problems[self.problem_index]
        if not problem.put_away or self.details is None:
            return problem
        whole = self._whole
        if whole is None or (whole.index, whole.touched) != (problem.index, problem.touched):
            self._whole = whole = self.details(self.state, problem.index) or problem
        return whole

    @property
    def condensed(self) -> bool:
        """Whether the samples of this problem have a cell each."""
        if self.condense is not None:
            return self.condense
        problem = self.problem
        return problem is not None and len(problem.samples) > MANY_SAMPLES

    @property
    def sample(self) -> SampleState | None:
        """The sample looked at."""
        problem = self.problem
        if problem is None or self.sample_index >= len(problem.samples):
            return None
        return problem.samples[self.sample_index]

    @property
    def badge(self) -> str:
        """What the screen shows in one word: a replay, a run whose engine is gone, or the run's own state."""
        if self.player is not None:
            return "REPLAY"
        if self.life and self.state.finished is None:
            return self.life.upper()
        return run_word(self.state)

    def restart(self, state: RunState, epoch: int) -> None:
        """A replay has jumped: look at the same place of another moment."""
        self.state, self.epoch = state, epoch
        self._followed_at = self._ordered = self._whole = None
        self.problem_index = min(self.problem_index, max(len(state.problems) - 1, 0))

    def advance(self) -> None:
        """Follow, where following is on: to the newest take-over, and on from a finished problem. Where a run
        is told, look at what is being told of."""
        narrator = self.narrator
        if narrator is not None and narrator.holding and narrator.caption is not None:
            if narrator.caption.sample is not None:
                self.problem_index, self.sample_index = 0, narrator.caption.sample
            return
        if not self.follow:
            return
        state, problem = self.state, self.problem
        if problem is None:
            return
        if problem.finished:
            if state.now - (problem.finished_at or 0.0) >= LINGER:
                self._follow_to_unfinished()
            return
        if self._followed_at is not None and state.now - self._followed_at < FOLLOW_HOLD:
            return
        newest = self._newest_take_over()
        if newest is not None and newest != self.sample_index:
            self.sample_index = newest
            self._followed_at = state.now

    def _follow_to_unfinished(self) -> None:
        for index in self.state.overview.running:
            self.problem_index, self.sample_index = index, 0
            self._followed_at = None
            return

    def _newest_take_over(self) -> int | None:
        for decision in reversed(self.state.decisions):
            verdict = decision.verdict
            if verdict.problem == self.problem_index and verdict.verdict != "accept":
                return verdict.sample
        return None

    def select(self, sample: int) -> None:
        """Look at a sample, and stop following."""
        problem = self.problem
        if problem is not None and 0 <= sample < len(problem.samples):
            self.sample_index, self.follow = sample, False

    def look_at(self, problem: int, sample: int | None = None) -> None:
        """Look at a problem, and at one of its samples where it is given; stops following."""
        if 0 <= problem < len(self.state.problems):
            self.problem_index, self.follow = problem, False
            self.sample_index = 0
            if sample is not None:
                self.select(sample)

    def move(self, rows: int) -> None:
        """Select the sample `rows` below the selected one in the order shown; stops at the ends."""
        order = self.order()
        if order:
            place = order.index(self.sample_index) if self.sample_index in order else 0
            self.select(order[min(max(place + rows, 0), len(order) - 1)])

    def move_problem(self, step: int) -> bool:
        """Look at the next problem (or an earlier one); says whether there was one."""
        wanted = self.problem_index + step
        if not 0 <= wanted < len(self.state.problems):
            return False
        self.problem_index, self.sample_index, self.follow = wanted, 0, False
        return True

    def toggle_follow(self) -> None:
        """Follow the newest take-over, from now on or no longer."""
        self.follow = not self.follow
        self._followed_at = None

    def next_sort(self) -> SortOrder:
        """Change to the next order."""
        self.sort = SORT_ORDERS[(SORT_ORDERS.index(self.sort) + 1) % len(SORT_ORDERS)]
        self._ordered = None
        return self.sort

    def order(self) -> list[int]:
        """Indices of the samples from top to bottom; moving values are sorted at most once a second."""
        problem = self.problem
        if problem is None:
            return []
        count = len(problem.samples)
        slot = 0.0 if self.sort == "number" else self.state.now // RESORT_EVERY
        finished = problem.finished and self.sort != "number"
        stamp = (problem.index, self.sort, count, slot if not finished else -1.0)
        if stamp != self._ordered:
            self._ordered = stamp
            self._order = sorted(range(count), key=lambda index: self._rank(problem.samples[index]))
        return self._order

    def _rank(self, sample: SampleState) -> tuple[float, str, int]:
        number, word = 0.0, ""
        match self.sort:
            case "running first":
                number = 0.0 if sample.end is None and sample.started_at is not None else 1.0
            case "surprise":
                verdict = sample.last_verdict
                number = -(verdict.p if verdict is not None and verdict.p is not None else -1.0)
            case "tokens":
                number = -float(sample.draft_tokens + sample.target_tokens)
            case "answer":
                number, word = (1.0, "") if sample.answer is None else (0.0, sample.answer)
        return number, word, sample.index
