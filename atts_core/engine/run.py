"""The run: one pool of samples over all problems, without any barrier that a strategy does not want."""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence

from atts_core import events as ev
from atts_core.bus import Bus
from atts_core.config import Settings
from atts_core.conformal.decider import Decider
from atts_core.conformal.drift import DriftMonitor
from atts_core.engine.ends import Ends
from atts_core.engine.pair import Pair
from atts_core.engine.requests import Context, Gate, SampleStoppedError
from atts_core.engine.sample import Sample
from atts_core.engine.servers import Servers
from atts_core.engine.strategies.registry import STRATEGIES
from atts_core.engine.strategies.strategy import make
from atts_core.problems.problem import Problem
from atts_core.runs.resume import RunProgress
from atts_core.serving.errors import ContextFull, ServerError

Ended = tuple[ev.SampleEnd, str | None, str]
"""How a sample ended, its answer, and a message where it failed."""


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong first, out of the wrapping that a task group puts around it."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class Engine:
    """Runs every sample of every problem and publishes what happens.

    As many samples are alive as all servers together can hold requests; when one ends, the next begins,
    whatever problem it belongs to. Problems begin in order, and at a full server the earlier one goes first.
    Where the strategy needs all samples of a problem at once, or the settings allow only so many problems at
    a time, the next problem begins when one is over.
    """

    def __init__(
        self,
        pair: Pair,
        settings: Settings,
        decider: Decider | None,
        bus: Bus,
        problems: Sequence[Problem],
        monitor: DriftMonitor | None,
        gate: Gate,
    ) -> None:
        """`decider` is None where the strategy ranks nothing. Closing `gate` pauses the run."""
        self.gate = gate
        servers = Servers(pair, bus.publish, settings.patience)
        self._context = Context(pair, settings, bus, gate, servers, decider, monitor)
        self._strategy = make(self._context)
        self._problems = problems
        self._added = 0
        self._started: set[tuple[int, int]] = set()
        self._ends = Ends(bus.publish, problems, settings)
        self._failed: dict[tuple[int, int], Sample] = {}
        self._restored: dict[tuple[int, int], Sample] = {}
        self._alive: dict[tuple[int, int], asyncio.Task[Ended]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._message = ""

    def restore(self, progress: RunProgress) -> None:
        """Go on where another engine stopped: call it before `run`, with a decider that was restored as well.

        Samples that ended are left alone, failed ones begin again at their last finished step.
        """
        self._added = len(progress.problems)
        self._strategy.restore(progress)
        for index, problem in enumerate(progress.problems):
            for sample in problem.samples:
                at = (index, sample.sample)
                if sample.end is not None and sample.end != "failed":
                    self._started.add(at)
                    self._ends.restore(index, sample.sample, sample.end, sample.answer)
                    continue
                if sample.started and sample.end is None:
                    self._started.add(at)
                if sample.parts or sample.answered is not None:
                    self._restored[at] = made = self._sample(*at)
                    made.restore(sample)
        self._tell_monitor(progress)

    def stop_sample(self, problem: int, sample: int) -> None:
        """End one sample before its next request."""
        self.gate.stop(problem, sample)

    def retry_sample(self, problem: int, sample: int) -> None:
        """Let a failed sample go on from its last finished step; nothing where the run is over."""
        over = self._group is None or problem in self._ends.decided
        if over or (problem, sample) not in self._failed:
            return
        assert self._group is not None  # noqa: S101  # it is not over
        made = self._failed.pop((problem, sample))
        self._ends.again(problem, sample)
        self._strategy.joins(made)
        self._group.create_task(self._run_sample(made))

    async def run(self) -> ev.RunEnd:
        """Everything, until the last sample ended.

        Cancelling it closes the requests under way, publishes `RunFinished(end="interrupted")` and raises
        CancelledError; what was finished stays published.
        """
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
        try:
            await self._ends.finish_decided()
            async with asyncio.TaskGroup() as self._group:
                for worker in self._workers():
                    self._group.create_task(worker)
        except asyncio.CancelledError:
            self._publish(ev.RunFinished(end="interrupted"))
            raise
        except BaseExceptionGroup as group:
            error = first_error(group)
            self._publish(ev.RunFinished(end="failed", message=str(error)))
            raise error from None
        finally:
            self._group = None
            self._ends.close()
            await self._context.servers.close()
        end = self._end()
        self._publish(ev.RunFinished(end=end, message=self._message if end != "done" else ""))
        return end

    def _workers(self) -> Iterator[Coroutine[None, None, None]]:
        """What runs side by side: workers that each do one sample, or one problem, after another."""
        settings = self._context.settings
        whole = STRATEGIES[settings.strategy].whole_problems
        at_once = settings.at_once or (1 if whole else 0)
        if at_once:
            problems = (index for index in range(len(self._problems)) if self._left(index))
            count = min(at_once, len(self._problems))
            return (self._work_on_problems(problems) for _ in range(count))
        samples = (at for index in range(len(self._problems)) for at in self._left(index))
        places = sum(side.limiter.total for side in self._context.pair.sides)
        count = min(sum(len(self._left(index)) for index in range(len(self._problems))), places)
        return (self._work(samples) for _ in range(count))

    def _left(self, problem: int) -> list[tuple[int, int]]:
        return [(problem, sample) for sample in self._ends.left(problem)]

    async def _work(self, samples: Iterator[tuple[int, int]]) -> None:
        for at in samples:
            if at[1] in self._ends.left(at[0]):  # its problem may be decided by now
                sample = self._take(*at)
                self._strategy.joins(sample)
                await self._run_sample(sample)

    async def _work_on_problems(self, problems: Iterator[int]) -> None:
        for index in problems:
            samples = [self._take(*at) for at in self._left(index)]
            for sample in samples:
                self._strategy.joins(sample)
            async with asyncio.TaskGroup() as group:
                for sample in samples:
                    group.create_task(self._run_sample(sample))

    async def _run_sample(self, sample: Sample) -> None:
        at = (sample.problem, sample.sample)
        if sample.problem in self._ends.decided:  # before it began
            self._strategy.leaves(sample)
            return
        if at not in self._started:
            self._started.add(at)
            self._publish(ev.SampleStarted(problem=sample.problem, sample=sample.sample))
        task = self._alive[at] = asyncio.ensure_future(self._turns(sample))
        try:
            end, answer, message = await task
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if sample.problem in self._ends.decided and not (me and me.cancelling()):
                return  # it was told of with the end that decided
            raise
        finally:
            del self._alive[at]
            self._strategy.leaves(sample)
            for side in self._context.pair.sides:
                side.limiter.forget(at)
        assert self._group is not None  # noqa: S101  # samples run in it
        # Grading may have to calculate: the next sample does not wait for it.
        self._group.create_task(self._sample_ended(sample, end, answer, message))

    async def _sample_ended(
        self, sample: Sample, end: ev.SampleEnd, answer: str | None, message: str
    ) -> None:
        others = await self._ends.tell(sample.problem, sample.sample, end, answer, message)
        for other in others:
            task = self._alive.get((sample.problem, other))
            if task is not None:
                task.cancel()
        if end == "failed":
            self._failed[sample.problem, sample.sample] = sample
            self._started.discard((sample.problem, sample.sample))
            self._message = message

    async def _turns(self, sample: Sample) -> Ended:
        """Turns until the sample ends."""
        end: ev.SampleEnd | None = None
        message = ""
        sample.begin()
        try:
            while end is None and sample.turn < self._context.settings.turns:
                end = await self._strategy.turn(sample)
                sample.turn += end is None
        except ContextFull:
            end = "context-limit"
        except SampleStoppedError:
            end = "stopped"
        except ServerError as error:
            end, message = "failed", str(error)
        sample.over()
        return end or "turn-limit", sample.answer, message

    def _take(self, problem: int, sample: int) -> Sample:
        return self._restored.pop((problem, sample), None) or self._sample(problem, sample)

    def _sample(self, problem: int, sample: int) -> Sample:
        return Sample(self._context, problem, self._problems[problem], sample)

    def _tell_monitor(self, progress: RunProgress) -> None:
        monitor = self._context.monitor
        if monitor is None:
            return
        for verdict in progress.verdicts:
            monitor.update(self._problems[verdict.problem].id, verdict.sample, verdict.turn, verdict.ppl)
        for index, problem in enumerate(progress.problems):
            for sample in problem.samples:
                judged = any(isinstance(part, ev.VerdictReached) for part in sample.parts)
                if sample.end is not None and not judged:
                    monitor.missing(self._problems[index].id, sample.sample)

    def _end(self) -> ev.RunEnd:
        if not self._failed:
            return "done"
        total = len(self._problems) * self._context.settings.samples
        return "failed" if len(self._failed) == total else "incomplete"

    def _publish(self, event: ev.AnyEvent) -> None:
        self._context.bus.publish(event)
