"""A picture of the screen of a run, without a terminal: `atts runs export --format svg`."""

import asyncio
from pathlib import Path

from atts_core.conformal.npy import replacing
from atts_core.runs.reader import RunReader

SIZE = (120, 40)


def export_picture(run: Path, target: Path, *, theme: str | None = None, overwrite: bool = False) -> str:
    """Draw the run as it stands into an SVG file; returns a line on what was written.

    Raises:
        SettingsError: the run cannot be opened, there is no such theme, or the target cannot be written.
    """
    from atts_tui.app import AttsApp  # noqa: PLC0415  # imports Textual, which only a picture needs

    reader = RunReader.open(run)

    async def draw() -> str:
        app = AttsApp(reader, state=reader.state, theme=theme, title=reader.about.command)
        async with app.run_test(size=SIZE) as pilot:
            await pilot.pause()
            app.draw()
            await pilot.pause()
            return app.export_screenshot(title=f"atts {reader.about.run}")

    try:
        svg = asyncio.run(draw())
    finally:
        reader.close()
    with replacing(target, overwrite=overwrite) as out:
        out.write(svg.encode())
    return f"wrote {target}: the screen at {SIZE[0]}x{SIZE[1]}"
