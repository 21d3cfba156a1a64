"""One model drafts, scores its own step, and draws one that surprises it again.

A rejected step is discarded. After `attempts` rejected ones the one of lowest PPL stays, as in the authors'
programs; their variants that copy another sample's history are not offered. As there, a step that holds the
final answer is kept unscored.
"""

import math

from atts_core import events as ev
from atts_core.engine.requests import Context
from atts_core.engine.sample import Sample
from atts_core.engine.strategies.strategy import Independent


class SelfReject(Independent):
    """The pair holds one model twice; its target only scores."""

    def __init__(self, context: Context) -> None:
        self._attempts = context.settings.attempts

    async def turn(self, sample: Sample) -> ev.SampleEnd | None:
        chain = sample.chain
        rejected = []
        for attempt in range(self._attempts):
            draft = await sample.draft(attempt=attempt)
            if sample.answers(chain.text + draft.text, "draft"):
                break
            verdict = await sample.verify(draft, again=True)
            if verdict.verdict == "accept":
                break
            rejected.append((math.inf if verdict.ppl is None else verdict.ppl, attempt, draft))
        else:
            _, kept, draft = min(rejected, key=lambda one: one[:2])
            sample.keep(kept)
        chain.append_draft(draft, chain.for_target(draft))
        if sample.answer is not None:
            return "answered"
        return "end-of-text" if draft.ended else None
