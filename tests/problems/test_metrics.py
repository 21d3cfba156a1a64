"""Metrics over problems, against brute force."""

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atts_core import events as ev
from atts_core.conformal.intervals import Estimate
from atts_core.problems.metrics import accuracy, measure, pass_at, per_thousand
from atts_core.state import RunState


@given(st.lists(st.booleans(), min_size=1, max_size=7), st.data())
def test_pass_at_k_is_the_mean_over_all_choices(right: list[bool], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(right)))
    choices = [any(choice) for choice in combinations(right, k)]
    assert pass_at(k, len(right), sum(right)) == pytest.approx(sum(choices) / len(choices))


def test_the_case_that_a_biased_estimate_gets_wrong() -> None:
    assert pass_at(3, 16, 3) == pytest.approx(0.489, abs=5e-4)


SAMPLES = st.integers(1, 6).flatmap(
    lambda m: st.lists(st.lists(st.booleans(), min_size=m, max_size=m), min_size=1, max_size=8)
)


@given(SAMPLES)
def test_pass_at_k_grows_from_the_accuracy_of_a_sample_to_any_of_them(right: list[list[bool]]) -> None:
    found = accuracy(right, [samples[0] for samples in right])
    values = [estimate.value for estimate in found.pass_at_k]
    assert values[0] == pytest.approx(found.sample.value)
    first, each = found.pass_at_k[0], found.sample
    assert (first.low, first.high) == pytest.approx((each.low, each.high)), "one number, one interval"
    assert values[-1] == pytest.approx(sum(map(any, right)) / len(right))
    assert all(one <= other + 1e-12 for one, other in pairwise(values))  # type: ignore[operator]
    for estimate in (*found.pass_at_k, found.sample, found.majority):
        assert estimate.value is not None
        assert estimate.low is not None
        assert estimate.high is not None
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def width(estimate: Estimate) -> float:
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.high - estimate.low


@given(SAMPLES)
def test_copies_of_a_problem_are_not_new_ones(right: list[list[bool]]) -> None:
    votes = [samples[0] for samples in right]
    names = list(range(len(right)))
    copies = accuracy(right + right, votes + votes, names + names)
    strangers = accuracy(right + right, votes + votes)
    assert copies.sample.value == strangers.sample.value
    assert width(copies.sample) > width(strangers.sample) - 1e-9
    assert width(copies.majority) > width(strangers.majority) - 1e-9


def test_accuracy_over_problems() -> None:
    result = accuracy([[True, True], [True, False], [False, False]], [True, True, False])
    assert result.sample.value == 0.5
    assert result.majority.value == pytest.approx(2 / 3)
    assert [round(e.value or 0, 3) for e in result.pass_at_k] == [0.5, 0.667]
    assert result.majority.low is not None
    assert result.majority.low < 2 / 3 < (result.majority.high or 0)


def test_nothing_known_is_nothing_and_not_zero() -> None:
    result = accuracy([], [])
    assert (result.problems, result.sample.value, result.pass_at_k) == (0, None, ())
    empty = measure(RunState())
    assert (empty.best_of_m.value, empty.right_per_1000_target_tokens.value, empty.problems) == (
        None,
        None,
        (),
    )


def test_a_ratio_over_problems() -> None:
    found = per_thousand([3, 1, 2], [1000, 500, 500], ["a", "b", "c"])
    assert found.value == pytest.approx(3.0)
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low < 3 < found.high
    assert per_thousand([1], [500], ["a"]).low is None  # one problem says nothing of others
    assert per_thousand([1], [0], ["a"]).value is None


def state_of(
    samples: dict[str, list[tuple[str, bool, float | None]]], *, gold: bool = True, repeats: str = ""
) -> RunState:
    """A run of these problems: every sample's answer, whether it is right, and the PPL of its one step."""
    card = {"name": "m", "url": "", "release": "", "context_length": 1, "tokenizer": ""}
    events: list[ev.AnyEvent] = [
        ev.RunStarted(
            run="r", command="eval", started_at=0.0, version="0", strategy="atts", takeover="rewrite",
            samples=len(next(iter(samples.values()))), turns=3, seed=0, calibration=None, settings={},
            models=(ev.ModelCard(role="draft", **card), ev.ModelCard(role="target", **card)),  # type: ignore[arg-type]
        )
    ]  # fmt: skip
    for number, (name, chains) in enumerate(samples.items()):
        events.append(
            ev.ProblemAdded(
                problem=number, id=name, question="?", gold="1" if gold else None,
                repeats=repeats if number else "",
            )
        )  # fmt: skip
        for k, (answer, right, ppl) in enumerate(chains):
            at = {"problem": number, "sample": k}
            events += [ev.SampleStarted(**at)]
            if ppl is not None:
                events += [
                    ev.DraftStarted(**at, turn=0),
                    ev.DraftFinished(
                        **at, turn=0, text="x", tokens=10, ended=False, seconds=0.0, first_token_seconds=0.0
                    ),
                    ev.VerdictReached(
                        **at, turn=0, verdict="take-over", ppl=ppl, p=0.9, alpha=0.6, threshold=None,
                        tokens=1, mode="marginal", rule="conformal", size=1, seconds=0.0,
                    ),
                    ev.TakeOverStarted(**at, turn=0, variant="rewrite"),
                    ev.TakeOverFinished(
                        **at, turn=0, text="y", tokens=30, ended=False, seconds=0.0, first_token_seconds=0.0
                    ),
                ]  # fmt: skip
            events += [
                ev.SampleFinished(
                    **at, end="answered", answer=answer, correct=right if gold else None,
                    graded="fallback" if answer == "odd" else "spelling",
                )
            ]  # fmt: skip
        events += [
            ev.VoteChanged(problem=number, tally=((chains[0][0], 1),), voted=1, ended=len(chains)),
            ev.ProblemFinished(
                problem=number, answer=chains[0][0], tied=chains[0][0] == "tie",
                correct=chains[0][1] if gold else None,
            ),
        ]  # fmt: skip
    return RunState().fold(ev.Stamped(n, n / 10, event) for n, event in enumerate(events, start=1))


def test_the_numbers_of_a_run() -> None:
    found = measure(
        state_of(
            {
                "a": [("1", True, 1.5), ("2", False, 1.2)],  # its best by PPL is wrong
                "b": [("tie", False, 1.4), ("1", True, 1.1)],
                "c": [("1", True, None), ("odd", False, None)],  # nothing was verified
            }
        )
    )
    assert found.accuracy.sample.value == 0.5
    assert found.accuracy.majority.value == pytest.approx(2 / 3)
    assert found.best_of_m.value == 0.5
    assert (found.ties, found.fallback) == (1, 1)
    assert found.target_share.value == 0.75
    assert found.right_per_1000_target_tokens.value == pytest.approx(1000 * 3 / 120)
    row = found.problems[0]
    assert (row.id, row.right, row.best_answer, row.best_correct, row.votes) == ("a", 1, "2", False, 1)
    assert (row.mean_ppl, row.decisions, row.taken_over) == (pytest.approx(1.35), 2, 2)
    assert (row.draft_tokens, row.target_tokens) == (20, 60)
    assert row.seconds is not None
    assert row.seconds > 0
    assert found.problems[2].best_answer is None


def test_without_gold_everything_but_accuracy() -> None:
    found = measure(state_of({"a": [("1", False, 1.5)], "b": [("2", False, 1.2)]}, gold=False))
    assert found.accuracy.problems == 0
    assert found.best_of_m.value is None
    assert found.target_share.value == 0.75
    assert [row.right for row in found.problems] == [None, None]


def test_a_copy_and_its_problem_are_one_cluster() -> None:
    chains = {"a": [("1", True, 1.0)], "a#2": [("2", False, 1.0)]}
    assert measure(state_of(chains, repeats="a")).accuracy.sample.high == 1.0  # one cluster says nothing
    assert measure(state_of(chains, repeats="a")).accuracy.sample.low == 0.0
