"""What a tally says of decisions: the same however they came in, and exact for every alpha."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from atts_core import events as ev
from atts_core.conformal.calibration import Calibration, flat_calibration
from atts_core.conformal.card import BINS, calibration_card, score_histogram
from atts_core.conformal.decider import Decider
from atts_core.conformal.live import DecisionTally, known_histogram
from atts_core.conformal.settings import ConformalSettings
from atts_core.state import RECENT_DECISIONS, RunState


def calibration(ppl: list[float]) -> Calibration:
    return flat_calibration(np.array(ppl), samples=1)


def run_of(settings: ConformalSettings, scores: list[float], ppls: list[float | None]) -> RunState:
    """A run of one chain a problem, two steps each, decided by the real decider."""
    known = calibration(scores)
    decider = Decider(settings, known)
    cards = tuple(
        ev.ModelCard(role=role, name=role, url="", release="", context_length=1, tokenizer="")
        for role in ("draft", "target")
    )
    events: list[ev.AnyEvent] = [
        ev.RunStarted(
            run="r", command="eval", started_at=0.0, version="0", strategy="atts", takeover="rewrite",
            samples=1, turns=2, seed=0, models=(cards[0], cards[1]),
            calibration=calibration_card(settings, known), settings={},
        )
    ]  # fmt: skip
    for place, ppl in enumerate(ppls):
        problem, turn = divmod(place, 2)
        if turn == 0:
            events.append(ev.ProblemAdded(problem=problem, id=str(problem), question="?"))
        at = {"problem": problem, "sample": 0, "turn": turn}
        decision = decider.decide(str(problem), turn, ppl)
        events.append(ev.VerificationStarted(**at, tokens=1))
        events.append(
            ev.VerdictReached(
                **at, verdict=decision.verdict, ppl=decision.ppl, p=decision.p, alpha=decision.alpha,
                threshold=decision.threshold, mode=decision.mode, rule=decision.rule, size=decision.size,
                tokens=1, seconds=0.0,
            )
        )  # fmt: skip
    return RunState().fold(ev.Stamped(n, n / 10, event) for n, event in enumerate(events, start=1))


perplexities = some.floats(1.0, 9.0).map(lambda value: round(value, 1))
rules = some.sampled_from(["conformal", "reference"])
alphas = some.integers(1, 99).map(lambda percent: percent / 100)


@given(
    rules, alphas, alphas, some.lists(perplexities, min_size=1, max_size=9), some.lists(
        perplexities | some.none(), min_size=1, max_size=12
    )
)  # fmt: skip
def test_another_alpha_decides_as_a_run_with_it_would_have(rule, first, second, scores, ppls) -> None:
    ran = {
        alpha: run_of(ConformalSettings(mode="marginal", rule=rule, alpha=alpha), scores, ppls)
        for alpha in (first, second)
    }
    tally = DecisionTally()
    tally.update(ran[first])
    same, other = tally.what_if(first), tally.what_if(second)
    assert same.changed == 0
    assert same.realised.value == ran[first].overall.realised
    assert other.realised.value == ran[second].overall.realised
    assert (
        other.to_take_over - other.to_accept == ran[second].overall.taken_over - ran[first].overall.taken_over
    )
    assert (other.decisions, other.unknown) == (len(ppls), 0)
    if other.threshold is not None:
        for decision in ran[second].decisions:
            if decision.verdict.verdict != "unverifiable":
                above = decision.verdict.ppl > other.threshold
                assert above == (decision.verdict.verdict == "take-over") or (
                    decision.verdict.ppl == other.threshold
                )


@pytest.mark.parametrize(("rule", "taken"), [("conformal", 0), ("reference", 1)])
def test_a_p_value_of_exactly_alpha_falls_as_the_rule_says(rule, taken) -> None:
    ppl = 1.2 if rule == "conformal" else 2.0  # p = (1 + 0) / 2; percentile = 1 / 2 of the scores below
    scores = [1.5, 3.0] if taken else [1.5]
    state = run_of(ConformalSettings(mode="marginal", rule=rule, alpha=0.9), scores, [ppl])
    tally = DecisionTally()
    tally.update(state)
    assert state.decisions[0].verdict.p == 0.5
    assert tally.what_if(0.5).to_take_over == taken


def test_taking_in_step_by_step_is_taking_in_all() -> None:
    ppls = [1 + number % 7 / 3 for number in range(RECENT_DECISIONS + 100)]
    whole = run_of(ConformalSettings(mode="marginal", alpha=0.6), [1.0, 1.5, 2.0], ppls)
    assert len(whole.decisions) < whole.overall.decisions  # older ones are found in the problems only
    late = DecisionTally()
    assert late.update(whole)
    assert not late.update(whole)
    early, state = DecisionTally(), RunState()
    assert whole.run is not None
    state.fold([ev.Stamped(1, 0.0, whole.run)])
    seq = 1
    for problem in whole.problems:
        events: list[ev.AnyEvent] = [ev.ProblemAdded(problem=problem.index, id=problem.id, question="?")]
        for number, turn in enumerate(problem.samples[0].turns):
            assert turn.verdict is not None
            events += [
                ev.VerificationStarted(problem=problem.index, sample=0, turn=number, tokens=1),
                turn.verdict,
            ]
        for event in events:
            seq += 1
            state.fold([ev.Stamped(seq, seq / 10, event)])
        if problem.index % 50 == 0:
            early.update(state)
    early.update(state)
    assert early.realised() == late.realised()
    assert early.what_if(0.3) == late.what_if(0.3)
    edges = np.array([1.0, 1.5, 2.0, 2.5])
    assert early.histogram(edges)[0].tolist() == late.histogram(edges)[0].tolist()
    assert early.over_time(0.0, state.now, 20).shares[-1] == state.overall.realised
    assert early.over_time(0.0, state.now, 20) == late.over_time(0.0, whole.now, 20)


def test_a_card_counts_every_score_and_survives_the_run_file() -> None:
    scores = [1.0] * 20 + [1 + number / 50 for number in range(300)] + [250.0]
    card = calibration_card(ConformalSettings(mode="marginal", alpha=0.6), calibration(scores))
    found = known_histogram(card)
    assert found is not None
    assert sum(found.counts) == len(scores)
    assert len(found.counts) <= BINS + 1
    assert found.edges[-1] == 250.0
    assert found.edges[-2] < 10  # one broken step does not squeeze the others into one column
    assert card.identity == {"takeover": "none"}
    again = msgspec.json.decode(msgspec.json.encode(card), type=ev.CalibrationCard)
    assert again == card


def test_scores_that_are_all_alike_have_a_histogram() -> None:
    assert sum(score_histogram(calibration([1.0, 1.0, 1.0])).counts) == 3


@pytest.mark.parametrize(
    ("edges", "counts"),
    [
        ((1.0, 2.0), (1,)),
        ((1.0, 2.0, 3.0), (1,)),
        ((2.0, 1.0, 3.0), (1, 1)),
        ((1.0, 1.0, 3.0), (1, 1)),
        ((float("nan"), 2.0, 3.0), (1, 1)),
        ((1.0, 2.0, 3.0), (-1, 4)),
        ((1.0, 2.0, 3.0), (0, 0)),
        ((-1.0, 2.0, 3.0), (1, 1)),
    ],
)
def test_a_histogram_that_is_none_is_not_drawn(edges, counts) -> None:
    card = calibration_card(ConformalSettings(mode="marginal", alpha=0.6), calibration([1.0, 2.0]))
    wrong = msgspec.structs.replace(card, histogram=ev.ScoreHistogram(edges, counts))
    assert known_histogram(wrong) is None
    assert known_histogram(None) is None
