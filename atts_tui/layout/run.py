"""Where the panes of the Run screen go."""

from atts_tui.layout.frame import Rect

LOOK_ROWS = 8
SCORE_ROWS = 9


def arrange_run(body: Rect, *, compact: bool) -> dict[str, Rect]:
    """The table above; below it what the run came to, and what needs a look."""
    width = body.width
    if compact:
        score = 4 if body.height >= 16 else 3
        look = 4 if body.height >= 16 else 0
        table = body.height - score - look
        panes = {
            "table": Rect(0, body.y + score, width, table),
            "scores": Rect(0, body.y, width, score),
        }
        if look:
            panes["looks"] = Rect(0, body.y + score + table, width, look)
        return panes
    looks = LOOK_ROWS + max((body.height - 36) // 4, 0)
    table = body.height - SCORE_ROWS - looks
    top = body.y + table
    scores = max(min(width * 2 // 5, 60), 44)
    shares = (width - scores) // 2
    return {
        "table": Rect(0, body.y, width, table),
        "scores": Rect(0, top, scores, SCORE_ROWS),
        "shares": Rect(scores, top, shares, SCORE_ROWS),
        "rates": Rect(scores + shares, top, width - scores - shares, SCORE_ROWS),
        "looks": Rect(0, top + SCORE_ROWS, width, looks),
    }
