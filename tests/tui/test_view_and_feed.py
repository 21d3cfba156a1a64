"""Following, selecting, sorting and freezing, without a screen."""

from itertools import pairwise

import synthetic

from atts_core.bus import Bus
from atts_core.events import Warned
from atts_core.state import RunState
from atts_tui.feed import FOLD_AT_MOST, Feed
from atts_tui.palette import UNICODE_GLYPHS, palette_from
from atts_tui.view import FOLLOW_HOLD, LINGER, View

COLOURS = {"primary": "#0000ff", "warning": "#ff8800", "foreground": "#ffffff", "background": "#000000",
           "error": "#ff0000", "success": "#00ff00", "accent": "#00ffff", "panel": "#222222"}  # fmt: skip


def _view(state: RunState) -> View:
    return View(state, palette_from(COLOURS), UNICODE_GLYPHS)


def test_a_followed_sample_stays_long_enough_to_be_read() -> None:
    state = RunState()
    view = _view(state)
    changes: list[float] = []
    for stamped in synthetic.events(problems=1):
        before = view.sample_index
        state.apply(stamped)
        view.advance()
        if view.sample_index != before:
            changes.append(state.now)
    assert len(changes) > 1
    assert all(second - first >= FOLLOW_HOLD for first, second in pairwise(changes))


def test_following_goes_on_to_the_next_problem_after_a_moment() -> None:
    state = RunState()
    view = _view(state)
    left_at = None
    for stamped in synthetic.events(problems=2):
        state.apply(stamped)
        view.advance()
        if left_at is None and view.problem_index == 1:
            left_at = state.now
    finished_at = state.problems[0].finished_at
    assert left_at is not None
    assert finished_at is not None
    assert LINGER <= left_at - finished_at < LINGER + 0.5


def test_selecting_stops_following_and_stops_at_the_ends() -> None:
    view = _view(RunState().fold(synthetic.events(until=3.0, problems=1)))
    view.move(-5)
    assert (view.sample_index, view.follow) == (0, False)
    view.move(100)
    assert view.sample_index == 15
    assert not view.move_problem(1)


def test_sorting_moves_rows_at_most_once_a_second() -> None:
    state = RunState()
    view = _view(state)
    view.sort = "tokens"
    orders: list[tuple[float, list[int]]] = []
    for stamped in synthetic.events(until=4.0, problems=1):
        state.apply(stamped)
        order = list(view.order())
        if order and (not orders or orders[-1][1] != order):
            orders.append((state.now, order))
    assert len(orders) > 2
    assert all(int(a[0]) != int(b[0]) for a, b in pairwise(orders))


def test_every_order_shows_every_sample_once() -> None:
    view = _view(RunState().fold(synthetic.events(problems=1)))
    for _ in range(6):
        view.next_sort()
        assert sorted(view.order()) == list(range(16))


async def test_frozen_events_wait_and_none_is_lost() -> None:
    bus, state = Bus(), RunState()
    feed = Feed(bus.subscribe(), state)
    feed.frozen = True
    for number in range(10):
        bus.publish(Warned(message=str(number)))
    assert feed.advance() == 0
    assert (feed.waiting, state.warnings) == (10, [])
    feed.frozen = False
    assert feed.advance() == 10
    assert state.warnings == [str(number) for number in range(10)]


async def test_a_long_backlog_is_folded_in_slices() -> None:
    bus, state = Bus(), RunState()
    feed = Feed(bus.subscribe(), state)
    for _ in range(FOLD_AT_MOST + 5):
        bus.publish(Warned(message=""))
    assert feed.advance() == FOLD_AT_MOST
    assert feed.waiting == 5
    assert len(feed.remaining()) == 5
