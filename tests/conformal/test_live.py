"""What the decisions of a run say so far: the same numbers as counting them by hand."""

import pytest

from atts_core import events as ev
from atts_core.conformal.live import realised, signal_so_far
from atts_core.state import RunState


def state_of(
    rows: list[tuple[int, int, int, float, bool]],
    answers: dict[tuple[int, int], str | None],
    gold: list[str | None],
    samples: int = 2,
) -> RunState:
    """Rows: problem, sample, turn, PPL, taken over."""
    cards = tuple(
        ev.ModelCard(role=role, name=role, url="", release="", context_length=1, tokenizer="")
        for role in ("draft", "target")
    )
    events: list[ev.AnyEvent] = [
        ev.RunStarted(
            run="r", command="eval", started_at=0.0, version="0", strategy="atts", takeover="rewrite",
            samples=samples, turns=5, seed=0, models=(cards[0], cards[1]), calibration=None, settings={},
        )
    ]  # fmt: skip
    events += [
        ev.ProblemAdded(problem=n, id=str(n), question="?", gold=right) for n, right in enumerate(gold)
    ]
    for problem, sample, turn, ppl, taken in rows:
        events.append(
            ev.VerdictReached(
                problem=problem, sample=sample, turn=turn, verdict="take-over" if taken else "accept",
                ppl=ppl, p=0.5, alpha=0.6, threshold=None, mode="marginal", rule="conformal", size=1,
                tokens=1, seconds=0.0,
            )
        )  # fmt: skip
    events += [
        ev.SampleFinished(problem=problem, sample=sample, end="answered", answer=answer)
        for (problem, sample), answer in answers.items()
    ]
    return RunState().fold(ev.Stamped(n, n / 10, event) for n, event in enumerate(events, start=1))


ROWS = [(0, 0, 0, 1.0, False), (0, 0, 1, 1.2, True), (0, 1, 0, 3.0, True), (1, 0, 0, 1.1, False)]


def test_rates_overall_and_by_turn() -> None:
    found = realised(state_of(ROWS, {}, [None, None]))
    assert found.decisions == 4
    assert found.overall.value == 0.5
    assert [(turn.turn, turn.decisions, turn.share.value) for turn in found.by_turn] == [
        (0, 3, pytest.approx(1 / 3)),
        (1, 1, 1.0),
    ]
    assert found.by_turn[1].share.low == 0.0  # one problem says nothing of others


def test_nothing_decided_is_nothing() -> None:
    found = realised(RunState())
    assert (found.decisions, found.overall.value, found.by_turn) == (0, None, ())
    assert signal_so_far(RunState())[0] is None


def test_signal_by_gold_and_by_vote() -> None:
    answers = {(0, 0): "1", (0, 1): "2", (1, 0): "1"}
    signal, judged = signal_so_far(state_of(ROWS, answers, ["1", "1"]))
    assert judged == "gold answers"
    assert signal is not None
    assert (signal.chains, signal.wrong, signal.auroc.value) == (3, 1, 1.0)
    voted, judged = signal_so_far(state_of(ROWS, answers | {(0, 0): "2"}, [None, None]))
    assert judged == "the samples' own vote"
    assert voted is not None
    assert voted.wrong == 0
