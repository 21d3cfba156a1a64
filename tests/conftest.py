"""What all tests share. No test reads a user's own settings or needs a network beyond loopback."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# One thread of linear algebra a process: more of them on a busy machine is slower, not faster.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

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
