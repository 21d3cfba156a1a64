"""A record of the authors' programs as the events of one sample: its steps, in order, with times.

Their files hold texts, perplexities and percentiles, and one duration a sample. Times within it are shared
out by the length of the text. All published variants are read: "small"/"eval_ppl"/"eval_generate", the self
variants, attempts that were rejected and drawn again, forks, and bare strings.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from atts_core import events as ev
from atts_core.conformal.pvalues import is_score
from atts_core.runs.reference import ASYNC, SELF, Names

VERIFYING = 0.1
"""Share of the time of writing a step that scoring it takes: one pass instead of one for each token."""
LONGEST = 1e7
"""Seconds of one sample; a longer duration is a mistake and counts as this."""


@dataclass(slots=True)
class Step:
    """A text that was written, and what was decided on it."""

    turn: int
    role: ev.Role
    text: str
    verdict: ev.Verdict | None = None
    ppl: float | None = None
    p: float | None = None


@dataclass(slots=True)
class Chain:
    """One sample."""

    names: Names = ASYNC
    kind: Literal["async", "self", "reject"] = "async"
    steps: list[Step] = field(default_factory=list)
    forks: list[tuple[int, int]] = field(default_factory=list)
    """Turn after which the history was replaced by another sample's, and that sample's `problem_index`."""
    unknown: int = 0
    """Entries of a kind that nobody knows."""

    @property
    def turns(self) -> int:
        """Turns begun."""
        return self.steps[-1].turn + 1 if self.steps else 0


def read_chain(record: dict[str, Any], alpha: float) -> Chain:
    """The steps of one record; entries that make no sense are counted and passed over."""
    chain = Chain()
    recorded: object = None
    for entry in record["full_history"]:
        if isinstance(entry, str):
            if chain.steps or entry != record.get("question"):
                chain.steps.append(Step(chain.turns, "draft", clean(entry)))
        elif not isinstance(entry, dict) or not _take(chain, entry, recorded, alpha):
            chain.unknown += 1
        else:
            recorded = entry.get("turn")
    _keep_the_best_attempt_last(chain)
    return chain


def _take(chain: Chain, entry: dict[str, Any], recorded: object, alpha: float) -> bool:
    """Put one entry into the chain; `recorded` is the turn of the one before. False: it makes no sense."""
    model, text = entry.get("model"), entry.get("output")
    if entry.get("event") == "fork" and isinstance(entry.get("forked_from"), int):
        chain.forks.append((chain.turns, entry["forked_from"]))
    elif model in ("small", "draft") and isinstance(text, str):
        again = "accepted" in entry and entry.get("turn") == recorded and bool(chain.steps)
        chain.steps.append(Step(chain.turns - again, "draft", clean(text)))
        if model == "draft":
            chain.names = SELF
            chain.kind = "reject" if "accepted" in entry else "self"
        if "accepted" in entry and entry.get("accepted_reason") != "answer_found":  # those were never scored
            _judge(chain.steps[-1], entry, taken=not entry["accepted"])
    elif model in ("eval_ppl", "self_ppl") and chain.steps:
        should, p = entry.get("should_takeover"), entry.get("percentile")
        over = isinstance(p, int | float) and p >= alpha
        _judge(chain.steps[-1], entry, taken=bool(should) if should is not None else over)
    elif model in ("eval_generate", "self_continue") and isinstance(text, str) and chain.steps:
        if chain.steps[-1].verdict == "accept":
            chain.steps[-1].verdict = "take-over"  # what was done counts, not what the rule says
        chain.steps.append(Step(chain.steps[-1].turn, "target", clean(text)))
    else:
        return False
    return True


def chain_events(
    chain: Chain, problem: int, sample: int, seconds: float, alpha: float
) -> Iterator[tuple[float, ev.AnyEvent]]:
    """The chain's events from its first draft to its last step, each with seconds since the sample began."""
    weights = [1 + len(step.text) * (1 + (VERIFYING if step.verdict else 0)) for step in chain.steps]
    unit = seconds / sum(weights) if weights else 0.0
    at = 0.0
    for step, weight in zip(chain.steps, weights, strict=True):
        here: dict[str, Any] = {"problem": problem, "sample": sample, "turn": step.turn}
        end = at + weight * unit
        verifying = len(step.text) * VERIFYING * unit if step.verdict else 0.0
        written = end - verifying
        done: dict[str, Any] = {
            **here,
            "text": step.text,
            "tokens": 0,
            "ended": not step.text,
            "seconds": written - at,
            "first_token_seconds": 0.0,
        }
        if step.role == "draft":
            yield at, ev.DraftStarted(**here)
            yield written, ev.DraftFinished(**done)
        else:
            yield at, ev.TakeOverStarted(**here, variant="continue")
            yield written, ev.TakeOverFinished(**done)
        if step.verdict is not None:
            yield written, ev.VerificationStarted(**here, tokens=0)
            yield (
                end,
                ev.VerdictReached(
                    **here,
                    verdict=step.verdict,
                    ppl=step.ppl,
                    p=step.p,
                    alpha=alpha,
                    threshold=None,
                    mode="marginal",
                    rule="reference",
                    size=0,
                    tokens=0,
                    seconds=verifying,
                ),
            )
        at = end


def duration(record: dict[str, Any]) -> float:
    """Seconds that a sample took; 0 where the record does not say."""
    seconds = record.get("duration_seconds")
    if not isinstance(seconds, int | float) or not 0 <= seconds < float("inf"):
        return 0.0
    return min(float(seconds), LONGEST)


def clean(text: str) -> str:
    """The text as it can be encoded: half characters that JSON can hold become replacement marks."""
    return text.encode("utf-8", "replace").decode()


def _judge(step: Step, entry: dict[str, Any], *, taken: bool) -> None:
    ppl, p = entry.get("ppl"), entry.get("percentile")
    # A PPL of 0 is how they record that the server returned no log-probabilities.
    if not isinstance(ppl, int | float) or not is_score(float(ppl)):
        step.verdict = "unverifiable"
        return
    step.verdict, step.ppl = ("take-over" if taken else "accept"), float(ppl)
    step.p = float(p) if isinstance(p, int | float) and 0 <= p <= 1 else None


def _keep_the_best_attempt_last(chain: Chain) -> None:
    """Where all attempts of a turn were rejected they kept that of lowest PPL; ours keeps the last."""
    if chain.kind != "reject":
        return
    ordered: list[Step] = []
    for turn in range(chain.turns):
        attempts = [step for step in chain.steps if step.turn == turn]
        if all(step.verdict == "take-over" for step in attempts):
            best = min(attempts, key=lambda step: step.ppl or float("inf"))
            attempts.remove(best)
            attempts.append(best)
        ordered += attempts
    chain.steps = ordered
