"""Where the panes of the Calibration screen go."""

from atts_tui.layout.frame import Rect


def arrange_calibration(body: Rect, *, compact: bool) -> dict[str, Rect]:
    """Histogram and slider above, rates in the middle, words below; fewer of them where it is compact."""
    _, top, width, height = body
    if compact:
        slider = 6
        chart = min(max((height - slider) // 2, 6), 12)
        below = top + chart + slider
        left = width // 2
        room = height - chart - slider
        return {
            "histogram": Rect(0, top, width, chart),
            "slider": Rect(0, top + chart, width, slider),
            "turns": Rect(0, below, left, room),
            "trust": Rect(left + 1, below, width - left - 1, room),
        }
    left = min(max(width * 58 // 100, 60), 120)
    right = width - left
    first = min(max(height * 2 // 5, 11), 20)
    second = min(max((height - first) // 2, 8), 18)
    third = height - first - second
    return {
        "histogram": Rect(0, top, left, first),
        "slider": Rect(left, top, right, first),
        "turns": Rect(0, top + first, left, second),
        "history": Rect(left, top + first, right, second),
        "identity": Rect(0, top + first + second, left, third),
        "trust": Rect(left, top + first + second, right, third),
    }
