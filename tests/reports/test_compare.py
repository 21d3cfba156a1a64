"""Comparisons over common problems: right by hand, covering by simulation, open about their limits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from atts_core import events as ev
from atts_core.errors import SettingsError
from atts_core.problems.metrics import achieved
from atts_core.reports.compare import Difference, Named, compare, facts, pairing
from atts_core.state import RunState
from atts_tui.commands import suite_table

Problem = tuple[str, list[tuple[bool, int]], float]
"""Id, samples (right, target tokens), seconds."""


def run(
    called: str,
    problems: list[Problem],
    *,
    dataset: str = "math500",
    fingerprint: str = "f1",
    seed: int = 1,
    target: str = "big",
    url: str = "http://gpu:1",
    gold: bool = True,
    finished: bool = True,
    question: str = "?",
) -> Named:
    """A run of problems one after another; each sample takes one decision, the right ones are accepted."""
    samples = len(problems[0][1]) if problems else 1
    models = tuple(
        ev.ModelCard(role=role, name=model, url=url, release="1", context_length=1, tokenizer=model)
        for role, model in (("draft", "small"), ("target", target))
    )
    events: list[tuple[float, ev.AnyEvent]] = [
        (
            0.0,
            ev.RunStarted(
                run=called, command="eval", started_at=0.0, version="0", strategy="atts", takeover="rewrite",
                samples=samples, turns=5, seed=seed, models=(models[0], models[1]), calibration=None,
                settings={"temperature": 0.8}, dataset=dataset, fingerprint=fingerprint,
            ),
        )
    ]  # fmt: skip
    known = "1" if gold else None
    for index, (name, _, _) in enumerate(problems):
        events.append((0.0, ev.ProblemAdded(problem=index, id=name, question=question, gold=known)))
    at = 0.0
    for index, (_, made, seconds) in enumerate(problems):
        for number, (right, tokens) in enumerate(made):
            here = {"problem": index, "sample": number}
            events += [
                (at, ev.SampleStarted(**here)),
                (at, ev.VerificationStarted(**here, turn=0, tokens=7)),
                (
                    at,
                    ev.VerdictReached(
                        **here, turn=0, verdict="accept" if right else "take-over", ppl=1.5, p=0.5, alpha=0.6,
                        threshold=2.0, mode="marginal", rule="conformal", size=9, tokens=7, seconds=0.1,
                    ),
                ),
                (at, ev.TakeOverStarted(**here, turn=0, variant="rewrite")),
                (
                    at,
                    ev.TakeOverFinished(
                        **here, turn=0, text="", tokens=tokens, ended=False, seconds=0.1,
                        first_token_seconds=0.1,
                    ),
                ),
            ]  # fmt: skip
        at += seconds
        for number, (right, _) in enumerate(made):
            answered = ev.SampleFinished(
                problem=index, sample=number, end="answered", answer="1" if right else "2",
                correct=right if gold else None,
            )  # fmt: skip
            events.append((at, answered))
        vote = sum(right for right, _ in made) * 2 > len(made)
        done = ev.ProblemFinished(problem=index, answer="1", tied=False, correct=vote if gold else None)
        events.append((at, done))
    if finished:
        events.append((at, ev.RunFinished(end="done")))
    state = RunState().fold(ev.Stamped(n, time, event) for n, (time, event) in enumerate(events, start=1))
    return Named(called, state)


def of(name: str, first: Named, second: Named) -> Difference:
    return next(found for found in pairing(first, second).differences if found.name == name)


A = [("a", [(True, 10), (False, 30)], 4.0), ("b", [(False, 20), (False, 20)], 8.0)]
B = [("b", [(True, 10), (True, 10)], 2.0), ("a", [(True, 10), (True, 10)], 2.0)]


def test_differences_by_hand_and_paired_by_id() -> None:
    first, second = run("A", A), run("B", B)
    right = of("accuracy per sample", first, second)
    assert (right.first, right.second, right.value, right.problems) == (0.25, 1.0, 0.75, 2)
    assert right.low is not None
    assert right.low < 0.75  # 0.5 and 1.0: two problems say little
    assert right.high == 1.0
    assert of("accuracy by vote", first, second).value == 1.0
    tokens = of("target tokens", first, second)
    assert (tokens.first, tokens.second, tokens.value) == (80.0, 40.0, 0.5)
    taken = of("taken over", first, second)
    assert (taken.first, taken.second, taken.value) == (0.75, 0.0, -0.75)
    speed = of("speed-up by problem", first, second)
    assert speed.value == pytest.approx((4 / 2 * 8 / 2) ** 0.5)
    whole = of("speed-up of the run", first, second)
    assert (whole.first, whole.second, whole.value, whole.low) == (12.0, 4.0, 3.0, None)


samples = some.lists(some.tuples(some.booleans(), some.integers(1, 50)), min_size=2, max_size=2)
problems = some.lists(some.tuples(samples, some.integers(1, 9)), min_size=1, max_size=6)


@given(problems, problems)
def test_a_comparison_the_other_way_round_says_the_opposite(one, two) -> None:
    first, second = (
        run(name, [(str(n), made, float(seconds)) for n, (made, seconds) in enumerate(items)])
        for name, items in (("A", one), ("B", two))
    )
    there, back = pairing(first, second), pairing(second, first)
    assert there.common == back.common == min(len(one), len(two))
    for mine, other in zip(there.differences, back.differences, strict=True):
        assert (mine.first, mine.second) == (other.second, other.first)
        assert mine.value is not None
        assert other.value is not None
        if mine.unit == "points":
            assert mine.value == pytest.approx(-other.value)
            assert mine.low == pytest.approx(None if other.high is None else -other.high)
        else:
            factors = [found.value if found.unit == "times" else 1 - found.value for found in (mine, other)]
            assert factors[0] * factors[1] == pytest.approx(1)
        if mine.low is not None and mine.high is not None:
            assert mine.low - 1e-9 <= mine.value <= mine.high + 1e-9


def test_a_run_against_itself_differs_in_nothing() -> None:
    found = pairing(run("A", A), run("A again", A))
    assert (found.differs, [difference.sure for difference in found.differences]) == ([], [False] * 7)
    same = next(d for d in found.differences if d.name == "accuracy per sample")
    assert same.value == 0
    assert same.high == pytest.approx(1 - 0.05**0.5)  # that two problems agree says little of others


def test_intervals_of_paired_differences_cover() -> None:
    rng = np.random.default_rng(4)
    hits, repetitions, truth = 0, 150, 0.0
    for _ in range(repetitions):
        hard = rng.beta(0.5, 0.5, 12)
        made = [
            [
                (str(n), [(bool(hit), 1) for hit in rng.random(8) < chance], 1.0)
                for n, chance in enumerate(hard)
            ]
            for _ in range(2)
        ]
        found = of("accuracy per sample", run("A", made[0]), run("B", made[1]))
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= truth <= found.high
        assert found.high - found.low < 0.6  # pairing takes the spread between problems out
    assert hits >= 0.9 * repetitions


def test_what_cannot_be_compared_is_said() -> None:
    plain = run("A", A)
    for other, words in (
        (run("B", B, dataset="aime24", fingerprint="x"), "The data sets differ"),
        (run("B", B, fingerprint="x"), "one name and other contents"),
        (run("B", B, question="!"), "the same id in both and another question"),
        (run("B", B[:1]), "Only 1 of 2 problems"),
        (run("B", B, target="huge"), "The target models differ"),
        (run("B", B, seed=2), "The seeds differ (1 and 2)"),
        (run("B", B, url="http://other:1"), "asked other servers"),
        (run("B", B, finished=False), "B has not finished"),
        (run("B", [("z", B[0][1], 1.0)]), "No problem was finished in both"),
        (Named("B", run("B", B).state, origin="results"), "B was imported"),
        (run("B", B), "too few to trust"),
    ):
        assert any(words in said for said in pairing(plain, other).cautions), words
    blind = pairing(run("A", A, gold=False), run("B", B, gold=False))
    assert any("No gold answers" in said for said in blind.cautions)
    assert not any("accuracy" in difference.name for difference in blind.differences)
    part = pairing(plain, run("B", B[:1]))
    assert not any("of the run" in difference.name for difference in part.differences)


def test_latency_against_makespan_is_said() -> None:
    overlapping = run("B", [("a", [(True, 10), (True, 10)], 5.0), ("b", [(True, 10), (True, 10)], 9.0)])
    for problem in overlapping.state.problems:
        problem.started_at = 0.0
        problem.finished_at = 9.0
    overlapping.state.now = 9.0
    assert any("in opposite ways" in said for said in pairing(run("A", A), overlapping).cautions)
    assert not any("in opposite ways" in said for said in pairing(run("A", A), run("B", B)).cautions)


def test_settings_that_differ_are_named() -> None:
    found = pairing(run("A", A), run("B", B, seed=2, target="huge")).differs
    assert ("seed", "1", "2") in found
    assert ("target model", "big", "huge") in found


def test_ports_of_this_machine_are_one_machine() -> None:
    first, second = run("A", A, url="http://127.0.0.1:4001"), run("B", B, url="http://127.0.0.1:4777")
    assert not any("servers" in said for said in pairing(first, second).cautions)


def test_ids_that_come_again_pair_in_order() -> None:
    twice = [("a", [(True, 10)], 1.0), ("a", [(False, 10)], 1.0)]
    found = pairing(run("A", twice), run("B", twice))
    assert found.common == 2
    assert all(difference.value in (0.0, 1.0) for difference in found.differences)


def test_facts_are_over_a_run_s_own_problems() -> None:
    found = compare([run("A", A), run("B", B[:1]), run("C", B)])
    assert [pair.second for pair in found.pairs] == ["B", "C"]
    first = found.runs[0]
    assert (first.accuracy.value, first.majority.value, first.realised.value) == (0.25, 0.0, 0.75)
    assert (first.target_tokens, first.seconds, first.problems_finished) == (80, 12.0, 2)
    with pytest.raises(SettingsError, match="at least two"):
        compare([run("A", A)])
    with pytest.raises(SettingsError, match="no beginning"):
        compare([run("A", A), Named("B", RunState())])


def test_a_problem_and_its_copies_are_one_observation() -> None:
    def copied(called: str, right: bool, times: int) -> Named:
        made = run(
            called, [(f"{n}#{k}", [(right != (n == 2), 10)], 1.0) for n in range(4) for k in range(times)]
        )
        for problem in made.state.problems:
            if not problem.id.endswith("#0"):
                problem.repeats = problem.id[:-2] + "#0"
        return made

    once, thrice = ((copied("A", False, times), copied("B", True, times)) for times in (1, 3))
    for name in ("accuracy per sample", "accuracy by vote", "taken over"):
        mine, other = of(name, *once), of(name, *thrice)
        assert (mine.value, mine.low, mine.high) == pytest.approx((other.value, other.low, other.high))
    same = of("accuracy per sample", thrice[0], thrice[0])
    assert same.high == pytest.approx(1 - 0.05 ** (1 / 4)), "twelve pairs, four problems"
    assert any(said.startswith("4 problems are too few") for said in pairing(*thrice).cautions)
    for made in thrice:
        for problem in made.state.problems:
            problem.repeats = "0#0" if problem.id != "0#0" else ""
    assert of("accuracy per sample", *thrice).low is None, "one cluster says nothing of others"


def test_a_failed_sample_leaves_its_problem_out_of_both_accuracies() -> None:
    made = run("A", A)
    made.state.problems[0].samples[0].end = "failed"
    made.state.problems[0].samples[0].correct = None
    assert facts(made).majority == achieved(made.state).majority
    found = {difference.name: difference.problems for difference in pairing(made, run("B", B)).differences}
    assert (found["accuracy per sample"], found["accuracy by vote"], found["target tokens"]) == (1, 1, 2)


def test_what_was_verified_is_known_of_problems_whose_texts_were_put_away() -> None:
    made = run("A", A)
    for problem in made.state.problems:
        for sample in problem.samples:
            sample.put_away()
    assert of("verified tokens", made, run("B", B)).first == 28.0


def test_the_table_of_a_suite_names_differences_that_there_are() -> None:
    names = {difference.name for difference in pairing(run("A", A), run("B", B)).differences}
    assert {suite_table.ACCURACY, suite_table.TARGET_TOKENS, suite_table.SPEED_UP} <= names
