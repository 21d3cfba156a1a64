"""The sample page: one chain step by step, with every number that led to it."""

from collections.abc import Hashable
from typing import ClassVar

from textual.geometry import Size
from textual.widget import Widget

from atts_core.percent import percent
from atts_tui import words
from atts_tui.layout.frame import Rect
from atts_tui.screens.run_screen import RunScreen
from atts_tui.text import clean, clean_line, shorten
from atts_tui.view import View
from atts_tui.widgets.question_bar import QuestionBar
from atts_tui.widgets.rows import Row, Rows
from atts_tui.widgets.sample_lanes import Columns, turn_cells
from atts_tui.widgets.scroll_rows import ScrollRows
from atts_tui.widgets.step_pages import StepPages


class SampleLine(Rows):
    """The sample in one line: its turns, what it does or how it ended, its answer."""

    DEFAULT_CSS = """
    SampleLine { padding: 0 1; }
    """

    def key(self, view: View) -> Hashable:
        """Changes with the sample."""
        sample = view.sample
        return (view.problem_index, view.sample_index, sample.touched if sample else -1)

    def build(self, view: View, size: Size) -> list[Row]:
        """As much as fits."""
        palette, sample, problem = view.palette, view.sample, view.problem
        if sample is None or problem is None:
            return [(("no sample yet", palette.muted),)]
        said, _ = words.phase_words(sample)
        turns = len(sample.turns)
        cut = Columns(0, 1, max(min(turns, size.width - 60), 1), 0, 0, 0, 0, 0)
        written = sample.draft_tokens + sample.target_tokens
        head: Row = (
            (f"sample {sample.index + 1} of {len(problem.samples)}  ", palette.strong),
            *turn_cells(view, sample, cut),
            (f" {said}", palette.text),
        )
        share = f", {percent(sample.target_tokens / written)} by the target" if written else ""
        counts = f"   {words.number(written)} tokens{share}"
        answer = f"   answer {clean_line(sample.answer)}" if sample.answer is not None else ""
        judged = "".join(
            f"   {clean_line(said.judge)} says {said.verdict}" for said in sample.judgements[-1:]
        )
        why = f"   {clean_line(sample.message)}" if sample.message else ""
        style = palette.error if sample.end == "failed" else palette.strong
        tail = shorten(answer + judged + why, max(size.width - 50, 0))
        return [(*head, (counts, palette.muted), (tail, style))]


class SampleScreen(RunScreen):
    """Opened from the Solve screen or a line of the log; esc goes back."""

    PAGE = "sample"
    QUICK: ClassVar[frozenset[str]] = frozenset({"steps", "line"})

    def make_panes(self) -> dict[str, Widget]:
        """Only the steps."""
        self._steps = StepPages(id="steps")
        self._steps.border_title = "Steps"
        return {"steps": self._steps}

    def make_bars(self) -> dict[str, Widget]:
        """The question and the sample in a line."""
        return {"question": QuestionBar(id="question"), "line": SampleLine(id="line")}

    def place(self, _view: View, body: Rect, *, compact: bool) -> dict[str, Rect]:
        """Two lines, and the steps below."""
        question = 1 if compact else 2
        return {
            "question": Rect(0, body.y, body.width, question),
            "line": Rect(0, body.y + question, body.width, 1),
            "steps": Rect(0, body.y + question + 1, body.width, body.height - question - 1),
        }

    def scroller(self) -> ScrollRows | None:
        """The steps."""
        return self._steps

    def action_up(self) -> None:
        """One line up."""
        self._steps.move_to(self._steps.top - 1)

    def action_down(self) -> None:
        """One line down."""
        self._steps.move_to(self._steps.top + 1)

    def action_previous_row(self) -> None:
        """The sample before."""
        self._move(-1)

    def action_next_row(self) -> None:
        """The sample after."""
        self._move(1)

    def _move(self, rows: int) -> None:
        if self.view is not None:
            self.view.move(rows)
            self.redraw()
            self._steps.move_to(0)

    def action_step_to(self, by: int, take_overs: bool) -> None:
        """Another step, or another that the target wrote."""
        sample = self.view.sample if self.view is not None else None
        if sample is not None and not self._steps.move_step(sample, by, take_overs=take_overs):
            self.say("There is none beyond this one." if take_overs else "This is the last step.")

    def action_raw(self) -> None:
        """Show LaTeX as the models wrote it, or readable again."""
        if self.view is not None:
            self.view.raw = not self.view.raw
            self.redraw()

    def action_copy(self) -> None:
        """Copy the chain."""
        sample = self.view.sample if self.view is not None else None
        if sample is not None:
            self.copy(f"sample {sample.index + 1}", clean(sample.text).strip())

    def action_copy_step(self) -> None:
        """Copy the step at the top of what is in sight."""
        sample = self.view.sample if self.view is not None else None
        place = self._steps.current(sample) if sample is not None else None
        if sample is None or place is None:
            self.say("There is no step here.")
            return
        step = sample.steps[place]
        self.copy(f"turn {step.turn + 1} of sample {sample.index + 1}", clean(step.text).strip())
