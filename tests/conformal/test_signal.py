"""AUROC of PPL for wrong chains: counted right, with intervals by problem that cover, and said in words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atts_core.conformal.intervals import bounded_interval
from atts_core.conformal.signal import measure_signal


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans(), st.integers(0, 3)), min_size=1, max_size=40))
def test_equal_to_counting_all_pairs(chains: list[tuple[int, bool, int]]) -> None:
    ppl = np.array([float(value) for value, _, _ in chains])
    wrong = np.array([bad for _, bad, _ in chains])
    found = measure_signal(ppl, wrong, [problem for _, _, problem in chains])

    def share(pairs: list[tuple[float, float]]) -> float | None:
        return sum((a > b) + (a == b) / 2 for a, b in pairs) / len(pairs) if pairs else None

    every = [(a, b, p == q) for a, bad, p in chains for b, worse, q in chains if bad and not worse]
    assert found.auroc.value == pytest.approx(share([(a, b) for a, b, _ in every]))
    assert found.auroc_within.value == pytest.approx(share([(a, b) for a, b, same in every if same]))
    for estimate in (found.auroc, found.auroc_within):
        if estimate.value is not None:
            assert estimate.low is not None
            assert estimate.high is not None
            assert 0 <= estimate.low <= estimate.value + 1e-12
            assert estimate.value - 1e-12 <= estimate.high <= 1


def _chains(
    rng: np.random.Generator, problems: int, between: float, within: float
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Hard problems have a higher PPL by `between`, wrong chains of one problem by `within`."""
    codes = np.repeat(np.arange(problems), 16)
    hard = rng.random(problems)
    wrong = rng.random(len(codes)) < hard[codes]
    ppl = 3 + between * hard[codes] + 0.3 * rng.normal(0, 1, problems)[codes] + within * wrong
    return ppl + 0.3 * rng.normal(0, 1, len(codes)), wrong, codes.tolist()


def test_the_interval_leaves_out_one_problem_at_a_time() -> None:
    ppl, wrong, problems = _chains(np.random.default_rng(5), 12, 1.0, 0.2)
    found, codes = measure_signal(ppl, wrong, problems), np.array(problems)
    mixed = [out for out in range(12) if len(set(wrong[codes == out].tolist())) == 2]
    # Only problems with both kinds of chains have pairs within.
    for whole, name, outs in ((found.auroc, "auroc", range(12)), (found.auroc_within, "auroc_within", mixed)):
        parts = [
            measure_signal(ppl[codes != out], wrong[codes != out], codes[codes != out].tolist())
            for out in outs
        ]
        leaving = np.array([getattr(part, name).value for part in parts])
        variance = (1 - 1 / len(parts)) * ((leaving - leaving.mean()) ** 2).sum()
        expected = bounded_interval(whole.value or 0, variance, len(parts), at_most=np.inf)
        assert (whole.low, whole.high) == pytest.approx((expected.low, expected.high))
    assert 2 < len(mixed) < 12


def test_hard_problems_are_told_apart_from_wrong_chains() -> None:
    found = measure_signal(*_chains(np.random.default_rng(1), 100, 1.0, 0.0))
    assert (found.auroc.low or 0) > 0.55
    assert found.auroc_within.value == pytest.approx(0.5, abs=0.03)
    assert found.verdict == (
        "PPL tells hard problems from easy ones, but within a problem it does not tell wrong chains from"
        " right ones."
    )


@pytest.mark.parametrize(
    ("within", "words"),
    [(0.6, "PPL carries strong signal"), (-0.6, "PPL points the wrong way"), (0.0, "No signal seen")],
)
def test_the_verdict_follows_what_is_within_problems(within: float, words: str) -> None:
    found = measure_signal(*_chains(np.random.default_rng(2), 100, 0.0, within))
    assert found.verdict.startswith(words)
    assert found.verdict.endswith(".")


def test_too_little_to_say() -> None:
    few = measure_signal(*_chains(np.random.default_rng(3), 3, 0.0, 0.0))
    assert "cannot be said yet" in few.verdict
    assert measure_signal(np.ones(3), np.zeros(3, bool), [1, 2, 3]).verdict.startswith("Unknown: the answers")
    apart = measure_signal(np.array([1.0, 2.0]), np.array([True, False]), [1, 2])
    assert apart.verdict.startswith("Unknown within problems")


def test_intervals_cover_by_problem() -> None:
    rng = np.random.default_rng(4)
    truth = measure_signal(*_chains(rng, 20_000, 1.0, 0.1))
    overall = within = 0
    rounds = 300
    for _ in range(rounds):
        found = measure_signal(*_chains(rng, 40, 1.0, 0.1))
        overall += (found.auroc.low or 0) <= (truth.auroc.value or 0) <= (found.auroc.high or 0)
        within += (
            (found.auroc_within.low or 0) <= (truth.auroc_within.value or 0) <= (found.auroc_within.high or 0)
        )
    assert 0.91 <= overall / rounds <= 0.99
    assert 0.91 <= within / rounds <= 0.99
