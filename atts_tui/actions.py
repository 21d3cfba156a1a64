"""The one registry of what a person can do: key bindings, footer, help screen and palette are made of it.

Imports no screen, so that a key map can be read and checked before one opens.
"""

from dataclasses import dataclass
from typing import Literal

Group = Literal["Look", "Run", "Replay", "Take away", "Screen"]
GROUPS: tuple[Group, ...] = ("Look", "Run", "Replay", "Take away", "Screen")


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do. `id` names the app's `action_…` method and the entry of a user's key map."""

    id: str
    keys: tuple[str, ...]
    """As Textual names them, the first being the one that is shown."""
    shown: str
    """How the key is written in the footer and on the help screen."""
    label: str
    """One or two words for the footer."""
    help: str
    """One sentence for the help screen and the palette."""
    group: Group
    footer: int = 0
    """Place in the footer by importance, 1 first to stay; 0 is not shown there."""
    action: str = ""
    """The action string where it is not the id."""

    @property
    def call(self) -> str:
        """The action string that Textual runs."""
        return self.action or self.id

    @property
    def bindings(self) -> list[tuple[str, str]]:
        """Keys, joined as Textual wants them, and what they call; digits seek each to its own place."""
        if self.id == "seek":
            return [(key, f"seek({int(key) * 10})") for key in self.keys]
        return [(",".join(self.keys), self.call)]


ACTIONS: tuple[Action, ...] = (
    Action("previous_sample", ("up", "k"), "↑ k", "", "Select the sample above.", "Look"),
    Action("next_sample", ("down", "j"), "↓ j", "", "Select the sample below.", "Look"),
    Action("previous_problem", ("left",), "←", "", "Show the previous problem of the run.", "Look"),
    Action("next_problem", ("right",), "→", "", "Show the next problem of the run.", "Look"),
    Action(
        "follow", ("f",), "f", "follow",
        "Follow the newest take-over, or stop following; selecting a sample stops it as well.", "Look", 5,
    ),
    Action("sort", ("s",), "s", "sort", "Change the order of the samples.", "Look", 7),
    Action(
        "maximise", ("m",), "m", "maximise", "Show the focused pane alone, or all of them again.", "Look", 8,
    ),
    Action("next_pane", ("tab",), "tab", "pane", "Focus the next pane (arrows then scroll it).", "Look", 12),
    Action("previous_pane", ("shift+tab",), "shift tab", "", "Focus the pane before.", "Look"),
    Action("text_up", ("pageup",), "page up", "", "Scroll the text up.", "Look"),
    Action("text_down", ("pagedown",), "page down", "", "Scroll the text down.", "Look"),
    Action("text_start", ("home",), "home", "", "Go to the beginning of the text.", "Look"),
    Action("text_end", ("end",), "end", "", "Go to the end of the text, and follow it as it grows.", "Look"),
    Action(
        "freeze", ("space",), "space", "freeze",
        "Freeze the display; the run goes on, nothing is lost, and the status says how much waits.",
        "Look", 3,
    ),
    Action(
        "pause", ("p",), "p", "pause run",
        "Pause the run, or let it go on: requests under way finish, no new ones leave.", "Run", 4,
    ),
    Action(
        "stop_sample", ("x",), "x", "",
        "End the selected sample before its next request; asks first.", "Run",
    ),
    Action(
        "retry_sample", ("r",), "r", "",
        "Let the selected sample, if it failed, go on from its last finished step; asks first.", "Run",
    ),
    Action("stop_run", ("X",), "X", "", "End the run; asks first. What is finished is kept.", "Run"),
    Action("play", ("space",), "space", "play", "Play, or hold.", "Replay", 3, "freeze"),
    Action("slower", ("left_square_bracket",), "[", "slower", "Play more slowly.", "Replay", 6,
           "replay('slower')"),
    Action("faster", ("right_square_bracket",), "]", "faster", "Play faster, up to 64 times.", "Replay", 5,
           "replay('faster')"),
    Action("step_back", ("comma",), ",", "back", "Hold just after the verdict before.", "Replay", 8,
           "replay('previous_verdict')"),
    Action("step", ("full_stop",), ".", "step", "Hold just after the next verdict.", "Replay", 7,
           "replay('next_verdict')"),
    Action(
        "next_take_over", ("n",), "n", "next take-over", "Hold just after the next take-over.", "Replay", 4,
        "replay('next_take_over')",
    ),
    Action("back_5", ("less_than_sign",), "<", "", "Go back 5 seconds.", "Replay", 0, "skip(-5)"),
    Action("forward_5", ("greater_than_sign",), ">", "", "Go forward 5 seconds.", "Replay", 0, "skip(5)"),
    Action(
        "seek", tuple("0123456789"), "0 to 9", "", "Go to the beginning, 10 %, 20 % … 90 %.", "Replay",
    ),
    Action("loop", ("l",), "l", "", "Begin again at the end, or no longer.", "Replay"),
    Action(
        "calibration", ("c",), "c", "calibration",
        "What the threshold promises, what came of it so far, drift, and whether PPL carries signal.",
        "Look", 6,
    ),
    Action(
        "copy", ("y",), "y", "copy", "Copy the text of the selected sample to the clipboard.", "Take away", 9,
    ),
    Action(
        "export", ("e",), "e", "picture", "Save a picture of this screen as an SVG file.", "Take away", 10,
    ),
    Action("theme", ("t",), "t", "theme", "Change to the next theme.", "Screen", 11),
    Action("palette", ("ctrl+p",), "ctrl p", "", "Find anything that can be done by typing.", "Screen",
           action="command_palette"),
    Action("help", ("question_mark", "f1"), "?", "help", "Explain this screen and its keys.", "Screen", 2),
    Action(
        "leave", ("q", "ctrl+c", "ctrl+q"), "q", "quit", "Quit; asks first while the run is unfinished.",
        "Screen", 1,
    ),
)  # fmt: skip


ONLY_LIVE = ("freeze", "pause", "stop_sample", "retry_sample", "stop_run")
"""Actions that a replay has none of: its own keys do what is left of them."""


def actions_of(*, replay: bool) -> list[Action]:
    """What can be done on a screen that replays a recorded run, or on one that shows a run as it goes."""
    if replay:
        return [action for action in ACTIONS if action.id not in ONLY_LIVE]
    return [action for action in ACTIONS if action.group != "Replay"]


def footer_actions(*, replay: bool) -> list[Action]:
    """Actions of the footer, in the order of the registry."""
    return [action for action in actions_of(replay=replay) if action.footer]
