"""The transport of a replay: where it is, how fast, and the keys that move it."""

from collections.abc import Hashable

from textual import events
from textual.geometry import Size
from textual.message import Message

from atts_tui import words
from atts_tui.view import View
from atts_tui.widgets.rows import Part, Row, Rows

SMALLEST_TRACK = 8


class TransportBar(Rows):
    """One line above the footer, there only while a recorded run is replayed."""

    DEFAULT_CSS = """
    TransportBar { padding: 0 1; background: $panel; }
    """

    class Sought(Message):
        """The track was clicked at this share of the run, in percent."""

        def __init__(self, percent: float) -> None:
            super().__init__()
            self.percent = percent

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._track = (0, 0)
        """First cell of the track, and how many it has."""

    def on_click(self, event: events.Click) -> None:
        """A click on the track goes there."""
        start, cells = self._track
        place = event.x - self.styles.padding.left - start
        if cells > 1 and 0 <= place < cells:
            self.post_message(self.Sought(100 * place / (cells - 1)))

    def key(self, view: View) -> Hashable:
        """Changes ten times a second at most while it plays, and not at all while it stands."""
        player = view.player
        if player is None:
            return None
        return (round(player.at, 1), player.duration, player.playing, player.speed, player.loop)

    def build(self, view: View, size: Size) -> list[Row]:
        """State, clock, track, speed."""
        player, palette, glyphs = view.player, view.palette, view.glyphs
        if player is None:
            return []
        state = glyphs.playing if player.playing else glyphs.standing
        clock = f" {words.clock(player.at)} / {words.clock(player.duration)} "
        speed = f" {player.speed:g}x" + ("  loop" if player.loop else "")
        track = size.width - len(state) - len(clock) - len(speed) - 1
        parts: list[Part] = [(state, palette.accent), (clock, palette.text)]
        self._track = (len(state) + len(clock), track if track >= SMALLEST_TRACK else 0)
        if track >= SMALLEST_TRACK:
            done = round(player.at / player.duration * (track - 1)) if player.duration else 0
            parts += [
                (glyphs.bar_rest * done, palette.accent),
                (glyphs.handle, palette.accent),
                (glyphs.bar_rest * (track - 1 - done), palette.faint),
            ]
        parts.append((speed, palette.strong))
        return [tuple(parts)]
