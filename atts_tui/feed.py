"""From the source to the state, a slice a frame: freezing keeps all, catching up never blocks a key."""

from collections import deque

from atts_core.events import Stamped
from atts_core.state import RunState
from atts_tui.control import Source

FOLD_AT_MOST = 4000
"""Events folded in one frame: about 25 ms of work, so that keys answer while a long run is caught up with."""


class Feed:
    """What came and what of it the state already holds."""

    def __init__(self, source: Source, state: RunState) -> None:
        self.source = source
        self.state = state
        self.frozen = False
        self._held: deque[Stamped] = deque()

    @property
    def waiting(self) -> int:
        """Events that came and are not shown yet."""
        return len(self._held) + len(self.source)

    def hold(self, batch: list[Stamped]) -> None:
        """Take a batch that somebody else drained from the source."""
        self._held.extend(batch)

    def restart(self, state: RunState) -> None:
        """Fold on from another state; what was held belongs to the one before."""
        self.state = state
        self._held.clear()

    def advance(self) -> int:
        """Fold what waits, at most `FOLD_AT_MOST` events; returns how many. Folds nothing while frozen.

        While frozen the events wait, here or with the source, which merges text in flight; none is dropped.
        """
        if self.frozen:
            return 0
        held = self._held
        if len(held) < FOLD_AT_MOST and len(self.source):
            held.extend(self.source.drain())
        count = min(len(held), FOLD_AT_MOST)
        for _ in range(count):
            self.state.apply(held.popleft())
        return count

    def remaining(self) -> list[Stamped]:
        """Take everything that came and was not folded."""
        held = [*self._held, *self.source.drain()]
        self._held.clear()
        return held
