"""A run told to an audience: the screen holds at the moments that matter and says what happens there.

The narrator stands between the source of events and the screen. It lets events pass at the pace at which they
happened, and after one that matters it lets none pass for a few seconds while its caption is read. The run
itself never waits: what comes meanwhile is shown afterwards, at the same pace.
"""

import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Literal

from atts_core import events as ev
from atts_core.percent import percent
from atts_core.runs.player import Player
from atts_tui.control import Source
from atts_tui.words import explain

Moment = Literal["start", "draft", "check", "accept", "take-over", "answer", "decided", "end"]

HOLD_SECONDS = 7.0
"""How long a caption stands before the screen goes on: two sentences are read aloud in about that."""


@dataclass(frozen=True, slots=True)
class Caption:
    """What is said at one moment."""

    moment: Moment
    headline: str
    body: str
    sample: int | None = None
    """Of the run's first problem."""


class Narrator:
    """A source of events that holds after each moment that matters.

    `player` is given where the source is a replay's player: it is then the player that holds.
    """

    def __init__(
        self,
        source: Source,
        *,
        player: Player | None = None,
        hold: float = HOLD_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.caption: Caption | None = None
        """What is being said now, or was said last."""
        self._source = source
        self._player = player
        self._hold = hold
        self._clock = clock
        self._story = Story()
        self._epoch = player.epoch if player is not None else 0
        self._waiting: deque[ev.Stamped] = deque()
        self._lag: float | None = None
        """Clock minus run time of what is shown; grows by each hold."""
        self._held_at = 0.0
        self._holds_until: float | None = None

    def __len__(self) -> int:
        """Events that were not let pass yet; one more while holding, so that nobody takes it for silence."""
        return len(self._waiting) + len(self._source) + self.holding

    @property
    def holding(self) -> bool:
        """Whether the screen stands still for a caption."""
        return self._holds_until is not None

    def go_on(self) -> None:
        """Hold no longer: the caption has been read."""
        if self._holds_until is not None:
            self._holds_until = self._clock()

    def drain(self) -> list[ev.Stamped]:
        """Events whose time has come, up to the next moment that matters."""
        now = self._clock()
        if self._player is not None and self._player.epoch != self._epoch:
            self._jumped(self._player)
        if self._holds_until is not None:
            if now < self._holds_until:
                return []
            if self._lag is not None:
                self._lag += self._holds_until - self._held_at
            self._holds_until = None
            if self._player is not None:
                self._player.play()
        self._waiting.extend(self._source.drain())
        passed: list[ev.Stamped] = []
        while self._waiting and self._due(self._waiting[0], now):
            stamped = self._waiting.popleft()
            passed.append(stamped)
            caption = self._story.after(stamped.event)
            if caption is not None:
                self._say(caption, now)
                break
        return passed

    async def batches(self) -> AsyncIterator[list[ev.Stamped]]:
        """Wakes the screen when events come; they pass by `drain` alone, so every batch is empty."""
        async for batch in self._source.batches():
            self._waiting.extend(batch)
            yield []

    def _jumped(self, player: Player) -> None:
        """A replay stands at another moment; before the first verdict the story begins again."""
        self._epoch, self._holds_until = player.epoch, None
        self._waiting.clear()
        if player.state.overall.decisions == 0:
            self._story, self.caption = Story(player.state.run), None

    def _due(self, stamped: ev.Stamped, now: float) -> bool:
        if self._player is not None:  # it has kept time already
            return True
        if self._lag is None:
            self._lag = now - stamped.at
        return stamped.at <= now - self._lag

    def _say(self, caption: Caption, now: float) -> None:
        self.caption = caption
        self._held_at, self._holds_until = now, now + self._hold
        if self._player is not None:
            self._player.pause()


class Story:
    """Says of each event whether it is a moment that matters, once each, and what there is to say.

    It tells of the run's first problem; the others go by.
    """

    def __init__(self, run: ev.RunStarted | None = None) -> None:
        """`run`: its first event, where that has gone by already."""
        self._told: set[Moment] = set()
        self._samples = run.samples if run is not None else 0
        self._takeover = run.takeover if run is not None else ""
        self._tokens = {"draft": 0, "target": 0}

    def after(self, event: ev.AnyEvent) -> Caption | None:
        """The caption of this event, where it is the first of its kind."""
        match event:
            case ev.RunStarted():
                self._samples, self._takeover = event.samples, event.takeover
            case ev.DraftFinished():
                self._tokens["draft"] += event.tokens
            case ev.TakeOverFinished():
                self._tokens["target"] += event.tokens
        caption = self._end() if isinstance(event, ev.RunFinished) else None
        if getattr(event, "problem", None) == 0:
            caption = self._of_problem(event)
        if caption is None or caption.moment in self._told:
            return None
        self._told.add(caption.moment)
        return caption

    def _of_problem(self, event: ev.AnyEvent) -> Caption | None:
        caption: Caption | None = None
        if "start" not in self._told:
            return Caption(
                "start",
                f"One problem, {self._samples} samples",
                "Each row is one chain of reasoning about the same problem. All of them run at once, and "
                "none waits for another.",
            )
        match event:
            case ev.DraftFinished():
                caption = Caption(
                    "draft",
                    "A small, fast model drafts each step",
                    "It writes a step of the reasoning: cheap, and often right.",
                    event.sample,
                )
            case ev.VerificationStarted():
                caption = Caption(
                    "check",
                    "A large model checks it",
                    "It reads the step once and says how surprising it is (PPL). It writes nothing: to read "
                    f"these {event.tokens} tokens is far cheaper than to write them.",
                    event.sample,
                )
            case ev.VerdictReached():
                caption = self._verdict(event)
            case ev.AnswerFound():
                caption = Caption(
                    "answer",
                    f"Sample {event.sample + 1} has its answer: {event.answer}",
                    "It votes for it and is done. The others go on; nobody waited.",
                    event.sample,
                )
            case ev.VoteChanged():
                caption = self._vote(event)
        return caption

    def _verdict(self, event: ev.VerdictReached) -> Caption:
        if event.verdict == "accept":
            return Caption("accept", f"Sample {event.sample + 1}: accepted", explain(event), event.sample)
        rewrites = self._takeover == "rewrite"
        what = "It writes the step anew." if rewrites else "It goes on where the draft stopped."
        meant = percent(1 - event.alpha)
        return Caption(
            "take-over",
            f"Sample {event.sample + 1}: the large model takes over",
            f"{explain(event)} {what} About {meant} of all steps are to be taken over.",
            event.sample,
        )

    def _vote(self, event: ev.VoteChanged) -> Caption | None:
        """The vote is decided once no other answer can catch up."""
        left = self._samples - event.ended
        counts = [count for _, count in event.tally]
        second = counts[1] if len(counts) > 1 else 0
        if not counts or counts[0] <= second + left:
            return None
        rest = f"whatever the other {left} say" if left else "and all have ended"
        return Caption(
            "decided",
            f"The vote is decided: {event.tally[0][0]}",
            f"{counts[0]} of {event.ended} samples say so, {rest}.",
        )

    def _end(self) -> Caption:
        written = sum(self._tokens.values())
        share = percent(self._tokens["target"] / written) if written else "none"
        return Caption(
            "end",
            "That was the run",
            f"The large model wrote {share} of the text, only where it was needed; the small one the rest.",
        )
