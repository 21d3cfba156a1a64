"""Screens of figures that cost more than a frame: measured once a second at most, and only when looked at."""

from textual.timer import Timer

from atts_tui.screens.run_screen import RunScreen
from atts_tui.view import View

MEASURE_SECONDS = 1.0
SLICE_SECONDS = 0.05
"""Between two parts of what takes long to add up, in which keys are heard."""


class MeasuredScreen(RunScreen):
    """Subclasses bring their figures up to date in `measure`, which their panes then draw.

    It is called when the screen opens, when a replay jumps, and each second in which something happened.
    """

    _measured: tuple[int, int] | None = None
    """Sequence number and epoch of what was measured last."""
    _pulse: Timer | None = None
    _more: Timer | None = None
    """Runs while a part is left to add up."""

    def measure(self, view: View) -> bool:
        """Bring the figures up to date, or nearer to it; whether more is left to add up."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Look once a second for something new."""
        self._pulse = self.set_interval(MEASURE_SECONDS, self.measure_again, name="figures")

    def on_screen_suspend(self) -> None:
        """Nobody looks."""
        if self._pulse is not None:
            self._pulse.pause()

    def on_screen_resume(self) -> None:
        """Shown again, with what happened meanwhile."""
        if self._pulse is not None:
            self._pulse.resume()
        self._measured = None if self._measured is None else (-1, self._measured[1])  # a part may be left
        self.measure_again()

    def measure_again(self) -> None:
        """Measure and draw what happened since."""
        view = self.view
        if view is not None and self._measured != (view.state.seq, view.epoch):
            self._measure(view)
            self.redraw()

    def sync(self, view: View) -> None:
        """Show the view; figures of another moment of a replay are not of this one."""
        if self._measured is None or self._measured[1] != view.epoch:
            self._measure(view)
        super().sync(view)

    def _measure(self, view: View) -> None:
        self._measured = (view.state.seq, view.epoch)
        if self.measure(view) and self._more is None:
            self._more = self.set_timer(SLICE_SECONDS, self._go_on, name="more figures")

    def _go_on(self) -> None:
        self._more = None
        if self.view is not None and self.is_current:
            self._measure(self.view)
            self.redraw()
