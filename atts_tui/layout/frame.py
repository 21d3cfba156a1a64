"""What all screens have in common: the lines at the top and bottom, and the body between them."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

PLAIN_BELOW_COLUMNS = 60
PLAIN_BELOW_ROWS = 14
COMPACT_BELOW_COLUMNS = 100
COMPACT_BELOW_ROWS = 30


class Rect(NamedTuple):
    """Cells from the top left corner."""

    x: int
    y: int
    width: int
    height: int


class Frame(NamedTuple):
    """The lines around the body; `plain` has neither, but a list for a terminal too small for panes."""

    plain: bool
    compact: bool
    """Panes go without frames and the rarely needed are left out."""
    chrome: dict[str, Rect]
    body: Rect


CAPTION_LINES = 3


def frame(
    width: int, height: int, *, transport: bool = False, filtering: bool = False, caption: bool = False
) -> Frame:
    """Lay out a terminal of `width` x `height` cells.

    `transport`: a recorded run is replayed. `filtering`: a filter is typed above the keys, or holds.
    `caption`: the run is told to an audience.
    """
    if width < PLAIN_BELOW_COLUMNS or height < PLAIN_BELOW_ROWS:
        return Frame(True, True, {}, Rect(0, 0, width, height))
    compact = width < COMPACT_BELOW_COLUMNS or height < COMPACT_BELOW_ROWS
    head = 1 if compact else 2
    chrome = {"status": Rect(0, 0, width, head), "keys": Rect(0, height - 1, width, 1)}
    foot = height - 1
    for name, lines in (
        ("transport", transport),
        ("filter", filtering),
        ("caption", CAPTION_LINES * caption),
    ):
        if lines:
            foot -= lines
            chrome[name] = Rect(0, foot, width, int(lines))
    return Frame(False, compact, chrome, Rect(0, head, width, foot - head))


def alone(panes: Mapping[str, Rect], chosen: str, among: Collection[str]) -> dict[str, Rect]:
    """The same with one pane in the place of all `among` which it is; lines beside them stay."""
    replaced = [rect for name, rect in panes.items() if name in among]
    left = min(rect.x for rect in replaced)
    top = min(rect.y for rect in replaced)
    right = max(rect.x + rect.width for rect in replaced)
    bottom = max(rect.y + rect.height for rect in replaced)
    kept = {name: rect for name, rect in panes.items() if name not in among}
    return kept | {chosen: Rect(left, top, right - left, bottom - top)}
