"""How samples and problems end: answers graded, votes counted, and samples that no vote needs any more."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence

from atts_core import events as ev
from atts_core.config import Settings
from atts_core.engine.decided import Decided
from atts_core.engine.votes import vote
from atts_core.problems.grading import UNKNOWN, Grader
from atts_core.problems.problem import Problem


class Ends:
    """Tells of ends, those of one problem in the order in which they came, however long grading takes."""

    def __init__(
        self, publish: Callable[[ev.AnyEvent], object], problems: Sequence[Problem], settings: Settings
    ) -> None:
        self._publish = publish
        self._problems = problems
        self._settings = settings
        self._answers: list[list[str | None]] = [[None] * settings.samples for _ in problems]
        self._ended: list[set[int]] = [set() for _ in problems]
        self._watched: dict[int, Decided] = {}
        self._grader = Grader(lambda message: publish(ev.Warned(message=message)))
        self._ending: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.decided: set[int] = set()
        """Problems whose vote is decided."""

    def left(self, problem: int) -> list[int]:
        """Samples of a problem that have not ended."""
        return [k for k in range(self._settings.samples) if k not in self._ended[problem]]

    def restore(self, problem: int, sample: int, end: ev.SampleEnd, answer: str | None) -> None:
        """A sample ended in an engine before this one."""
        self._ended[problem].add(sample)
        self._answers[problem][sample] = answer
        if self._decides(problem, sample, end, answer):
            self.decided.add(problem)

    def again(self, problem: int, sample: int) -> None:
        """A failed sample goes on."""
        self._ended[problem].discard(sample)

    async def tell(
        self, index: int, sample: int, end: ev.SampleEnd, answer: str | None, message: str
    ) -> list[int]:
        """One sample's end, the vote it changes and the end of its problem, published together.

        Gives the other samples that ended with it, because the vote is decided without them.
        """
        problem = self._problems[index]
        async with self._ending[index]:
            if sample in self._ended[index]:
                return []  # decided while it waited for its turn to be told
            graded = UNKNOWN
            if end not in ("failed", "stopped"):
                graded = await self._grader.grade(answer, problem.gold, problem.grading)
            answers = [*self._answers[index]]
            answers[sample] = answer
            decided = self._decides(index, sample, end, answer)
            others = [other for other in self.left(index) if other != sample] if decided else []
            whole = decided or len(self._ended[index]) + 1 == self._settings.samples
            won = await self._won(index, answers) if whole else None
            if decided:
                self.decided.add(index)
            self._answers[index] = answers
            finished = ev.SampleFinished(
                problem=index,
                sample=sample,
                end=end,
                answer=answer,
                correct=graded.correct,
                graded=graded.how,
                message=message,
            )
            self._publish(finished)
            self._ended[index].add(sample)
            self._count(index)
            self._end_without(index, others)
            if won is not None:
                self._publish(won)
            return others

    async def finish_decided(self) -> None:
        """End what an engine that stopped in the middle of it had left."""
        for index in sorted(self.decided):
            others = self.left(index)
            if others:
                won = await self._won(index, self._answers[index])
                self._end_without(index, others)
                self._publish(won)

    def close(self) -> None:
        """Let go of what grading holds."""
        self._grader.close()

    def _decides(self, problem: int, sample: int, end: ev.SampleEnd, answer: str | None) -> bool:
        """Whether the vote is decided with this end, and was not before; False where nobody asks."""
        settings = self._settings
        if settings.stop_when_decided is None or end in ("decided", "failed") or problem in self.decided:
            return False
        watch = self._watched.setdefault(problem, Decided(settings.samples, settings.stop_when_decided))
        return watch.ends(sample, answer)

    def _end_without(self, problem: int, samples: Sequence[int]) -> None:
        """These are not needed any more."""
        for sample in samples:
            self._publish(ev.SampleFinished(problem=problem, sample=sample, end="decided"))
            self._ended[problem].add(sample)
        if samples:
            self._count(problem)

    def _count(self, problem: int) -> None:
        tally = vote(self._answers[problem]).tally
        self._publish(
            ev.VoteChanged(
                problem=problem,
                tally=tally,
                voted=sum(count for _, count in tally),
                ended=len(self._ended[problem]),
            )
        )

    async def _won(self, index: int, answers: Sequence[str | None]) -> ev.ProblemFinished:
        """The problem's end with these answers."""
        problem, outcome = self._problems[index], vote(answers)
        graded = await self._grader.grade(outcome.winner, problem.gold, problem.grading)
        return ev.ProblemFinished(
            problem=index, answer=outcome.winner, tied=outcome.tied, correct=graded.correct
        )
