"""What a run says of its calibration when it begins: enough for the screens, and small."""

import msgspec
import numpy as np

from atts_core.conformal.calibration import Calibration
from atts_core.conformal.guarantees import describe
from atts_core.conformal.settings import ConformalSettings
from atts_core.events import CalibrationCard, ScoreHistogram
from atts_core.percent import percent

BINS = 64
"""Twice as many as the columns of a small chart, and a kilobyte in the event."""
TAIL = 0.995
"""The last bin begins at this quantile: a few broken steps must not squeeze all others into one column."""


def calibration_card(settings: ConformalSettings, calibration: Calibration | None) -> CalibrationCard:
    """The card of a run that decides by these settings and scores."""
    guarantee = describe(settings, calibration)
    known = msgspec.to_builtins(calibration.identity) if calibration else {}
    return CalibrationCard(
        mode=settings.mode,
        rule=settings.rule,
        adaptation=settings.adaptation,
        alpha=settings.nominal_alpha,
        nominal=settings.nominal_rate,
        size=len(calibration) if calibration else 0,
        problems=len(calibration.problems) if calibration else 0,
        fingerprint=calibration.fingerprint if calibration else "",
        source=calibration.source if calibration else "nothing: starts empty",
        promise=guarantee.promise,
        limits=guarantee.limits,
        histogram=score_histogram(calibration) if calibration else None,
        identity={name: value for name, value in known.items() if value is not None},
        created=(calibration.created or "") if calibration else "",
    )


def round_card(settings: ConformalSettings) -> CalibrationCard:
    """The card of a run that ranks the steps of a round among themselves, and needs no scores for it."""
    return CalibrationCard(
        mode="round",
        rule="rank",
        adaptation="off",
        alpha=settings.nominal_alpha,
        nominal=settings.nominal_rate,
        size=0,
        problems=0,
        fingerprint="",
        source="the steps of each round",
        promise=f"{percent(settings.nominal_rate)} of a problem's steps are taken over, to within one",
        limits="every round waits for its slowest sample; how good a step is counts only among its round's",
    )


def score_histogram(calibration: Calibration) -> ScoreHistogram:
    """All PPLs in `BINS` bins of equal width in log PPL, and those above the `TAIL` quantile in one more."""
    ppl = np.maximum(calibration.ppl, 1.0)
    low, most = float(ppl.min()), float(ppl.max())
    high = max(float(np.quantile(ppl, TAIL)), low * 1.001)
    edges = np.exp(np.linspace(np.log(low), np.log(high), BINS + 1))
    edges[0], edges[-1] = low, high
    if most > high:
        edges = np.append(edges, most)
    counts, _ = np.histogram(ppl, edges)
    return ScoreHistogram(edges=tuple(edges.tolist()), counts=tuple(counts.tolist()))
