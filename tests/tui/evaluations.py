"""A long evaluation without models: problems in a pool, some hard, some slow, some failing. Seeded.

`stamps()` gives its events in order with run times, one after the other, so that five million of them fit
into no memory at all. Texts are as long as `words` says; `pieces` of each step are streamed before it ends.
"""

import heapq
import random
from collections.abc import Iterator

import synthetic

from atts_core import events as ev
from atts_core.engine.votes import vote

ALPHA = 0.6
WORDS = (
    "so",
    "the",
    "sum",
    "of",
    "both",
    "is",
    "then",
    "twice",
    "as",
    "much",
    "check",
    "it",
    "$x = 7$",
    "once",
)


class _Pool:
    def __init__(self, seed: int, samples: int, turns: int, pieces: int, words: int, problems: int) -> None:
        self.rng = random.Random(seed)
        self.samples, self.turns, self.pieces, self.words = samples, turns, pieces, words
        self.votes: dict[int, list[str | None]] = {}
        self.hard = [self.rng.random() for _ in range(problems)]

    def chain(self, problem: int, sample: int, start: float) -> Iterator[tuple[float, ev.AnyEvent]]:
        rng = random.Random(f"{problem}/{sample}")
        hard, at = self.hard[problem], start
        pace = 6.0 if problem % 83 == 40 else 1.0
        where = {"problem": problem, "sample": sample}
        yield at, ev.SampleStarted(**where)
        length = min(1 + int(rng.expovariate(1 / (2 + 4 * hard))), self.turns)
        fails = problem % 61 == 30 and sample < 2
        for turn in range(length):
            here = {**where, "turn": turn}
            yield at, ev.DraftStarted(**here)
            for event in self._write(rng, "draft", here, ended=turn == length - 1):
                at += rng.uniform(0.1, 0.3) * pace
                yield at, event
            yield at, ev.VerificationStarted(**here, tokens=self.words)
            at += 0.2 * pace
            p = rng.betavariate(1 + hard * 2, 2)
            taken = p > ALPHA
            yield at, ev.VerdictReached(
                **here, verdict="take-over" if taken else "accept", ppl=1 + 3 * p * p, p=p, alpha=ALPHA,
                threshold=2.08, mode="marginal", rule="conformal", size=1600, tokens=self.words, seconds=0.2,
            )  # fmt: skip
            if taken:
                yield at, ev.TakeOverStarted(**here, variant="continue")
                for event in self._write(rng, "target", here, ended=turn == length - 1):
                    at += rng.uniform(0.2, 0.5) * pace
                    yield at, event
        if fails:
            message = "HTTP 503 from http://127.0.0.1:30002 after 3 attempts"
            yield at, ev.SampleFinished(**where, end="failed", message=message)
            return
        answer = None
        if length < self.turns or rng.random() < 0.5:
            sure = problem % 37 == 11  # all chains make the same mistake
            answer = "7" if sure else "42" if rng.random() > hard * 0.8 else str(rng.randint(1, 4))
        end: ev.SampleEnd = "answered" if answer else "turn-limit"
        yield at, ev.SampleFinished(**where, end=end, answer=answer, correct=answer == "42")

    def _write(
        self, rng: random.Random, role: ev.Role, here: dict[str, int], *, ended: bool
    ) -> Iterator[ev.AnyEvent]:
        text = " ".join(rng.choices(WORDS, k=self.words)) + ".\n"
        if ended:
            text += "So the answer is \\boxed{42}.\n"
        cut = len(text) // self.pieces + 1
        tokens = self.words // max(self.pieces, 1)
        for begin in range(0, len(text), cut):
            piece = text[begin : begin + cut]
            yield ev.TokensStreamed(**here, role=role, text=piece, tokens=tokens)
        kind = ev.DraftFinished if role == "draft" else ev.TakeOverFinished
        yield kind(
            **here, text=text, tokens=self.words, ended=ended, seconds=1.0, first_token_seconds=0.1,
            ids=tuple(range(100, 100 + self.words)),
        )  # fmt: skip


def stamps(
    *, problems: int, samples: int = 16, turns: int = 15, parallel: int = 64, pieces: int = 4,
    words: int = 30, seed: int = 1,
) -> Iterator[ev.Stamped]:  # fmt: skip
    """All events; `parallel` chains run at a time, in the order of their problems."""
    pool, seq = _Pool(seed, samples, turns, pieces, words, problems), 0

    def stamp(at: float, event: ev.AnyEvent) -> ev.Stamped:
        nonlocal seq
        seq += 1
        return ev.Stamped(seq, at, event)

    yield stamp(0.0, synthetic.started(samples, turns, seed))
    for problem in range(problems):
        question = f"Problem {problem + 1}: what is the sum of both, if one is twice the other?"
        yield stamp(
            0.0, ev.ProblemAdded(problem=problem, id=f"test/{problem:05}", question=question, gold="42")
        )
    waiting = iter((problem, sample) for problem in range(problems) for sample in range(samples))
    heap: list[tuple[float, int, Iterator[tuple[float, ev.AnyEvent]], ev.AnyEvent]] = []
    count = 0

    def begin(at: float) -> None:
        nonlocal count
        if (place := next(waiting, None)) is not None:
            chain = pool.chain(*place, at)
            first_at, first = next(chain)
            count += 1
            heapq.heappush(heap, (first_at, count, chain, first))

    for number in range(parallel):
        begin(number * 0.01)
    now = 0.0
    while heap:
        at, number, chain, event = heapq.heappop(heap)
        now = max(now, at)
        yield stamp(now, event)
        if isinstance(event, ev.SampleFinished):
            for after in _voted(pool, event, samples):
                yield stamp(now, after)
            begin(now)
        elif (following := next(chain, None)) is not None:
            heapq.heappush(heap, (following[0], number, chain, following[1]))
    yield stamp(now, ev.RunFinished(end="incomplete" if problems > 30 else "done"))


def _voted(pool: _Pool, event: ev.SampleFinished, samples: int) -> Iterator[ev.AnyEvent]:
    answers = pool.votes.setdefault(event.problem, [])
    answers.append(event.answer)
    outcome = vote(answers)
    voted = sum(count for _, count in outcome.tally)
    yield ev.VoteChanged(problem=event.problem, tally=outcome.tally, voted=voted, ended=len(answers))
    if len(answers) == samples:
        del pool.votes[event.problem]
        yield ev.ProblemFinished(
            problem=event.problem, answer=outcome.winner, tied=outcome.tied, correct=outcome.winner == "42"
        )
