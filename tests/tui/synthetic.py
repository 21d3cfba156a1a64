"""A plausible seeded run without models: chains of worked arithmetic, checked, taken over, voted on.

`events()` gives a whole run as a list, for pictures that must not change; `publish()` sends it to a bus at
the pace of a run. `python tests/tui/synthetic.py` opens the screen over it: `--pace 4` slows it down,
`--problems`, `--samples`, `--theme`, `--ascii` and `--hold` (leave the run unfinished) do what they say.
"""

import argparse
import asyncio
import heapq
import random
from collections.abc import Iterator

from atts_core import events as ev
from atts_core.bus import Bus
from atts_core.events import Stamped
from atts_core.telemetry.readings import GpuReading, ServerReading

ALPHA = 0.6
NAMES = ("Ada", "Ben", "Cleo", "Dan", "Eve", "Finn")
THINGS = ("apples", "coins", "stamps", "marbles", "books")

Planned = tuple[float, ev.AnyEvent]


class _Problem:
    """A word problem with its worked steps, each with a plausible wrong variant."""

    def __init__(self, index: int, rng: random.Random, turns: int) -> None:
        name, thing = rng.choice(NAMES), rng.choice(THINGS)
        value = rng.randint(30, 90)
        said = [f"{name} has {value} {thing}."]
        self.steps: list[tuple[str, int]] = []
        for number in range(turns):
            change = rng.randint(5, 40)
            if rng.random() < 0.5 and value > change:
                said.append(f"{name} gives away {change}.")
                self.steps.append(
                    (f"({number + 1}) {name} gives away {change}: {value} - {change} = ", value - change)
                )
                value -= change
            else:
                said.append(f"Then {name} finds {change} more.")
                self.steps.append(
                    (f"({number + 1}) {name} finds {change}: {value} + {change} = ", value + change)
                )
                value += change
        self.index = index
        self.question = " ".join(said) + f" How many {thing} are there now?"
        self.answer = value


def started(samples: int, turns: int, seed: int) -> ev.RunStarted:
    """The first event of a run."""
    cards = tuple(
        ev.ModelCard(
            role=role, name=f"atts-{role}", url=f"http://127.0.0.1:{port}", release="embedded 0.1.0",
            context_length=1024, tokenizer="c0ffee",
        )
        for role, port in (("draft", 30001), ("target", 30002))
    )  # fmt: skip
    return ev.RunStarted(
        run="20261120-104512-demo", command="atts demo", started_at=1_795_171_512.0, version="0.1.0",
        strategy="async", takeover="rewrite", samples=samples, turns=turns, seed=seed, models=cards,
        calibration=ev.CalibrationCard(
            mode="marginal", rule="conformal", adaptation="off",
            alpha=ALPHA, nominal=1 - ALPHA, size=1600,
            problems=100, fingerprint="c0ffee", source="shipped with the embedded pair",
            histogram=ev.ScoreHistogram(
                edges=(*(1 + 0.02 * number for number in range(26)), 4.0),
                counts=(*(round(330 * 0.8**number) for number in range(25)), 12),
            ),
            identity={
                "draft_model": "draft", "target_model": "target", "dataset": "builtin",
                "draft_tokens": 96, "target_tokens": 96, "temperature": 0.8, "takeover": "rewrite",
            },
            promise="takes over at least 40 % of exchangeable steps",
            limits="",
        ),
        settings={},
    )  # fmt: skip


def _pieces(text: str, rng: random.Random) -> Iterator[str]:
    while text:
        cut = rng.randint(2, 9)
        yield text[:cut]
        text = text[cut:]


def _chain(problem: _Problem, sample: int, rng: random.Random, start: float, limit: int) -> Iterator[Planned]:
    """One chain: draft, verify, take over, until the answer."""
    at = start
    where = {"problem": problem.index, "sample": sample}
    yield at, ev.SampleStarted(**where)
    drift = 0
    last = len(problem.steps)
    for turn in range(min(last + 1, limit)):
        wrong = rng.random() < 0.3
        error = rng.choice((-10, -1, 1, 10)) if wrong else 0
        if turn < last:
            prefix, value = problem.steps[turn]
            good, text = f"{prefix}{value + drift}.\n\n", f"{prefix}{value + drift + error}.\n\n"
        else:
            good = f"So the answer is \\boxed{{{problem.answer + drift}}}.\n\n"
            text = f"So the answer is \\boxed{{{problem.answer + drift + error}}}.\n\n"
        here = {**where, "turn": turn}
        if rng.random() < 0.15:
            yield at, ev.StageQueued(**here, stage="draft")
            at += rng.uniform(0.05, 0.3)
        yield at, ev.DraftStarted(**here)
        begun = at
        for piece in _pieces(text, rng):
            at += rng.uniform(0.03, 0.07)
            yield at, ev.TokensStreamed(**here, role="draft", text=piece, tokens=max(len(piece) // 3, 1))
        tokens = len(text) // 3 + 1
        at += 0.01
        yield (
            at,
            ev.DraftFinished(
                **here,
                text=text,
                tokens=tokens,
                ended=turn == last,
                seconds=at - begun,
                first_token_seconds=0.02,
            ),
        )
        yield at, ev.VerificationStarted(**here, tokens=tokens)
        begun = at
        at += rng.uniform(0.1, 0.35)
        p = rng.uniform(0.62, 1.0) if wrong or rng.random() < 0.15 else rng.uniform(0.01, 0.6)
        taken = p > ALPHA
        yield at, ev.VerdictReached(
            **here, verdict="take-over" if taken else "accept", ppl=1 + p**6 * 2.4, p=p, alpha=ALPHA,
            threshold=1.041, mode="marginal", rule="conformal", size=1600, tokens=tokens, seconds=at - begun,
        )  # fmt: skip
        written, role = text, "draft"
        if taken:
            yield at, ev.TakeOverStarted(**here, variant="rewrite")
            begun = at
            for piece in _pieces(good, rng):
                at += rng.uniform(0.04, 0.09)
                yield at, ev.TokensStreamed(**here, role="target", text=piece, tokens=max(len(piece) // 3, 1))
            tokens = len(good) // 3 + 1
            yield (
                at,
                ev.TakeOverFinished(
                    **here,
                    text=good,
                    tokens=tokens,
                    ended=turn == last,
                    seconds=at - begun,
                    first_token_seconds=0.03,
                ),
            )
            written, role = good, "target"
        else:
            drift += error
        if turn == last:
            answer = written.split("{")[1].split("}")[0]
            yield at, ev.AnswerFound(**here, role=role, answer=answer)
            correct = answer == str(problem.answer)
            yield at, ev.SampleFinished(**where, end="answered", answer=answer, correct=correct)
            return
    yield at, ev.SampleFinished(**where, end="turn-limit")


def planned(
    *, seed: int = 1, problems: int = 2, samples: int = 16, steps: int = 5, turns: int = 15
) -> Iterator[Planned]:
    """All events of a run with the run time at which each happens, in order."""
    rng = random.Random(seed)
    yield 0.0, started(samples, turns, seed)
    yield 0.0, ev.GpusRead(gpus=(), unavailable="no NVIDIA driver on this machine")
    worked = [_Problem(index, rng, steps) for index in range(problems)]
    for problem in worked:
        yield (
            0.01,
            ev.ProblemAdded(
                problem=problem.index, id=f"word-{problem.index + 1:04}", question=problem.question,
                gold=str(problem.answer), family="word problems",
            ),
        )  # fmt: skip
    chains = []
    for problem in worked:
        for sample in range(samples):
            start = 0.05 + problem.index * 4.0 + sample * 0.03
            chains.append(
                _chain(problem, sample, random.Random(f"{seed}/{problem.index}/{sample}"), start, turns)
            )
    votes: list[dict[str, int]] = [{} for _ in worked]
    ended = [0] * problems
    next_reading = 0.5
    end = 0.0
    merged = heapq.merge(*chains, key=lambda item: item[0])
    for at, event in merged:
        while next_reading < at:
            yield next_reading, _reading("draft", rng)
            yield next_reading, _reading("target", rng)
            next_reading += 1.0
        yield at, event
        end = at
        if isinstance(event, ev.SampleFinished):
            tally = votes[event.problem]
            ended[event.problem] += 1
            if event.answer is not None:
                tally[event.answer] = tally.get(event.answer, 0) + 1
            ranked = tuple(sorted(tally.items(), key=lambda item: -item[1]))
            voted = sum(tally.values())
            yield (
                at,
                ev.VoteChanged(problem=event.problem, tally=ranked, voted=voted, ended=ended[event.problem]),
            )
            if ended[event.problem] == samples:
                first = ranked[0][0] if ranked else None
                tied = len(ranked) > 1 and ranked[0][1] == ranked[1][1]
                gold = str(worked[event.problem].answer)
                yield (
                    at,
                    ev.ProblemFinished(
                        problem=event.problem,
                        answer=first,
                        tied=tied,
                        correct=None if first is None else first == gold,
                    ),
                )
    yield end, ev.RunFinished(end="done")


def _reading(role: ev.Role, rng: random.Random) -> ev.ServerRead:
    running = rng.randint(5, 14) if role == "draft" else rng.randint(1, 6)
    usage = rng.uniform(0.3, 0.6)
    return ev.ServerRead(role=role, reading=ServerReading(running=running, queued=0, cache_usage=usage))


def gpus() -> ev.GpusRead:
    """Two GPUs, as a server host has them."""
    return ev.GpusRead(
        gpus=tuple(
            GpuReading(
                index=index,
                name="NVIDIA H200",
                memory_used=used,
                memory_total=150_000_000_000,
                utilisation=0.8,
            )
            for index, used in ((0, 91_000_000_000), (1, 140_500_000_000))
        )
    )


def stamped(items: list[ev.AnyEvent] | list[Planned]) -> list[Stamped]:
    """Events with sequence numbers; those without a time come one second apart."""
    found: list[Stamped] = []
    for number, item in enumerate(items, 1):
        at, event = item if isinstance(item, tuple) else (float(number), item)
        found.append(Stamped(number, at, event))
    return found


def events(until: float | None = None, **settings: int) -> list[Stamped]:
    """A whole run, or what of it has happened until a moment of run time."""
    return stamped([item for item in planned(**settings) if until is None or item[0] <= until])


class Recorded:
    """A source of events that all wait from the start; more may be added."""

    def __init__(self, waiting: list[Stamped]) -> None:
        self._waiting = waiting
        self._more = asyncio.Event()
        self.closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def drain(self) -> list[Stamped]:
        waiting, self._waiting = self._waiting, []
        return waiting

    async def batches(self):
        while not self.closed:
            if self._waiting:
                yield self.drain()
            else:
                await self._more.wait()
                self._more.clear()

    def add(self, more: list[Stamped]) -> None:
        self._waiting.extend(more)
        self._more.set()


async def publish(bus: Bus, *, pace: float = 1.0, hold: bool = False, **settings: int) -> None:
    """Publish a run to a bus at its own pace, `pace` times slower; `hold` leaves it unfinished."""
    for at, event in planned(**settings):
        wait = at * pace - bus.now
        if wait > 0:
            await asyncio.sleep(wait)
        if hold and isinstance(event, ev.RunFinished):
            return
        bus.publish(event)


class _Hand:
    """A control that only says what it was told."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus

    def pause(self) -> None:
        self.bus.publish(ev.RunPaused())

    def resume(self) -> None:
        self.bus.publish(ev.RunResumed())


async def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pace", type=float, default=1.0)
    parser.add_argument("--problems", type=int, default=3)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--theme", default="atts-dark")
    parser.add_argument("--ascii", action="store_true")
    parser.add_argument("--hold", action="store_true")
    args = parser.parse_args()
    from atts_tui.app import AttsApp

    bus = Bus()
    app = AttsApp(bus.subscribe(), control=_Hand(bus), theme=args.theme, title="demo", ascii_only=args.ascii)
    settings = {"problems": args.problems, "samples": args.samples, "steps": args.steps}
    run = asyncio.create_task(publish(bus, pace=args.pace, hold=args.hold, **settings))
    await app.run_async()
    run.cancel()


if __name__ == "__main__":
    asyncio.run(_main())
