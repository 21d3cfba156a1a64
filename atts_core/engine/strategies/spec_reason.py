"""SpecReason: the target rates every step of the draft, and writes anew what it rates low.

After Pan et al., "SpecReason: Fast and Accurate Inference-Time Compute via Speculative Reasoning"
(arXiv 2504.07891), in our own words and prompts. Steps are paragraphs.

The same: the draft writes one step; the target is asked in a turn of the user's for one digit from 0 to 9 on
that step alone, after an opening of its answer that leaves room for nothing else, one greedy token (their
score method `greedy`; no digit counts as 0); from `min_rating` (theirs: 7) the step is kept, else it is
discarded and the target writes it; two equal steps in a row end the chain.

Different: no text is put between steps and none is removed (they glue by blank lines, and delete a "</think>"
without an answer); limits are our turns, step lengths and the context (theirs: 8,192 tokens); an empty step
is not rated, the target writes; the target's first-steps option and the rating averaged over digits are not
offered; and samples run in one pool, where theirs run one after another.
"""

from atts_core import events as ev
from atts_core.engine.chain import Written
from atts_core.engine.prompts import RATING_OPENING, RATING_REQUEST, messages
from atts_core.engine.requests import Context
from atts_core.engine.sample import Sample
from atts_core.engine.strategies.strategy import Independent
from atts_core.serving.tokenizers import Tokenizer

_MARK = "The reasoning so far."


class SpecReason(Independent):
    """Judges by ratings, without PPL."""

    def __init__(self, context: Context) -> None:
        self._least = context.settings.min_rating
        self._request = rating_request(context.pair.target.tokenizer, instruct=context.settings.instruct)

    async def turn(self, sample: Sample) -> ev.SampleEnd | None:
        chain = sample.chain
        draft = step = await sample.draft()
        verdict = sample.verdict() or await self._rate(sample, draft)
        repeated = False
        if verdict.verdict == "accept":
            repeated = chain.repeats(step)
            chain.append_draft(draft, chain.for_target(draft))
        else:
            step = await sample.take_over(chain.target_ids, "rewrite")
            repeated = chain.repeats(step)
            chain.append_target(step)
        if sample.answers(chain.text, "draft" if step is draft else "target"):
            return "answered"
        return "end-of-text" if step.ended or repeated else None

    async def _rate(self, sample: Sample, draft: Written) -> ev.VerdictReached:
        rating, tokens, seconds = None, 0, 0.0
        if draft.text.strip():
            said, tokens, seconds = await sample.rate(draft, self._request)
            rating = digit(said)
        kept: ev.Verdict = "accept" if rating is not None and rating >= self._least else "take-over"
        verdict = ev.VerdictReached(
            problem=sample.problem,
            sample=sample.sample,
            turn=sample.turn,
            verdict="unverifiable" if rating is None else kept,
            ppl=None,
            p=None,
            alpha=0.0,
            threshold=None,
            mode="",
            rule="rating",
            size=0,
            rating=rating,
            least_rating=None if rating is None else self._least,
            tokens=tokens,
            seconds=seconds,
        )
        sample.judged(verdict)
        return verdict


def digit(said: str) -> int:
    """The rating in an answer of one token: its first sign where that is a digit, else 0."""
    first = said.strip()[:1]
    return int(first) if first in set("0123456789") else 0


def rating_request(tokenizer: Tokenizer, *, instruct: bool) -> list[int]:
    """What follows a step where the target is asked to rate it: the end of its own turn, the user's turn, and
    the opening of the answer, as the model's chat template writes them.

    A template that changes what the assistant said leaves no trace of where its turn ends; the request then
    follows in the assistant's own turn.
    """
    conversation = [
        *messages("?", instruct=instruct),
        {"role": "assistant", "content": _MARK},
        {"role": "user", "content": RATING_REQUEST},
    ]
    ids, mark = tokenizer.render(conversation), tokenizer.encode(_MARK)
    places = [n for n in range(len(ids) - len(mark), -1, -1) if ids[n : n + len(mark)] == mark]
    asked = ids[places[0] + len(mark) :] if places else tokenizer.encode(f"\n\n{RATING_REQUEST}\n")
    return [*asked, *tokenizer.encode(RATING_OPENING)]
