"""What every screen over a run has in common: it is shown the view once a frame."""

from textual.screen import Screen

from atts_tui.view import View


class RunScreen(Screen[None]):
    """A screen that draws a `View`. The app calls `sync` from its one frame clock and nowhere else."""

    def sync(self, view: View) -> None:
        """Show the view."""
        raise NotImplementedError
