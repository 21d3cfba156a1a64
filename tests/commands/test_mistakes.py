"""What a user's mistakes lead to: one clear sentence, the right exit status, nothing left running."""

import http.server
import io
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from atts_tui.cli import main
from atts_tui.commands.printing import print_json

Done = subprocess.CompletedProcess[bytes]
Run = Callable[..., tuple[int, str, str]]
PROBLEM = "Solve 5x + 51 = 4x + 54 for x."


@pytest.fixture
def atts(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            status = main(list(arguments))
        except SystemExit as exit_:
            status = int(exit_.code or 0)
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def web_page() -> Iterator[str]:
    """A server on loopback that is not SGLang."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"<html>hello</html>"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def assert_one_sentence(status: int, out: str, err: str, words: str) -> None:
    assert status == 2, err
    assert out == ""
    last = err.strip().splitlines()[-1]
    assert words in last, err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("solve", ""), "The problem is empty"),
        (("solve",), "The problem is missing"),
        (("solve", PROBLEM, "--file", "x"), "given twice"),
        (("solve", "--file", "nowhere.txt"), "nowhere.txt cannot be read"),
        (("demo", "--metrics-port", "0"), "--metrics-port 0: metrics port must lie between 1 and 65535"),
        (("demo", "--gpu-metrics", "gpu1:9400"), "--gpu-metrics gpu1:9400: say whose GPUs these are"),
        (("solve", PROBLEM, "--samples", "0"), "--samples 0: samples must be at least 1"),
        (
            ("solve", PROBLEM, "--alpha", "2", "--headless"),
            "alpha is 2; it must lie strictly between 0 and 1",
        ),
        (("solve", PROBLEM, "--alpha", "0.5", "--budget", "3"), "say the same thing"),
        (("solve", PROBLEM, "--calibration", "none.npz", "--headless"), "no calibration file none.npz"),
        (("solve", PROBLEM, "--draft", "http://127.0.0.1:1"), "--target is missing"),
        (("solve", PROBLEM, "--samples", "many"), "invalid int value: 'many'"),
        (("demo", "--problems", "0"), "at least one problem"),
        (("demo", "--pace", "-1"), "no such pace"),
        (("demo", "--level", "99", "--headless"), "levels 2 to 5"),
        (("calibrate", "builtin"), "-o/--output"),
        (("calibrate", "aime-24", "-o", "x.npz"), "no data set and no file 'aime-24'"),
        (("calibrate", "builtin", "-o", "no/such/x.npz"), "does not exist"),
        (("calibrate", "builtin", "-o", "x.npz", "--limit", "0"), "at least one problem"),
        (("fly",), "invalid choice: 'fly'"),
    ],
)
def test_bad_usage(atts: Run, arguments: tuple[str, ...], words: str) -> None:
    assert_one_sentence(*atts(*arguments), words=words)


def test_nothing_listens(atts: Run, closed_port: int) -> None:
    url = f"http://127.0.0.1:{closed_port}"
    status, out, err = atts("solve", PROBLEM, "--draft", url, "--target", url, "--headless")
    assert_one_sentence(status, out, err, url)


def test_not_sglang(atts: Run, web_page: str) -> None:
    status, out, err = atts("solve", PROBLEM, "--draft", web_page, "--target", web_page, "--headless")
    assert_one_sentence(status, out, err, "is not an SGLang server")


def test_a_url_that_is_none(atts: Run) -> None:
    status, out, err = atts("solve", PROBLEM, "--draft", "gpu1", "--target", "gpu2", "--headless")
    assert_one_sentence(status, out, err, "gpu1")


def test_a_word_that_the_models_cannot_read_shows_three_that_they_can(atts: Run) -> None:
    status, out, err = atts("solve", "Prove the Riemann hypothesis.", "--headless")
    assert (status, out) == (2, "")
    assert '"Riemann"' in err
    examples = [line for line in err.splitlines() if line.startswith("  ")]
    assert len(examples) == 3


def test_an_output_file_that_exists_is_not_replaced(atts: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.npz").write_text("precious")
    status, out, err = atts("calibrate", "builtin", "-o", "mine.npz")
    assert_one_sentence(status, out, err, "mine.npz exists")
    assert (tmp_path / "mine.npz").read_text() == "precious"


def test_help_shows_examples_and_says_what_is_guaranteed(atts: Run) -> None:
    status, out, _ = atts("solve", "--help")
    assert status == 0
    assert "examples:" in out
    assert "long-run take-over rate" in out
    status, out, _ = atts()
    assert status == 0
    assert "atts demo" in out


def started(
    *arguments: str, encoding: str = "utf-8", stdout: int = subprocess.PIPE, unbuffered: str = ""
) -> Done:
    """`atts` in a process of its own, whose streams are what they are."""
    return subprocess.run(
        [sys.executable, "-m", "atts_tui.cli", *arguments],
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUNBUFFERED": unbuffered},
        stdout=stdout,
        stderr=subprocess.PIPE,
        check=False,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize("said", [("runs",), ("runs", "--json"), ("--help",), ("--version",)])
def test_a_result_sent_to_a_full_disk_is_one_sentence(tmp_path: Path, said: tuple[str, ...]) -> None:
    where = ("--runs-dir", str(tmp_path)) if said[0] == "runs" else ()
    with Path("/dev/full").open("w") as full:
        for unbuffered in ("", "1") if where else ("",):  # argparse itself says nothing of a failed write
            done = started(*said, *where, stdout=full.fileno(), unbuffered=unbuffered)
            assert done.returncode == 1
            assert done.stderr == (
                b"atts: the result cannot be written where it was sent (No space left on device)\n"
            )


def test_a_stream_that_lacks_a_sign_gets_a_question_mark() -> None:
    done = started("--help", encoding="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"ATTS_? variables" in done.stdout


def test_json_is_utf_8_whatever_the_stream_is(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii"))
    sys.stdout.write("first\n")
    print_json({"answer": "½ 🦆"})
    assert written.getvalue().decode() == 'first\n{\n  "answer": "½ 🦆"\n}\n'
