"""Where the panes of the Compare screen go."""

from atts_tui.layout.frame import Rect
from atts_tui.layout.pipeline import AXIS


def arrange_compare(body: Rect, samples: int, *, compact: bool) -> dict[str, Rect]:
    """The lanes of both runs one above the other, so that one time is one column, and the table below.

    The legend stands under the second lanes only.
    """
    _, top, width, height = body
    frame = 1 if compact else 2
    table = 9 if compact else 14
    lanes = max(min(samples + AXIS + frame, (height - table) // 2), 5)
    return {
        "first": Rect(0, top, width, lanes - 1),
        "second": Rect(0, top + lanes - 1, width, lanes),
        "table": Rect(0, top + 2 * lanes - 1, width, height - 2 * lanes + 1),
    }
