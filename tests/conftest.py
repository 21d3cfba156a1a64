"""What all tests share. No test reads a user's own settings or needs a network beyond loopback."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# One thread of linear algebra a process: more of them on a busy machine is slower, not faster.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A process started in the background of a script ignores ctrl-C, and so would children that tests send it to.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "atts", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("atts")


@pytest.fixture(autouse=True)
def nobodys_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test sees no `atts.toml` and no `ATTS_…` variable of the person who runs it."""
    for name in [name for name in os.environ if name.startswith("ATTS_") and "REAL_SGLANG" not in name]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    monkeypatch.setenv("XDG_DATA_HOME", str(home))


@contextmanager
def _embedded_server(model: str) -> Iterator[str]:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "atts_core.embedded.server",
            "--model",
            model,
            "--port",
            "0",
            "--watch-parent",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="session")
def embedded_pair() -> Iterator[tuple[str, str]]:
    """URLs of draft and target, two servers started by hand as a user would."""
    with ExitStack() as stack:
        draft, target = (stack.enter_context(_embedded_server(model)) for model in ("draft", "target"))
        yield draft, target
