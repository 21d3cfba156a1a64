"""The run: one pool of samples over all problems, without any barrier."""

import asyncio
from collections.abc import Iterator, Sequence

from atts_core import events as ev
from atts_core.bus import Bus
from atts_core.config import Settings
from atts_core.conformal.decider import Decider
from atts_core.conformal.drift import DriftMonitor
from atts_core.engine.pair import Pair
from atts_core.engine.pipeline import Context, Gate, SamplePipeline
from atts_core.engine.votes import vote
from atts_core.problems.grading import grade
from atts_core.problems.problem import Problem


class Engine:
    """Runs every sample of every problem and publishes what happens. Pausing and stopping act at once.

    As many samples are alive as both servers can hold requests; when one ends, the next begins, whatever
    problem it belongs to. Problems begin in order, and at a full server the earlier one goes first.
    """

    def __init__(
        self,
        pair: Pair,
        settings: Settings,
        decider: Decider,
        bus: Bus,
        problems: Sequence[Problem],
        monitor: DriftMonitor | None = None,
    ) -> None:
        self._context = Context(pair, settings, bus, Gate(), monitor)
        self._decider = decider
        self._problems = problems
        self._answers: list[list[str | None]] = [[None] * settings.samples for _ in problems]
        self._ended = [0] * len(problems)
        self._failed = 0
        self._message = ""

    def pause(self) -> None:
        """Let requests under way finish and send no new ones."""
        if self._context.gate.open.is_set():
            self._context.gate.open.clear()
            self._publish(ev.RunPaused())

    def resume(self) -> None:
        """Send requests again."""
        if not self._context.gate.open.is_set():
            self._context.gate.open.set()
            self._publish(ev.RunResumed())

    @property
    def paused(self) -> bool:
        return not self._context.gate.open.is_set()

    def stop_sample(self, problem: int, sample: int) -> None:
        """End one sample before its next request."""
        self._context.gate.stopped.add((problem, sample))

    async def run(self) -> ev.RunEnd:
        """Everything, until the last sample ended.

        Cancelling it closes the requests under way, publishes `RunFinished(end="interrupted")` and raises
        CancelledError; what was finished stays published.
        """
        settings = self._context.settings
        for index, problem in enumerate(self._problems):
            self._publish(
                ev.ProblemAdded(
                    problem=index,
                    id=problem.id,
                    question=problem.question,
                    gold=problem.gold,
                    family=problem.family,
                )
            )
        work = iter([(i, k) for i in range(len(self._problems)) for k in range(settings.samples)])
        alive = min(
            len(self._problems) * settings.samples, settings.draft_concurrency + settings.target_concurrency
        )
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(alive):
                    group.create_task(self._work(work))
        except asyncio.CancelledError:
            self._publish(ev.RunFinished(end="interrupted"))
            raise
        end = self._end()
        self._publish(ev.RunFinished(end=end, message=self._message if end != "done" else ""))
        return end

    async def _work(self, work: Iterator[tuple[int, int]]) -> None:
        for problem, sample in work:
            await self._context.gate.open.wait()
            self._publish(ev.SampleStarted(problem=problem, sample=sample))
            spec = self._problems[problem]
            pipeline = SamplePipeline(self._context, self._decider, problem, spec.id, spec.question, sample)
            end, answer, message = await pipeline.run()
            self._sample_ended(problem, sample, end, answer, message)

    def _sample_ended(
        self, index: int, sample: int, end: ev.SampleEnd, answer: str | None, message: str
    ) -> None:
        problem = self._problems[index]
        failed = end == "failed"
        self._publish(
            ev.SampleFinished(
                problem=index,
                sample=sample,
                end=end,
                answer=answer,
                correct=None if failed or end == "stopped" else grade(answer, problem.gold),
                message=message,
            )
        )
        if failed:
            self._failed += 1
            self._message = message
        self._answers[index][sample] = answer
        self._ended[index] += 1
        outcome = vote(self._answers[index])
        self._publish(
            ev.VoteChanged(
                problem=index,
                tally=outcome.tally,
                voted=sum(count for _, count in outcome.tally),
                ended=self._ended[index],
            )
        )
        if self._ended[index] == self._context.settings.samples:
            self._publish(
                ev.ProblemFinished(
                    problem=index,
                    answer=outcome.winner,
                    tied=outcome.tied,
                    correct=grade(outcome.winner, problem.gold),
                )
            )

    def _end(self) -> ev.RunEnd:
        total = len(self._problems) * self._context.settings.samples
        if self._failed == 0:
            return "done"
        return "failed" if self._failed == total else "incomplete"

    def _publish(self, event: ev.AnyEvent) -> None:
        self._context.bus.publish(event)
