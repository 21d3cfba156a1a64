"""A user's own keys: the `[keys]` table of `atts.toml`, checked against the registry of actions.

[keys]
follow = "F"
sort = ["s", "ctrl+s"]
theme = ""             # no key at all
"""

import unicodedata
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from atts_core.errors import SettingsError
from atts_tui.actions import ACTIONS, ALWAYS_QUIT, KeyMap, written
from atts_tui.pages import PAGES

_NAMED = {
    "up", "down", "left", "right", "home", "end", "pageup", "pagedown", "enter", "escape", "space", "tab",
    "backspace", "delete", "insert", *(f"f{number}" for number in range(1, 25)),
}  # fmt: skip
_MODIFIERS = {"ctrl", "shift", "alt"}
_OTHERWISE = {
    "solidus": "slash", "reverse_solidus": "backslash", "commercial_at": "at", "hyphen_minus": "minus",
    "plus_sign": "plus", "low_line": "underscore",
}  # fmt: skip
"""Characters that Textual calls otherwise than Unicode does."""


def read_keymap(table: Mapping[str, str | Sequence[str]], place: str) -> KeyMap:
    """The key map of a `[keys]` table; `place` says where that stands, for messages.

    Raises:
        SettingsError: an action or a key that does not exist, or one key for two actions of a page.
    """
    known = {action.id for action in ACTIONS}
    own: dict[str, tuple[str, ...]] = {}
    for name, given in table.items():
        if name not in known:
            near = get_close_matches(name, known, n=1)
            meant = f"; is {near[0]} meant?" if near else "; the palette (ctrl p) and ? show what there is."
            raise SettingsError(f"{place}.{name}: there is no such action{meant}")
        keys = [given] if isinstance(given, str) else given
        own[name] = tuple(_key(key, f"{place}.{name}") for key in keys if key)
    keymap = KeyMap(own)
    _refuse_clashes(keymap, place)
    return keymap


def _key(said: str, place: str) -> str:
    """A key as Textual names it."""
    *modifiers, key = said.split("+") if len(said) > 1 else [said]
    if len(key) == 1 and not key.isspace():
        name = key if key.isalnum() else unicodedata.name(key, "").lower().replace("-", "_").replace(" ", "_")
        key = _OTHERWISE.get(name, name)
    elif key not in _NAMED:
        key = ""
    if not key or not set(modifiers) <= _MODIFIERS:
        raise SettingsError(
            f"{place} = {said!r}: there is no such key; write a character, or a name such as space, "
            "enter or f5, or ctrl+ and one of them."
        )
    found = "+".join([*modifiers, key])
    if found in ALWAYS_QUIT.split(","):
        raise SettingsError(f"{place} = {said!r}: this key always quits; choose another one.")
    return found


def _refuse_clashes(keymap: KeyMap, place: str) -> None:
    for page in PAGES:
        for replay in (False, True):
            taken: dict[str, str] = {}
            for bound in keymap.actions_of(page.id, replay=replay):
                for key in bound.keys:
                    other = taken.setdefault(key, bound.action.id)
                    if other != bound.action.id:
                        name, holder = (
                            (bound.action.id, other)
                            if bound.action.id in keymap.own
                            else (other, bound.action.id)
                        )
                        said = f"{place}.{name} = {written([key])!r}: on {page.title} that is the key of"
                        raise SettingsError(f"{said} {holder} as well; give one of them another.")
