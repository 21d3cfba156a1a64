"""The vocabulary of everything that happens in a run: frozen typed records, past tense, one tagged union.

An event says what happened, never what to do. It carries no clock: the bus stamps it with a sequence number
and the seconds since the run began (`Stamped`), so that a replay folds to the same state as the live run.

Indices: `problem` counts the problems of a run from 0 in the order in which they were added, `sample` the
chains of one problem from 0, `turn` the rounds of one chain from 0.
"""

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from atts_core.telemetry.readings import GpuReading, ServerReading

Role = Literal["draft", "target"]
"""Which of the two models."""

Stage = Literal["draft", "verify", "target"]
"""The three stages of a turn: the draft writes, the target scores, the target writes (only on take-over)."""

Variant = Literal["continue", "rewrite"]
"""What becomes of a draft's step that the target takes over: it stays, or it is discarded."""

Verdict = Literal["accept", "take-over", "unverifiable"]
"""`unverifiable`: the step is empty or its log-probabilities are unusable; the target takes over."""

Opinion = Literal["right", "wrong", "unclear"]
"""What a language model says of an answer. `unclear`: it cannot tell, or said nothing that can be used."""

Sees = Literal["answer", "chain"]
"""What of a sample a judge is sent besides question and gold answer; `chain`: the end of its text as well."""

SampleEnd = Literal["answered", "end-of-text", "turn-limit", "context-limit", "decided", "stopped", "failed"]
"""Why a sample ended: its text holds a final answer, the models had nothing more to say, a limit was met, its
problem's vote was decided without it, a user stopped it, or an error that no retry could mend."""

RunEnd = Literal["done", "incomplete", "failed", "interrupted"]
"""`incomplete`: every sample ended, but some of them failed."""


class Event(msgspec.Struct, frozen=True, tag_field="type", kw_only=True):
    """Base of all events."""


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two models as the run met it."""

    role: Role
    name: str
    url: str
    """Without credentials."""
    release: str
    """The server's release, such as `0.4.3.post4`."""
    context_length: int
    tokenizer: str
    """Hash over vocabulary and chat template."""
    urls: tuple[str, ...] = ()
    """Of all servers of this model, `url` first; empty in runs of before there could be several."""


class ScoreHistogram(msgspec.Struct, frozen=True):
    """How calibration PPLs are spread: `counts[i]` lie from `edges[i]` up to `edges[i + 1]`, which grow."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


class CalibrationCard(msgspec.Struct, frozen=True, kw_only=True):
    """The calibration that a run decides by, or the ranking of a round (mode `round`, rule `rank`)."""

    mode: str
    rule: str
    adaptation: str
    """`off`, or adaptive with `one` alpha or one `per-turn`."""
    alpha: float
    nominal: float
    """Nominal take-over rate ρ = 1 − alpha."""
    size: int
    problems: int
    fingerprint: str
    source: str
    """File name, or where the scores came from."""
    promise: str
    """What the mode promises, in words."""
    limits: str
    """What it does not promise, in words."""
    histogram: ScoreHistogram | None = None
    """Of its scores; None in runs that recorded none."""
    identity: dict[str, str | int | float] = {}
    """What the scores were collected with, as far as it is known: fields of `conformal.identity.Identity`."""
    created: str = ""
    """When the scores were collected."""


class RunStarted(Event, frozen=True, kw_only=True, tag=True):
    """First event of a run, and first again of each engine that goes on with it."""

    run: str
    """Identity of the run, such as `20261120-104512-demo`."""
    command: str
    started_at: float
    """Seconds since the epoch."""
    version: str
    strategy: str
    takeover: Variant
    samples: int
    turns: int
    seed: int
    models: tuple[ModelCard, ModelCard]
    """Draft, target."""
    calibration: CalibrationCard | None
    """None where the strategy hands nothing over by a rate."""
    settings: dict[str, Any]
    dataset: str = ""
    fingerprint: str = ""
    """Of the data set."""


class RunPaused(Event, frozen=True, kw_only=True, tag=True):
    """No new request leaves until the run is resumed; requests under way finish."""


class RunResumed(Event, frozen=True, kw_only=True, tag=True):
    """Requests leave again."""


class RunFinished(Event, frozen=True, kw_only=True, tag=True):
    """Last event of an engine; judgements may follow (`AnswerJudged`)."""

    end: RunEnd
    message: str = ""


class ProblemAdded(Event, frozen=True, kw_only=True, tag=True):
    """A problem joined the pool."""

    problem: int
    id: str
    question: str
    gold: str | None = None
    family: str = ""
    grading: Literal["exact", "math", "choice"] = "exact"
    """How its answers are compared with the gold answer."""
    repeats: str = ""
    """The id of the problem that this one is a copy of."""


class ProblemFinished(Event, frozen=True, kw_only=True, tag=True):
    """All samples of a problem ended. `answer` is the vote's winner, None where no sample answered."""

    problem: int
    answer: str | None
    tied: bool
    correct: bool | None
    """None where no gold answer is known."""


class SampleStarted(Event, frozen=True, kw_only=True, tag=True):
    """A chain began."""

    problem: int
    sample: int


class SampleFinished(Event, frozen=True, kw_only=True, tag=True):
    """A chain ended."""

    problem: int
    sample: int
    end: SampleEnd
    answer: str | None = None
    correct: bool | None = None
    graded: str = ""
    """What reached `correct`: `spelling`, `math`, `choice`, or `fallback` where a calculation was not to be
    had and the spelling decided."""
    message: str = ""


class AnswerJudged(Event, frozen=True, kw_only=True, tag=True):
    """A language model said what it thinks of an answer (`atts runs judge`): beside our own verdict."""

    problem: int
    sample: int
    judge: str
    """Its name."""
    url: str
    """Without credentials."""
    sees: Sees
    verdict: Opinion
    extracted: str | None = None
    """The answer that it read in the chain, where it saw one."""
    message: str = ""
    """Why nothing that can be used came back; empty where the verdict is its own."""
    seconds: float = 0.0
    """Of its request, retries included; samples of equal answers share one."""


class StageQueued(Event, frozen=True, kw_only=True, tag=True):
    """A stage is ready but its server is at its concurrency limit. Not sent where it starts at once."""

    problem: int
    sample: int
    turn: int
    stage: Stage
    for_round: bool = False
    """It waits not for a place but for the other samples of its round (`sync`)."""


class DraftStarted(Event, frozen=True, kw_only=True, tag=True):
    """The draft's request left."""

    problem: int
    sample: int
    turn: int


class TokensStreamed(Event, frozen=True, kw_only=True, tag=True):
    """Text arrived. Neighbours of the same stage may be merged into one; nothing else ever is."""

    problem: int
    sample: int
    turn: int
    role: Role
    text: str
    tokens: int
    retracted: int = 0
    """Characters to remove from the end of the text so far before `text` is appended: a server may take back
    the beginning of a stop string."""


class DraftFinished(Event, frozen=True, kw_only=True, tag=True):
    """The draft's step is complete; `text` is the whole of it."""

    problem: int
    sample: int
    turn: int
    text: str
    tokens: int
    ended: bool
    """The model ended its text (end-of-text token), rather than a step or a token limit."""
    seconds: float
    first_token_seconds: float
    ids: tuple[int, ...] = ()
    """The step's token ids, end-of-text left out: what a resumed run goes on from."""


class VerificationStarted(Event, frozen=True, kw_only=True, tag=True):
    """The scoring request left for the target."""

    problem: int
    sample: int
    turn: int
    tokens: int
    """Length of the step in tokens of the target."""


class VerdictReached(Event, frozen=True, kw_only=True, tag=True):
    """The step was ranked against the calibration scores and decided on."""

    problem: int
    sample: int
    turn: int
    verdict: Verdict
    ppl: float | None
    """exp(−mean log-probability) of the draft's step under the target; None where unverifiable."""
    p: float | None
    """The p-value; under the `reference` rule the authors' percentile."""
    alpha: float
    threshold: float | None
    """The PPL above which a step is taken over; None where no PPL would be (or all would be)."""
    mode: str
    rule: str
    size: int
    """Number of calibration scores ranked against; with a `rank`, of scores in the round."""
    u: float | None = None
    """The random number of a smoothed p-value."""
    rank: int | None = None
    """Place among the scores of its round, 1 for the highest PPL (`sync`, which has no p-values)."""
    rating: int | None = None
    """The target's own rating of the step, 0 to 9 (`spec-reason`, which has neither PPL nor p-value)."""
    least_rating: int | None = None
    """The rating from which a step is accepted, where it has a `rating`."""
    again: bool = False
    """Where it is not accepted the draft tries again, rather than the target taking over (`self-reject`)."""
    tokens: int
    seconds: float


class TakeOverStarted(Event, frozen=True, kw_only=True, tag=True):
    """The target's writing request left. With `rewrite` the draft's step is discarded."""

    problem: int
    sample: int
    turn: int
    variant: Variant


class TakeOverFinished(Event, frozen=True, kw_only=True, tag=True):
    """The target's step is complete; `text` is the whole of it."""

    problem: int
    sample: int
    turn: int
    text: str
    tokens: int
    ended: bool
    seconds: float
    first_token_seconds: float
    ids: tuple[int, ...] = ()
    """The step's token ids, end-of-text left out: what a resumed run goes on from."""


class AttemptKept(Event, frozen=True, kw_only=True, tag=True):
    """All of a turn's drafts were rejected, and this one is kept (`self-reject`)."""

    problem: int
    sample: int
    turn: int
    attempt: int
    """Which of the turn's drafts, from 0."""


class AnswerFound(Event, frozen=True, kw_only=True, tag=True):
    """The text of a chain holds a final answer."""

    problem: int
    sample: int
    turn: int
    role: Role
    answer: str


class VoteChanged(Event, frozen=True, kw_only=True, tag=True):
    """The tally of a problem's answers, most votes first."""

    problem: int
    tally: tuple[tuple[str, int], ...]
    voted: int
    """Samples that ended with an answer."""
    ended: int
    """Samples that ended, with an answer or without."""


class ScoreCollected(Event, frozen=True, kw_only=True, tag=True):
    """Before a run without a calibration of its own: one first step of one problem was scored."""

    ppl: float | None
    draft_tokens: int
    verified_tokens: int
    collected: int
    """Scores so far, this one included."""
    total: int


class RequestRetried(Event, frozen=True, kw_only=True, tag=True):
    """A request failed in a way that may pass, and will be sent again."""

    problem: int
    sample: int
    stage: Stage
    attempt: int
    delay: float
    """Seconds until it is sent again."""
    message: str


class DriftDetected(Event, frozen=True, kw_only=True, tag=True):
    """Calibration and run are not exchangeable: the take-over rate is not what the calibration promises."""

    message: str
    direction: Literal["higher", "lower", "different"]
    """Of the run's first steps' PPL against the calibration's."""
    evidence: float
    """Decimal logarithm of the test martingale."""
    decisions: int
    """Verdicts reached until then."""
    false_alarm: float
    """At most this share of exchangeable runs ever raise it."""


class ServerLost(Event, frozen=True, kw_only=True, tag=True):
    """A server stopped answering."""

    role: Role
    message: str
    url: str = ""
    """Which of the role's servers; empty in runs of before there could be several."""


class ServerFound(Event, frozen=True, kw_only=True, tag=True):
    """A lost server answers again."""

    role: Role
    url: str = ""
    """As in `ServerLost`."""


class ServerRead(Event, frozen=True, kw_only=True, tag=True):
    """Metrics of one server."""

    role: Role
    reading: ServerReading
    url: str = ""
    """As in `ServerLost`."""
    router: str = ""
    """URL of the router that this server is behind; empty where the run speaks to it itself."""


class GpusRead(Event, frozen=True, kw_only=True, tag=True):
    """One look at the GPUs of one machine; `unavailable` says why there is none."""

    gpus: tuple[GpuReading, ...]
    unavailable: str = ""
    source: str = ""
    """URL of the page that was read, without credentials; empty: this machine's own driver."""
    kind: str = ""
    """What read them: `NVML`, `dcgm-exporter`, `nvitop-exporter`."""
    roles: tuple[Role, ...] = ()
    """Whose servers are on that machine, where the user said it."""


class Warned(Event, frozen=True, kw_only=True, tag=True):
    """Something a user should know that does not stop the run."""

    message: str


AnyEvent = (
    RunStarted
    | RunPaused
    | RunResumed
    | RunFinished
    | ProblemAdded
    | ProblemFinished
    | SampleStarted
    | SampleFinished
    | AnswerJudged
    | StageQueued
    | DraftStarted
    | TokensStreamed
    | DraftFinished
    | VerificationStarted
    | VerdictReached
    | TakeOverStarted
    | TakeOverFinished
    | AttemptKept
    | AnswerFound
    | VoteChanged
    | ScoreCollected
    | RequestRetried
    | DriftDetected
    | ServerLost
    | ServerFound
    | ServerRead
    | GpusRead
    | Warned
)


class Stamped(msgspec.Struct, frozen=True, gc=False):
    """An event with its place in the run."""

    seq: int
    """Counts from 1 without gaps as published; merging text leaves gaps."""
    at: float
    """Seconds since the run began, monotonic."""
    event: AnyEvent


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Stamped)


def encode(stamped: Stamped) -> bytes:
    """One JSON line without its newline: `{"seq": …, "at": …, "event": {"type": …, …}}`."""
    return _encoder.encode(stamped)


def decode(line: bytes | str) -> Stamped:
    """The inverse of `encode`. Raises `msgspec.ValidationError` or `msgspec.DecodeError` on foreign input."""
    return _decoder.decode(line)


def merge_tokens(stamps: Iterable[Stamped]) -> list[Stamped]:
    """The same events with less text in flight: folds to the same state, but for when text appeared.

    Deltas of one stage become one, placed where the last of them stood; deltas of a stage whose whole text
    follows (`DraftFinished`, `TakeOverFinished`) become one as well, so that token counts stay exact. All
    other events keep their place and order.
    """
    merged: dict[tuple[int, int, int, Role], Stamped] = {}
    order: dict[int, Stamped] = {}
    for stamped in stamps:
        event = stamped.event
        if not isinstance(event, TokensStreamed):
            if isinstance(event, DraftStarted | TakeOverStarted):  # perhaps another one of the same turn
                role: Role = "draft" if isinstance(event, DraftStarted) else "target"
                merged.pop((event.problem, event.sample, event.turn, role), None)
            order[stamped.seq] = stamped
            continue
        key = (event.problem, event.sample, event.turn, event.role)
        earlier = merged.get(key)
        if earlier is not None:
            del order[earlier.seq]
            stamped = Stamped(stamped.seq, stamped.at, _joined(earlier.event, event))  # noqa: PLW2901
        merged[key] = order[stamped.seq] = stamped
    return list(order.values())


def _joined(first: AnyEvent, second: TokensStreamed) -> TokensStreamed:
    assert isinstance(first, TokensStreamed)  # noqa: S101  # only these are kept under a key
    kept = len(first.text) - second.retracted
    return msgspec.structs.replace(
        second,
        text=first.text[: max(kept, 0)] + second.text,
        tokens=first.tokens + second.tokens,
        retracted=first.retracted + max(-kept, 0),
    )
