"""What a strategy is: a turn, made of the stages of `engine.sample.Sample`."""

from importlib import import_module
from typing import Protocol

from atts_core import events as ev
from atts_core.engine.requests import Context
from atts_core.engine.sample import Sample
from atts_core.engine.strategies.registry import STRATEGIES
from atts_core.runs.resume import RunProgress


class Strategy(Protocol):
    """How samples come about. One object a run; `turn` is called for many samples at once.

    A turn must be a function of what its stages give and of the settings: then a run can stop and go on
    anywhere, because a stage that is finished gives again what it gave.
    """

    def restore(self, progress: RunProgress) -> None:
        """Called before the first turn of a run that goes on."""

    def joins(self, sample: Sample) -> None:
        """Called before the sample's first turn, and again where a failed one is retried."""

    async def turn(self, sample: Sample) -> ev.SampleEnd | None:
        """One turn of one sample: how it ended there, or None where it goes on with the next turn."""

    def leaves(self, sample: Sample) -> None:
        """Called when the sample ended, however."""


class Independent:
    """The part of a strategy whose samples know nothing of each other."""

    def restore(self, progress: RunProgress) -> None:
        """Nothing to know."""

    def joins(self, sample: Sample) -> None:
        """Nobody minds."""

    def leaves(self, sample: Sample) -> None:
        """Nobody minds."""


def make(context: Context) -> Strategy:
    """The strategy that the settings name."""
    module, _, name = STRATEGIES[context.settings.strategy].made_by.partition(":")
    made: Strategy = getattr(import_module(module), name)(context)
    return made
