"""Panes lie on the terminal, beside each other and never over each other, at every size."""

from hypothesis import given
from hypothesis import strategies as st

from atts_tui.layout.frame import Rect, alone, frame
from atts_tui.layout.solve import FRAMED, arrange_solve

terminals = st.tuples(st.integers(1, 320), st.integers(1, 120))
problems = st.tuples(st.integers(1, 1024), st.integers(1, 30))


def _solve(
    terminal: tuple[int, int], problem: tuple[int, int], maximised: str = "", **shown: bool
) -> dict[str, Rect]:
    """All panes of the Solve screen on a terminal; none where it is too small."""
    laid = frame(*terminal, **shown)
    if laid.plain:
        return {}
    panes = arrange_solve(laid.body, *problem, compact=laid.compact)
    return laid.chrome | (alone(panes, maximised, FRAMED) if maximised else panes)


def _cells(panes: dict[str, Rect]) -> list[tuple[int, int]]:
    return [
        (x, y)
        for rect in panes.values()
        for y in range(rect.y, rect.y + rect.height)
        for x in range(rect.x, rect.x + rect.width)
    ]


@given(terminals, problems, st.booleans(), st.booleans(), st.sampled_from(("", *FRAMED)))
def test_no_pane_leaves_the_terminal_or_covers_another(
    terminal: tuple[int, int], problem: tuple[int, int], transport: bool, prompt: bool, maximised: str
) -> None:
    panes = _solve(terminal, problem, maximised, transport=transport, filtering=prompt)
    cells = _cells(panes)
    assert len(cells) == len(set(cells))
    assert all(0 <= x < terminal[0] and 0 <= y < terminal[1] for x, y in cells)
    assert all(rect.width > 0 and rect.height > 0 for rect in panes.values())


@given(terminals, problems, st.sampled_from(FRAMED))
def test_a_maximised_pane_stands_alone_in_the_room_of_all(
    terminal: tuple[int, int], problem: tuple[int, int], pane: str
) -> None:
    one, all_ = _solve(terminal, problem, pane), _solve(terminal, problem)
    if all_:
        assert set(one) & set(FRAMED) == {pane}
        assert set(_cells(one)) >= set(_cells(all_))


def test_the_sizes_people_have() -> None:
    full = _solve((120, 40), (16, 2))
    assert full["lanes"].height == 16 + 5
    assert {"vote", "chart", "rates", "servers"} <= set(full)
    compact = _solve((80, 24), (16, 2))
    assert compact["lanes"].height == 16 + 1
    assert {"vote", "chart"} <= set(compact)
    assert frame(80, 24).compact
    assert not frame(120, 40).compact
    assert frame(59, 40).plain
    assert not frame(60, 14).plain
