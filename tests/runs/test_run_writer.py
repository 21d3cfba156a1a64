"""What the laws do not reach by chance: samples that come back, and commits that half failed."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atts_core import events as ev
from atts_core.errors import RunError
from atts_core.runs import keyframes, schema
from atts_core.runs.file import About, RunFile
from atts_core.runs.resume import FinishedStep, read_progress
from atts_core.runs.writer import RunWriter
from atts_core.state import RunState

pytestmark = pytest.mark.usefixtures("no_power_cut")

Same = Callable[[RunState], bytes]
AT = {"problem": 0, "sample": 0}


def step(text: str, turn: int = 0) -> list[ev.AnyEvent]:
    return [
        ev.DraftStarted(**AT, turn=turn),
        ev.DraftFinished(
            **AT, turn=turn, text=text, tokens=1, ended=False, seconds=0.0, first_token_seconds=0.0, ids=(1,)
        ),
    ]


def verdict(kind: ev.Verdict) -> ev.VerdictReached:
    return ev.VerdictReached(
        **AT, turn=0, verdict=kind, ppl=1.5, p=0.5, alpha=0.6, threshold=None, mode="", rule="", size=1,
        tokens=1, seconds=0.0,
    )  # fmt: skip


def stamped(events: list[ev.AnyEvent], first: int = 1) -> list[ev.Stamped]:
    return [ev.Stamped(seq, seq * 0.1, event) for seq, event in enumerate(events, start=first)]


@pytest.fixture
def beginning(run_started: Callable[..., ev.RunStarted]) -> list[ev.AnyEvent]:
    return [run_started(2), ev.ProblemAdded(problem=0, id="p", question="?"), ev.SampleStarted(**AT)]


def test_a_sample_that_was_put_away_goes_on_as_it_was(
    tmp_path: Path, about: About, beginning: list[ev.AnyEvent], same: Same, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyframes, "EVERY", 1)
    events = [
        *beginning, *step("first "), ev.SampleFinished(**AT, end="failed", message="gone"),
        ev.Warned(message="a keyframe in between"), ev.SampleStarted(**AT), *step("second", turn=1),
        ev.SampleFinished(**AT, end="answered", answer="2"), ev.Warned(message="and another"),
    ]  # fmt: skip
    stamps = stamped(events)
    writer = RunWriter.create(tmp_path / "r.atts", about)
    for stamp in stamps:
        writer.append([stamp])
    writer.close()
    file = RunFile.open(tmp_path / "r.atts")
    for count in range(len(stamps) + 1):
        assert same(file.state(file.place_of_ordinal(count))) == same(RunState().fold(stamps[:count]))
    assert file.state(file.last()).problems[0].samples[0].text == "first second"


def test_a_new_engine_changes_samples_that_no_event_names(
    tmp_path: Path, about: About, beginning: list[ev.AnyEvent], same: Same
) -> None:
    stamps = stamped([*beginning, ev.DraftStarted(**AT, turn=0), beginning[0]])
    writer = RunWriter.create(tmp_path / "r.atts", about)
    writer.append(stamps[:-1])
    writer.close()
    writer = RunWriter.resume(tmp_path / "r.atts")
    writer.append(stamps[-1:])
    writer.close()
    file = RunFile.open(tmp_path / "r.atts")
    assert file.state(file.last()).problems[0].samples[0].phase == "between"
    assert same(file.state(file.last())) == same(RunState().fold(stamps))


def test_a_commit_that_reached_the_disk_and_answered_with_an_error_is_not_written_twice(
    tmp_path: Path, about: About, beginning: list[ev.AnyEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, stamps = RunWriter.create(tmp_path / "r.atts", about), stamped([*beginning, *step("x")])
    writer.append(stamps[:2])
    written = RunWriter._written

    def fail(*_: Any) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(RunWriter, "_written", fail)
    with pytest.raises(sqlite3.OperationalError):
        writer.append(stamps[2:])
    monkeypatch.setattr(RunWriter, "_written", written)
    writer.reopen()
    writer.append(stamps[2:])
    assert writer.last.ordinal == len(stamps)
    writer.close()
    assert [stamp for batch in RunFile.open(tmp_path / "r.atts").events() for stamp in batch] == stamps


def test_a_file_that_was_exchanged_is_not_written_to(
    tmp_path: Path, about: About, beginning: list[ev.AnyEvent]
) -> None:
    path = tmp_path / "r.atts"
    writer = RunWriter.create(path, about)
    writer.append(stamped(beginning))
    for name in tmp_path.glob("r.atts*"):
        name.unlink()
    RunWriter.create(path, about).close()
    with pytest.raises(RunError, match="not the file it was"):
        writer.reopen()
    writer.abandon()


def test_every_draft_of_a_turn_is_kept_with_its_verdict(
    tmp_path: Path, about: About, beginning: list[ev.AnyEvent]
) -> None:
    writer = RunWriter.create(tmp_path / "r.atts", about)
    writer.append(stamped([*beginning, *step("no"), verdict("take-over"), *step("yes")]))
    writer.close()
    sample = read_progress(tmp_path / "r.atts").problems[0].samples[0]
    assert [part.text if isinstance(part, FinishedStep) else part.verdict for part in sample.parts] == [
        "no", "take-over", "yes",
    ]  # fmt: skip


def test_a_file_has_its_name_only_once_it_is_whole(
    tmp_path: Path, about: About, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    take_name = schema._take_name

    def look(part: Path, path: Path) -> None:
        seen.append([name.name for name in tmp_path.glob("*.atts")])
        assert RunFile.open(part).about == about
        take_name(part, path)

    monkeypatch.setattr(schema, "_take_name", look)
    RunWriter.create(tmp_path / "r.atts", about).abandon()
    assert seen == [[]]
    assert (tmp_path / "r.atts").is_file()
    assert not list(tmp_path.glob(".*part*"))
