"""The threshold alpha on the p-value: fixed, or adapted so that the long-run take-over rate is held."""


def clip(alpha: float) -> float:
    """alpha within [0, 1]. As 0 < p <= 1, it decides exactly as the raw one does."""
    return min(1.0, max(0.0, alpha))


class FixedAlpha:
    """One alpha for all steps: `raw` and `update` as those of `AdaptiveAlpha`."""

    def __init__(self, alpha: float) -> None:
        self._alpha = alpha

    def raw(self, turn: int) -> float:  # noqa: ARG002
        return self._alpha

    def update(self, turn: int, accepted: bool) -> None:
        pass


class AdaptiveAlpha:
    """Adaptive conformal inference (Gibbs and Candès, NeurIPS 2021), one alpha or one per turn.

    The error of a prediction set C_alpha = {p > alpha} is a step outside it, that is an ACCEPTED one, whose
    nominal rate is alpha*. After every verdict

        alpha <- alpha + gamma (alpha* - 1{accepted}) = alpha + gamma (1{taken over} - rho),

    so a take-over raises the bar for the next one. The clipping to [0, 1] concerns the threshold in use; the
    state itself runs on within [-gamma, 1 + gamma]. Clipping the state would lose the guarantee: for every
    sequence of scores whatsoever, |mean of 1{accepted} - alpha*| over T verdicts <= (1 + gamma) / (gamma T).
    """

    def __init__(self, alpha: float, gamma: float, *, per_turn: bool) -> None:
        self._target = alpha
        self._gamma = gamma
        self._per_turn = per_turn
        self._alphas: dict[int, float] = {}

    def raw(self, turn: int) -> float:
        """The alpha that the next step of `turn` is judged with, unclipped: it may leave [0, 1]."""
        return self._alphas.get(turn if self._per_turn else 0, self._target)

    def update(self, turn: int, accepted: bool) -> None:
        """Learns of one verdict at `turn`."""
        self._alphas[turn if self._per_turn else 0] = self.raw(turn) + self._gamma * (self._target - accepted)

    def export_state(self) -> dict[int, float]:
        """The alphas moved so far, by turn (0 where there is one alpha)."""
        return dict(self._alphas)

    def import_state(self, alphas: dict[int, float]) -> None:
        """Goes on from an exported state."""
        self._alphas = dict(alphas)
