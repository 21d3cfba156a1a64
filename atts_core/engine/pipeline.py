"""One sample from its first draft to its answer: draft → verify → (take over), turn by turn.

Nothing here waits for another sample: a stage waits for a place at its server (`Limiter`), nothing else.
"""

from collections.abc import Sequence

from atts_core import events as ev
from atts_core.conformal.decider import Decider
from atts_core.conformal.drift import DriftAlarm
from atts_core.engine.answers import find_answer
from atts_core.engine.chain import Chain, Written
from atts_core.engine.requests import Context, Requests, SampleStoppedError
from atts_core.engine.seeds import request_seed
from atts_core.runs.resume import FinishedStep, SampleProgress
from atts_core.serving.errors import ContextFull, ServerError


class SamplePipeline:
    """Runs one sample and publishes everything that happens to it.

    It knows at any time which part of its turn is done, so that `run` may be called again after a failure,
    or first after `restore`: it goes on from the last finished step.
    """

    def __init__(
        self, context: Context, decider: Decider, problem: int, problem_id: str, question: str, sample: int
    ) -> None:
        self._requests = Requests(context, problem, problem_id, sample)
        self._context = context
        self._decider = decider
        self._chain = Chain(context.pair, question, instruct=context.settings.instruct)
        self._at = {"problem": problem, "sample": sample}
        self._sample = sample
        self._turn = 0
        self._draft: Written | None = None
        self._verdict: ev.Verdict | None = None
        self._answer: str | None = None
        self._first_step_seen = False

    def restore(self, progress: SampleProgress) -> None:
        """Take over what another engine had finished of this sample."""
        for turn in progress.turns:
            self._first_step_seen |= turn.verdict is not None
            draft = _written(turn.draft)
            verdict = turn.verdict.verdict if turn.verdict else None
            if draft is not None and verdict is not None and turn.next == "turn":
                self._join(draft, verdict, _written(turn.target))
            else:
                self._draft, self._verdict = draft, verdict
        self._turn = progress.turn
        self._answer = progress.answered

    async def run(self) -> tuple[ev.SampleEnd, str | None, str]:
        """Turns until the sample ends: how it ended, its answer, and a message where it failed."""
        end: ev.SampleEnd | None = None if self._answer is None else "answered"
        message = ""
        try:
            while end is None and self._turn < self._context.settings.turns:
                end = await self._one_turn()
        except ContextFull:
            end = "context-limit"
        except SampleStoppedError:
            end = "stopped"
        except ServerError as error:
            end, message = "failed", str(error)
        self._miss_first_step()
        return end or "turn-limit", self._answer, message

    async def _one_turn(self) -> ev.SampleEnd | None:
        rewrite = self._context.settings.takeover == "rewrite"
        draft = self._draft = self._draft or await self._write_draft()
        step = self._chain.for_target(draft)
        if self._verdict is None:
            # A kept step that already answers ends the sample: whatever the target thinks of it, it would go
            # on after the answer. A step that can still be discarded is verified first.
            if not rewrite and self._answers(self._chain.text + draft.text, "draft"):
                self._chain.append_draft(draft, step)
                return "answered"
            self._verdict = await self._verify(step)
        target = None
        if self._verdict != "accept":
            kept = [] if rewrite else step
            target = await self._take_over([*self._chain.target_ids, *kept])
        self._join(draft, self._verdict, target)
        last = target or draft
        if self._answers(self._chain.text, "target" if target else "draft"):
            return "answered"
        self._turn += 1
        self._draft = self._verdict = None
        return "end-of-text" if last.ended else None

    def _join(self, draft: Written, verdict: ev.Verdict, target: Written | None) -> None:
        """The steps of a complete turn become part of the chain."""
        if verdict == "accept" or self._context.settings.takeover == "continue":
            self._chain.append_draft(draft, self._chain.for_target(draft))
        if target is not None:
            self._chain.append_target(target)

    async def _write_draft(self) -> Written:
        side, turn = self._context.pair.draft, self._turn
        async with self._requests.place(side, "draft", turn) as held:
            self._requests.publish(ev.DraftStarted(**self._at, turn=turn))
            step = await self._requests.write(held, self._chain.draft_ids, turn)
        self._wrote(ev.DraftFinished, step)
        return step

    async def _verify(self, step: Sequence[int]) -> ev.Verdict:
        side, turn = self._context.pair.target, self._turn
        async with self._requests.place(side, "verify", turn) as held:
            self._requests.publish(ev.VerificationStarted(**self._at, turn=turn, tokens=len(step)))
            ppl, seconds = await self._requests.score(held, self._chain.target_ids, step)
        decision = self._decider.decide(self._requests.problem_id, turn, ppl, self._uniform(turn))
        self._requests.publish(
            ev.VerdictReached(
                **self._at,
                turn=turn,
                verdict=decision.verdict,
                ppl=decision.ppl,
                p=decision.p,
                alpha=decision.alpha,
                threshold=decision.threshold,
                mode=decision.mode,
                rule=decision.rule,
                size=decision.size,
                u=decision.u,
                tokens=len(step),
                seconds=seconds,
            )
        )
        monitor = self._context.monitor
        if monitor is not None:
            self._first_step_seen |= turn == 0
            self._say_drift(monitor.alarm, monitor.update(self._requests.problem_id, self._sample, turn, ppl))
        return decision.verdict

    async def _take_over(self, prompt: Sequence[int]) -> Written:
        side, turn = self._context.pair.target, self._turn
        async with self._requests.place(side, "target", turn) as held:
            self._requests.publish(
                ev.TakeOverStarted(**self._at, turn=turn, variant=self._context.settings.takeover)
            )
            step = await self._requests.write(held, prompt, turn)
        self._wrote(ev.TakeOverFinished, step)
        return step

    def _wrote(self, told_by: type[ev.DraftFinished] | type[ev.TakeOverFinished], step: Written) -> None:
        """Publish that a model's step is complete."""
        self._requests.publish(
            told_by(
                **self._at,
                turn=self._turn,
                text=step.text,
                tokens=step.generated,
                ended=step.ended,
                seconds=step.seconds,
                first_token_seconds=step.first_token_seconds,
                ids=step.ids,
            )
        )

    def _uniform(self, turn: int) -> float | None:
        """The number in (0, 1] that a smoothed p-value takes; the same in every run of the same seed."""
        settings = self._context.settings
        if not settings.conformal.smoothed:
            return None
        seed = request_seed(settings.seed, self._requests.problem_id, self._sample, turn, "verify")
        return (seed + 1) / 2**31

    def _miss_first_step(self) -> None:
        """A sample that ended without a verdict on its first step must not keep the drift test waiting."""
        monitor = self._context.monitor
        if monitor is not None and not self._first_step_seen:
            self._first_step_seen = True
            self._say_drift(monitor.alarm, monitor.missing(self._requests.problem_id, self._sample))

    def _say_drift(self, before: DriftAlarm | None, alarm: DriftAlarm | None) -> None:
        """The alarm is raised once a run."""
        if alarm is not None and before is None:
            self._requests.publish(
                ev.DriftDetected(
                    message=alarm.sentence,
                    direction=alarm.direction,
                    evidence=alarm.evidence,
                    decisions=alarm.at,
                    false_alarm=alarm.false_alarm,
                )
            )

    def _answers(self, text: str, role: ev.Role) -> bool:
        """Whether the chain's text holds a final answer; says so once."""
        answer = find_answer(text)
        if answer is not None and self._answer is None:
            self._answer = answer
            self._requests.publish(ev.AnswerFound(**self._at, turn=self._turn, role=role, answer=answer))
        return answer is not None


def _written(step: FinishedStep | None) -> Written | None:
    if step is None:
        return None
    return Written(step.ids, step.text, step.tokens, step.ended, step.seconds, step.first_token_seconds)
