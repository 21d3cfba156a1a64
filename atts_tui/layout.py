"""Where each pane goes, as a pure function of the terminal's size: rectangles, no widgets."""

from typing import Literal, NamedTuple

Pane = Literal[
    "status", "question", "lanes", "text", "vote", "chart", "rates", "servers", "transport", "keys"
]

PLAIN_BELOW_COLUMNS = 60
PLAIN_BELOW_ROWS = 14
COMPACT_BELOW_COLUMNS = 100
COMPACT_BELOW_ROWS = 30

MAXIMISABLE: tuple[Pane, ...] = ("lanes", "text", "vote", "chart", "rates")


class Rect(NamedTuple):
    """Cells from the top left corner."""

    x: int
    y: int
    width: int
    height: int


class Arrangement(NamedTuple):
    """Rectangles of the panes that are shown; `plain` shows none of them but a list."""

    plain: bool
    compact: bool
    panes: dict[Pane, Rect]


def arrange(
    width: int,
    height: int,
    samples: int,
    question: int = 2,
    maximised: Pane | None = None,
    *,
    transport: bool = False,
) -> Arrangement:
    """Lay out a terminal of `width` x `height` cells for a problem of so many samples.

    `question` is how many lines its text would fill; `transport`: a recorded run is replayed.
    """
    if width < PLAIN_BELOW_COLUMNS or height < PLAIN_BELOW_ROWS:
        return Arrangement(True, True, {})
    compact = is_compact(width, height)
    head = 1 if compact else 2
    question = max(min(question, question_room(width, height)), 1)
    servers = 0 if compact else 1
    panes: dict[Pane, Rect] = {
        "status": Rect(0, 0, width, head),
        "question": Rect(0, head, width, question),
        "keys": Rect(0, height - 1, width, 1),
    }
    foot = 1
    if transport:
        foot += 1
        panes["transport"] = Rect(0, height - foot, width, 1)
    if servers:
        foot += 1
        panes["servers"] = Rect(0, height - foot, width, 1)
    top = head + question
    room = height - top - foot
    if maximised is not None:
        panes[maximised] = Rect(0, top, width, room)
    elif compact:
        panes.update(_compact(width, top, room, samples))
    else:
        panes.update(_full(width, top, room, samples))
    return Arrangement(False, compact, panes)


def is_compact(width: int, height: int) -> bool:
    """Whether panes go without frames and the rarely needed are left out."""
    return width < COMPACT_BELOW_COLUMNS or height < COMPACT_BELOW_ROWS


def question_room(width: int, height: int) -> int:
    """Lines that the text of a problem may fill at most."""
    if is_compact(width, height):
        return 1 if height < 22 else 2
    return 2 if height < 38 else 3 if height < 46 else 5


def _compact(width: int, top: int, room: int, samples: int) -> dict[Pane, Rect]:
    """Lanes and a narrow column beside them, the text below both."""
    lanes = max(min(samples + 1, room - 3), 5)
    text = Rect(0, top + lanes, width, room - lanes)
    if width < 72:
        vote = 4 if lanes > 10 else 0
        panes: dict[Pane, Rect] = {"lanes": Rect(0, top, width, lanes - vote), "text": text}
        if vote:
            panes["vote"] = Rect(0, top + lanes - vote, width, vote)
        return panes
    side = min(max(width * 2 // 5, 32), width - 46)
    left = width - side - 1
    vote = 6 if lanes >= 14 else 4
    panes = {"lanes": Rect(0, top, left, lanes), "text": text}
    if lanes - vote >= 5:
        panes["vote"] = Rect(left + 1, top, side, vote)
        panes["chart"] = Rect(left + 1, top + vote, side, lanes - vote)
    else:
        panes["chart"] = Rect(left + 1, top, side, lanes)
    return panes


def _full(width: int, top: int, room: int, samples: int) -> dict[Pane, Rect]:
    """Two columns: lanes over text, and vote over both charts."""
    left = min(max(width * 63 // 100, 60), 124)
    side = width - left
    lanes = max(min(samples + 5, room - 9, room * 5 // 8), 8)
    vote = 8 if room >= 28 else 6
    rates = min(max(room // 4, 7), 12)
    return {
        "lanes": Rect(0, top, left, lanes),
        "text": Rect(0, top + lanes, left, room - lanes),
        "vote": Rect(left, top, side, vote),
        "chart": Rect(left, top + vote, side, room - vote - rates),
        "rates": Rect(left, top + room - rates, side, rates),
    }
