"""Where the panes of the Pipeline screen go."""

from atts_tui.layout.frame import Rect

AXIS = 2
"""Lines under the lanes: times, and what the colours mean."""


def arrange_pipeline(body: Rect, samples: int, *, compact: bool) -> dict[str, Rect]:
    """Lanes above, as high as there are samples; under them how full the servers were, and two of words."""
    _, top, width, height = body
    frame = 1 if compact else 2
    lanes = max(min(samples + AXIS + frame, height - (8 if compact else 15)), 6)
    left = width // 2 if compact else min(max(width * 45 // 100, 46), 90)
    room = height - lanes
    if compact:
        return {
            "lanes": Rect(0, top, width, lanes),
            "times": Rect(0, top + lanes, left, room),
            "barrier": Rect(left + 1, top + lanes, width - left - 1, room),
        }
    places = max(min(room // 2, 11), 6)
    return {
        "lanes": Rect(0, top, width, lanes),
        "places": Rect(0, top + lanes, width, places),
        "times": Rect(0, top + lanes + places, left, room - places),
        "barrier": Rect(left, top + lanes + places, width - left, room - places),
    }
