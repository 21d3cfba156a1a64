"""When a failed request is sent again, and after how long."""

import random
from collections.abc import Callable

import msgspec

from atts_core.serving.errors import ServerBusy, ServerError, ServerTimeout, ServerUnreachable


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


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """A request failed and will be sent again."""

    attempt: int
    """The attempt to come, from 2."""
    delay: float
    """Seconds until then."""
    error: ServerError


def safe_to_repeat(error: ServerError, *, repeatable: bool) -> bool:
    """Whether the same request may be sent again after `error`.

    Where the server cannot have begun (no connection, 503) always; else only a `repeatable` request: greedy,
    seeded on a server that honours seeds, or scoring, whose answer does not depend on how often it was asked.
    """
    if not error.retryable:
        return False
    if isinstance(error, ServerTimeout) and error.kind == "connect":
        return True
    return repeatable or isinstance(error, ServerUnreachable | ServerBusy)
