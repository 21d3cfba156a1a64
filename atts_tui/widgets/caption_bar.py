"""What is said to an audience at the moments that matter of a run."""

from collections.abc import Hashable

from textual.geometry import Size

from atts_tui.text import clean_line
from atts_tui.view import View
from atts_tui.widgets.rows import Row, Rows, paragraph

GO_ON = "o goes on "


class CaptionBar(Rows):
    """A headline and two lines above the footer, there only while a run is told."""

    DEFAULT_CSS = """
    CaptionBar { padding: 0 1; background: $surface; }
    """

    def key(self, view: View) -> Hashable:
        """Changes with the caption, and when it has been read."""
        narrator = view.narrator
        return None if narrator is None else (narrator.caption, narrator.holding)

    def build(self, view: View, size: Size) -> list[Row]:
        """The headline, how to go on, and the words."""
        narrator, palette = view.narrator, view.palette
        caption = narrator.caption if narrator is not None else None
        if narrator is None or caption is None:
            return []
        headline = clean_line(caption.headline)
        lines = paragraph(clean_line(caption.body), size.width, palette.text)[: size.height - 1]
        room = size.width - len(headline) - len(GO_ON)
        head: Row = ((headline, palette.accent if narrator.holding else palette.strong),)
        if narrator.holding and room > 0:
            head = (*head, (" " * room, palette.text), (GO_ON, palette.muted))
        return [head, *lines]
