"""What the screens need from outside: events to show, and, where they own a run, a hand on it.

A live engine, an attached run file and a replay all look the same from here.
"""

from collections.abc import AsyncIterator
from typing import Protocol

from atts_core.events import Stamped


class Source(Protocol):
    """Events in order. `atts_core.bus.Subscription` is one."""

    def __len__(self) -> int:
        """Events waiting."""
        ...

    def drain(self) -> list[Stamped]:
        """Everything that waits, oldest first; never blocks."""
        ...

    def batches(self) -> AsyncIterator[list[Stamped]]:
        """Non-empty batches as they come, until there will be no more."""
        ...


class Control(Protocol):
    """A hand on the run that the screen shows. Each call returns at once; its effect comes back as events."""

    def pause(self) -> None:
        """Send no new request until `resume`; requests under way finish."""
        ...

    def resume(self) -> None:
        """Go on after `pause`."""
        ...

    def stop(self) -> None:
        """End the run; what was finished is kept."""
        ...

    def stop_sample(self, problem: int, sample: int) -> None:
        """End one sample before its next request."""
        ...

    def retry_sample(self, problem: int, sample: int) -> None:
        """Let a failed sample go on from its last finished step."""
        ...
