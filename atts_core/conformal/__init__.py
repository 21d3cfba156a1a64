"""Conformal calibration: which steps the target takes over, and what can be promised about it."""

from atts_core.conformal.authors_files import load_authors_file, save_authors_file
from atts_core.conformal.calibration import Calibration, flat_calibration
from atts_core.conformal.decider import Decider, DeciderState, Decision, Verdict
from atts_core.conformal.drift import DriftAlarm, DriftMonitor
from atts_core.conformal.files import load_calibration, save_calibration
from atts_core.conformal.guarantees import Guarantee, describe
from atts_core.conformal.identity import Identity, check_identity
from atts_core.conformal.pvalues import step_ppl
from atts_core.conformal.settings import Adaptation, ConformalSettings, Mode, Rule

__all__ = [
    "Adaptation",
    "Calibration",
    "ConformalSettings",
    "Decider",
    "DeciderState",
    "Decision",
    "DriftAlarm",
    "DriftMonitor",
    "Guarantee",
    "Identity",
    "Mode",
    "Rule",
    "Verdict",
    "check_identity",
    "describe",
    "flat_calibration",
    "load_authors_file",
    "load_calibration",
    "save_authors_file",
    "save_calibration",
    "step_ppl",
]
