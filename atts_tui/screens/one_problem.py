"""Screens of one problem at a time: which one, and which of its samples is selected."""

from atts_tui.screens.run_screen import RunScreen
from atts_tui.widgets.sample_cells import SamplePicked


class OneProblemScreen(RunScreen):
    """Arrows and clicks select samples and problems."""

    def on_sample_picked(self, message: SamplePicked) -> None:
        """A click on a row selects its sample."""
        if self.view is not None:
            self.view.select(message.sample)
            self.redraw()

    def action_up(self) -> None:
        """Select the sample above."""
        self.move(-1)

    def action_down(self) -> None:
        """Select the sample below."""
        self.move(1)

    def move(self, rows: int) -> None:
        """Select the sample so many rows below."""
        if self.view is not None:
            self.view.move(rows)
            self.redraw()

    def action_previous_problem(self) -> None:
        """Show the previous problem."""
        self.move_problem(-1)

    def action_next_problem(self) -> None:
        """Show the next problem."""
        self.move_problem(1)

    def move_problem(self, problems: int) -> None:
        """Show the problem so many further on, or say that there is none."""
        if self.view is not None:
            if not self.view.move_problem(problems):
                self.say("There is no other problem in this direction.")
            self.redraw()
