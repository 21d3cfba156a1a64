"""What the home screen offers: runs with what Enter does to them, and things to try. No widgets in here."""

import time
from collections.abc import Callable

from atts_core.percent import percent
from atts_core.runs.manage import RunInfo
from atts_tui.home.choices import Choice, Command
from atts_tui.text import clean_line, shorten
from atts_tui.view import View
from atts_tui.widgets.rows import Row

ALIVE = ("running", "paused", "stalled")
STATUS_CELLS, AGE_CELLS = 14, 7
"""The longest status is `interrupted`, with its sign before it and a space behind."""
STOPPED = ("gone", "interrupted", "incomplete", "failed")


def run_choice(info: RunInfo) -> Choice:
    """A run: watched while it is alive, else replayed, or gone on with where it stopped."""
    command: Command = ("watch" if info.status in ALIVE else "replay", info.path)
    resumes: Command = ()
    kind = info.about.command if info.about is not None else ""
    if info.status in STOPPED and kind in ("solve", "demo", "eval"):
        resumes = (kind, "--resume", info.path)
    return Choice(info.run, _run_row(info), command, resumes)


def _run_row(info: RunInfo) -> Callable[[View, int], Row]:
    def draw(view: View, width: int) -> Row:
        palette, glyphs, summary = view.palette, view.glyphs, info.summary
        sign, style = {
            "running": (glyphs.live, palette.right),
            "paused": (glyphs.paused, palette.warning),
            "stalled": (glyphs.lost, palette.warning),
            "done": (glyphs.right, palette.accept[2]),
            "gone": (glyphs.lost, palette.error),
            "failed": (glyphs.wrong, palette.error),
            "unreadable": (glyphs.wrong, palette.error),
        }.get(info.status, (glyphs.separator, palette.warning))
        status = shorten(f"{sign} {info.status}", STATUS_CELLS - 1).ljust(STATUS_CELLS)
        when = age(summary.started_at or (info.about.created if info.about is not None else 0.0))
        if info.status == "unreadable":
            tail = clean_line(info.trouble)
        else:
            kind = info.about.command if info.about is not None else "run"
            data = f" {info.about.dataset}" if info.about is not None and kind == "eval" else ""
            parts = [f"{kind}{data} {summary.problems_finished}/{summary.problems}"]
            if summary.majority is not None:
                parts.append(f"{percent(summary.majority)} right")
            if summary.takeover_rate is not None:
                parts.append(f"{percent(summary.takeover_rate)} taken over")
            tail = ", ".join(parts)
        room = width - STATUS_CELLS - AGE_CELLS
        return (
            (status, style),
            (when.ljust(AGE_CELLS), palette.muted),
            (shorten(clean_line(tail), max(room, 1), glyphs.more), palette.text),
        )

    return draw


def age(began: float) -> str:
    """How long ago something was, in a few letters."""
    if began <= 0:
        return ""
    seconds = max(time.time() - began, 0.0)
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "now"


TRIES = (
    ("demo", "five problems, to follow"),
    ("demo --explain", "told to an audience"),
    ("demo --pace 0", "as fast as it goes"),
    ("eval builtin --limit 30", "thirty problems"),
    ("demo --takeover-rate 0.1", "few take-overs"),
)
"""Command lines, and what each shows; both fit into the narrowest pane that stands beside the runs."""


def tries() -> list[Choice]:
    """Things to try, each an ordinary command."""
    return [Choice(said, _try_row(said, what), tuple(said.split())) for said, what in TRIES]


def _try_row(said: str, what: str) -> Callable[[View, int], Row]:
    def draw(view: View, width: int) -> Row:
        room = width - len(what) - 2
        command = shorten(f"atts {said}", room, view.glyphs.more) if room > 8 else ""
        return ((f"{what}  ", view.palette.text), (command, view.palette.muted))

    return draw
