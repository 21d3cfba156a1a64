"""How a screen looks and makes itself heard: what options and `atts.toml` say of it."""

import argparse
import os
from typing import TypedDict

from atts_core import config
from atts_tui.actions import KeyMap
from atts_tui.keymap import read_keymap

DEFAULT_FPS = 10
_TEXTUAL_NAMES = {"16": "standard", "256": "256", "truecolor": "truecolor"}


class Look(TypedDict, total=False):
    """What every screen is made with."""

    theme: str | None
    fps: int
    ascii_only: bool
    keymap: KeyMap
    bell: bool
    """The terminal's bell sounds on an error, a stall, drift, and the end."""
    home: bool
    """Whether leaving comes back to the home screen."""
    window_title: bool
    """The terminal's title says how far the run is."""


def look(layers: config.Layers, arguments: argparse.Namespace | None = None) -> Look:
    """The look that all layers of settings give. Sets what Textual reads when it is imported.

    Raises:
        SettingsError: a key map that cannot be.
    """
    given = layers.given()
    if given.color in _TEXTUAL_NAMES:
        os.environ["TEXTUAL_COLOR_SYSTEM"] = _TEXTUAL_NAMES[given.color]
    elif given.color == "none":
        os.environ["NO_COLOR"] = "1"
    return Look(
        theme=given.theme,
        fps=given.fps or DEFAULT_FPS,
        ascii_only=bool(given.ascii),
        keymap=read_keymap(given.keys or {}, layers.origin("keys").removesuffix(" =")),
        bell=bool(given.bell),
        window_title=bool(given.title),
        home=getattr(arguments, "from_home", False),
    )


def look_of(arguments: argparse.Namespace) -> Look:
    """The look of a command that makes no run.

    Raises:
        SettingsError: a setting that cannot be.
    """
    names = ("theme", "fps", "ascii", "color", "bell", "title")
    given = config.Given(**{name: getattr(arguments, name, None) for name in names})
    return look(config.load(given), arguments)
