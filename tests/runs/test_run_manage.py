"""Lists, comparisons and removals of runs, their names and folders."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from atts_core import events as ev
from atts_core.errors import RunError, SettingsError
from atts_core.runs.file import About
from atts_core.runs.folder import find_run, make_folder, new_run, run_path, runs_folder
from atts_core.runs.manage import FIELDS, info_of, list_runs, remove
from atts_core.runs.presence import mark
from atts_core.runs.summary import summarise
from atts_core.runs.writer import RunWriter
from atts_core.state import RunState

pytestmark = pytest.mark.usefixtures("no_power_cut")

Simulate = Callable[..., list[ev.Stamped]]


@pytest.fixture
def folder(tmp_path: Path, simulate: Simulate, about: About) -> Path:
    """Three runs of different sizes, the last of which stopped early, and one file that is no run."""
    folder = tmp_path / "runs"
    make_folder(folder)
    for number, (problems, dataset) in enumerate(((1, "builtin"), (4, "math500"), (2, "builtin"))):
        run = f"2026010{number + 1}-eval"
        writer = RunWriter.create(
            folder / f"{run}.atts", msgspec.structs.replace(about, run=run, dataset=dataset)
        )
        stamps = simulate(number, problems=problems)
        writer.append(stamps if number < 2 else stamps[:60])
        writer.close()
    (folder / "20250101-broken.atts").write_text("no")
    return folder


def test_a_list_says_of_every_run_what_it_came_to(folder: Path, simulate: Simulate) -> None:
    infos = {info.run: info for info in list_runs(folder)}
    assert {run: info.status for run, info in infos.items()} == {
        "20260103-eval": "gone",
        "20260102-eval": "done",
        "20260101-eval": "done",
        "20250101-broken": "unreadable",
    }
    state = RunState().fold(simulate(1, problems=4))
    summary = infos["20260102-eval"].summary
    assert summary == summarise(state, len(simulate(1, problems=4)))
    graded = [p for p in state.problems if all(s.correct is not None for s in p.samples)]
    right = [s.correct for p in graded for s in p.samples]
    assert summary.accuracy == sum(map(bool, right)) / len(right)
    assert summary.majority == sum(bool(p.correct) for p in graded) / len(graded)
    assert summary.takeover_rate == state.overall.realised
    assert summary.seconds == state.now
    assert infos["20260102-eval"].models == "draft-model → target-model"
    assert infos["20260102-eval"].size == (folder / "20260102-eval.atts").stat().st_size
    assert "no run file" in infos["20250101-broken"].trouble


def test_numbers_of_a_killed_run_are_counted_from_its_events(folder: Path, simulate: Simulate) -> None:
    path = folder / "20260103-eval.atts"
    connection = sqlite3.connect(path)
    stale = '{"events": 3}'
    connection.execute("UPDATE meta SET value = ? WHERE key = 'summary'", (stale,))
    connection.commit()
    connection.close()
    assert info_of(path).summary == summarise(RunState().fold(simulate(2, problems=2)[:60]), 60)


def test_filters_and_orders(folder: Path) -> None:
    def names(*filters: str, **named: object) -> list[str]:
        return [info.run[:8] for info in list_runs(folder, filters=filters, **named)]  # type: ignore[arg-type]

    assert names("dataset=builtin", sort="run") == ["20260101", "20260103"]
    assert names("math", sort="run") == ["20260102"]
    assert names("status=done", "dataset=builtin") == ["20260101"]
    assert names("status=done", sort="duration") == ["20260102", "20260101"]
    assert names("status=done", sort="duration", reverse=False) == ["20260101", "20260102"]
    assert names(sort="duration")[-1] == "20250101"
    for field in FIELDS:
        assert len(names(sort=field)) == 4
    with pytest.raises(SettingsError, match="no field 'colour'; there are run, status"):
        names("colour=red")
    assert list_runs(folder / "none") == []


def test_removing_takes_everything_but_a_running_run(folder: Path, about: About) -> None:
    remove(folder / "20260101-eval.atts")
    assert not list(folder.glob("20260101*"))
    running = RunWriter.create(folder / "running.atts", about)
    running.beat(mark().beat)
    assert info_of(folder / "running.atts").status == "running"
    with pytest.raises(RunError, match="still going on"):
        remove(folder / "running.atts")
    running.close()
    remove(folder / "running.atts")
    with pytest.raises(SettingsError, match="no run file"):
        remove(folder / "20250101-broken.atts")


def test_a_word_for_a_run_becomes_its_file(folder: Path) -> None:
    assert find_run(None, folder).stem == "20260103-eval"
    assert find_run("20260102", folder).stem == "20260102-eval"
    assert find_run("20260102-eval.atts", folder).stem == "20260102-eval"
    assert find_run(str(folder / "20260101-eval.atts"), Path("/none")).stem == "20260101-eval"
    with pytest.raises(SettingsError, match="Several runs begin with 2026"):
        find_run("2026", folder)
    with pytest.raises(SettingsError, match="no run x"):
        find_run("x", folder)
    with pytest.raises(SettingsError, match="no run file"):
        find_run("a/b", folder)
    with pytest.raises(SettingsError, match="There are no runs"):
        find_run(None, folder / "none")


def test_the_folder_of_runs(tmp_path: Path) -> None:
    assert runs_folder(tmp_path / "x", {"ATTS_HOME": "/y"}) == tmp_path / "x"
    assert runs_folder(None, {"ATTS_HOME": "/y"}) == Path("/y/runs")
    assert runs_folder(None, {}).parts[-2:] == ("atts", "runs")
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="is no folder"):
        runs_folder(tmp_path / "file", {})
    with pytest.raises(SettingsError, match="cannot be made"):
        make_folder(tmp_path / "file" / "x")
    make_folder(tmp_path / "made")
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o700
    assert new_run(tmp_path, "demo", 0.0) == "19700101-000000-demo"
    run_path(tmp_path, "19700101-000000-demo").touch()
    assert new_run(tmp_path, "demo", 0.0) == "19700101-000000-demo-2"
