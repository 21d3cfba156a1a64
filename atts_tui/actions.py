"""The one registry of what a person can do: key bindings, footer, help screen and palette are made of it.

Imports no screen, so that a key map can be read and checked before one opens.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from atts_tui.pages import HOME, PAGES

Group = Literal["Screens", "Look", "Run", "Replay", "Take away", "Screen"]
GROUPS: tuple[Group, ...] = ("Screens", "Look", "Run", "Replay", "Take away", "Screen")


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do. An action of all pages is a method `action_<id>` of the app, one of some pages of each
    of their screens; `call` says where it is another one. `id` is also the entry of a user's key map."""

    id: str
    keys: tuple[str, ...]
    """As Textual names them."""
    shown: str
    """How the keys are written in the footer and on the help screen."""
    label: str
    """One or two words for the footer."""
    help: str
    """One sentence for the help screen and the palette."""
    group: Group
    footer: int = 0
    """Place in the footer by importance, 1 first to stay; 0 is not shown there."""
    pages: tuple[str, ...] = ()
    """Where it can be done; empty: everywhere."""
    when: Literal["always", "live", "replay"] = "always"
    """Only on a screen that shows a run as it goes, or only in a replay, whose keys go before the others."""
    instead: str = ""
    """The action string where it is not the method of the id."""

    @property
    def call(self) -> str:
        """The action string that Textual runs."""
        return self.instead or (f"screen.{self.id}" if self.pages else f"app.{self.id}")


OPENING = tuple(
    Action(f"page_{page.id}", (page.key,), page.key, page.title, page.help, "Screens",
           instead=f"app.page('{page.id}')")
    for page in PAGES
    if page.key
)  # fmt: skip

ABOUT_PANES = ("back", "next_pane", "previous_pane", "page_up", "page_down", "start", "end")
"""Of the actions of every run's screen those that the home screen has as well."""

LISTS = ("solve", "run", "pipeline", "log", "home", "sample")
"""Pages with rows to select."""

ACTIONS: tuple[Action, ...] = (
    *OPENING,
    Action("up", ("up", "k"), "↑ k", "", "Select the row above.", "Look", pages=LISTS),
    Action("down", ("down", "j"), "↓ j", "", "Select the row below.", "Look", pages=LISTS),
    Action("back", ("escape",), "esc", "back", "Back to where this was opened from; takes notes away.",
           "Look"),
    Action("previous_problem", ("left",), "←", "", "Show the previous problem of the run.", "Look",
           pages=("solve", "pipeline", "compare")),
    Action("next_problem", ("right",), "→", "", "Show the next problem of the run.", "Look",
           pages=("solve", "pipeline", "compare")),
    Action("zoom_in", ("plus", "equals_sign"), "+", "zoom", "Show half the time in the same room.", "Look", 5,
           ("pipeline", "compare")),
    Action("zoom_out", ("minus",), "−", "", "Show twice the time in the same room.", "Look",
           pages=("pipeline", "compare")),
    Action("earlier", ("shift+left", "H"), "shift ←", "", "Look at what was a quarter of the window before.",
           "Look", pages=("pipeline", "compare")),
    Action("later", ("shift+right", "L"), "shift →", "", "Look at what came a quarter of the window after.",
           "Look", pages=("pipeline", "compare")),
    Action("newest", ("f",), "f", "", "Follow what is new again.", "Look", pages=("pipeline",)),
    Action("condense", ("z",), "z", "condense", "All samples in sight, several a row, or one a row again.",
           "Look", 9, ("pipeline",)),
    Action("barrier", ("b",), "b", "barrier",
           "The same stages as if a barrier stood between turns (simulated), or as they were.", "Look", 4,
           ("pipeline",)),
    Action("alpha_down", ("left", "minus"), "← −", "alpha", "Ask about an alpha one hundredth lower.", "Look",
           4, ("calibration",)),
    Action("alpha_up", ("right", "plus", "equals_sign"), "→ +", "",
           "Ask about an alpha one hundredth higher.", "Look", pages=("calibration",)),
    Action("alpha_down_far", ("shift+left",), "shift ←", "", "Ask about an alpha a tenth lower.", "Look",
           pages=("calibration",)),
    Action("alpha_up_far", ("shift+right",), "shift →", "", "Ask about an alpha a tenth higher.", "Look",
           pages=("calibration",)),
    Action("alpha_own", ("0",), "0", "own alpha", "Back to the alpha that the run decides by.", "Look", 6,
           ("calibration",)),
    Action(
        "follow", ("f",), "f", "follow",
        "Follow the newest take-over, or stop following; selecting a sample stops it as well.", "Look", 5,
        ("solve",),
    ),
    Action("open", ("enter",), "enter", "open", "Open what is selected; esc comes back.", "Look", 4,
           ("solve", "run", "log", "home")),
    Action("demo", ("d",), "d", "demo", "Watch the embedded pair solve five problems.", "Look", 5, ("home",)),
    Action("resume", ("r",), "r", "go on", "Go on with the selected run, which stopped.", "Look", 6,
           ("home",)),
    Action("previous_row", ("left",), "←", "", "Show the sample before.", "Look", pages=("sample",)),
    Action("next_row", ("right",), "→", "", "Show the sample after.", "Look", pages=("sample",)),
    Action("next_step", ("J",), "J", "next step", "Go to the next step.", "Look", 5, ("sample",),
           instead="screen.step_to(1, False)"),
    Action("previous_step", ("K",), "K", "", "Go to the step before.", "Look", pages=("sample",),
           instead="screen.step_to(-1, False)"),
    Action("next_taken", ("n", "ctrl+n"), "n", "next take-over", "Go to the next step that the target wrote.",
           "Look", 4, ("sample",), instead="screen.step_to(1, True)"),
    Action("previous_taken", ("N",), "N", "", "Go to the step before that the target wrote.", "Look",
           pages=("sample",), instead="screen.step_to(-1, True)"),
    Action("heat_map", ("h",), "h", "heat map", "Show a cell a sample instead of a row each, or rows again.",
           "Look", 11, ("solve",)),
    Action("measure", ("u",), "u", "", "Show PPL instead of p in the chart of decisions, or p again.", "Look",
           pages=("solve",)),
    Action("raw", ("v",), "v", "source", "Show LaTeX as the models wrote it, or readable again.", "Look", 10,
           ("solve", "sample")),
    Action("filter", ("slash",), "/", "filter", "Show only rows that hold what you type.", "Look", 6,
           ("run", "log", "home")),
    Action("next_look", ("n",), "n", "next look", "Select the next problem that needs a look.", "Look", 5,
           ("run",)),
    Action("levels", ("v",), "v", "levels", "Show more lines of the log, or only graver ones.", "Look", 5,
           ("log",)),
    Action("sort", ("s",), "s", "sort", "Change the order of the rows.", "Look", 7, ("solve", "run")),
    Action("maximise", ("m",), "m", "maximise", "Show the focused pane alone, or all again.", "Look", 8),
    Action("next_pane", ("tab",), "tab", "pane", "Focus the next pane (arrows then scroll it).", "Look", 12),
    Action("previous_pane", ("shift+tab",), "shift tab", "", "Focus the pane before.", "Look"),
    Action("page_up", ("pageup",), "page up", "", "Scroll up by a page.", "Look"),
    Action("page_down", ("pagedown",), "page down", "", "Scroll down by a page.", "Look"),
    Action("start", ("home", "g"), "home g", "", "Go to the beginning.", "Look"),
    Action("end", ("end", "G"), "end G", "", "Go to the end, and follow it as it grows.", "Look"),
    Action(
        "freeze", ("space",), "space", "freeze",
        "Freeze the display; the run goes on, nothing is lost, and the status says how much waits.",
        "Look", 3, when="live",
    ),
    Action(
        "pause", ("p",), "p", "pause run",
        "Pause the run, or let it go on: requests under way finish, no new ones leave.", "Run", 4,
        when="live",
    ),
    Action(
        "stop_sample", ("x",), "x", "", "End the selected sample before its next request; asks first.", "Run",
        pages=("solve",), when="live", instead="app.stop_sample",
    ),
    Action(
        "retry_sample", ("r",), "r", "",
        "Let the selected sample, if it failed, go on from its last finished step; asks first.", "Run",
        pages=("solve",), when="live", instead="app.retry_sample",
    ),
    Action("stop_run", ("X",), "X", "", "End the run; asks first. What is finished is kept.", "Run",
           when="live"),
    Action("play", ("space",), "space", "play", "Play, or hold.", "Replay", 3, when="replay"),
    Action("slower", ("left_square_bracket",), "[", "slower", "Play more slowly.", "Replay", 6,
           when="replay", instead="app.replay('slower')"),
    Action("faster", ("right_square_bracket",), "]", "faster", "Play faster, up to 64 times.", "Replay", 5,
           when="replay", instead="app.replay('faster')"),
    Action("step_back", ("comma",), ",", "back", "Hold just after the verdict before.", "Replay", 8,
           when="replay", instead="app.replay('previous_verdict')"),
    Action("step", ("full_stop",), ".", "step", "Hold just after the next verdict.", "Replay", 7,
           when="replay", instead="app.replay('next_verdict')"),
    Action(
        "next_take_over", ("n",), "n", "next take-over", "Hold just after the next take-over.", "Replay", 4,
        when="replay", instead="app.replay('next_take_over')",
    ),
    Action("back_5", ("less_than_sign",), "<", "", "Go back 5 seconds.", "Replay",
           when="replay", instead="app.skip(-5)"),
    Action("forward_5", ("greater_than_sign",), ">", "", "Go forward 5 seconds.", "Replay",
           when="replay", instead="app.skip(5)"),
    Action("back_tenth", ("left_parenthesis",), "(", "", "Go back a tenth of the run.", "Replay",
           when="replay", instead="app.seek_by(-10)"),
    Action("forward_tenth", ("right_parenthesis",), ")", "", "Go forward a tenth of the run.", "Replay",
           when="replay", instead="app.seek_by(10)"),
    Action("replay_start", ("home",), "home", "", "Go to the beginning of the run.", "Replay",
           when="replay", instead="app.seek(0)"),
    Action("replay_end", ("end",), "end", "", "Go to the end of the run.", "Replay",
           when="replay", instead="app.seek(100)"),
    Action("loop", ("l",), "l", "", "Begin again at the end, or no longer.", "Replay", when="replay"),
    Action("copy", ("y",), "y", "copy", "Copy what is selected to the clipboard.", "Take away", 9,
           ("solve", "run", "log", "sample")),
    Action("copy_step", ("Y",), "Y", "copy step", "Copy the step at the top.", "Take away", 9, ("sample",)),
    Action(
        "export", ("e",), "e", "picture", "Save a picture of this screen as an SVG file.", "Take away", 10,
    ),
    Action("go_on", ("o",), "o", "", "Go on where a run is told and its caption has been read.", "Look"),
    Action("theme", ("t",), "t", "theme", "Change to the next theme.", "Screen", 11),
    Action("palette", ("ctrl+p",), "ctrl p", "", "Find anything that can be done by typing.", "Screen",
           instead="app.command_palette"),
    Action("help", ("question_mark", "f1"), "?", "help", "Explain this screen and its keys.", "Screen", 2),
    Action("suspend", ("ctrl+z",), "ctrl z", "",
           "Put the screen aside, `fg` brings it back; not while a run of its own goes on.", "Screen"),
    Action("leave", ("q",), "q", "quit", "Quit; asks first while the run is unfinished.", "Screen", 1),
)  # fmt: skip

ALWAYS_QUIT = "ctrl+c,ctrl+q"
"""Keys that leave whatever the key map says, also while something is being typed."""


class Bound(NamedTuple):
    """An action with the keys it has on a page."""

    action: Action
    keys: tuple[str, ...]
    shown: str


@dataclass(frozen=True, slots=True)
class KeyMap:
    """Which keys do what: those of the registry, or a user's own."""

    own: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By action id, the keys that replace those of the registry; none: it has no key."""

    def actions_of(self, page: str, *, replay: bool) -> list[Bound]:
        """What can be done on a page, by which keys. In a replay its own keys go before those of others."""
        when = {"always", "replay"} if replay else {"always", "live"}
        here = [action for action in ACTIONS if _is_on(action, page) and action.when in when]
        taken = {key for action in here if action.when == "replay" for key in self._keys(action)}
        found = []
        for action in here:
            keys = self._keys(action)
            if action.when != "replay":
                keys = tuple(key for key in keys if key not in taken)
            found.append(Bound(action, keys, action.shown if keys == action.keys else written(keys)))
        return found

    def _keys(self, action: Action) -> tuple[str, ...]:
        return self.own.get(action.id, action.keys)


def _is_on(action: Action, page: str) -> bool:
    if action.pages:
        return page in action.pages
    return page != HOME.id or action.group in ("Take away", "Screen") or action.id in ABOUT_PANES


def written(keys: Iterable[str]) -> str:
    """Keys as they are shown."""
    return " ".join(_SIGNS.get(key, key.replace("+", " ")) for key in keys)


_SIGNS = {
    "up": "↑", "down": "↓", "left": "←", "right": "→", "escape": "esc", "pageup": "page up",
    "pagedown": "page down", "question_mark": "?", "comma": ",", "full_stop": ".", "slash": "/",
    "left_square_bracket": "[", "right_square_bracket": "]", "less_than_sign": "<", "greater_than_sign": ">",
    "left_parenthesis": "(", "right_parenthesis": ")",
}  # fmt: skip
