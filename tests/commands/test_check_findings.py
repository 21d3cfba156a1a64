"""`atts check`: every problem is found, and says what to do."""

import json
import socket
import sys
from pathlib import Path

import pytest

from atts_core.servers.settings import RoleGiven, ServersGiven
from atts_core.servers.state import PairState, Process, Server, make_pair_folder, write_state
from atts_tui.cli import main
from atts_tui.commands.findings import disk, started_servers, terminal, wanted_servers


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATTS_HOME", str(tmp_path / "atts"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "atts"


def test_a_calibration_of_other_settings_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ATTS_DRAFT_TOKENS", "50")
    assert main(["check", "--json"]) == 1
    found = {finding["what"]: finding for finding in json.loads(capsys.readouterr().out)["findings"]}
    assert found["calibration"]["level"] == "problem"
    assert "the tokens of a draft step (calibrated with 96, the run uses 50)" in found["calibration"]["words"]
    assert "atts calibrate" in found["calibration"]["do"]
    assert found["target model"]["level"] == "ok"


def test_settings_are_read_first(capsys: pytest.CaptureFixture[str]) -> None:
    Path("atts.toml").write_text("[servers]\npresett = 'x'\n")
    assert main(["check"]) == 1
    assert "PROBLEM  settings: atts.toml: " in capsys.readouterr().out


def test_where_runs_go(home: Path) -> None:
    assert disk().level == "ok"
    assert not home.exists()  # looking makes nothing
    home.mkdir()
    (home / "runs").write_text("a file")
    assert disk().level == "problem"


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 10 << 20})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    found = disk()
    assert (found.level, "10 MB free" in found.words) == ("problem", True)
    assert "atts runs remove" in found.do


async def test_a_pair_that_is_gone(home: Path) -> None:
    make_pair_folder("mine")
    process = Process(pid=1, start="never", mark="sglang", boot="another", space="")
    server = Server(
        label="draft",
        role="draft",
        kind="sglang",
        model="m",
        url="http://127.0.0.1:1",
        process=process,
        began=0,
    )
    write_state(PairState(name="mine", preset="", release="", servers=(server,)))
    (found,) = await started_servers()
    assert (found.level, found.what) == ("problem", "servers mine")
    assert "before a restart" in found.words
    assert "atts servers down --name mine" in found.do


async def test_no_pair_is_no_finding() -> None:
    assert await started_servers() == []
    assert wanted_servers(None) == []


def test_what_up_would_need() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (found,) = wanted_servers(ServersGiven(preset="embedded", draft=RoleGiven(port=port)))
        assert (found.level, f"Port {port} on 127.0.0.1 is in use" in found.words) == ("problem", True)
    (found,) = wanted_servers(ServersGiven(preset="r1-8b+qwq", python=sys.executable))
    assert "has no sglang" in found.words
    (found,) = wanted_servers(ServersGiven(python="/opt/sglang/bin/python"))
    assert (found.level, "names no pair" in found.words) == ("note", True)


@pytest.mark.parametrize(
    ("variables", "size", "level", "words"),
    [
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, (120, 40), "ok", "true colour"),
        ({"TERM": "xterm-256color"}, (60, 20), "note", "60x20 is small"),
        ({"TERM": "dumb"}, (120, 40), "problem", "TERM"),
        ({"TERM": "xterm", "NO_COLOR": "1"}, (120, 40), "note", "NO_COLOR"),
    ],
)
def test_terminals(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], size: tuple[int, int], level: str, words: str
) -> None:
    for name in ("TERM", "COLORTERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", str(size[0]))
    monkeypatch.setenv("LINES", str(size[1]))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr("locale.getpreferredencoding", lambda _: "UTF-8")
    found = terminal()
    assert (found.level, words in found.words) == (level, True), found
    assert level == "ok" or found.do
