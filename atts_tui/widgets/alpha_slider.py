"""What another alpha would have decided: a slider over it, and every recorded p-value judged again."""

from collections.abc import Hashable

from textual import events
from textual.geometry import Size
from textual.message import Message

from atts_core.conformal.live import WhatIf
from atts_core.percent import percent
from atts_tui.figures import CalibrationFigures
from atts_tui.view import View
from atts_tui.widgets.rows import Part, Row, Rows, paragraph

ENDS = 2
"""Cells on each side of the line: the numbers 0 and 1."""


class AlphaSlider(Rows):
    """Arrows or the mouse move it; what they point at is said below it."""

    DEFAULT_CSS = """
    AlphaSlider { border: round $border-blurred; border-title-color: $atts-title; padding: 0 1; }
    AlphaSlider:focus { border: round $border; }
    AlphaSlider.-compact { border: none; border-top: solid $border-blurred; padding: 0; }
    AlphaSlider.-compact:focus { border-top: solid $border; }
    """
    can_focus = True

    class Moved(Message):
        """A person pointed at an alpha."""

        def __init__(self, alpha: float) -> None:
            super().__init__()
            self.alpha = alpha

    def __init__(self, figures: CalibrationFigures, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._figures = figures
        self.border_title = "What if alpha were different?"

    def key(self, _: View) -> Hashable:
        """Changes when the figures do."""
        return self._figures.version

    def build(self, view: View, size: Size) -> list[Row]:
        """The slider, what it would have decided, and what that does not say."""
        width, height = size
        palette = view.palette
        alpha = self._figures.alpha
        if alpha is None:
            return paragraph("Nothing is decided here before the run has begun.", width, palette.muted)
        rows = [self._line(view, alpha, width)]
        found = self._figures.what_if
        if found is None:
            return [*rows, *paragraph(self._figures.why_empty, width, palette.muted)]
        rows += self._said(view, found, width)
        room = height - len(rows)
        note = paragraph(
            "Every recorded p-value judged again; the texts stay as they were. A chain with another verdict"
            " would have gone on differently.",
            width,
            palette.muted,
        )
        if room > len(note):
            rows.append((("", palette.text),))
        return rows + note if room >= len(note) else rows

    def _line(self, view: View, alpha: float, width: int) -> Row:
        palette, glyphs = view.palette, view.glyphs
        cells = max(width - 2 * ENDS, 3)
        handle = round(alpha * (cells - 1))
        own = self._figures.own_alpha
        mark = round(own * (cells - 1)) if own is not None else None
        parts: list[Part] = [("0 ", palette.muted)]
        for cell in range(cells):
            if cell == handle:
                parts.append((glyphs.handle, palette.accent))
            elif cell == mark:
                parts.append((glyphs.tick, palette.threshold))
            elif cell < handle:
                parts.append((glyphs.line, palette.draft))
            else:
                parts.append((glyphs.bar_rest, palette.faint))
        return (*parts, (" 1", palette.muted))

    def _said(self, view: View, found: WhatIf, width: int) -> list[Row]:
        palette, glyphs = view.palette, view.glyphs
        own = self._figures.own_alpha
        moved = self._figures.chosen is not None and found.alpha != own
        heading: list[Part] = [("alpha ", palette.muted), (f"{found.alpha:g}", palette.strong)]
        if moved and own is not None:
            heading.append((f"   the run's own: {own:g}, back with 0", palette.muted))
        else:
            heading.append((f"   the run's own; {glyphs.left_right} or the mouse move it", palette.muted))
        share, changed = found.realised, found.changed
        interval = ""
        if share.low is not None and share.high is not None:
            interval = f" ({share.low * 100:.0f} to {share.high * 100:.0f} %)"
        rows: list[Row] = [
            tuple(heading),
            (
                ("taken over ", palette.muted),
                (percent(share.value) if share.value is not None else "", palette.target),
                (interval, palette.text),
                (f", nominal {percent(1 - found.alpha)}", palette.muted),
            ),
        ]
        several = "decision" if found.decisions == 1 else "decisions"
        line: list[Part] = [
            (f"{changed:,}", palette.strong),
            (f" of {found.decisions:,} {several} would change", palette.text),
        ]
        rows.append(tuple(line))
        if changed and width >= 40:
            rows.append(
                (
                    (f"{found.to_take_over:,} more taken over", palette.target),
                    (", ", palette.muted),
                    (f"{found.to_accept:,} more accepted", palette.draft),
                )
            )
        if found.unknown:
            rows.append(((f"{found.unknown:,} without a recorded p stay as they were", palette.warning),))
        return rows

    # The mouse.

    def _point(self, x: int, y: int) -> None:
        origin = self.content_region.offset - self.region.offset
        cells = max(self.content_size.width - 2 * ENDS, 3)
        if y - origin.y == 0 or self.has_class("-held"):
            self.post_message(self.Moved((x - origin.x - ENDS) / (cells - 1)))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Take hold of the handle, wherever on the line."""
        self._point(event.x, event.y)
        self.add_class("-held")
        self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Move it along."""
        if self.has_class("-held"):
            self._point(event.x, event.y)

    def on_mouse_up(self, _: events.MouseUp) -> None:
        """Let it go."""
        self.remove_class("-held")
        self.release_mouse()
