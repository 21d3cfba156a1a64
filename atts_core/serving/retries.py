"""When a failed request is sent again, and after how long."""

import random
from collections.abc import Callable

import msgspec


class Retries(msgspec.Struct, frozen=True, kw_only=True):
    """Exponential backoff with full jitter: the n-th delay is drawn from 0 to `first`·2ⁿ, at most `most`."""

    attempts: int = 4
    """Times a request is sent, the first included; at least 1."""
    first: float = 0.5
    """Seconds."""
    most: float = 10.0
    """Seconds."""

    def delay(self, attempt: int, draw: Callable[[], float] = random.random) -> float:
        """Seconds before attempt `attempt` + 1, where the first attempt is 1."""
        return draw() * min(self.most, self.first * 2.0 ** min(attempt, 60))
