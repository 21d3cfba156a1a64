"""What a terminal too small for panes shows: the state in a few lines, and a hint."""

from textual.geometry import Size

from atts_tui import words
from atts_tui.layout.frame import PLAIN_BELOW_COLUMNS, PLAIN_BELOW_ROWS
from atts_tui.text import clean_line, shorten
from atts_tui.view import View
from atts_tui.widgets.rows import Row, Rows
from atts_tui.widgets.sample_lanes import Columns, turn_cells


class PlainView(Rows):
    """A list without panes."""

    def build(self, view: View, size: Size) -> list[Row]:
        """State, vote and one short line a sample; the last line says what would give more."""
        width, height = size
        palette, state = view.palette, view.state
        problem = view.problem
        word = words.run_word(state)
        badge = f"FROZEN {words.number(view.waiting)} wait" if view.frozen else word
        rows: list[Row] = [
            ((f" {badge} ", palette.badges[word]), (f" {words.clock(state.now)}", palette.text)),
        ]
        lost = words.lost_words(state)
        if lost:
            rows.append(((shorten(clean_line(lost), width), palette.error),))
        if problem is not None:
            rows.append(((shorten(clean_line(words.leader_words(problem)), width), palette.strong),))
            room = height - len(rows) - 1
            chosen = view.order().index(view.sample_index) if view.sample_index in view.order() else 0
            first = max(min(chosen - room // 2, len(problem.samples) - room), 0)
            rows += [self._lane(view, index, width) for index in view.order()[first : first + max(room, 0)]]
        rows = rows[: max(height - 1, 1)]
        rows += [(("", palette.text),)] * (height - 1 - len(rows))
        hint = f"{PLAIN_BELOW_COLUMNS} x {PLAIN_BELOW_ROWS} cells show more; q quits"
        rows.append(((shorten(hint, width), palette.muted),))
        return rows

    def _lane(self, view: View, index: int, width: int) -> Row:
        palette, glyphs = view.palette, view.glyphs
        problem = view.problem
        assert problem is not None  # noqa: S101  # build asked
        sample = problem.samples[index]
        turns = max(min(width - 20, 15), 3)
        chosen = index == view.sample_index
        mark = {True: glyphs.right, False: glyphs.wrong, None: ""}[sample.correct]
        answer = shorten(clean_line(sample.answer), 8) if sample.answer is not None else ""
        return (
            (
                f"{glyphs.selected if chosen else ' '}{index + 1:>3} ",
                palette.strong if chosen else palette.muted,
            ),
            *turn_cells(view, sample, Columns(0, 1, turns, 0, 0, 0, 0, 0)),
            (answer, palette.strong),
            (f" {mark}", palette.right if sample.correct else palette.wrong),
        )
