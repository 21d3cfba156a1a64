"""Which scores a step is ranked against: pooled, its problem's, its turn's, centred, growing."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atts_core.conformal import Calibration, ConformalSettings, Decider, flat_calibration
from atts_core.conformal.sets import CentredSet, ConditionalSet, MarginalSet, TurnSet
from atts_core.errors import SettingsError

Make = Callable[..., Calibration]


def _of_turns(counts: dict[int, int]) -> Calibration:
    turn = np.repeat(list(counts), list(counts.values())).astype(np.int32)
    index = np.arange(len(turn), dtype=np.int32)
    return Calibration(1.0 + index, turn, np.zeros_like(index), index, ("p",))


def test_marginal_pools_and_conditional_keeps_apart(make_calibration: Make) -> None:
    calibration = make_calibration()
    assert len(MarginalSet(calibration).scores("anything", 99)) == len(calibration)
    own = ConditionalSet(calibration)
    for problem in calibration.problems:
        assert own.scores(problem, 0).to_array().tolist() == sorted(calibration.scores_of(problem))


@pytest.mark.parametrize("mode", ["conditional", "centred"])
def test_a_problem_never_calibrated_is_one_clear_sentence(make_calibration: Make, mode: str) -> None:
    decider = Decider(ConformalSettings(mode=mode), make_calibration())  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=r"Problem new had no calibration in .* use mode online"):
        decider.decide("new", 0, 1.5)
    with pytest.raises(SettingsError, match="Problem new and 1 more had no calibration"):
        decider.require(["p0", "new", "newer"])
    decider.require(["p0", "p5"])
    Decider(ConformalSettings(mode="marginal"), make_calibration()).require(["new"])


@pytest.mark.parametrize(
    ("counts", "groups"),
    [
        ({0: 100}, [(0, 100)]),
        ({0: 100, 1: 40, 2: 30}, [(0, 100), (1, 40), (2, 30)]),
        ({0: 100, 1: 10, 2: 500}, [(0, 100), (1, 510)]),
        ({0: 100, 1: 40, 2: 29}, [(0, 100), (1, 69)]),
        ({0: 5, 1: 5}, [(0, 10)]),
        ({0: 10, 1: 10, 2: 10, 3: 10, 4: 10, 7: 10, 9: 3}, [(0, 30), (3, 33)]),
        ({2: 40, 5: 40}, [(0, 40), (5, 40)]),
    ],
)
def test_small_turns_join_the_next_and_the_last_the_previous(
    counts: dict[int, int], groups: list[tuple[int, int]]
) -> None:
    turns = TurnSet.of(_of_turns(counts))
    assert turns.groups() == groups
    assert len(turns.scores("p", 50)) == groups[-1][1]


_arrivals = st.lists(st.tuples(st.integers(0, 4), st.floats(1, 9)), max_size=150)


@given(start=_arrivals, arrivals=_arrivals, window=st.none() | st.integers(5, 20))
def test_growing_one_by_one_equals_building_at_once(
    start: list[tuple[int, float]], arrivals: list[tuple[int, float]], window: int | None
) -> None:
    """Online = batch on every prefix, windows and merged turns included."""

    def built(pairs: list[tuple[int, float]]) -> TurnSet:
        if not pairs:
            return TurnSet(window, smallest=6)
        index = np.arange(len(pairs), dtype=np.int32)
        turn = np.array([turn for turn, _ in pairs], dtype=np.int32)
        ppl = np.array([ppl for _, ppl in pairs])
        return TurnSet.of(Calibration(ppl, turn, 0 * index, index, ("p",)), window=window, smallest=6)

    online = built(start)
    for count, (turn, ppl) in enumerate(arrivals, 1):
        online.add(turn, ppl)
        if count % 10 == 0 or count == len(arrivals):
            batch = built(start + arrivals[:count])
            assert online.groups() == batch.groups()
            for at in range(6):
                assert np.array_equal(online.scores("p", at).to_array(), batch.scores("p", at).to_array())


def test_a_window_forgets_the_oldest_of_its_turn_only() -> None:
    turns = TurnSet(window=2, smallest=1)
    for turn, ppl in [(0, 5.0), (0, 4.0), (1, 9.0), (0, 3.0)]:
        turns.add(turn, ppl)
    assert turns.scores("p", 0).to_array().tolist() == [3.0, 4.0]
    assert turns.scores("p", 1).to_array().tolist() == [9.0]


def test_centred_scores_are_relative_to_the_other_samples() -> None:
    calibration = flat_calibration(np.array([2.0, 8.0, 4.0, 1.0, 1.0, 2.0]), 3)
    centred = CentredSet(calibration)
    expected = [2 / 32**0.5, 8 / 8**0.5, 4 / 16**0.5, 1 / 2**0.5, 1 / 2**0.5, 2 / 1]
    assert centred.scores("0", 0).to_array() == pytest.approx(sorted(expected))
    # A new step: relative to the first m - 1 = 2 calibration samples.
    assert (centred.scale("0"), centred.scale("1")) == (pytest.approx(4.0), pytest.approx(1.0))


def test_centred_needs_two_samples() -> None:
    with pytest.raises(SettingsError, match="fewer than two samples at turn 0 of problem 0"):
        CentredSet(flat_calibration(np.array([1.5, 1.6]), 1))
