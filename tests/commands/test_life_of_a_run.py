"""The life of a run by the command line: killed, resumed, detached, watched, exported, imported, removed."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from atts_core import events as ev
from atts_core.runs.file import RunFile
from atts_core.runs.folder import run_files
from atts_core.runs.presence import EngineMark

PATIENCE = 120.0
EVAL = ("eval", "builtin", "--limit", "6", "--samples", "4", "--seed", "5")


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "ATTS_HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}


def atts(home: dict[str, str], *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "atts_tui.cli", *arguments],
        capture_output=True,
        text=True,
        env=home,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


def files(home: dict[str, str]) -> list[Path]:
    return run_files(Path(home["ATTS_HOME"]) / "runs")


def story(path: Path) -> list[list[Any]]:
    """What happened to every sample, event by event, but for times, text in flight and waiting."""
    file = RunFile.open(path)
    samples: dict[tuple[int, int], list[Any]] = {}
    for stamps in file.events():
        for stamped in stamps:
            event = stamped.event
            if not hasattr(event, "sample") or isinstance(event, ev.TokensStreamed | ev.StageQueued):
                continue
            told = {
                name: getattr(event, name) for name in event.__struct_fields__ if not name.endswith("seconds")
            }
            samples.setdefault((event.problem, event.sample), []).append((type(event).__name__, told))
    file.close()
    return [samples[at] for at in sorted(samples)]


def finished_parts(path: Path) -> list[list[Any]]:
    """The same less what was begun and cut off by a kill."""
    begun = ("DraftStarted", "VerificationStarted", "TakeOverStarted", "SampleStarted")
    return [[item for item in sample if item[0] not in begun] for sample in story(path)]


def test_a_run_killed_again_and_again_ends_as_if_it_had_not_been(
    home: dict[str, str], tmp_path: Path
) -> None:
    atts(home, *EVAL, "--json")
    (undisturbed,) = files(home)
    killed = {**home, "ATTS_HOME": str(tmp_path / "killed")}
    rng = random.Random(7)
    arguments: tuple[str, ...] = EVAL
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-m", "atts_tui.cli", *arguments, "--events"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=killed,
        )
        assert process.stdout is not None
        left = rng.randrange(200, 500)
        for _line in process.stdout:
            left -= 1
            if left == 0:
                process.send_signal(signal.SIGKILL)
                break
        process.stdout.close()
        process.wait(PATIENCE)
        if files(killed):
            arguments = ("eval", "--resume", files(killed)[0].stem)
    result = json.loads(atts(killed, *arguments, "--json").stdout)
    assert result["end"] == "done"
    (resumed,) = files(killed)
    assert finished_parts(resumed) == finished_parts(undisturbed)


def test_what_would_make_it_another_run_is_refused_with_the_difference(home: dict[str, str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "atts_tui.cli", *EVAL, "--events"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=home,
    )
    assert process.stdout is not None
    while b'"SampleFinished"' not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    (path,) = files(home)
    refused = atts(home, "eval", "--resume", path.stem, "--takeover-rate", "0.2", "--headless", status=2)
    assert "takeover-rate was 0.4 and is 0.2" in refused.stderr
    assert "leave out the dataset" in atts(home, "eval", "builtin", "--resume", path.stem, status=2).stderr
    assert "atts eval --resume" in atts(home, "solve", "--resume", path.stem, status=2).stderr
    assert json.loads(atts(home, "eval", "--resume", path.stem, "--json").stdout)["end"] == "done"
    assert "nothing was left to do" in atts(home, "eval", "--resume", path.stem, "--headless").stdout


def test_a_detached_run_goes_on_by_itself_and_can_be_watched(home: dict[str, str]) -> None:
    started = atts(home, *EVAL, "--detach").stdout
    (path,) = files(home)
    assert f"atts watch {path.stem}" in started
    watched = atts(home, "watch", "--headless")
    assert "accuracy" in watched.stdout
    once = json.loads(atts(home, "watch", path.stem, "--once", "--json").stdout)
    assert (once["end"], once["name"], once["run"]) == ("done", path.stem, str(path))
    listed = json.loads(atts(home, "runs", "list", "--json").stdout)
    assert [run["status"] for run in listed] == ["done"]


def test_a_detached_run_ends_when_a_watcher_asks_it_to(home: dict[str, str]) -> None:
    atts(home, "eval", "builtin", "--limit", "500", "--detach")
    atts(home, "watch", "--stop")
    atts(home, "watch", "--headless", status=130)
    assert json.loads(atts(home, "runs", "list", "--json").stdout)[0]["status"] == "interrupted"


def test_a_detached_run_that_cannot_begin_says_why(home: dict[str, str]) -> None:
    refused = atts(home, "eval", "builtin", "--draft", "http://127.0.0.1:1", "--target", "http://127.0.0.1:1",
                   "--detach", status=2)  # fmt: skip
    assert "127.0.0.1:1" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert files(home) == []


def test_a_refused_run_leaves_no_file(home: dict[str, str]) -> None:
    atts(home, "demo", "--calibration", "none.npz", "--headless", status=2)
    assert files(home) == []


def test_export_import_compare_show_and_remove(home: dict[str, str], tmp_path: Path) -> None:
    atts(home, "demo", "--problems", "2", "--samples", "3", "--json")
    (path,) = files(home)
    events = tmp_path / "events.jsonl"
    assert "wrote" in atts(home, "runs", "export", path.stem, "-o", str(events)).stdout
    assert "exists" in atts(home, "runs", "export", path.stem, "-o", str(events), status=2).stderr
    for form in ("csv-samples", "csv-verdicts", "reference"):
        atts(home, "runs", "export", path.stem, "--format", form, "-o", str(tmp_path / form))
    assert len(list((tmp_path / "reference").glob("problem_*.json"))) == 6
    atts(home, "runs", "export", path.stem, "--format", "svg", "-o", str(tmp_path / "screen.svg"))
    assert "Vote" in (tmp_path / "screen.svg").read_text()
    atts(home, "runs", "import", str(events))
    assert len(files(home)) == 2
    copy = next(other for other in files(home) if other != path)
    assert story(copy) == story(path)
    page = tmp_path / "report.html"
    assert "wrote" in atts(home, "report", path.stem, copy.stem, "-o", str(page)).stdout
    assert path.stem in page.read_text()
    assert "exists" in atts(home, "report", "-o", str(page), status=2).stderr
    compared = atts(home, "runs", "compare", path.stem, copy.stem).stdout
    assert "over 2 problems in both" in compared
    assert "What differs: nothing" in compared
    told = json.loads(atts(home, "runs", "compare", path.stem, copy.stem, "--json").stdout)
    assert {found["value"] for found in told["pairs"][0]["differences"]} == {0.0, 1.0}
    assert path.stem in atts(home, "runs", "show", path.stem).stdout
    audited = json.loads(atts(home, "audit", path.stem, "--json").stdout)
    assert audited["decisions"] > 0
    assert (audited["changed"], audited["mode"]) == (0, "marginal")
    assert audited["same_p"] == audited["recorded_p"] == audited["decisions"]
    other = json.loads(atts(home, "audit", str(path), "--mode", "online", "--json").stdout)
    assert other["mode"] == "online"
    from_events = json.loads(atts(home, "audit", str(events), "--json").stdout)
    assert from_events["decisions"] == audited["decisions"]
    assert {"changed", "nominal", "realised", "per_turn", "drift", "signal"} <= audited.keys()
    assert "--yes" in atts(home, "runs", "remove", copy.stem, status=2).stderr
    atts(home, "runs", "remove", copy.stem, "--yes")
    assert files(home) == [path]


def test_names_that_mean_nothing(home: dict[str, str]) -> None:
    assert "There are no runs" in atts(home, "runs").stdout
    assert "There are no runs" in atts(home, "watch", status=2).stderr
    assert "There is no run file" in atts(home, "watch", "./nowhere.atts", status=2).stderr
    atts(home, "replay", status=2)


def test_a_second_engine_is_refused_and_harms_nothing(home: dict[str, str]) -> None:
    """Closing a file that this process has open drops its locks: the first engine must go on undisturbed."""
    atts(home, "eval", "builtin", "--limit", "300", "--detach")
    (path,) = files(home)
    os.kill(json_pid(path), signal.SIGKILL)
    atts(home, "eval", "--resume", path.stem, "--detach")
    refused = atts(home, "eval", "--resume", path.stem, "--headless", status=1)
    assert "has an engine at work" in refused.stderr
    assert refused.stdout == ""
    before = RunFile.open(path)
    seen = before.last().ordinal
    before.close()
    atts(home, "watch", path.stem, "--stop")
    atts(home, "watch", path.stem, "--headless", status=130)
    after = RunFile.open(path)
    assert after.last().ordinal > seen
    assert not after.trouble
    after.close()


def json_pid(path: Path) -> int:
    """The process that runs a run."""
    file = RunFile.open(path)
    mark = file.meta("engine", EngineMark)
    file.close()
    assert mark is not None
    return mark.pid


def test_a_detached_run_that_is_refused_late_says_so(home: dict[str, str]) -> None:
    refused = atts(home, "eval", "builtin", "--detach", "--calibration", "/nowhere.npz", status=2)
    assert "no calibration file /nowhere.npz" in refused.stderr
    assert list((Path(home["ATTS_HOME"]) / "runs").iterdir()) == []


def test_a_problem_from_standard_input_can_be_detached(home: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "atts_tui.cli", "solve", "-", "--samples", "2", "--detach"],
        input="Let a = 12 + 7. What is a?",
        capture_output=True,
        text=True,
        env=home,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    watched = atts(home, "watch", "--headless")
    assert "Let a = 12 + 7. What is a?" in watched.stdout


HOSTILE = "evil\x1b]0;owned\x07\x1b[31m\x9b1m text"


def test_no_output_obeys_what_a_file_holds(home: dict[str, str], tmp_path: Path) -> None:
    atts(home, "demo", "--problems", "1", "--samples", "2", "--json")
    (path,) = files(home)
    events = tmp_path / "evil.jsonl"
    atts(home, "runs", "export", path.stem, "-o", str(events))
    lines = []
    for line in events.read_bytes().splitlines():
        stamped = ev.decode(line)
        event: Any = stamped.event
        for name in ("question", "answer", "gold", "message"):
            if isinstance(getattr(event, name, None), str):
                event = msgspec.structs.replace(event, **{name: HOSTILE})
        if isinstance(event, ev.RunStarted):
            models = tuple(msgspec.structs.replace(model, name=HOSTILE) for model in event.models)
            event = msgspec.structs.replace(event, models=models, dataset=HOSTILE)
        lines.append(ev.encode(ev.Stamped(stamped.seq, stamped.at, event)))
    events.write_bytes(b"\n".join(lines) + b"\n")
    atts(home, "runs", "import", str(events))
    evil = next(other for other in files(home) if other != path)
    for command in (
        ("watch", evil.stem, "--once"),
        ("watch", evil.stem, "--headless"),
        ("runs",),
        ("runs", "show", evil.stem),
        ("runs", "compare", evil.stem, path.stem),
    ):
        printed = atts(home, *command)
        assert not {"\x1b", "\x07", "\x9b"} & set(printed.stdout + printed.stderr), command
    gold = ("solve", "Let a = 12 + 7. What is a?", "--samples", "2", "--headless", "--gold", HOSTILE)
    printed = atts(home, *gold)
    assert not {"\x1b", "\x07", "\x9b"} & set(printed.stdout + printed.stderr)
