"""What RunState is made of: plain records of problems, samples, turns and steps, changed by its fold only."""

from dataclasses import dataclass, field
from typing import Literal

from atts_core import events as ev
from atts_core.telemetry.readings import ServerReading

Phase = Literal["pending", "queued", "draft", "verify", "target", "between", "ended"]


@dataclass(slots=True)
class Span:
    """One stage of a turn over time, in run seconds; `end` is None while it runs."""

    stage: ev.Stage
    start: float
    end: float | None = None


@dataclass(slots=True)
class Step:
    """Text that one model wrote in one turn. `discarded`: rejected under `rewrite`, not part of the chain."""

    turn: int
    role: ev.Role
    text: str = ""
    tokens: int = 0
    complete: bool = False
    discarded: bool = False


@dataclass(slots=True)
class Turn:
    """One draft → verify → (take-over) round."""

    verdict: ev.VerdictReached | None = None
    spans: list[Span] = field(default_factory=list)


@dataclass(slots=True)
class SampleState:
    """One reasoning chain."""

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
    message: str = ""
    started_at: float | None = None
    ended_at: float | None = None
    verifying: int = 0
    """Tokens of the scoring request under way."""
    touched: int = 0

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


@dataclass(slots=True)
class ProblemState:
    """One problem and its samples."""

    index: int
    id: str
    question: str
    gold: str | None
    family: str
    samples: list[SampleState]
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
        if all(worker.lost for worker in self.workers.values()):
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
