"""Values as columns of block characters, several lines high."""

from collections.abc import Sequence

from atts_tui.palette import Glyphs


def block_lines(values: Sequence[float], top: float, lines: int, glyphs: Glyphs) -> list[str]:
    """One column a value, `top` being full height; the lines from top to bottom."""
    steps = len(glyphs.blocks) - 1
    heights = [round(value / top * lines * steps) for value in values]
    return [
        "".join(glyphs.blocks[min(max(height - level * steps, 0), steps)] for height in heights)
        for level in reversed(range(lines))
    ]
