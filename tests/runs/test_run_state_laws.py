"""Folding all events, attaching anywhere, and seeking anywhere give the same state, exactly."""

import contextlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atts_core import events as ev
from atts_core import overview
from atts_core.runs import keyframes
from atts_core.runs.file import About, RunFile
from atts_core.runs.player import Player
from atts_core.runs.reader import RunReader
from atts_core.runs.snapshot import Head, fold_version
from atts_core.runs.writer import RunWriter
from atts_core.state import RunState

pytestmark = pytest.mark.usefixtures("no_power_cut")

Simulate = Callable[..., list[ev.Stamped]]
Same = Callable[[RunState], bytes]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    folder = tmp_path_factory.mktemp("laws")
    numbers = iter(range(10**6))
    return lambda: folder / f"{next(numbers)}.atts"


@pytest.fixture(scope="module", autouse=True)
def frequent_keyframes() -> object:
    """So that a short run has many, and its first problems are put away."""
    before, keyframes.EVERY = keyframes.EVERY, 20
    weight, overview.DETAILS_BYTES = overview.DETAILS_BYTES, 12_000
    yield
    keyframes.EVERY, overview.DETAILS_BYTES = before, weight


def written(path: Path, stamps: list[ev.Stamped], about: About, cuts: list[int]) -> list[ev.Stamped]:
    """The events as they went into the file: merged within each batch."""
    writer = RunWriter.create(path, about)
    kept: list[ev.Stamped] = []
    edges = [0, *sorted({cut % (len(stamps) + 1) for cut in cuts}), len(stamps)]
    for begin, end in pairwise(edges):
        batch = ev.merge_tokens(stamps[begin:end])
        writer.append(batch)
        kept += batch
    writer.close()
    return kept


runs = st.fixed_dictionaries({"seed": st.integers(0, 2**32), "problems": st.integers(0, 3)})
cuts = st.lists(st.integers(0, 10**6), max_size=30)


def test_a_snapshot_holds_every_attribute_of_the_state() -> None:
    """A new attribute of RunState needs a field in Head, or keyframes would lose it."""
    assert set(vars(RunState())) - {"problems"} == set(Head.__struct_fields__)


def test_keyframes_of_another_fold_are_known_as_such() -> None:
    assert len(fold_version()) == 24


@given(run=runs, cuts=cuts, at=st.integers(0, 10**6))
def test_attached_at_any_event_it_is_the_folded_state(
    run: dict[str, int], cuts: list[int], at: int,
    simulate: Simulate, same: Same, about: About, place: Callable[[], Path],
) -> None:  # fmt: skip
    path = place()
    stamps = written(path, simulate(**run), about, cuts)
    at %= len(stamps) + 1
    file = RunFile.open(path)
    restored = file.state(file.place_of_ordinal(at))
    assert same(restored) == same(RunState().fold(stamps[:at]))
    rest = [stamp for batch in file.events() for stamp in batch][at:]
    assert rest == stamps[at:]
    assert same(restored.fold(rest)) == same(RunState().fold(stamps))
    file.close()


@given(run=runs, cuts=cuts, jumps=st.lists(st.floats(-5, 105), min_size=1, max_size=4))
def test_sought_to_any_moment_it_is_the_folded_state(
    run: dict[str, int], cuts: list[int], jumps: list[float],
    simulate: Simulate, same: Same, about: About, place: Callable[[], Path],
) -> None:  # fmt: skip
    path = place()
    stamps = written(path, simulate(**run), about, cuts)
    player = Player.open(path, clock=lambda: 0.0)
    for percent in jumps:
        player.seek_percent(percent)
        until = [stamp for stamp in stamps if stamp.at <= player.at]
        assert same(player.state) == same(RunState().fold(until))
    player.close()


@given(run=runs, cuts=cuts, at=st.integers(0, 10**6))
@settings(max_examples=30)
def test_a_writer_that_goes_on_stores_the_same_state(
    run: dict[str, int], cuts: list[int], at: int,
    simulate: Simulate, same: Same, about: About, place: Callable[[], Path],
) -> None:  # fmt: skip
    """Closed anywhere and resumed, with the first event of a new engine in between."""
    path, stamps = place(), simulate(**run)
    at = 1 + at % len(stamps)
    first = written(path, stamps[:at], about, cuts)
    again = ev.Stamped(stamps[at - 1].seq, stamps[at - 1].at, stamps[0].event)
    later = [ev.Stamped(stamp.seq + 1, stamp.at, stamp.event) for stamp in stamps[at:]]
    tail = [ev.Stamped(again.seq + 1, again.at, again.event), *(
        ev.Stamped(stamp.seq + 1, stamp.at, stamp.event) for stamp in later
        if not isinstance(stamp.event, ev.TokensStreamed | ev.DraftFinished | ev.TakeOverFinished)
    )]  # fmt: skip
    writer = RunWriter.resume(path)
    writer.append(tail)
    writer.close()
    reader = RunReader.open(path)
    assert reader.trouble == ""
    assert same(reader.state) == same(RunState().fold(first + tail))
    reader.close()
    with contextlib.closing(RunFile.open(path)) as file:
        for ordinal in range(0, len(first) + len(tail), 7):
            state = file.state(file.place_of_ordinal(ordinal))
            assert same(state) == same(RunState().fold((first + tail)[:ordinal]))
