"""Rounds with a barrier: what asynchronous scaling is measured against.

In a round every sample of a problem that has not ended drafts a step and has it scored. When all are scored
they are ranked by PPL, and the B highest go to the target; nobody begins the next round before all of this
one are through. So a decision needs no calibration, and every round waits for its slowest sample.

B is the nominal rate times the number ranked; what rounding leaves over is carried to the next round, so that
over its rounds a problem hands over ρ of its steps to within one. Of equal PPLs the lower sample comes first.

As in the authors' programs one problem runs after another: a barrier a problem as well. `--at-once N` lets N
problems overlap, which hides the barriers' cost where there is other work to do meanwhile. The authors'
published `sync` programs draw scores at random, for timing; this one uses the real ones.

A sample that failed and is retried after its round closed is judged by that round's cut.
"""

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal

from atts_core import events as ev
from atts_core.engine.chain import Written
from atts_core.engine.requests import Context
from atts_core.engine.sample import Sample
from atts_core.engine.strategies.atts import Atts
from atts_core.runs.resume import RunProgress


@dataclass(slots=True)
class Entry:
    """One sample's score in a round."""

    sample: Sample
    ppl: float | None
    tokens: int
    seconds: float


@dataclass(slots=True)
class Round:
    """One round of one problem."""

    scores: dict[int, float] = field(default_factory=dict)
    """PPL by sample, of those that have one."""
    ranked: int = 0
    """How many were ranked when the round closed; 0 before."""
    cut: float | None = None
    """The PPL above which a step is taken over; None where every one is."""
    entries: list[Entry] = field(default_factory=list)
    """Scores that no verdict has been told of yet."""
    verdicts: dict[int, ev.Verdict] = field(default_factory=dict)


class Rounds:
    """The rounds of one problem, and who is still on the way. Meetings are numbered: two a round."""

    def __init__(self) -> None:
        self.rounds: dict[int, Round] = {}
        self._members: set[int] = set()
        self._here: dict[int, dict[int, asyncio.Future[None]]] = {}
        self._passed: set[int] = set()

    def of(self, turn: int) -> Round:
        """The round of a turn."""
        return self.rounds.setdefault(turn, Round())

    def joins(self, sample: int) -> None:
        self._members.add(sample)

    def leaves(self, sample: int) -> None:
        """The others wait for it no longer."""
        self._members.discard(sample)
        for meeting in list(self._here):
            self._open(meeting)

    def passed(self, meeting: int) -> bool:
        """Whether nobody has to wait there any more."""
        return meeting in self._passed

    def complete(self, meeting: int, sample: int) -> bool:
        """Whether everybody is there once this sample is."""
        return self._members <= self._here.get(meeting, {}).keys() | {sample}

    async def meet(self, meeting: int, sample: int) -> None:
        """Until all who are still on the way are there. The last one does not wait."""
        if meeting in self._passed:
            return
        here = self._here.setdefault(meeting, {})
        here[sample] = future = asyncio.get_running_loop().create_future()
        self._open(meeting)
        try:
            await future
        except asyncio.CancelledError:
            here.pop(sample, None)
            raise

    def _open(self, meeting: int) -> None:
        here = self._here[meeting]
        if here and self._members <= here.keys():
            self._passed.add(meeting)
            del self._here[meeting]
            for future in here.values():
                if not future.done():
                    future.set_result(None)


class Sync(Atts):
    """Judges the steps of a round together."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._rate = context.settings.conformal.nominal_rate
        self._problems: dict[int, Rounds] = {}

    def restore(self, progress: RunProgress) -> None:
        for verdict in progress.verdicts:
            told = self._of(verdict.problem).of(verdict.turn)
            if verdict.ppl is not None:
                told.scores[verdict.sample] = verdict.ppl
            told.ranked, told.cut = verdict.size, verdict.threshold

    def joins(self, sample: Sample) -> None:
        self._of(sample.problem).joins(sample.sample)

    def leaves(self, sample: Sample) -> None:
        self._of(sample.problem).leaves(sample.sample)

    async def turn(self, sample: Sample) -> ev.SampleEnd | None:
        end = await super().turn(sample)
        if end is None:
            await self._meet(sample, 2 * sample.turn + 1, "draft")
        return end

    async def judge(self, sample: Sample, draft: Written) -> ev.Verdict:
        told = sample.verdict()
        this = self._of(sample.problem).of(sample.turn)
        if told is None:
            ppl, seconds = await sample.score(draft)
            tokens = len(sample.chain.for_target(draft))
            this.entries.append(Entry(sample, ppl, tokens, seconds))
        await self._meet(sample, 2 * sample.turn, "target")
        if told is not None:
            return told.verdict
        if sample.sample not in this.verdicts:  # the first to come here speaks for all
            self._judge(self._of(sample.problem), sample.turn)
        return this.verdicts.pop(sample.sample)

    async def _meet(self, sample: Sample, meeting: int, before: ev.Stage) -> None:
        rounds = self._of(sample.problem)
        waits = not rounds.passed(meeting) and not rounds.complete(meeting, sample.sample)
        if waits and not sample.replaying:
            sample.wait_for_round(before)
        await rounds.meet(meeting, sample.sample)

    def _judge(self, rounds: Rounds, turn: int) -> None:
        """Tell the verdicts of all new scores of a round, together."""
        this = rounds.of(turn)
        entries, this.entries = sorted(this.entries, key=lambda entry: entry.sample.sample), []
        closed = 0 < this.ranked <= len(this.scores)  # ranked before, and every verdict of it was told
        this.scores |= {entry.sample.sample: entry.ppl for entry in entries if entry.ppl is not None}
        ranking = sorted(this.scores, key=lambda number: (-this.scores[number], number))
        if closed:
            taken = {number for number in ranking if this.cut is None or this.scores[number] > this.cut}
        else:
            before = sum(one.ranked for number, one in rounds.rounds.items() if number < turn)
            budget = share(self._rate, before + len(ranking)) - share(self._rate, before)
            taken = set(ranking[:budget])
            this.ranked = len(ranking)
            this.cut = this.scores[ranking[budget]] if budget < len(ranking) else None
        for entry in entries:
            number = entry.sample.sample
            verdict: ev.Verdict = "unverifiable"
            if entry.ppl is not None:
                verdict = "take-over" if number in taken else "accept"
            this.verdicts[number] = verdict
            entry.sample.judged(
                ev.VerdictReached(
                    problem=entry.sample.problem,
                    sample=number,
                    turn=turn,
                    verdict=verdict,
                    ppl=entry.ppl,
                    p=None,
                    alpha=self._nominal_alpha,
                    threshold=this.cut,
                    mode="round",
                    rule="rank",
                    size=this.ranked,
                    rank=ranking.index(number) + 1 if entry.ppl is not None else None,
                    tokens=entry.tokens,
                    seconds=entry.seconds,
                )
            )

    @property
    def _nominal_alpha(self) -> float:
        return float(1 - Decimal(repr(self._rate)))

    def _of(self, problem: int) -> Rounds:
        return self._problems.setdefault(problem, Rounds())


def share(rate: float, count: int) -> int:
    """The whole part of `rate` · `count`, in decimal, so that 0.3 of 10 is 3."""
    return int(Decimal(repr(rate)) * count)
