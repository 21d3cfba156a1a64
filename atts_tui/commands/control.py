"""What a front end holds of a run before its engine exists. Imports no engine, so that screens open first."""

import asyncio
import contextlib
from typing import TYPE_CHECKING

from atts_core import events as ev
from atts_core.bus import Bus
from atts_core.runs import commands
from atts_core.runs.file import RunFile
from atts_core.state import RunState
from atts_tui.commands.plan import Plan

if TYPE_CHECKING:
    from atts_core.engine.requests import Gate
    from atts_core.engine.run import Engine


class Control:
    """A screen's or a viewer's hands on the run, from before the engine exists."""

    def __init__(self, bus: Bus) -> None:
        self.task: asyncio.Task[object] | None = None
        self._bus = bus
        self._gate: Gate | None = None
        self._engine: Engine | None = None
        self._wish = False
        self._trouble = False

    def hold(self, gate: "Gate") -> None:
        """Requests will go through this gate; a pause asked for earlier holds."""
        self._gate = gate
        self._obey()

    def attach(self, engine: "Engine") -> None:
        """The engine is ready."""
        self._engine = engine

    def pause(self) -> None:
        """Send no new requests."""
        self._wish = True
        self._obey()

    def resume(self) -> None:
        """Send requests again."""
        self._wish = False
        self._obey()

    def stop(self) -> None:
        """End the run; what was finished is kept."""
        if self.task:
            self.task.cancel()

    def stop_sample(self, problem: int, sample: int) -> None:
        """End one sample before its next request."""
        if self._engine:
            self._engine.stop_sample(problem, sample)

    def retry_sample(self, problem: int, sample: int) -> None:
        """Let a failed sample go on from its last finished step."""
        if self._engine:
            self._engine.retry_sample(problem, sample)

    def command(self, command: commands.AnyCommand) -> None:
        """What a viewer in another process wishes."""
        match command:
            case commands.Pause():
                self.pause()
            case commands.Resume():
                self.resume()
            case commands.Cancel():
                self.stop()
            case commands.StopSample(problem=problem, sample=sample):
                self.stop_sample(problem, sample)
            case commands.RetrySample(problem=problem, sample=sample):
                self.retry_sample(problem, sample)

    def trouble(self, message: str) -> None:
        """The run file cannot be written: wait, so that nothing is lost."""
        self._trouble = True
        self._bus.publish(ev.Warned(message=message))
        self._obey()

    def cleared(self) -> None:
        """Everything is written again."""
        self._trouble = False
        self._bus.publish(ev.Warned(message="The run file can be written again; the run goes on."))
        self._obey()

    def _obey(self) -> None:
        if self._gate is None:
            return
        if self._wish or self._trouble:
            self._gate.close()
        else:
            self._gate.open()


def begin(plan: Plan) -> tuple[Bus, RunState]:
    """The bus of the run, and the state that a front end folds on from."""
    if plan.progress is None or plan.path is None:
        return Bus(), RunState()
    with contextlib.closing(RunFile.open(plan.path)) as file:
        state = file.state(file.last())
    return Bus(first_seq=plan.progress.last_seq + 1, first_at=plan.progress.last_at), state
