"""ACI: the sign of the step, and its bound, which holds for every sequence whatsoever."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atts_core.conformal import ConformalSettings, Decider
from atts_core.conformal.alpha import AdaptiveAlpha, clip


def test_a_takeover_raises_alpha_and_an_acceptance_lowers_it() -> None:
    policy = AdaptiveAlpha(0.6, 0.02, per_turn=False)
    policy.update(0, accepted=False)
    assert policy.raw(3) == pytest.approx(0.6 + 0.02 * 0.6)
    policy.update(0, accepted=True)
    assert policy.raw(3) == pytest.approx(0.6 + 0.02 * 0.6 - 0.02 * 0.4)


def test_one_alpha_per_turn_moves_by_itself() -> None:
    policy = AdaptiveAlpha(0.6, 0.02, per_turn=True)
    policy.update(2, accepted=True)
    assert (policy.raw(0), policy.raw(2)) == (0.6, pytest.approx(0.592))


def test_shown_alphas_are_thresholds() -> None:
    assert [clip(alpha) for alpha in (-0.01, 0.3, 1.01)] == [0.0, 0.3, 1.0]


@given(
    moves=st.lists(st.sampled_from(["low", "high", "mean"]) | st.floats(0.001, 1), min_size=1, max_size=400),
    alpha=st.floats(0.01, 0.99),
    gamma=st.floats(0.001, 1),
)
def test_the_bound_holds_against_an_adversary(moves: list[str | float], alpha: float, gamma: float) -> None:
    """p-values are chosen knowing alpha: always accepted, always taken over, or against the current mean."""
    policy = AdaptiveAlpha(alpha, gamma, per_turn=False)
    accepted = 0
    for count, move in enumerate(moves, 1):
        raw = policy.raw(0)
        if move == "mean":
            p = 1e-9 if accepted >= alpha * count else 1.0
        else:
            p = {"low": 1e-9, "high": 1.0}[move] if isinstance(move, str) else move
        # 0 < p <= 1: beyond [0, 1] alpha decides alone, and the clipped alpha decides the same.
        assert (p > raw) == (p > clip(raw))
        accepts = p <= raw
        accepted += accepts
        policy.update(0, accepts)
        assert -gamma <= policy.raw(0) <= 1 + gamma
        distance = abs(accepted / count - alpha)
        assert distance <= (max(alpha, 1 - alpha) + gamma) / (gamma * count) + 1e-9
        assert distance <= (1 + gamma) / (gamma * count) + 1e-9


@given(
    steps=st.lists(st.tuples(st.integers(0, 3), st.floats(1, 5)), min_size=1, max_size=200),
    adapt=st.sampled_from(["one", "per-turn"]),
)
def test_the_bound_holds_for_the_decider_itself(steps: list[tuple[int, float]], adapt: str) -> None:
    decider = Decider(ConformalSettings(adapt=adapt, gamma=0.05, takeover_rate=0.3))  # type: ignore[arg-type]
    taken: dict[int, list[bool]] = {}
    for turn, ppl in steps:
        verdict = decider.decide("p", turn, ppl)
        taken.setdefault(turn if adapt == "per-turn" else 0, []).append(verdict.takes_over)
    for own in taken.values():
        assert abs(sum(own) / len(own) - 0.3) <= (0.7 + 0.05) / (0.05 * len(own)) + 1e-9


def test_clipping_the_state_itself_would_break_the_bound() -> None:
    """Why only the threshold is clipped: this adversary gets a half instead of a tenth accepted."""
    alpha, gamma, state, accepted = 0.1, 0.5, 0.1, 0
    for _ in range(2000):
        accepts = state > 0
        accepted += accepts
        state = clip(state + gamma * (alpha - accepts))
    assert accepted / 2000 > 0.4
    policy, accepted = AdaptiveAlpha(alpha, gamma, per_turn=False), 0
    for _ in range(2000):
        accepts = policy.raw(0) > 0
        accepted += accepts
        policy.update(0, accepts)
    assert accepted / 2000 == pytest.approx(alpha, abs=1.6 / (gamma * 2000))
