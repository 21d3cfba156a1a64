"""What a user chooses about calibration, checked where it enters."""

from decimal import Decimal
from typing import Literal, get_args

import msgspec

from atts_core.errors import SettingsError

Mode = Literal["marginal", "conditional", "per-turn", "centred", "online"]
Rule = Literal["conformal", "reference"]
Adaptation = Literal["off", "one", "per-turn"]

DEFAULT_TAKEOVER_RATE = 0.4
DEFAULT_GAMMA = 0.02
SMALLEST_BIN = 30
"""Turns with fewer calibration scores are ranked together with a neighbour."""


class ConformalSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How steps are ranked and judged. SettingsError, one sentence, for a value that cannot be.

    `mode`: which scores a step is ranked against (`sets`). `rule`: `conformal`, take over where p > alpha, or
    the authors' `reference`, take over where #{PPL_i < PPL} / N >= alpha.

    At most one of `alpha` (threshold on p), `takeover_rate` (rho = 1 - alpha) and `budget` (B expected
    take-overs of `samples` m a round, rho = B / m); none means a take-over rate of 0.4.

    `adapt`: adaptive conformal inference, with `one` alpha or one `per-turn`; None is `one` in online mode
    and `off` in the others. `gamma`: its step. `window`: an online set keeps so many scores of a turn.
    `smoothed`: ties, and a step's own place, are split by a recorded random number that the caller gives.
    """

    mode: Mode = "online"
    rule: Rule = "conformal"
    alpha: float | None = None
    takeover_rate: float | None = None
    budget: float | None = None
    samples: int | None = None
    adapt: Adaptation | None = None
    gamma: float = DEFAULT_GAMMA
    window: int | None = None
    smoothed: bool = False

    def __post_init__(self) -> None:  # noqa: PLR0912 - one check a setting
        for name, value, allowed in (
            ("mode", self.mode, get_args(Mode)),
            ("rule", self.rule, get_args(Rule)),
            ("adapt", self.adapt, (None, *get_args(Adaptation))),
        ):
            if value not in allowed:
                words = ", ".join(str(word) for word in allowed if word is not None)
                raise SettingsError(f"{name} is {value!r}; choose one of {words}.")
        given = [name for name in ("alpha", "takeover_rate", "budget") if getattr(self, name) is not None]
        if len(given) > 1:
            raise SettingsError(
                f"{' and '.join(given)} say the same thing in different words; give only one of them."
            )
        if self.alpha is not None and not 0 < self.alpha < 1:
            raise SettingsError(f"alpha is {self.alpha:g}; it must lie strictly between 0 and 1.")
        if self.takeover_rate is not None and not 0 < self.takeover_rate < 1:
            raise SettingsError(
                f"The take-over rate is {self.takeover_rate:g}; it must lie strictly between 0 and 1."
            )
        if self.samples is not None and self.samples < 1:
            raise SettingsError(f"samples is {self.samples}; a problem needs at least 1.")
        if self.budget is not None:
            if self.samples is None:
                raise SettingsError(
                    "A budget counts take-overs of a problem's samples; say how many samples."
                )
            if not 0 < self.budget < self.samples:
                raise SettingsError(
                    f"The budget is {self.budget:g} of {self.samples} samples; it must be more than 0 and"
                    f" less than {self.samples}."
                )
        if not 0 < self.gamma <= 1:
            raise SettingsError(f"gamma is {self.gamma:g}; the step of an adaptive alpha lies in (0, 1].")
        if self.window is not None and self.window < SMALLEST_BIN:
            raise SettingsError(f"The window is {self.window} scores; it needs at least {SMALLEST_BIN}.")
        if self.window is not None and self.mode != "online":
            raise SettingsError(f"A window slides over online scores; the mode is {self.mode}.")
        if self.rule == "reference" and (self.mode == "online" or self.adaptation != "off" or self.smoothed):
            raise SettingsError(
                "The reference rule is the authors': a fixed threshold on a stored set. It goes with the"
                " modes marginal, conditional, per-turn and centred, without adapting alpha or smoothing."
            )

    @property
    def adaptation(self) -> Adaptation:
        """`adapt`, with its default for the mode put in."""
        if self.adapt is not None:
            return self.adapt
        return "one" if self.mode == "online" else "off"

    @property
    def nominal_alpha(self) -> float:
        """alpha, from whichever of the three was given; in decimal, so that rho = 0.9 means alpha = 0.1."""
        if self.alpha is not None:
            return self.alpha
        if self.budget is not None and self.samples is not None:
            return float(1 - Decimal(repr(float(self.budget))) / self.samples)
        rate = self.takeover_rate if self.takeover_rate is not None else DEFAULT_TAKEOVER_RATE
        return float(1 - Decimal(repr(float(rate))))

    @property
    def nominal_rate(self) -> float:
        """The nominal take-over rate rho = 1 - alpha."""
        return float(1 - Decimal(repr(float(self.nominal_alpha))))
