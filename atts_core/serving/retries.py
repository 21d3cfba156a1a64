"""When a failed request is sent again, and after how long."""

import random
from collections.abc import Callable

import msgspec


class Retries(msgspec.Struct, frozen=True, kw_only=True):
    """Exponential backoff with jitter: a delay lies between half and all of its longest.

    That is `first` before the second attempt, and doubles up to `most`.
    """

    attempts: int = 4
    """Times a request is sent, the first included; at least 1."""
    first: float = 1.0
    """Seconds."""
    most: float = 20.0
    """Seconds."""

    def delay(self, attempt: int, draw: Callable[[], float] = random.random) -> float:
        """Seconds before attempt `attempt` + 1, where the first attempt is 1."""
        return (1 + draw()) / 2 * min(self.most, self.first * 2.0 ** min(attempt - 1, 60))
