"""RunState is a pure fold: what each event does, and that how events arrive makes no difference."""

from collections.abc import Iterable
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atts_core import events as ev
from atts_core.forecast import progress
from atts_core.state import RunState, verdict_in_words
from atts_core.telemetry.readings import ServerReading


def card(role: ev.Role) -> ev.ModelCard:
    return ev.ModelCard(
        role=role, name=role, url="http://127.0.0.1:1", release="1", context_length=512, tokenizer="t"
    )


STARTED = ev.RunStarted(
    run="r",
    command="solve",
    started_at=0.0,
    version="0",
    strategy="atts",
    takeover="rewrite",
    samples=2,
    turns=4,
    seed=0,
    models=(card("draft"), card("target")),
    calibration=None,
    settings={},
)
AT = {"problem": 0, "sample": 0}


def verdict(
    kind: ev.Verdict = "accept", turn: int = 0, sample: int = 0, **fields: object
) -> ev.VerdictReached:
    known = (
        {"ppl": 1.5, "p": 0.3, "threshold": 1.6} if kind != "unverifiable" else dict.fromkeys(("ppl", "p"))
    )
    base = ev.VerdictReached(
        problem=0, sample=sample, turn=turn, verdict=kind, ppl=None, p=None, alpha=0.6, threshold=1.6,
        mode="marginal", rule="conformal", size=100, tokens=5, seconds=0.1,
    )  # fmt: skip
    return msgspec.structs.replace(base, **(known | {"threshold": 1.6} | fields))


def writes(role: ev.Role, text: str, turn: int = 0, sample: int = 0) -> list[ev.AnyEvent]:
    at = {"problem": 0, "sample": sample, "turn": turn}
    done = {
        **at,
        "text": text,
        "tokens": len(text),
        "ended": False,
        "seconds": 0.2,
        "first_token_seconds": 0.1,
    }
    stream: list[ev.AnyEvent] = [
        ev.TokensStreamed(**at, role=role, text=letter, tokens=1) for letter in text[: len(text) // 2]
    ]
    if role == "draft":
        return [ev.DraftStarted(**at), *stream, ev.DraftFinished(**done)]
    return [ev.TakeOverStarted(**at, variant="rewrite"), *stream, ev.TakeOverFinished(**done)]


def story() -> list[ev.AnyEvent]:
    """Sample 0: an accepted step, then a rewritten one with the answer. Sample 1 fails."""
    return [
        STARTED,
        ev.ProblemAdded(problem=0, id="p", question="1+1?", gold="2"),
        ev.SampleStarted(**AT),
        ev.SampleStarted(problem=0, sample=1),
        *writes("draft", "one. "),
        ev.VerificationStarted(**AT, turn=0, tokens=4),
        verdict(),
        *writes("draft", "three", turn=1),
        ev.VerificationStarted(**AT, turn=1, tokens=5),
        verdict("take-over", turn=1, ppl=2.0, p=0.9),
        *writes("target", r"\boxed{2}", turn=1),
        ev.AnswerFound(**AT, turn=1, role="target", answer="2"),
        ev.SampleFinished(**AT, end="answered", answer="2", correct=True),
        ev.VoteChanged(problem=0, tally=(("2", 1),), voted=1, ended=1),
        ev.SampleFinished(problem=0, sample=1, end="failed", message="the server is gone"),
        ev.VoteChanged(problem=0, tally=(("2", 1),), voted=1, ended=2),
        ev.ProblemFinished(problem=0, answer="2", tied=False, correct=True),
        ev.RunFinished(end="incomplete"),
    ]


def stamped(events: Iterable[ev.AnyEvent]) -> list[ev.Stamped]:
    return [ev.Stamped(seq, seq * 0.1, event) for seq, event in enumerate(events, start=1)]


def view(state: RunState) -> object:
    """Everything but when tokens came, which merging may move."""
    return [
        state.seq, state.now, state.problems, state.overall, state.by_turn, list(state.decisions),
        state.draft_tokens, state.target_tokens, state.verified_tokens, state.samples_started,
        state.samples_ended, state.samples_failed, state.unverifiable, list(state.log), state.finished,
        state.warnings, state.last_take_over, state.paused,
    ]  # fmt: skip


def test_a_story_folds_to_what_it_tells() -> None:
    state = RunState().fold(stamped(story()))
    problem = state.problems[0]
    sample = problem.samples[0]
    assert sample.text == r"one. \boxed{2}"
    assert [(s.role, s.discarded) for s in sample.steps] == [
        ("draft", False),
        ("draft", True),
        ("target", False),
    ]
    assert (sample.accepted, sample.taken_over, sample.decisions) == (1, 1, 2)
    assert (sample.draft_tokens, sample.target_tokens) == (10, 9)
    assert (state.draft_tokens, state.target_tokens, state.verified_tokens) == (10, 9, 9)
    assert sample.phase == "ended"
    assert (problem.answer, problem.correct, problem.tally) == ("2", True, (("2", 1),))
    assert (state.samples_started, state.samples_ended, state.samples_failed) == (2, 2, 1)
    assert state.overall.realised == 0.5
    assert [rate.realised for rate in state.by_turn] == [0.0, 1.0]
    assert progress(state) == 1.0
    assert state.last_take_over == (0, 0)
    assert [span.stage for turn in sample.turns for span in turn.spans] == [
        "draft", "verify", "draft", "verify", "target",
    ]  # fmt: skip
    assert all(span.end is not None and span.end >= span.start for t in sample.turns for span in t.spans)
    assert state.finished is not None


def test_nothing_divides_by_zero_before_anything_happened() -> None:
    state = RunState()
    assert progress(state) == 0.0
    assert state.overall.realised is None
    assert state.rates.rate("draft", 0.0) == 0.0
    state.fold(stamped([STARTED]))
    assert progress(state) == 0.0


def test_progress_counts_turns_and_not_only_samples() -> None:
    state = RunState().fold(stamped(story()[:8]))
    before = progress(state)
    state.fold([ev.Stamped(100, 11.0, e) for e in writes("draft", "x", turn=2)])
    assert 0 <= before < progress(state) < 1


def test_an_unverifiable_step_counts_as_taken_over() -> None:
    state = RunState().fold(stamped([*story()[:3], *writes("draft", ""), verdict("unverifiable")]))
    assert (state.overall.decisions, state.overall.taken_over, state.unverifiable) == (1, 1, 1)


def test_an_attempt_that_failed_is_taken_back() -> None:
    at = {"problem": 0, "sample": 0, "turn": 0, "role": "draft"}
    begin = [*story()[:3], ev.DraftStarted(**AT, turn=0)]
    state = RunState().fold(
        stamped(
            [
                *begin,
                ev.TokensStreamed(**at, text="wrong", tokens=2),
                ev.TokensStreamed(**at, text="", tokens=-2, retracted=5),
                ev.TokensStreamed(**at, text="right", tokens=3),
            ]
        )
    )
    assert state.problems[0].samples[0].steps[0].text == "right"
    assert state.draft_tokens == 3


def test_a_continued_run_forgets_what_was_under_way_and_counts_it_once() -> None:
    whole = story()
    for cut in range(4, len(whole)):
        state = RunState().fold(stamped(whole[:cut]))
        before = state.problems[0].samples[0].steps
        finished = [step.text for step in before if step.complete]
        state.apply(ev.Stamped(100, 9.0, STARTED))
        sample = state.problems[0].samples[0]
        assert [step.text for step in sample.steps] == finished
        assert state.draft_tokens + state.target_tokens == sum(len(text) for text in finished)
        assert state.verified_tokens == sum(
            e.tokens for e, after in pairwise(whole[:cut])
            if isinstance(e, ev.VerificationStarted) and isinstance(after, ev.VerdictReached)
        )  # fmt: skip
        assert all(span.end is not None for turn in sample.turns for span in turn.spans)
        assert state.finished is None
        assert state.samples_started == 2


def test_a_failed_sample_that_begins_again_is_not_ended_and_not_counted_twice() -> None:
    state = RunState().fold(stamped(story()))
    state.fold([ev.Stamped(90, 9.0, STARTED), ev.Stamped(91, 9.0, ev.SampleStarted(problem=0, sample=1))])
    assert (state.samples_started, state.samples_ended, state.samples_failed) == (2, 1, 0)
    assert state.problems[0].samples[1].end is None
    assert not state.problems[0].finished


def test_a_second_draft_in_a_turn_takes_the_place_of_the_first() -> None:
    state = RunState().fold(stamped([*story()[:4], *writes("draft", "no"), *writes("draft", "yes")]))
    assert state.problems[0].samples[0].text == "yes"


def test_every_event_is_folded() -> None:
    """A new event that nobody folds would pass unseen: each member of the union has its method."""
    from atts_core.state import _APPLY

    assert set(_APPLY) == set(ev.AnyEvent.__args__)


@given(st.lists(st.integers(0, 40), max_size=6))
def test_merged_in_any_pieces_it_folds_to_the_same(cuts: list[int]) -> None:
    stamps = stamped(story())
    whole = view(RunState().fold(stamps))
    edges = [0, *sorted({min(cut, len(stamps)) for cut in cuts}), len(stamps)]
    pieces = RunState()
    for start, end in pairwise(edges):
        pieces.fold(ev.merge_tokens(stamps[start:end]))
    assert normal(view(pieces)) == normal(whole)


def normal(thing: object) -> object:
    """Without `touched`, which names the last event and so moves when events are merged."""
    if isinstance(thing, list):
        return [normal(item) for item in thing]
    if hasattr(thing, "__dataclass_fields__"):
        return [normal(getattr(thing, f)) for f in thing.__dataclass_fields__ if f != "touched"]
    return thing


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (verdict(), "turn 1: PPL 1.500, p 0.30 ≤ 0.60 → accept"),
        (verdict("take-over", turn=2, p=0.7), "turn 3: PPL 1.500, p 0.70 > 0.60 → target takes over"),
        (
            verdict("take-over", p=0.6, rule="reference"),
            "turn 1: PPL 1.500, percentile 0.60 ≥ 0.60 → target takes over",
        ),
        (verdict(p=None), "turn 1: PPL 1.500 → accept"),
        (verdict("unverifiable"), "turn 1: nothing to verify in the draft's step → target takes over"),
        (
            verdict("take-over", p=None, rank=3, size=14),
            "turn 1: PPL 1.500, rank 3 of 14 in its round → target takes over",
        ),
        (verdict("take-over", p=0.7, again=True), "turn 1: PPL 1.500, p 0.70 > 0.60 → rejected, drawn again"),
        (
            verdict(ppl=None, p=None, rating=8, least_rating=7),
            "turn 1: rated 8 of 9 ≥ 7 → accept",
        ),
        (
            verdict("take-over", ppl=None, p=None, rating=0, least_rating=7),
            "turn 1: rated 0 of 9 < 7 → target takes over",
        ),
    ],
)
def test_a_verdict_reads_as_a_sentence(event: ev.VerdictReached, words: str) -> None:
    assert verdict_in_words(event) == words


def test_rates_count_recent_tokens_only() -> None:
    state = RunState()
    for tenth in range(100):
        state.rates.add("draft", tenth / 10, 5)
    assert state.rates.rate("draft", 10.0) == pytest.approx(50.0)
    assert state.rates.rate("draft", 60.0) == 0.0
    assert state.rates.history("draft", 10.0, 4) == [50.0] * 4
    assert state.rates.history("draft", 11.0, 4) == [50.0, 50.0, 0.0, 0.0]
    assert state.rates.history("target", 11.0, 2) == [0.0, 0.0]


def fold(*events: ev.AnyEvent) -> RunState:
    return RunState().fold(stamped(events))


def test_a_role_is_lost_only_when_all_its_servers_are() -> None:
    a, b = "http://a:1", "http://b:1"
    models = tuple(msgspec.structs.replace(card(role), url=a, urls=(a, b)) for role in ("draft", "target"))
    started = msgspec.structs.replace(STARTED, models=models)
    lose_a = ev.ServerLost(role="target", message="gone", url=a)
    state = fold(started, lose_a)
    target = state.servers["target"]
    assert (target.lost, target.workers[a].lost, target.workers[b].lost) == ("", "gone", "")
    lose_b = ev.ServerLost(role="target", message="gone too", url=b)
    state = fold(started, lose_a, lose_b)
    assert state.servers["target"].lost == "gone too"
    state = fold(started, lose_a, lose_b, ev.ServerFound(role="target", url=a))
    target = state.servers["target"]
    assert (target.lost, target.workers[a].lost, target.workers[b].lost) == ("", "", "gone too")
    state = fold(started, lose_a, lose_b, started)  # an engine that goes on has reached both
    assert state.servers["target"].lost == ""
    assert [worker.lost for worker in state.servers["target"].workers.values()] == ["", ""]


def test_a_run_of_before_names_no_server_and_its_role_is_lost_and_found() -> None:
    lost = ev.ServerLost(role="draft", message="gone")
    assert fold(STARTED, lost).servers["draft"].lost == "gone"
    assert fold(STARTED, lost, ev.ServerFound(role="draft")).servers["draft"].lost == ""
    line = b'{"seq":1,"at":0.0,"event":{"type":"ServerLost","role":"draft","message":"gone"}}'
    assert ev.decode(line).event == lost


def test_readings_are_kept_for_each_server() -> None:
    first, second = ServerReading(running=1), ServerReading(running=2)
    state = fold(
        STARTED,
        ev.ServerRead(role="draft", reading=first, url="http://a:1"),
        ev.ServerRead(role="draft", reading=second, url="http://b:1"),
    )
    draft = state.servers["draft"]
    assert draft.reading == second
    assert {url: worker.reading for url, worker in draft.workers.items()} == {
        "http://a:1": first,
        "http://b:1": second,
    }


def test_of_drafts_that_were_all_rejected_the_kept_one_is_the_chain() -> None:
    def attempt(text: str) -> list[ev.AnyEvent]:
        return [
            ev.DraftStarted(**AT, turn=0),
            ev.DraftFinished(
                **AT, turn=0, text=text, tokens=2, ended=False, seconds=0.1, first_token_seconds=0.1
            ),
            verdict("take-over", p=0.9, again=True),
        ]

    begun = [STARTED, ev.ProblemAdded(problem=0, id="p", question="?"), ev.SampleStarted(**AT)]
    tried = [event for text in ("one", "two", "three") for event in attempt(text)]
    state = fold(*begun, *tried)
    sample = state.sample(0, 0)
    assert (sample.text, sample.taken_over, state.overall.decisions) == ("three", 3, 3)
    state = fold(*begun, *tried, ev.AttemptKept(**AT, turn=0, attempt=1))
    assert (state.sample(0, 0).text, state.draft_tokens) == ("two", 6)


def test_text_of_two_drafts_of_one_turn_is_never_merged() -> None:
    stamps = stamped([
        ev.DraftStarted(**AT, turn=0),
        ev.TokensStreamed(**AT, turn=0, role="draft", text="first", tokens=1),
        ev.DraftStarted(**AT, turn=0),
        ev.TokensStreamed(**AT, turn=0, role="draft", text="sec", tokens=1),
        ev.TokensStreamed(**AT, turn=0, role="draft", text="ond", tokens=1),
    ])  # fmt: skip
    texts = [s.event.text for s in ev.merge_tokens(stamps) if isinstance(s.event, ev.TokensStreamed)]
    assert texts == ["first", "second"]


def test_waiting_for_the_round_is_no_verifying() -> None:
    state = fold(
        STARTED,
        ev.ProblemAdded(problem=0, id="p", question="?"),
        ev.SampleStarted(**AT),
        ev.VerificationStarted(**AT, turn=0, tokens=5),
        ev.StageQueued(**AT, turn=0, stage="target", for_round=True),
    )
    sample = state.sample(0, 0)
    assert sample.phase == "round"
    assert sample.turns[0].spans[-1].end is not None
    state.fold([ev.Stamped(99, 9.0, STARTED)])
    assert state.verified_tokens == 0, "a score that no verdict was told of is asked for again"
    assert sample.turns[0].spans == []
