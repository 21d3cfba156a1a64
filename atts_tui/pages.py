"""The screens there are, in the order of their keys; each is imported when it is first opened."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Page:
    """One screen over a run."""

    id: str
    title: str
    screen: str
    """Module and class, as `pkgutil.resolve_name` takes them."""
    key: str = ""
    """The digit that opens it; empty for a page that is reached from another by Enter."""
    rows: str = ""
    """What the arrows select there, in one word for the footer."""
    about: Literal["problem", "run"] = "run"
    """Whether the status bar names the problem looked at, or counts those of the run."""
    help: str = ""
    """What is seen there, for the help screen and the palette."""


PAGES: tuple[Page, ...] = (
    Page(
        "solve", "Solve", "atts_tui.screens.solve:SolveScreen", "1", rows="sample", about="problem",
        help="One problem: its samples turn by turn, their text, every decision, and the vote.",
    ),
    Page(
        "run", "Run", "atts_tui.screens.run:RunOverview", "2", rows="problem",
        help=(
            "All problems: their state, what they came to, which need a look. The time left is that of "
            "the turns still expected (from how often samples went on after each turn so far) at the pace "
            "of the last ten minutes; its range is wide where little is known yet."
        ),
    ),
    Page(
        "sample", "Sample", "atts_tui.screens.sample:SampleScreen", rows="line", about="problem",
        help=(
            "Every step of one sample: who wrote it, how long that took, what was decided and why, "
            "and its text."
        ),
    ),
    Page(
        "calibration", "Calibration", "atts_tui.screens.calibration:CalibrationScreen", "3",
        help="What the threshold promises, what came of it, drift, whether PPL carries signal; and what"
        " another alpha would have decided.",
    ),
    Page(
        "pipeline", "Pipeline", "atts_tui.screens.pipeline:PipelineScreen", "4", rows="sample",
        about="problem",
        help="What every sample did when, how full the servers were, and what a barrier per turn would cost.",
    ),
    Page(
        "machines", "Machines", "atts_tui.screens.machines:MachinesScreen", "5",
        help="GPUs, KV cache, requests and rates of every server, and memory against samples running.",
    ),
    Page(
        "log", "Log", "atts_tui.screens.log:LogScreen", "6", rows="line",
        help="What happened, line by line: verdicts, answers, warnings. Enter goes to the sample of a line.",
    ),
    Page(
        "compare", "Compare", "atts_tui.screens.compare:CompareScreen",
        help="One problem in two runs on one time axis, and how the runs differ over all common problems.",
    ),
)  # fmt: skip

FIRST = "solve"

HOME = Page(
    "home", "Home", "atts_tui.home.screen:HomeScreen", rows="choose",
    help="Type a problem, watch or replay a run, or try something. Every run comes back to this screen.",
)  # fmt: skip
"""No page of a run; the screen of `atts` without a command."""


def page(id: str) -> Page:  # noqa: A002
    """The page of that id. Raises `KeyError` where there is none."""
    return next((found for found in (*PAGES, HOME) if found.id == id), None) or _unknown(id)


def _unknown(name: str) -> Page:
    raise KeyError(name)


def tabs() -> list[Page]:
    """Pages that have a key of their own."""
    return [found for found in PAGES if found.key]
