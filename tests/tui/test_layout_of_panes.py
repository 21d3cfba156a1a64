"""Panes lie on the terminal, beside each other and never over each other, at every size."""

from hypothesis import given
from hypothesis import strategies as st

from atts_tui.layout import MAXIMISABLE, Arrangement, arrange

sizes = st.tuples(st.integers(1, 320), st.integers(1, 120), st.integers(1, 1024), st.integers(1, 30))


def _cells(arrangement: Arrangement) -> list[tuple[int, int]]:
    return [
        (x, y)
        for rect in arrangement.panes.values()
        for y in range(rect.y, rect.y + rect.height)
        for x in range(rect.x, rect.x + rect.width)
    ]


@given(sizes)
def test_no_pane_leaves_the_terminal_or_covers_another(size: tuple[int, int, int, int]) -> None:
    width, height, samples, question = size
    arrangement = arrange(width, height, samples, question)
    cells = _cells(arrangement)
    assert len(cells) == len(set(cells))
    assert all(0 <= x < width and 0 <= y < height for x, y in cells)
    assert all(rect.width > 0 and rect.height > 0 for rect in arrangement.panes.values())
    assert arrangement.plain == (not arrangement.panes)


@given(sizes, st.sampled_from(MAXIMISABLE))
def test_a_maximised_pane_stands_alone(size: tuple[int, int, int, int], pane: str) -> None:
    width, height, samples, question = size
    arrangement = arrange(width, height, samples, question, pane)  # type: ignore[arg-type]
    if not arrangement.plain:
        assert set(arrangement.panes) & set(MAXIMISABLE) == {pane}


def test_the_sizes_people_have() -> None:
    full = arrange(120, 40, 16)
    assert not full.compact
    assert full.panes["lanes"].height == 16 + 5
    assert {"vote", "chart", "rates", "servers"} <= set(full.panes)
    compact = arrange(80, 24, 16)
    assert compact.compact
    assert compact.panes["lanes"].height == 16 + 1
    assert {"vote", "chart"} <= set(compact.panes)
    assert arrange(59, 40, 16).plain
    assert not arrange(60, 14, 16).plain
