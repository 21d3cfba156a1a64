"""The problem's text, in as many lines as there are."""

from collections.abc import Hashable

from rich.cells import cell_len
from textual.geometry import Size

from atts_core.state import ProblemState
from atts_tui.text import clean_line, shorten, wrap
from atts_tui.view import View
from atts_tui.widgets.rows import Row, Rows

LABEL = "Problem  "
QUESTION_MARGIN = len(LABEL) + 2
"""Cells of a line that the question itself cannot use."""


class QuestionBar(Rows):
    """What is being solved, and the answer that would be right where it is known."""

    DEFAULT_CSS = """
    QuestionBar { padding: 0 1; background: $panel; }
    """

    def key(self, view: View) -> Hashable:
        """Changes only with the problem."""
        return (view.problem_index, len(view.state.problems) > view.problem_index)

    def build(self, view: View, size: Size) -> list[Row]:
        """The question, cut with an ellipsis where it does not fit, and the gold answer at its end."""
        width, height = size
        palette = view.palette
        problem = view.problem
        if problem is None:
            return [(("", palette.text),)] * height
        question = clean_line(problem.question)
        gold = "" if self.has_class("-compact") else _gold(problem)
        room = width - len(LABEL)
        spans = wrap(question + gold, room)
        left = room * height - cell_len(gold)
        while len(spans) > height and left > 0:
            left -= 4
            question = shorten(question, left, view.glyphs.more)
            spans = wrap(question + gold, room)
        text = question + gold
        rows: list[Row] = []
        for number, (start, end) in enumerate(spans[:height]):
            split = min(max(len(question), start), end)
            rows.append(
                (
                    (LABEL if not number else " " * len(LABEL), palette.muted),
                    (text[start:split], palette.strong),
                    (text[split:end], palette.muted),
                )
            )
        return rows


def question_text(problem: ProblemState, *, compact: bool) -> str:
    """The whole text that the bar would show, given the room. In a small terminal the vote names the gold."""
    return clean_line(problem.question) + ("" if compact else _gold(problem))


def _gold(problem: ProblemState) -> str:
    return "" if problem.gold is None else f"  (right answer: {shorten(clean_line(problem.gold), 24)})"
