"""The footer: keys by importance, as many as fit; a click on one presses it."""

from collections.abc import Hashable

from rich.style import Style
from textual.geometry import Size

from atts_tui.actions import footer_actions
from atts_tui.view import View
from atts_tui.widgets.rows import Part, Row, Rows


class KeyBar(Rows):
    """One line, made of the registry of actions."""

    DEFAULT_CSS = """
    KeyBar { padding: 0 1; background: $panel; }
    """

    def key(self, view: View) -> Hashable:
        """Changes with what the keys would do now."""
        state = view.state
        playing = view.player.playing if view.player is not None else None
        several, unfinished = len(state.problems) > 1, state.finished is None
        return (view.frozen, state.paused, view.follow, several, unfinished, playing)

    def build(self, view: View, size: Size) -> list[Row]:
        """The least important keys are left out first."""
        width = size.width
        entries = self._entries(view)
        kept = sorted(range(len(entries)), key=lambda place: entries[place][3])
        while kept and sum(len(entries[k][0]) + len(entries[k][1]) + 3 for k in kept) - 2 > width:
            kept.pop()
        palette = view.palette
        parts: list[Part] = []
        for place in sorted(kept):
            shown, label, call, _ = entries[place]
            click = Style.from_meta({"@click": f"app.{call}"}) if call else Style()
            if parts:
                parts.append(("  ", palette.muted))
            parts += [
                (shown, palette.accent + Style(bold=True) + click),
                (f" {label}", palette.muted + click),
            ]
        return [tuple(parts)]

    def _entries(self, view: View) -> list[tuple[str, str, str, int]]:
        """How written, what it does, the action, and the place by importance."""
        glyphs = view.glyphs
        entries = [(glyphs.up_down, "sample", "", 5)]
        if len(view.state.problems) > 1:
            entries.append((glyphs.left_right, "problem", "", 6))
        words = {
            "freeze": "unfreeze" if view.frozen else "freeze",
            "pause": "resume run" if view.state.paused else "pause run",
            "follow": "stop following" if view.follow else "follow",
        }
        replay = view.player is not None
        if view.player is not None and view.player.playing:
            words["play"] = "hold"
        ended = view.state.finished is not None and not view.frozen and not replay
        over = {"pause", "follow", "freeze"} if ended else ()
        entries += [
            (action.shown, words.get(action.id, action.label), action.call, action.footer)
            for action in footer_actions(replay=replay)
            if action.id not in over
        ]
        return entries
