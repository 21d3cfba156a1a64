"""Where the panes of the Machines screen go."""

from atts_tui.layout.frame import Rect

CHARTS_AT_LEAST = 7
FRAME_LINES = 2


def arrange_machines(body: Rect, gpus: int, servers: int, *, compact: bool) -> dict[str, Rect]:
    """GPUs over servers, as high as their lines need, and two charts in what is left.

    `gpus` and `servers` are the lines that those panes would fill.
    """
    frame = 1 if compact else FRAME_LINES
    charts = CHARTS_AT_LEAST - 1 if compact else max(body.height // 4, CHARTS_AT_LEAST + FRAME_LINES)
    room = body.height - charts
    wanted = {"gpus": gpus + frame, "servers": servers + frame}
    least = 2 + frame
    if sum(wanted.values()) > room:  # whoever wants more than its half gives way, and scrolls
        half = max(room // 2, least)
        if wanted["servers"] <= half:
            wanted["gpus"] = room - wanted["servers"]
        elif wanted["gpus"] <= half:
            wanted["servers"] = room - wanted["gpus"]
        else:
            wanted["gpus"], wanted["servers"] = half, room - half
    top, width = body.y, body.width
    panes: dict[str, Rect] = {}
    for name, height in wanted.items():
        panes[name] = Rect(body.x, top, width, height)
        top += height
    left = width // 2
    rest = body.y + body.height - top
    panes["throughput"] = Rect(body.x, top, left, rest)
    panes["memory"] = Rect(body.x + left + compact, top, width - left - compact, rest)
    return panes
