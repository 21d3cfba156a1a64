"""Where the panes of the Solve screen go."""

from atts_tui.layout.frame import Rect

FRAMED = ("lanes", "text", "vote", "chart", "rates")


def arrange_solve(body: Rect, samples: int, question: int = 2, *, compact: bool) -> dict[str, Rect]:
    """Divide the body for a problem of so many samples; `question`: lines that its text would fill."""
    width = body.width
    question = max(min(question, question_room(body.height, compact=compact)), 1)
    panes = {"question": Rect(0, body.y, width, question)}
    top, room = body.y + question, body.height - question
    if compact:
        return panes | _compact(width, top, room, samples)
    panes["servers"] = Rect(0, body.y + body.height - 1, width, 1)
    return panes | _full(width, top, room - 1, samples)


def question_room(height: int, *, compact: bool) -> int:
    """Lines of a body that the text of a problem may fill at most."""
    if compact:
        return 1 if height < 19 else 2
    return 2 if height < 35 else 3 if height < 43 else 5


def _compact(width: int, top: int, room: int, samples: int) -> dict[str, Rect]:
    """Lanes and a narrow column beside them, the text below both."""
    lanes = max(min(samples + 1, room - 3), 5)
    text = Rect(0, top + lanes, width, room - lanes)
    if width < 72:
        vote = 4 if lanes > 10 else 0
        panes: dict[str, Rect] = {"lanes": Rect(0, top, width, lanes - vote), "text": text}
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


def _full(width: int, top: int, room: int, samples: int) -> dict[str, Rect]:
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
