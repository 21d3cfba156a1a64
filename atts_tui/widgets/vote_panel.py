"""The vote as it forms: one bar an answer, the leader in words, ties said, the right answer marked."""

from collections.abc import Hashable

from rich.cells import cell_len
from textual.geometry import Size
from textual.markup import escape

from atts_core.state import ProblemState
from atts_tui import words
from atts_tui.text import clean_line, pad, shorten
from atts_tui.view import View
from atts_tui.widgets.rows import Part, Row, Rows, paragraph


class VotePanel(Rows):
    """Answers by votes, most first; the last line sums it up."""

    DEFAULT_CSS = """
    VotePanel { border: round $border-blurred; border-title-color: $atts-title; padding: 0 1; }
    VotePanel:focus { border: round $border; }
    VotePanel.-compact { border: none; border-top: solid $border-blurred; padding: 0; }
    """
    can_focus = True

    def key(self, view: View) -> Hashable:
        """Changes with the votes of the problem."""
        problem = view.problem
        return (view.problem_index, problem.touched if problem else 0, problem.ended if problem else 0)

    def build(self, view: View, size: Size) -> list[Row]:
        """Bars above, one sentence below; a lone line holds the sentence only."""
        width, height = size
        palette = view.palette
        problem = view.problem
        self._title(problem)
        if problem is None:
            return [(("waiting for a problem", palette.muted),)]
        if not problem.tally:
            return paragraph(words.leader_words(problem), width, palette.muted)[:height]
        sentence = self._sentence(view, problem, width)
        bars = height - 1
        rows = [self._bar(view, problem, place, width) for place in range(min(bars, len(problem.tally)))]
        hidden = len(problem.tally) - bars
        if hidden > 0 and rows:
            rest = sum(votes for _, votes in problem.tally[bars - 1 :])
            rows[-1] = ((f"{hidden + 1} more answers, {words.votes_word(rest)}", palette.muted),)
        if len(rows) < bars - 1 and rows:
            silent = problem.ended - problem.voted
            if silent:
                rows.append(((f"{silent} ended without an answer", palette.muted),))
        blank: Row = (("", palette.text),)
        return rows + [blank] * (bars - len(rows)) + [sentence]

    def _title(self, problem: ProblemState | None) -> None:
        title = "Vote"
        if problem is not None:
            count = len(problem.samples)
            title = f"Vote, {problem.ended} of {count} ended"
            if problem.gold is not None and self.has_class("-compact"):
                title = (
                    f"Vote {problem.ended}/{count} (right: {escape(shorten(clean_line(problem.gold), 12))})"
                )
        if self.border_title != title:
            self.border_title = title

    def _bar(self, view: View, problem: ProblemState, place: int, width: int) -> Row:
        palette, glyphs = view.palette, view.glyphs
        answer, votes = problem.tally[place]
        longest = max(cell_len(clean_line(text)) for text, _ in problem.tally[:6])
        label = min(max(longest, 3), width // 3)
        mark = self._mark(view, problem, answer)
        room = max(width - label - len(mark[0]) - 6, 1)
        full = max(len(problem.samples), 1)
        cells = max(round(votes / full * room), 1)
        leads = votes == problem.tally[0][1]
        parts: list[Part] = [
            (pad(clean_line(answer), label), palette.strong if leads else palette.text),
            (" ", palette.text),
            (glyphs.bar * cells, palette.accept[2] if leads else palette.accept[0]),
            (f" {votes}", palette.strong if leads else palette.text),
        ]
        if mark[0]:
            parts += [(" ", palette.text), mark]
        return tuple(parts)

    def _mark(self, view: View, problem: ProblemState, answer: str) -> Part:
        palette, glyphs = view.palette, view.glyphs
        judged = next(
            (
                sample.correct
                for sample in problem.samples
                if sample.answer == answer and sample.correct is not None
            ),
            None,
        )
        if judged is None:
            return "", palette.text
        return (glyphs.right, palette.right) if judged else (glyphs.wrong, palette.wrong)

    def _sentence(self, view: View, problem: ProblemState, width: int) -> Row:
        palette, glyphs = view.palette, view.glyphs
        said = clean_line(words.leader_words(problem))
        if not problem.finished:
            return ((shorten(said, width), palette.muted),)
        style = {True: palette.right, False: palette.wrong, None: palette.strong}[problem.correct]
        mark = {True: f" {glyphs.right} right", False: f" {glyphs.wrong} wrong", None: ""}[problem.correct]
        return ((shorten(said, width - len(mark)), style), (mark, style))
