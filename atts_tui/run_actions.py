"""What a screen can ask of the run it shows: pause it, end it, end or retry a sample."""

from collections.abc import Callable

from atts_core.errors import AttsError
from atts_core.state import RunState
from atts_tui.control import Control
from atts_tui.screens.confirm import Confirm
from atts_tui.text import clean
from atts_tui.themed import Themed
from atts_tui.view import View


class RunActions(Themed):
    """The part of the application that has a hand on the run."""

    state: RunState
    view: View
    _control: Control | None

    def _show(self, *, slow: bool) -> None:
        raise NotImplementedError

    def action_pause(self) -> None:
        """Pause the run, or let it go on."""
        if self.state.finished is not None:
            self._say("The run is over; there is nothing to pause.")
        else:
            self._command(lambda hand: hand.resume() if self.state.paused else hand.pause())

    def _command(self, tell: Callable[[Control], None]) -> None:
        """Tell the run something; say so where nobody can hear it."""
        if self._control is None:
            self._say("This screen only shows the run; nobody hears what it asks for.")
            return
        try:
            tell(self._control)
        except AttsError as error:
            self._say(str(error))

    def _ask(self, title: str, question: str, yes: str, tell: Callable[[Control], None]) -> None:
        """Tell the run something that cannot be undone, once the person has said yes."""
        if self._control is None:
            self._command(tell)  # says that nobody hears
            return

        def answered(agreed: bool | None) -> None:
            if agreed:
                self._command(tell)
            self._show(slow=True)

        self.push_screen(Confirm(self.view, title, question, yes, "no"), answered)

    def action_stop_sample(self) -> None:
        """End the selected sample."""
        sample, problem = self.view.sample, self.view.problem_index
        if sample is None or sample.end is not None:
            self._say("The selected sample has ended already.")
            return
        index = sample.index
        said = f"Sample {index + 1} ends before its next request and gives no vote."
        self._ask("End this sample?", said, "end it", lambda hand: hand.stop_sample(problem, index))

    def action_retry_sample(self) -> None:
        """Let the selected sample go on, if it failed."""
        sample, problem = self.view.sample, self.view.problem_index
        if self.state.finished is not None:
            self._say("The run is over; its failed samples go on with --resume.")
            return
        if sample is None or sample.end != "failed":
            self._say("Only a sample that failed can be tried again.")
            return
        index = sample.index
        said = f"Sample {index + 1} failed ({clean(sample.message)}). It goes on from its last finished step."
        self._ask("Try again?", said, "try again", lambda hand: hand.retry_sample(problem, index))

    def action_stop_run(self) -> None:
        """End the run."""
        if self.state.finished is not None:
            self._say("The run is over.")
            return
        self._ask("End the run?", "What is finished is kept.", "end it", lambda hand: hand.stop())
