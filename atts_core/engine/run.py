"""The run: one pool of samples over all problems, without any barrier."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence

from atts_core import events as ev
from atts_core.bus import Bus
from atts_core.config import Settings
from atts_core.conformal.decider import Decider
from atts_core.conformal.drift import DriftMonitor
from atts_core.engine.pair import Pair
from atts_core.engine.pipeline import SamplePipeline
from atts_core.engine.requests import Context, Gate
from atts_core.engine.servers import Servers
from atts_core.engine.votes import vote
from atts_core.problems.grading import UNKNOWN, Grader
from atts_core.problems.problem import Problem
from atts_core.runs.resume import RunProgress


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong first, out of the wrapping that a task group puts around it."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class Engine:
    """Runs every sample of every problem and publishes what happens. Pausing and stopping act at once.

    As many samples are alive as all servers together can hold requests; when one ends, the next begins,
    whatever problem it belongs to. Problems begin in order, and at a full server the earlier one goes first.
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
        servers = Servers(pair, bus.publish, settings.patience)
        self._context = Context(pair, settings, bus, Gate(), servers, monitor)
        self._decider = decider
        self._problems = problems
        self._added = 0
        self._started: set[tuple[int, int]] = set()
        self._answers: list[list[str | None]] = [[None] * settings.samples for _ in problems]
        self._ended: list[set[int]] = [set() for _ in problems]
        self._failed: dict[tuple[int, int], SamplePipeline] = {}
        self._restored: dict[tuple[int, int], SamplePipeline] = {}
        self._group: asyncio.TaskGroup | None = None
        self._message = ""
        self._grader = Grader(lambda message: self._publish(ev.Warned(message=message)))
        self._ending: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    def restore(self, progress: RunProgress) -> None:
        """Go on where another engine stopped: call it before `run`, with a decider that was restored as well.

        Samples that ended are left alone, failed ones begin again at their last finished step.
        """
        self._added = len(progress.problems)
        for index, problem in enumerate(progress.problems):
            for sample in problem.samples:
                at = (index, sample.sample)
                if sample.end not in (None, "failed"):
                    self._started.add(at)
                    self._ended[index].add(sample.sample)
                    self._answers[index][sample.sample] = sample.answer
                    continue
                if sample.started and sample.end is None:
                    self._started.add(at)
                if sample.turns or sample.answered is not None:
                    self._restored[at] = pipeline = self._pipeline(*at)
                    pipeline.restore(sample)
        self._tell_monitor(progress)

    def pause(self) -> None:
        """Let requests under way finish and send no new ones."""
        if not self._context.gate.closed:
            self._context.gate.close()
            self._publish(ev.RunPaused())

    def resume(self) -> None:
        """Send requests again."""
        if self._context.gate.closed:
            self._context.gate.open()
            self._publish(ev.RunResumed())

    def stop_sample(self, problem: int, sample: int) -> None:
        """End one sample before its next request."""
        self._context.gate.stop(problem, sample)

    def retry_sample(self, problem: int, sample: int) -> None:
        """Let a failed sample go on from its last finished step; nothing where the run is over."""
        if self._group is None or (problem, sample) not in self._failed:
            return
        pipeline = self._failed.pop((problem, sample))
        self._ended[problem].discard(sample)
        self._group.create_task(self._run_sample(problem, sample, pipeline))

    async def run(self) -> ev.RunEnd:
        """Everything, until the last sample ended.

        Cancelling it closes the requests under way, publishes `RunFinished(end="interrupted")` and raises
        CancelledError; what was finished stays published.
        """
        settings = self._context.settings
        for index, problem in enumerate(self._problems[self._added :], start=self._added):
            self._publish(
                ev.ProblemAdded(
                    problem=index,
                    id=problem.id,
                    question=problem.question,
                    gold=problem.gold,
                    family=problem.family,
                    grading=problem.grading,
                    repeats=problem.repeats,
                )
            )
        every = ((i, k) for i in range(len(self._problems)) for k in range(settings.samples))
        work = [at for at in every if at[1] not in self._ended[at[0]]]
        pair = self._context.pair
        alive = min(len(work), pair.draft.limiter.total + pair.target.limiter.total)
        left = iter(work)
        try:
            async with asyncio.TaskGroup() as self._group:
                for _ in range(alive):
                    self._group.create_task(self._work(left))
        except asyncio.CancelledError:
            self._publish(ev.RunFinished(end="interrupted"))
            raise
        except BaseExceptionGroup as group:
            error = first_error(group)
            self._publish(ev.RunFinished(end="failed", message=str(error)))
            raise error from None
        finally:
            self._group = None
            self._grader.close()
            await self._context.servers.close()
        end = self._end()
        self._publish(ev.RunFinished(end=end, message=self._message if end != "done" else ""))
        return end

    async def _work(self, work: Iterator[tuple[int, int]]) -> None:
        for problem, sample in work:
            pipeline = self._restored.pop((problem, sample), None) or self._pipeline(problem, sample)
            await self._run_sample(problem, sample, pipeline)

    async def _run_sample(self, problem: int, sample: int, pipeline: SamplePipeline) -> None:
        if (problem, sample) not in self._started:
            self._started.add((problem, sample))
            self._publish(ev.SampleStarted(problem=problem, sample=sample))
        end, answer, message = await pipeline.run()
        for side in (self._context.pair.draft, self._context.pair.target):
            side.limiter.forget((problem, sample))
        assert self._group is not None  # noqa: S101  # samples run in it
        # Grading may have to calculate: the next sample does not wait for it.
        self._group.create_task(self._sample_ended(pipeline, problem, sample, end, answer, message))

    def _pipeline(self, problem: int, sample: int) -> SamplePipeline:
        spec = self._problems[problem]
        return SamplePipeline(self._context, self._decider, problem, spec.id, spec.question, sample)

    async def _sample_ended(
        self,
        pipeline: SamplePipeline,
        index: int,
        sample: int,
        end: ev.SampleEnd,
        answer: str | None,
        message: str,
    ) -> None:
        """One sample's end, the vote it changes and the end of its problem, published together.

        Ends of one problem are told in the order in which they came, however long grading takes.
        """
        problem = self._problems[index]
        async with self._ending[index]:
            graded = UNKNOWN
            if end not in ("failed", "stopped"):
                graded = await self._grader.grade(answer, problem.gold, problem.grading)
            answers, ended = [*self._answers[index]], self._ended[index] | {sample}
            answers[sample] = answer
            outcome = vote(answers)
            whole = len(ended) == self._context.settings.samples
            won = (
                await self._grader.grade(outcome.winner, problem.gold, problem.grading) if whole else UNKNOWN
            )
            if end == "failed":
                self._failed[index, sample] = pipeline
                self._started.discard((index, sample))
                self._message = message
            self._answers[index], self._ended[index] = answers, ended
            self._publish(
                ev.SampleFinished(
                    problem=index,
                    sample=sample,
                    end=end,
                    answer=answer,
                    correct=graded.correct,
                    graded=graded.how,
                    message=message,
                )
            )
            self._publish(
                ev.VoteChanged(
                    problem=index,
                    tally=outcome.tally,
                    voted=sum(count for _, count in outcome.tally),
                    ended=len(ended),
                )
            )
            if whole:
                self._publish(
                    ev.ProblemFinished(
                        problem=index, answer=outcome.winner, tied=outcome.tied, correct=won.correct
                    )
                )

    def _tell_monitor(self, progress: RunProgress) -> None:
        monitor = self._context.monitor
        if monitor is None:
            return
        for verdict in progress.verdicts:
            monitor.update(self._problems[verdict.problem].id, verdict.sample, verdict.turn, verdict.ppl)
        for index, problem in enumerate(progress.problems):
            for sample in problem.samples:
                if sample.end is not None and not (sample.turns and sample.turns[0].verdict):
                    monitor.missing(self._problems[index].id, sample.sample)

    def _end(self) -> ev.RunEnd:
        if not self._failed:
            return "done"
        total = len(self._problems) * self._context.settings.samples
        return "failed" if len(self._failed) == total else "incomplete"

    def _publish(self, event: ev.AnyEvent) -> None:
        self._context.bus.publish(event)
