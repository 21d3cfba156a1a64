"""The one object that the engine asks: accept this step, or let the target take over?"""

from array import array
from collections.abc import Iterable
from typing import Literal

import msgspec
import numpy as np

from atts_core.conformal.alpha import AdaptiveAlpha, FixedAlpha, clip
from atts_core.conformal.calibration import Calibration
from atts_core.conformal.pvalues import (
    conformal_threshold,
    is_score,
    p_value,
    percentile,
    reference_threshold,
)
from atts_core.conformal.scaling import scaled_threshold
from atts_core.conformal.sets import (
    CentredSet,
    ConditionalSet,
    MarginalSet,
    ScoreSet,
    TurnSet,
    never_calibrated,
)
from atts_core.conformal.settings import ConformalSettings, Mode, Rule
from atts_core.errors import SettingsError

Verdict = Literal["accept", "take-over", "unverifiable"]


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One verdict, with everything needed to check it.

    `ppl`: None where the step could not be verified; the verdict is then `unverifiable` and the target takes
    over. `p`: the p-value, or under the rule `reference` the authors' percentile; None where unverifiable.
    `alpha`: the threshold in use, in [0, 1]. `threshold`: the PPL above which, exactly, this step would be
    taken over; 0 where any would be, None where none would be. `size`: N, the scores it was ranked against.
    `u`: the random number of a smoothed p-value, None where not smoothed.
    """

    verdict: Verdict
    ppl: float | None
    p: float | None
    alpha: float
    threshold: float | None
    size: int
    mode: Mode
    rule: Rule
    u: float | None = None

    @property
    def takes_over(self) -> bool:
        """Whether the target writes next: taken over, or not verifiable."""
        return self.verdict != "accept"


class DeciderState(msgspec.Struct, frozen=True, kw_only=True):
    """What a decider has learnt, for resuming a run: JSON or MessagePack by msgspec.

    `fingerprint` of the calibration and `settings` it belongs to; `alphas` by turn; `scores`: per turn the
    PPLs added online, float64 little-endian, oldest first.
    """

    settings: ConformalSettings
    fingerprint: str | None
    decided: int
    unverifiable: int
    alphas: dict[int, float]
    scores: dict[int, bytes]


class Decider:
    """Judges steps one by one; in online and adaptive settings every verdict changes the next.

    The same calls in the same order give the same decisions. SettingsError where the mode needs a calibration
    and there is none. Unverifiable steps teach nothing: they enter neither the online set nor the adaptive
    alpha, whose rate is that of the verified steps.
    """

    def __init__(self, settings: ConformalSettings, calibration: Calibration | None = None) -> None:
        self.settings = settings
        self.calibration = calibration
        self.decided = 0
        self.unverifiable = 0
        alpha = settings.nominal_alpha
        adaptation = settings.adaptation
        self._adaptive = (
            AdaptiveAlpha(alpha, settings.gamma, per_turn=adaptation == "per-turn")
            if adaptation != "off"
            else None
        )
        self._policy = self._adaptive or FixedAlpha(alpha)
        self._online: TurnSet | None = None
        self._added: dict[int, array[float]] = {}
        self._set: ScoreSet = self._make_set()

    def _make_set(self) -> ScoreSet:
        mode, calibration = self.settings.mode, self.calibration
        if mode == "online":
            self._online = TurnSet.of(calibration, window=self.settings.window)
            return self._online
        if calibration is None:
            raise SettingsError(
                f"Mode {mode} ranks steps against a calibration, and none is given; name a file with"
                " --calibration, or use mode online, which can start from nothing."
            )
        if mode == "marginal":
            return MarginalSet(calibration)
        if mode == "conditional":
            return ConditionalSet(calibration)
        if mode == "centred":
            return CentredSet(calibration)
        return TurnSet.of(calibration)

    def require(self, problems: Iterable[str]) -> None:
        """SettingsError, before a run begins, for problems that a per-problem mode has no scores of."""
        if self.settings.mode not in ("conditional", "centred") or self.calibration is None:
            return
        known = set(self.calibration.problems)
        missing = [problem for problem in problems if problem not in known]
        if missing:
            raise never_calibrated(missing, self.calibration.source, self.settings.mode)

    def decide(self, problem: str, turn: int, ppl: float | None, u: float | None = None) -> Decision:
        """The verdict on one step of `problem` at `turn` (from 0) with perplexity `ppl` (None: not verified).

        `u`: uniform on (0, 1], needed where the settings say `smoothed` and unused elsewhere.
        SettingsError for a problem that a per-problem mode has no scores of; ValueError for a missing or
        impossible `u`.
        """
        settings = self.settings
        if settings.smoothed and (u is None or not 0 < u <= 1):
            raise ValueError(f"a smoothed p-value needs a number in (0, 1], not {u}")
        weight = u if settings.smoothed and u is not None else 1.0
        scores = self._set.scores(problem, turn)
        scale = self._set.scale(problem)
        raw = self._policy.raw(turn)
        reference = settings.rule == "reference"
        edge = reference_threshold(scores, raw) if reference else conformal_threshold(scores, raw, weight)
        p: float | None = None
        verdict: Verdict = "unverifiable"
        size = len(scores)
        if ppl is not None and is_score(ppl):
            ranked = ppl / scale
            below = scores.below(ranked)
            if reference:
                p = percentile(below, size)
                taken = p >= raw
            else:
                p = p_value(below, scores.up_to(ranked) - below, size, weight)
                taken = p > raw
            verdict = "take-over" if taken else "accept"
            self._policy.update(turn, not taken)
            if self._online is not None:
                self._online.add(turn, ppl)
                self._added.setdefault(turn, array("d")).append(ppl)
        else:
            ppl = None
            self.unverifiable += 1
        self.decided += 1
        return Decision(
            verdict=verdict,
            ppl=ppl,
            p=p,
            alpha=clip(raw),
            threshold=scaled_threshold(edge, scale),
            size=size,
            mode=settings.mode,
            rule=settings.rule,
            u=u if settings.smoothed else None,
        )

    def export_state(self) -> DeciderState:
        """Everything learnt since the start, for `resume`."""
        window = self.settings.window
        return DeciderState(
            settings=self.settings,
            fingerprint=self.calibration.fingerprint if self.calibration else None,
            decided=self.decided,
            unverifiable=self.unverifiable,
            alphas=self._adaptive.export_state() if self._adaptive else {},
            scores={
                turn: np.asarray(added if window is None else added[-window:], dtype="<f8").tobytes()
                for turn, added in self._added.items()
            },
        )

    @classmethod
    def resume(
        cls, settings: ConformalSettings, calibration: Calibration | None, state: DeciderState
    ) -> "Decider":
        """A decider that goes on where `state` was exported.

        SettingsError where the settings or the calibration are not those of the state.
        """
        if settings != state.settings:
            raise SettingsError(
                "The run was begun with other calibration settings; resume it with the same ones."
            )
        if (calibration.fingerprint if calibration else None) != state.fingerprint:
            raise SettingsError(
                "The run was begun with another calibration file; resume it with the same one."
            )
        decider = cls(settings, calibration)
        decider.decided, decider.unverifiable = state.decided, state.unverifiable
        if decider._adaptive:
            decider._adaptive.import_state(state.alphas)
        for turn, scores in sorted(state.scores.items()):
            added = array("d", np.frombuffer(scores, dtype="<f8").astype(float).tobytes())
            decider._added[turn] = added
            if decider._online is not None:
                for score in added:
                    decider._online.add(turn, score)
        return decider
