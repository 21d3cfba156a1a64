"""What RunState is made of: plain records of problems, samples, turns and steps, changed by its fold only."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from atts_core import digest as packed
from atts_core import events as ev
from atts_core.digest import Away, Judged, Span
from atts_core.telemetry.readings import ServerReading

Phase = Literal["pending", "queued", "round", "draft", "verify", "target", "between", "ended"]


@dataclass(slots=True)
class Step:
    """Text that one model wrote in one turn. `discarded`: rejected under `rewrite`, not part of the chain."""

    turn: int
    role: ev.Role
    text: str = ""
    tokens: int = 0
    complete: bool = False
    discarded: bool = False
    seconds: float | None = None
    """How long its request took; None until it is complete, as is the next."""
    first_token_seconds: float | None = None


@dataclass(slots=True)
class Turn:
    """One draft → verify → (take-over) round."""

    verdict: ev.VerdictReached | None = None
    """The newest."""
    spans: list[Span] = field(default_factory=list)
    rejected: list[ev.VerdictReached] = field(default_factory=list)
    """Those before it: where drafts are drawn again (`self-reject`) a turn has several."""
    kept: int | None = None
    """Which of all drafts stayed where every one was rejected, from 0; None: the newest."""

    def judged(self, number: int) -> Iterator[Judged]:
        """Every decision about the drafts of this turn, the `number`-th."""
        if self.verdict is None:
            return
        verdicts = [*self.rejected, self.verdict]
        ends = [span.end for span in self.spans if span.stage == "verify" and span.end is not None]
        ends = [0.0] * (len(verdicts) - len(ends)) + ends[len(ends) - min(len(verdicts), len(ends)) :]
        kept = len(verdicts) - 1 if self.kept is None else self.kept
        for place, (said, at) in enumerate(zip(verdicts, ends, strict=True)):
            yield Judged(
                number, said.verdict, said.ppl, said.p, said.alpha, at, said.threshold, said.tokens,
                place != kept,
            )  # fmt: skip


@dataclass(slots=True)
class SampleState:
    """One reasoning chain. Of a problem that was put away, `turns` and `steps` are in the run file only."""

    index: int
    phase: Phase = "pending"
    queued_for: ev.Stage | None = None
    turns: list[Turn] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    draft_tokens: int = 0
    target_tokens: int = 0
    accepted: int = 0
    taken_over: int = 0
    unverifiable: int = 0
    end: ev.SampleEnd | None = None
    answer: str | None = None
    correct: bool | None = None
    graded: str = ""
    message: str = ""
    started_at: float | None = None
    ended_at: float | None = None
    verifying: int = 0
    """Tokens of the scoring request under way."""
    touched: int = 0
    digest: bytes | None = None
    """Once put away: its decisions and stages, as `atts_core.digest` packs them."""
    characters_away: int = 0
    """Characters of the text that was put away."""
    judgements: tuple[ev.AnswerJudged, ...] = ()
    """What language models say of its answer: one of each who judged by what, the newest last."""

    @property
    def turn_count(self) -> int:
        """Turns begun, put away or not."""
        return max(len(self.turns), packed.turn_count(self.digest) if self.digest else 0)

    @property
    def characters(self) -> int:
        """Length of `text`, put away or not."""
        return self.characters_away + sum(len(step.text) for step in self.steps if not step.discarded)

    def judgement(self, by: str) -> ev.AnswerJudged | None:
        """What was said of its answer by one of `judged_by`."""
        return next((said for said in self.judgements if judged_by(said) == by), None)

    def judged(self) -> Iterator[Judged]:
        """Every decision of this chain by turn, put away or not."""
        if self.digest:
            yield from packed.judged_of(self.digest)
        for number, turn in enumerate(self.turns):
            yield from turn.judged(number)

    def stages(self) -> Iterator[tuple[int, Span]]:
        """Every stage of this chain with its turn, in the order of time, put away or not."""
        if self.digest:
            for turn, span, _ in packed.stages_of(self.digest):
                yield turn, span
        for turn, begun in enumerate(self.turns):
            for span in begun.spans:
                yield turn, span

    def written(self) -> Iterator[tuple[int, Span]]:
        """Tokens and the finished stage in which they were written, put away or not."""
        if self.digest:
            for _, span, tokens in packed.stages_of(self.digest):
                if tokens:
                    yield tokens, span
        for step in self.steps:
            spans = self.turns[step.turn].spans if step.turn < len(self.turns) else []
            own = [span for span in spans if span.stage == step.role and span.end is not None]
            if own and step.tokens:
                yield step.tokens, own[-1]

    def put_away(self) -> None:
        """Keep what was decided and when everything was done, and drop turns and texts."""
        if not self.turns and not self.steps:
            return
        before, self.digest = self.digest, None
        tokens: dict[int, int] = {}
        for count, span in self.written():
            tokens[id(span)] = tokens.get(id(span), 0) + count
        stages = [Away(turn, span, tokens.get(id(span), 0)) for turn, span in self.stages()]
        self.digest = before
        if before:
            stages = [*packed.stages_of(before), *stages]
        self.digest = packed.pack(self.turn_count, self.judged(), stages)
        self.characters_away = self.characters
        self.turns, self.steps = [], []

    def unpack_turns(self) -> None:
        """Make places for the turns that were put away, so that the next one finds its own."""
        self.turns += [Turn() for _ in range(self.turn_count - len(self.turns))]
        if self.verifying and self.digest and not self.turns[-1].spans:
            stages = list(packed.stages_of(self.digest))[:-1]  # a score that no verdict was told of
            self.digest = packed.pack(packed.turn_count(self.digest), packed.judged_of(self.digest), stages)

    @property
    def decisions(self) -> int:
        """Verdicts so far."""
        return self.accepted + self.taken_over + self.unverifiable

    @property
    def last_verdict(self) -> ev.VerdictReached | None:
        """The newest verdict of this chain."""
        return next((turn.verdict for turn in reversed(self.turns) if turn.verdict), None)

    @property
    def text(self) -> str:
        """The chain as it stands: all steps that were not discarded, joined by nothing."""
        return "".join(step.text for step in self.steps if not step.discarded)


def judged_by(said: ev.AnswerJudged) -> str:
    """Who judges by what: a sample keeps one judgement of each."""
    return judge_key(said.judge, said.url, said.sees)


def judge_key(judge: str, url: str, sees: ev.Sees) -> str:
    """The same of a judge who has said nothing yet."""
    return f"{judge}, {sees}, {url}"


@dataclass(slots=True)
class ProblemState:
    """One problem and its samples."""

    index: int
    id: str
    question: str
    gold: str | None
    family: str
    samples: list[SampleState]
    repeats: str = ""
    """The id of the problem that this one is a copy of; empty for a problem of its own."""
    tally: tuple[tuple[str, int], ...] = ()
    voted: int = 0
    ended: int = 0
    finished: bool = False
    answer: str | None = None
    tied: bool = False
    correct: bool | None = None
    started_at: float | None = None
    finished_at: float | None = None
    touched: int = 0
    draft_tokens: int = 0
    target_tokens: int = 0
    verified_tokens: int = 0
    accepted: int = 0
    taken_over: int = 0
    """Unverifiable steps count here as well."""
    failed: int = 0
    """Samples that failed."""
    weight: int = 0
    """Bytes that its turns and texts take in memory, about."""
    put_away: bool = False
    """Turns and texts are in the run file only."""

    @property
    def cluster(self) -> str:
        """What its samples are alike in: a problem and its copies (`--repeat`) have one name."""
        return self.repeats or self.id

    @property
    def tokens(self) -> int:
        """Written by both models."""
        return self.draft_tokens + self.target_tokens

    @property
    def target_share(self) -> float | None:
        """The target's share of the tokens written, None before the first."""
        return self.target_tokens / self.tokens if self.tokens else None

    @property
    def accept_share(self) -> float | None:
        """The share of the steps that were accepted, None before the first decision."""
        decided = self.accepted + self.taken_over
        return self.accepted / decided if decided else None

    @property
    def seconds(self) -> float:
        """How long it took, 0 until it is finished."""
        if self.finished_at is None or self.started_at is None:
            return 0.0
        return self.finished_at - self.started_at


@dataclass(slots=True)
class TurnRate:
    """Decisions of one turn over all samples."""

    decisions: int = 0
    taken_over: int = 0
    """Unverifiable steps are taken over and count here as well."""

    @property
    def realised(self) -> float | None:
        """Realised take-over rate, None before the first decision."""
        return self.taken_over / self.decisions if self.decisions else None


@dataclass(slots=True)
class Decision:
    """A verdict and when it was reached."""

    seq: int
    at: float
    verdict: ev.VerdictReached


@dataclass(slots=True)
class LogLine:
    """One line for a person. `level` is a word, so that it reads without colour."""

    seq: int
    at: float
    level: Literal["info", "accept", "take-over", "answer", "warning", "error"]
    message: str
    problem: int | None = None
    sample: int | None = None


@dataclass(slots=True)
class WorkerState:
    """What is known of one server of a role that may have several."""

    lost: str = ""
    """Why it does not answer; empty while it does."""
    reading: ServerReading | None = None
    read_at: float | None = None


@dataclass(slots=True)
class ServerState:
    """What is known of the servers of one role."""

    lost: str = ""
    """Why none of them answers; empty while one does."""
    reading: ServerReading | None = None
    """The newest reading, of whichever server."""
    read_at: float | None = None
    workers: dict[str, WorkerState] = field(default_factory=dict)
    """Each server by its URL; empty in runs of before there could be several."""

    @property
    def workers_lost(self) -> int:
        """How many of them do not answer."""
        return sum(bool(worker.lost) for worker in self.workers.values())

    def expect(self, urls: tuple[str, ...]) -> None:
        """An engine has just reached these servers, and knows of no other."""
        self.lost = ""
        self.workers = {url: self.workers.get(url, WorkerState()) for url in urls}
        for worker in self.workers.values():
            worker.lost = ""

    def lose(self, url: str, message: str) -> None:
        """One server does not answer, or (no `url`) the only one."""
        if url:
            self.workers.setdefault(url, WorkerState()).lost = message
        if self.workers_lost == len(self.workers):
            self.lost = message

    def find(self, url: str) -> None:
        """A lost server answers again."""
        self.lost = ""
        if url:
            self.workers.setdefault(url, WorkerState()).lost = ""

    def read(self, url: str, reading: ServerReading, at: float) -> None:
        """A server told its metrics."""
        self.reading, self.read_at = reading, at
        if url:
            worker = self.workers.setdefault(url, WorkerState())
            worker.reading, worker.read_at = reading, at
