"""The calibration that a run decides by, kept in its own file: it goes on and is audited anywhere."""

import contextlib
import dataclasses
import tempfile
from pathlib import Path

from atts_core.conformal import Calibration, load_calibration, save_calibration
from atts_core.runs.file import RunFile

KEPT_CALIBRATION = "calibration.npz"


def calibration_bytes(calibration: Calibration) -> bytes:
    """The bytes of a calibration file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / KEPT_CALIBRATION
        save_calibration(calibration, path)
        return path.read_bytes()


def kept_calibration(run: Path, source: str = "the run's own") -> Calibration | None:
    """The calibration that a run decides by, from its own file; `source` is where it came from first."""
    with contextlib.closing(RunFile.open(run)) as file:
        kept = file.kept(KEPT_CALIBRATION)
    if kept is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / KEPT_CALIBRATION
        path.write_bytes(kept)
        return dataclasses.replace(load_calibration(path), source=source)
