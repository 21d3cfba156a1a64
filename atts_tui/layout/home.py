"""Where the panes of the home screen go."""

from atts_tui.layout.frame import Rect

FRAMED = ("prompt", "runs", "tries", "servers")
WIDE_FROM = 100


def arrange_home(body: Rect, tries: int, servers: int, *, compact: bool) -> dict[str, Rect]:
    """The prompt above; below it the runs, and beside or under them so many things to try, and servers."""
    edge = 1 if compact else 2
    prompt = 3 + edge
    top, room = body.y + prompt, body.height - prompt
    panes = {"prompt": Rect(body.x, body.y, body.width, prompt)}
    if body.width >= WIDE_FROM:
        side = min(max(body.width * 9 // 20, 46), 72)
        left = body.width - side
        below = min(max(room - tries - edge, 0), servers + edge)
        below = below if below > edge else 0
        panes["runs"] = Rect(0, top, left, room)
        panes["tries"] = Rect(left, top, side, room - below)
        if below:
            panes["servers"] = Rect(left, top + room - below, side, below)
        return panes
    low = min(tries + edge, room // 2)
    below = servers + edge if room - low - servers - edge >= 6 else 0
    panes["runs"] = Rect(0, top, body.width, room - low - below)
    panes["tries"] = Rect(0, top + room - low - below, body.width, low)
    if below:
        panes["servers"] = Rect(0, top + room - below, body.width, below)
    return panes
