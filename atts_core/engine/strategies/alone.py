"""One model writes everything: what the other one costs and brings is seen against these.

Turns, step limits and stop strings are those of the other strategies, and so are the seeds: the first step of
`draft-only` is the first draft of `atts`.
"""

from atts_core import events as ev
from atts_core.engine.requests import Context
from atts_core.engine.sample import Sample
from atts_core.engine.strategies.strategy import Independent


class DraftOnly(Independent):
    """Every step is the draft's, and none is verified."""

    def __init__(self, _: Context) -> None:
        pass

    async def turn(self, sample: Sample) -> ev.SampleEnd | None:
        step = await sample.draft()
        sample.chain.append_draft(step, sample.chain.for_target(step))
        if sample.answers(sample.chain.text, "draft"):
            return "answered"
        return "end-of-text" if step.ended else None


class TargetOnly(Independent):
    """Every step is the target's, without a draft before it."""

    def __init__(self, _: Context) -> None:
        pass

    async def turn(self, sample: Sample) -> ev.SampleEnd | None:
        step = await sample.take_over(sample.chain.target_ids, "continue")
        sample.chain.append_target(step)
        if sample.answers(sample.chain.text, "target"):
            return "answered"
        return "end-of-text" if step.ended else None
