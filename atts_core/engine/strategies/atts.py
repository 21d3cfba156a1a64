"""Asynchronous Test-Time Scaling: draft → verify → (take over), and no sample waits for another.

The method of arXiv 2509.15148: the target scores the draft's step, the score is ranked against calibration
scores, and p > alpha hands over. With `continue` the step stays and the target goes on after it, as the
authors' programs do; with `rewrite` it is discarded and the target writes it.
"""

from atts_core import events as ev
from atts_core.engine.chain import Written
from atts_core.engine.requests import Context
from atts_core.engine.sample import Sample
from atts_core.engine.strategies.strategy import Independent


class Atts(Independent):
    """Judges each step on its own, by the run's decider."""

    def __init__(self, context: Context) -> None:
        self._variant = context.settings.takeover

    async def turn(self, sample: Sample) -> ev.SampleEnd | None:
        chain, rewrite = sample.chain, self._variant == "rewrite"
        draft = await sample.draft()
        # A kept step that already answers ends the sample: whatever the target thinks of it, it would go on
        # after the answer. A step that can still be discarded is verified first.
        if not rewrite and sample.answers(chain.text + draft.text, "draft"):
            chain.append_draft(draft, chain.for_target(draft))
            return "answered"
        target = None
        accepted = await self.judge(sample, draft) == "accept"
        if not accepted:
            kept = [] if rewrite else chain.for_target(draft)
            target = await sample.take_over([*chain.target_ids, *kept], self._variant)
        if accepted or not rewrite:
            chain.append_draft(draft, chain.for_target(draft))
        if target is not None:
            chain.append_target(target)
        if sample.answers(chain.text, "target" if target else "draft"):
            return "answered"
        return "end-of-text" if (target or draft).ended else None

    async def judge(self, sample: Sample, draft: Written) -> ev.Verdict:
        """The verdict on a draft's step."""
        return (await sample.verify(draft)).verdict
