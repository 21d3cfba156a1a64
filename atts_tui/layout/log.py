"""Where the pane of the Log screen goes."""

from atts_tui.layout.frame import Rect


def arrange_log(body: Rect) -> dict[str, Rect]:
    """One pane fills the body."""
    return {"lines": body}
