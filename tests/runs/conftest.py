"""Invented runs for the tests of run files: all that an engine can publish, in every order that it may."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from atts_core import events as ev
from atts_core.engine.votes import vote
from atts_core.runs import schema
from atts_core.runs.file import About
from atts_core.runs.snapshot import head_bytes, problem_bytes, sample_bytes
from atts_core.state import RunState
from atts_core.telemetry.readings import GpuReading, ServerReading

SHARED = Path(__file__).parents[3] / "shared" / "data"


def started(samples: int = 3, **changed: object) -> ev.RunStarted:
    known: dict[str, object] = {
        "run": "r",
        "command": "eval",
        "started_at": 1e9,
        "version": "0",
        "strategy": "atts",
        "takeover": "rewrite",
        "samples": samples,
        "turns": 6,
        "seed": 7,
        "models": tuple(
            ev.ModelCard(role=role, name=f"{role}-model", url="http://127.0.0.1:1", release="1",
                         context_length=512, tokenizer="t") for role in ("draft", "target")
        ),
        "calibration": None,
        "settings": {"samples": samples},
    }  # fmt: skip
    return ev.RunStarted(**(known | changed))  # type: ignore[arg-type]


class Simulator:
    """An engine without models. The same seed gives the same events."""

    def __init__(
        self, seed: int, problems: int = 3, samples: int = 3, turns: int = 4, words: int = 5
    ) -> None:
        self.random = random.Random(seed)
        self.problems, self.samples, self.turns, self.words = problems, samples, turns, words
        self.answers: list[list[str | None]] = [[None] * samples for _ in range(problems)]
        self.ended = [0] * problems

    def events(self) -> Iterator[ev.AnyEvent]:
        draw = self.random.random
        yield started(self.samples)
        for problem in range(self.problems):
            yield ev.ProblemAdded(
                problem=problem, id=f"p{problem}", question="1 + 1 = ?", gold="2", grading="math", repeats="p"
            )
        waiting = [(p, s) for p in range(self.problems) for s in range(self.samples)]
        alive = [self.sample(*waiting.pop(0)) for _ in range(min(4, len(waiting)))]
        while alive:
            chosen = self.random.choice(alive)
            event = next(chosen, None)
            if event is not None:
                yield event
            else:
                alive.remove(chosen)
                if waiting:
                    alive.append(self.sample(*waiting.pop(0)))
            if draw() < 0.02:
                yield from self.aside()
        yield ev.RunFinished(end="done")
        yield from self.judgements()

    def judgements(self) -> Iterator[ev.AnswerJudged]:
        """A judge comes when all is over, and a second one sees only the first problem."""
        for problem, answers in enumerate(self.answers):
            for sample, answer in enumerate(answers):
                for judge in ("one", "two")[: 2 - bool(problem)]:
                    yield ev.AnswerJudged(
                        problem=problem, sample=sample, judge=judge, url="http://j/v1", sees="answer",
                        verdict="right" if answer else "unclear", message="" if answer else "it is silent",
                    )  # fmt: skip

    def aside(self) -> Iterator[ev.AnyEvent]:
        draw = self.random.random
        yield self.random.choice([
            ev.RunPaused(), ev.RunResumed(), ev.Warned(message="the disk is nearly full"),
            ev.ServerLost(role="target", message="gone"), ev.ServerFound(role="target"),
            ev.ServerRead(role="draft", reading=ServerReading(running=3, cache_usage=0.5)),
            ev.ServerLost(role="draft", message="gone", url="http://a:1"),
            ev.ServerFound(role="draft", url="http://a:1"),
            ev.ServerRead(
                role="draft",
                reading=ServerReading(running=2, used_tokens=self.random.randrange(999), cache_usage=draw(),
                                      generation_throughput=draw() * 99),
                url="http://b:1",
            ),
            ev.ServerRead(
                role="target", url="http://c:2", router="http://c:1",
                reading=ServerReading(running=1, used_tokens=self.random.randrange(99)),
            ),
            ev.GpusRead(gpus=(
                GpuReading(index=0, name="a GPU", memory_used=7,
                           memory_by_role={"target": self.random.randrange(99)}),
            )),
            ev.GpusRead(gpus=(GpuReading(index=0, name="a GPU", memory_used=self.random.randrange(99)),),
                        source="http://h:9400/metrics", kind="dcgm-exporter", roles=("draft",)),
            ev.GpusRead(gpus=(), unavailable="nothing listens there", source="http://h:9400/metrics"),
            ev.DriftDetected(message="d", direction="higher", evidence=2.0, decisions=9, false_alarm=0.01),
            ev.ScoreCollected(ppl=1.5, draft_tokens=3, verified_tokens=3, collected=1, total=2),
        ])  # fmt: skip

    def sample(self, problem: int, sample: int) -> Iterator[ev.AnyEvent]:
        draw = self.random.random
        at = {"problem": problem, "sample": sample}
        yield ev.SampleStarted(**at)
        answer = None
        for turn in range(self.turns):
            here = {**at, "turn": turn}
            if draw() < 0.3:
                yield ev.StageQueued(**here, stage="draft")
            tries = self.random.choice([0, 0, 0, 0, 1, 2])
            for _ in range(tries):
                yield ev.DraftStarted(**here)
                yield from self.step("draft", here)
                yield ev.VerificationStarted(**here, tokens=5)
                yield ev.VerdictReached(
                    **here, verdict="take-over", ppl=1.9, p=0.9, alpha=0.5, threshold=1.5, mode="marginal",
                    rule="conformal", size=10, again=True, tokens=5, seconds=draw(),
                )  # fmt: skip
            yield ev.DraftStarted(**here)
            yield from self.step("draft", here)
            if tries and draw() < 0.5:
                yield ev.AttemptKept(**here, attempt=0)
            yield ev.VerificationStarted(**here, tokens=5)
            if draw() < 0.1:
                yield ev.StageQueued(**here, stage="target", for_round=True)
            ppl = 1 + draw()
            taken = ppl > 1.5
            yield ev.VerdictReached(
                **here, verdict="take-over" if taken else "accept", ppl=ppl, p=ppl - 1, alpha=0.5,
                threshold=1.5, mode="marginal", rule="conformal", size=10, tokens=5, seconds=draw(),
            )  # fmt: skip
            if taken:
                yield ev.TakeOverStarted(**here, variant="rewrite")
                yield from self.step("target", here)
            if draw() < 0.3:
                answer = self.random.choice(["2", "3"])
                yield ev.AnswerFound(**here, role="draft", answer=answer)
                break
        end: ev.SampleEnd = "answered" if answer else self.random.choice(["turn-limit", "failed"])
        yield ev.SampleFinished(**at, end=end, answer=answer, correct=answer == "2", graded="math")
        self.answers[problem][sample] = answer
        self.ended[problem] += 1
        outcome = vote(self.answers[problem])
        voted = sum(count for _, count in outcome.tally)
        yield ev.VoteChanged(problem=problem, tally=outcome.tally, voted=voted, ended=self.ended[problem])
        if self.ended[problem] == self.samples:
            yield ev.ProblemFinished(
                problem=problem, answer=outcome.winner, tied=outcome.tied, correct=outcome.winner == "2"
            )

    def step(self, role: ev.Role, here: dict[str, int]) -> Iterator[ev.AnyEvent]:
        draw = self.random.random
        text = ""
        for _ in range(self.random.randrange(self.words)):
            if draw() < 0.05:
                back = len(text)
                yield ev.TokensStreamed(**here, role=role, text="", tokens=-2, retracted=back)
                yield ev.RequestRetried(
                    problem=here["problem"],
                    sample=here["sample"],
                    stage=role,
                    attempt=2,
                    delay=0.5,
                    message="?",
                )
                text = ""
            word = self.random.choice(["so ", "then ", "√2 ", "=\n"])
            text += word
            yield ev.TokensStreamed(**here, role=role, text=word, tokens=2)
        done = {**here, "text": text, "tokens": len(text), "ended": False, "seconds": 0.5,
                "first_token_seconds": 0.1, "ids": tuple(range(len(text)))}  # fmt: skip
        yield ev.DraftFinished(**done) if role == "draft" else ev.TakeOverFinished(**done)

    def stamps(self) -> list[ev.Stamped]:
        """Events with times; a tenth of them happen at the same moment as the one before."""
        at, stamps = 0.0, []
        for seq, event in enumerate(self.events(), start=1):
            at += 0.0 if self.random.random() < 0.1 else self.random.random() * 0.2
            stamps.append(ev.Stamped(seq, at, event))
        return stamps


def everything(state: RunState) -> bytes:
    """All of a state, so that two are equal exactly where these are."""
    parts = [head_bytes(state)]
    for problem in state.problems:
        parts.append(problem_bytes(problem))
        parts += [sample_bytes(sample) for sample in problem.samples]
    return b"|".join(parts)


@pytest.fixture(scope="session")
def simulate() -> Callable[..., list[ev.Stamped]]:
    """`simulate(seed, problems=…, samples=…, turns=…, words=…)` gives a run's events."""
    return lambda *values, **named: Simulator(*values, **named).stamps()


@pytest.fixture(scope="module")
def no_power_cut() -> Iterator[None]:
    """Nobody pulls the plug in these tests, so they need not wait for the disk."""
    before, schema.SYNCHRONOUS = schema.SYNCHRONOUS, "OFF"
    yield
    schema.SYNCHRONOUS = before


@pytest.fixture(scope="session")
def run_started() -> Callable[..., ev.RunStarted]:
    return started


@pytest.fixture(scope="session")
def same() -> Callable[[RunState], bytes]:
    """Everything in a state as bytes."""
    return everything


@pytest.fixture(scope="session")
def about() -> About:
    return About(run="r", command="eval", created=1e9, version="0.1.0", dataset="builtin")


@pytest.fixture(scope="session")
def recorded_runs() -> Path:
    """The authors' recorded runs."""
    if not SHARED.is_dir():
        pytest.skip("the recorded runs are not on this machine")
    return SHARED
