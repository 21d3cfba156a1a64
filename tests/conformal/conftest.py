"""Recorded chains and calibration arrays, where this machine has them, and calibrations made up for tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atts_core.conformal import Calibration, Identity, load_calibration
from atts_core.conformal.records import RecordedRun, load_authors_run

_DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def data() -> Path:
    if not (_DATA / "index.json").is_file():
        pytest.skip("the recorded chains are not on this machine")
    return _DATA


@pytest.fixture(scope="session")
def recorded(data: Path) -> Callable[[str], RecordedRun]:
    runs: dict[str, RecordedRun] = {}

    def load(name: str) -> RecordedRun:
        if name not in runs:
            runs[name] = load_authors_run(data / "runs" / f"{name}.jsonl.gz")
        return runs[name]

    return load


@pytest.fixture(scope="session")
def stored(data: Path) -> Callable[[str], Calibration]:
    return lambda name: load_calibration(data / "arrays" / f"{name}.npy")


@pytest.fixture(scope="session")
def crepes() -> Any:
    return pytest.importorskip("crepes")


def made_calibration(
    problems: int = 6, samples: int = 4, turns: int = 3, seed: int = 0, identity: Identity | None = None
) -> Calibration:
    """PPLs whose level differs between problems and turns."""
    rng = np.random.default_rng(seed)
    problem, sample, turn = (
        part.ravel().astype(np.int32)
        for part in np.meshgrid(np.arange(problems), np.arange(samples), np.arange(turns), indexing="ij")
    )
    level = rng.normal(0, 0.3, problems)[problem] + 0.1 * turn
    return Calibration(
        ppl=1 + np.exp(level + rng.normal(0, 0.2, len(problem))),
        turn=turn,
        problem=problem,
        sample=sample,
        problems=tuple(f"p{index}" for index in range(problems)),
        identity=identity or Identity(),
    )


@pytest.fixture
def make_calibration() -> Callable[..., Calibration]:
    return made_calibration
