"""The footer: which screen this is among all, then keys by importance, as many as fit."""

from collections.abc import Hashable
from typing import NamedTuple

from rich.style import Style
from textual.geometry import Size

from atts_tui.actions import Bound
from atts_tui.pages import HOME, page, tabs
from atts_tui.view import View
from atts_tui.widgets.log_lines import Unread
from atts_tui.widgets.rows import Part, Row, Rows

NAMED_FROM = 110
"""Columns from which all tabs say their name; below, only the one that is open."""


class Entry(NamedTuple):
    """One key of the footer."""

    shown: str
    label: str
    call: str
    place: int


class KeyBar(Rows):
    """One line, made of the registries of pages and actions."""

    DEFAULT_CSS = """
    KeyBar { padding: 0 1; background: $panel; }
    """

    def __init__(self, shown: str, actions: list[Bound], *, id: str | None = None) -> None:  # noqa: A002
        """`shown` is the page it stands on, `actions` all that can be done there."""
        super().__init__(id=id)
        self._page = page(shown)
        self._unread = Unread()
        self._actions = [bound for bound in actions if bound.action.footer and bound.keys]

    def key(self, view: View) -> Hashable:
        """Changes with what the keys would do now."""
        state = view.state
        playing = view.player.playing if view.player is not None else None
        news = self._unread.count(view)
        several, unfinished = len(state.problems) > 1, state.finished is None
        return (view.frozen, state.paused, view.follow, several, unfinished, playing, news)

    def build(self, view: View, size: Size) -> list[Row]:
        """The least important keys are left out first."""
        palette, width = view.palette, size.width
        parts = self._tabs(view, named=width >= NAMED_FROM)
        left = width - sum(len(text) for text, _ in parts)
        entries = self._entries(view)
        kept = sorted(range(len(entries)), key=lambda place: entries[place].place)
        while kept and sum(len(entries[k].shown) + len(entries[k].label) + 3 for k in kept) - 2 > left:
            kept.pop()
        first = len(parts)
        for place in sorted(kept):
            shown, label, call, _ = entries[place]
            click = Style.from_meta({"@click": call}) if call else Style()
            if len(parts) > first:
                parts.append(("  ", palette.muted))
            parts += [
                (shown, palette.accent + Style(bold=True) + click),
                (f" {label}", palette.muted + click),
            ]
        return [tuple(parts)]

    def _tabs(self, view: View, *, named: bool) -> list[Part]:
        palette, parts = view.palette, list[Part]()
        if self._page is HOME:
            return parts
        for tab in tabs():
            click = Style.from_meta({"@click": f"app.page('{tab.id}')"})
            if tab is self._page:
                parts += [(f" {tab.key} {tab.title} ", palette.brand), (" ", palette.muted)]
            else:
                parts.append((f"{tab.key} ", palette.accent + Style(bold=True) + click))
                if named:
                    parts.append((f"{tab.title}  ", palette.muted + click))
                if tab.id == "log" and (news := self._unread.count(view)):
                    parts.append((f"{news}{view.glyphs.lost} ", palette.warning))
        return [*parts, (f"{view.glyphs.axis_vertical} ", palette.faint)]

    def _entries(self, view: View) -> list[Entry]:
        """How written, what it does, the action, and the place by importance."""
        glyphs = view.glyphs
        entries = [Entry(glyphs.up_down, self._page.rows, "", 5)] if self._page.rows else []
        if self._page.about == "problem" and len(view.state.problems) > 1:
            entries.append(Entry(glyphs.left_right, "problem", "", 6))
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
            Entry(shown, words.get(action.id, action.label), action.call, action.footer)
            for action, _, shown in self._actions
            if action.id not in over
        ]
        return entries
