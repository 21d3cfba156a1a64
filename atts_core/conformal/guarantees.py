"""What a calibration promises, in words that are exactly true, and what it does not promise."""

import math

import msgspec
import numpy as np

from atts_core.conformal.calibration import Calibration
from atts_core.conformal.intervals import Estimate, effective_size, rate_interval
from atts_core.conformal.pvalues import first_taken_by_reference
from atts_core.conformal.sets import TurnSet
from atts_core.conformal.settings import SMALLEST_BIN, ConformalSettings


class Guarantee(msgspec.Struct, frozen=True, kw_only=True):
    """`promise` and `limits`: sentences for the screen. `low` and `high`: the range of the expected take-over
    rate where there is one. `size` scores of `problems` problems are worth `effective` independent ones.
    `this_set`: where the rate of THIS calibration set lies for new problems, with 95 % confidence."""

    promise: str
    limits: str
    low: float | None
    high: float | None
    size: int
    problems: int
    effective: float | None
    this_set: Estimate | None


def describe(settings: ConformalSettings, calibration: Calibration | None) -> Guarantee:
    """The guarantee of these settings on this calibration (None: an online set that starts empty)."""
    size = len(calibration) if calibration else 0
    problems = len(np.unique(calibration.problem)) if calibration else 0
    effective = None
    if calibration is not None:
        effective = effective_size(np.log(np.maximum(calibration.ppl, 1.0)), calibration.problem)[1]
    if settings.adaptation != "off":
        return Guarantee(
            promise=_adaptive_promise(settings),
            limits=_adaptive_limits(settings),
            low=None,
            high=None,
            size=size,
            problems=problems,
            effective=effective,
            this_set=None,
        )
    if settings.mode == "online":
        promise, low, high = _online_promise(settings)
    else:
        assert calibration is not None, "a static mode has a calibration"  # noqa: S101 - the decider checked it
        promise, low, high = _static_promise(settings, calibration)
        promise += _worth(size, problems, effective)
    static = settings.mode in ("marginal", "per-turn")
    return Guarantee(
        promise=promise,
        limits=_limits(settings, calibration),
        low=low,
        high=high,
        size=size,
        problems=problems,
        effective=effective,
        this_set=rate_of_this_set(calibration, settings.nominal_alpha, pooled=settings.mode == "marginal")
        if static and calibration
        else None,
    )


def takeover_bounds(settings: ConformalSettings, size: int, largest_tie: int = 1) -> tuple[float, float]:
    """(lowest, highest) probability of a take-over for a step that is exchangeable with `size` scores.

        Without ties: rho <= P <= rho + 1/(N+1) for p > alpha; exactly rho where smoothed; and for the
        authors'
    rule P = (N - ceil(alpha N) + 1)/(N+1). A tie of g = `largest_tie` scores, which one more can join,
    widens the upper bounds to rho + (g+1)/(N+1), and the lower one of the authors' rule likewise.
    """
    alpha, rate = settings.nominal_alpha, settings.nominal_rate
    tied = (largest_tie + 1) / (size + 1) if largest_tie > 1 else None
    if settings.smoothed:
        return rate, rate
    if settings.rule == "reference":
        exact = (size + 1 - first_taken_by_reference(size, alpha)) / (size + 1)
        return (exact if tied is None else max(0.0, exact - tied)), exact
    return rate, min(1.0, rate + (1 / (size + 1) if tied is None else tied))


def rate_of_this_set(calibration: Calibration, alpha: float, *, pooled: bool = True) -> Estimate:
    """Where the take-over rate lies that this one set realises on new problems: 95 %, by problem.

    The promise holds on average over calibration sets. One set is off by the noise of its problems: it is
    that of the share of its own scores above its own threshold, clustered by problem.
    """
    firsts = [0] if pooled else [first for first, _ in TurnSet.of(calibration).groups()]
    category = np.searchsorted(firsts, calibration.turn, side="right")
    above = np.empty(len(calibration), dtype=bool)
    for one in np.unique(category):
        own = calibration.ppl[category == one]
        above[category == one] = own > np.quantile(own, alpha)
    return rate_interval(above, calibration.problem.tolist())


def half_width_with(calibration: Calibration, alpha: float, problems: int) -> float:
    """The half-width that `rate_of_this_set` would have with so many calibration problems of the same kind.

    What one more problem is worth: noise falls with the root of the number of PROBLEMS; more samples of the
    same problems hardly help.
    """
    now = rate_of_this_set(calibration, alpha)
    if now.low is None or now.high is None:
        return 0.5
    held = len(np.unique(calibration.problem))
    return (now.high - now.low) / 2 * math.sqrt(held / problems)


def _static_promise(settings: ConformalSettings, calibration: Calibration) -> tuple[str, float, float]:
    sizes = _set_sizes(settings, calibration)
    tie = int(np.unique(calibration.ppl, return_counts=True)[1].max())
    bounds = [takeover_bounds(settings, size, tie) for size in (min(sizes), max(sizes))]
    low, high = min(pair[0] for pair in bounds), max(pair[1] for pair in bounds)
    among = {
        "marginal": "each step's score is exchangeable with the calibration scores",
        "conditional": "each step's score is exchangeable with its own problem's calibration scores",
        "per-turn": "each step's score is exchangeable with the calibration scores of its turn",
        "centred": "each step's score, relative to its problem's first steps, is exchangeable with those"
        " of the calibration at its turn",
    }[settings.mode]
    if high - low < 1e-12:
        rate = f"take-over rate {low:.4f}"
    else:
        rate = f"take-over rate ≥ {low:.4g} and ≤ {high:.4f}"
    return f"{rate}{_budget(settings, low, high)} if {among}", low, high


def _online_promise(settings: ConformalSettings) -> tuple[str, float, float]:
    rate = settings.nominal_rate
    among = (
        "if the scores ranked together (a turn's, or those of neighbouring turns while it has under"
        f" {SMALLEST_BIN}) come in exchangeable order, warm start included."
    )
    if settings.smoothed:
        return f"take-over rate {rate:.4g} {among}", rate, rate
    return f"take-over rate ≥ {rate:.4g}, and ≤ {rate:.4g} + 1/(N+1) at the N-th, {among}", rate, 1.0


def _adaptive_promise(settings: ConformalSettings) -> str:
    rate, gamma = settings.nominal_rate, settings.gamma
    constant = (max(rate, 1 - rate) + gamma) / gamma
    over = "of the T steps of every turn" if settings.adaptation == "per-turn" else "of the first T steps"
    return (
        f"long-run rate: the share of take-overs among the verified steps {over} is within"
        f" {constant:.0f}/T of {rate:.4g} for every T, whatever the scores (within {constant / 1000:.3f}"
        f" after 1,000 steps, {constant / 10_000:.4f} after 10,000)."
    )


def _adaptive_limits(settings: ConformalSettings) -> str:
    whose = "one turn" if settings.adaptation == "one" else "one problem"
    return (
        f"Not promised: that a single verdict is valid, nor the rate of {whose} or of a short run; alpha"
        " moves so that the average comes out right. Unverifiable steps are taken over and not counted."
    )


def _limits(settings: ConformalSettings, calibration: Calibration | None) -> str:
    words = ["The promise is about the average over calibration sets and steps, not about every problem."]
    if settings.mode == "conditional":
        words = ["The promise holds for each problem, on average over its calibration samples."]
    if calibration is not None and settings.mode != "online":
        if not (calibration.turn > 0).any():
            words.append(
                "All calibration scores are of turn 0; steps of later turns are not exchangeable with"
                " them, and their rate is not controlled."
            )
        elif settings.mode in ("marginal", "conditional"):
            words.append("Turns are pooled: the rate of a single turn is not controlled.")
        problems = len(np.unique(calibration.problem))
        if settings.mode == "marginal" and settings.rule == "conformal":
            low = max(0.0, settings.nominal_rate - 1 / (problems + 1))
            words.append(
                f"Where only whole problems are exchangeable, as for new problems, it is ≥ {low:.4g}"
                " (with the same number of scores of every problem)."
            )
    return " ".join(words)


def _set_sizes(settings: ConformalSettings, calibration: Calibration) -> list[int]:
    if settings.mode == "marginal":
        return [len(calibration)]
    if settings.mode == "conditional":
        return [int(count) for count in np.bincount(calibration.problem) if count]
    return [count for _, count in TurnSet.of(calibration).groups()]


def _worth(size: int, problems: int, effective: float | None) -> str:
    words = f"; {size:,} scores of {problems:,} problem{'s' if problems != 1 else ''}"
    return words + (f", effective size about {effective:.0f}." if effective is not None else ".")


def _budget(settings: ConformalSettings, low: float, high: float) -> str:
    if settings.budget is None or settings.samples is None:
        return ""
    return (
        f" (an expected {low * settings.samples:.3g} to {high * settings.samples:.3g} of {settings.samples}"
        " samples a round, not a cap)"
    )
