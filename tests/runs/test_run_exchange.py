"""What is imported and exported comes back the same: our events, our files, and the authors' results."""

import csv
import gzip
import io
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atts_core import events as ev
from atts_core.conformal.records import load_authors_run
from atts_core.errors import RunError, SettingsError
from atts_core.runs.export import FORMATS, export
from atts_core.runs.file import About, RunFile
from atts_core.runs.imports import import_run
from atts_core.runs.manage import info_of
from atts_core.runs.recorded_run import recorded_run
from atts_core.runs.reference import records
from atts_core.runs.schema import PAGE_BYTES
from atts_core.runs.writer import RunWriter
from atts_core.state import RunState

pytestmark = pytest.mark.usefixtures("no_power_cut")

Simulate = Callable[..., list[ev.Stamped]]
Same = Callable[[RunState], bytes]

RECORDED = (
    "math500_ct0_dev48", "math500_ct1_dev48", "olympiad_all119", "variant_self_refine_2q",
    "variant_self_v2sys_2q", "variant_self_reject_2q", "variant_self_reject_fork_parallel_2q",
    "variant_fork_events_single_question", "variant_smoke_qwen",
)  # fmt: skip


def all_of(path: Path) -> list[ev.Stamped]:
    file = RunFile.open(path)
    stamps = [stamp for batch in file.events() for stamp in batch]
    assert file.trouble == ""
    file.close()
    return stamps


def write(path: Path, stamps: list[ev.Stamped], about: About) -> Path:
    writer = RunWriter.create(path, about)
    writer.append(stamps)
    writer.close()
    return path


@given(seed=st.integers(0, 2**32), problems=st.integers(1, 3))
@settings(max_examples=20)
def test_exported_and_imported_events_fold_to_the_same(
    seed: int,
    problems: int,
    simulate: Simulate,
    same: Same,
    about: About,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("x")
    stamps = simulate(seed, problems=problems)
    path = write(folder / "r.atts", stamps, about)
    export(path, "jsonl", folder / "r.jsonl")
    back = import_run(folder / "r.jsonl", folder)
    assert back.path.name == "r-2.atts"
    assert all_of(back.path) == stamps
    file = RunFile.open(back.path)
    assert same(file.state(file.last())) == same(RunState().fold(stamps))
    assert file.about.origin.endswith("r.jsonl")
    export(path, "reference", folder / "theirs")
    theirs = import_run(folder / "theirs", folder, samples=3)
    ended = [s.event for s in stamps if isinstance(s.event, ev.SampleFinished)]
    again = [s.event for s in all_of(theirs.path) if isinstance(s.event, ev.SampleFinished)]
    assert {(e.problem, e.sample, e.answer) for e in again} == {
        (e.problem, e.sample, e.answer) for e in ended
    }


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_run_comes_back_as_it_was(
    name: str, recorded_runs: Path, tmp_path: Path, same: Same
) -> None:
    source = recorded_runs / "runs" / f"{name}.jsonl.gz"
    imported = import_run(source, tmp_path / "runs", dataset="math500")
    with gzip.open(source) as lines:
        originals = sorted((json.loads(line) for line in lines), key=lambda record: record["problem_index"])
    export(imported.path, "reference", tmp_path / "theirs")
    files = sorted((tmp_path / "theirs").iterdir())
    assert [file.name for file in files] == [f"problem_{r['problem_index']:04d}.json" for r in originals]
    for file, original in zip(files, originals, strict=True):
        assert json.dumps(json.loads(file.read_text())) == json.dumps(original)
    stamps = all_of(imported.path)
    whole = RunState().fold(stamps)
    run = RunFile.open(imported.path)
    for at in range(0, len(stamps), max(1, len(stamps) // 7)):
        assert same(run.state(run.place_of_ordinal(at))) == same(RunState().fold(stamps[:at]))
    assert same(run.state(run.last())) == same(whole)
    assert info_of(imported.path).status == "imported"
    # Both readers of these records, the audit's and this one, find the same decisions.
    audited, _ = recorded_run(stamps)
    theirs = load_authors_run(source)
    order = lambda step: (step.problem, step.sample, step.turn, step.ppl or 0.0)  # noqa: E731
    assert sorted(audited.steps, key=order) == sorted(theirs.steps, key=order)


def test_recorded_decisions_are_those_that_were_counted(recorded_runs: Path, tmp_path: Path) -> None:
    index = json.loads((recorded_runs / "index.json").read_text())
    known = json.loads((recorded_runs / "gold_math500_dev48.json").read_text())
    gold = {number: each["gold"] for number, each in known.items()}
    for run in index["runs"][:3]:
        expected = run["expected"]
        path = import_run(recorded_runs / run["file"], tmp_path, gold=gold).path
        file = RunFile.open(path)
        state = file.state(file.last())
        assert (state.overall.decisions, state.overall.taken_over) == (
            expected["verified_turns"], expected["takeovers"],
        )  # fmt: skip
        assert {
            str(turn): {"n": rate.decisions, "takeovers": rate.taken_over}
            for turn, rate in enumerate(state.by_turn)
        } == expected["per_turn"]
        assert sum(problem.voted for problem in state.problems) == expected["answers_found"]
        lasted = sum(
            sample.ended_at - sample.started_at
            for problem in state.problems
            for sample in problem.samples
            if sample.ended_at is not None and sample.started_at is not None
        )
        assert lasted == pytest.approx(expected["sum_duration_seconds"])
        if "math500" in run["file"]:
            assert (info_of(path).summary.accuracy or 0) > 0.6, "by spelling alone, without mathematics"


def record(index: int, history: list[object], **more: object) -> dict[str, object]:
    return {
        "problem_index": index,
        "final_answer": "4",
        "duration_seconds": 2.0,
        "full_history": history,
        "question": "2 + 2?",
        **more,
    }


def small(text: str, turn: int = 0) -> dict[str, object]:
    return {"turn": turn, "model": "small", "output": text}


def imported_records(tmp_path: Path, *made: dict[str, object], **named: Any) -> RunFile:
    (tmp_path / "in.jsonl").write_text("\n".join(json.dumps(each) for each in made))
    return RunFile.open(import_run(tmp_path / "in.jsonl", tmp_path / "runs", **named).path)


@pytest.mark.parametrize(
    "history",
    [
        ["2 + 2?", "two", "four \\boxed{4}"],
        [small("x"), {"turn": 0, "model": "eval_ppl", "ppl": 1.5, "should_takeover": 1},
         {"turn": 0, "model": "eval_generate", "output": "y"}],
        [small("\ud800 \0 \x1b[2J"), {"turn": 0, "model": "eval_ppl", "ppl": 0.0, "percentile": 0.0}],
        [small("x"), {"turn": 0, "model": "eval_ppl", "ppl": float("inf"), "percentile": 1.0}, small("", 3)],
        [{"turn": 0, "model": "nobody", "output": "x"}, 7, None, {"event": "fork"}],
        [],
    ],
    ids=["strings", "budget", "half characters", "infinite", "unknown", "nothing"],
)  # fmt: skip
def test_any_history_is_shown_as_far_as_it_goes_and_given_back(tmp_path: Path, history: list[object]) -> None:
    original = record(0, history, extra={"a": [1, None]})
    file = imported_records(tmp_path, original, samples=1)
    assert json.dumps(records(file)) == json.dumps([original])
    state = file.state(file.last())
    assert file.trouble == ""
    assert state.problems[0].samples[0].answer == "4"


def test_bare_strings_are_steps_after_the_question(tmp_path: Path) -> None:
    file = imported_records(tmp_path, record(0, ["2 + 2?", "two", "four"]), samples=1)
    steps = file.state(file.last()).problems[0].samples[0].steps
    assert [(step.turn, step.text) for step in steps] == [(0, "two"), (1, "four")]


def test_the_attempt_that_was_kept_is_the_one_that_stays(tmp_path: Path) -> None:
    def attempt(turn: int, number: int, ppl: float, accepted: bool) -> dict[str, object]:
        return {"turn": turn, "attempt": number, "model": "draft", "output": f"{turn}.{number} ", "ppl": ppl,
                "percentile": 0.9, "accepted": accepted}  # fmt: skip

    history = [
        attempt(0, 0, 2.0, False), attempt(0, 1, 1.2, True),
        attempt(1, 0, 1.7, False), attempt(1, 1, 1.5, False), attempt(1, 2, 1.9, False),
    ]  # fmt: skip
    state = imported_records(tmp_path, record(0, list(history)), samples=1)
    sample = state.state(state.last()).problems[0].samples[0]
    assert sample.text == "0.1 1.1 "
    assert (sample.accepted, sample.taken_over) == (1, 4)
    assert len(sample.turns) == 2


def test_questions_and_samples_that_are_missing_are_said(tmp_path: Path) -> None:
    file = imported_records(
        tmp_path, *(record(index, ["x"], question=f"q{index // 4}") for index in (0, 1, 2, 3, 8, 9, 11))
    )
    state = file.state(file.last())
    assert [problem.id for problem in state.problems] == ["0", "2"]
    assert [problem.finished for problem in state.problems] == [True, False]
    assert state.finished == ev.RunFinished(end="incomplete", message="1 samples are not among the files")
    assert [r["problem_index"] for r in records(file)] == [0, 1, 2, 3, 8, 9, 11]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is no run"),
        (b"[]", "is no result"),
        (b'{"problem_index": -1, "full_history": []}', "is no result"),
        (b'{"seq": 1}', "line 1 is no event"),
        (b'{"seq":1,"at":0.0,"event":{"type":"Nothing"}}', "line 1 is no event"),
        (b'{"seq":1,"at":0.0,"event":{"type":"Warned","message":""}}', "no line says that one started"),
        (b'{"seq":1,"at":0.0,"event":{"type":"SampleStarted","problem":0,"sample":0}}', "cannot follow"),
        (b"\x1f\x8b\x08\x00broken", "cut off"),
        (gzip.compress(b'{"seq":1,"at":0.0,"event":{"type":"Warned","message":""}}\n' * 9)[:-12], "cut off"),
        (b"SQLite format 3\0" + b"\0" * 100, "is no run file"),
    ],
)
def test_what_is_no_run_is_refused_in_a_sentence_and_leaves_nothing(
    tmp_path: Path, content: bytes, why: str
) -> None:
    (tmp_path / "in").write_bytes(content)
    with pytest.raises(SettingsError, match=why):
        import_run(tmp_path / "in", tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []


def test_claims_that_would_take_the_memory_are_refused(tmp_path: Path) -> None:
    for made in (
        [record(0, []), record(10**12, [])],
        [record(0, []), record(0, [])],
    ):
        with pytest.raises(SettingsError):
            imported_records(tmp_path, *made)
    deep = '{"problem_index":0,"full_history":' + "[" * 100_000 + "]" * 100_000 + "}"
    (tmp_path / "deep.jsonl").write_text(deep)
    with pytest.raises(SettingsError):
        import_run(tmp_path / "deep.jsonl", tmp_path / "runs")


def test_a_run_file_is_copied_with_what_it_keeps(tmp_path: Path, simulate: Simulate, about: About) -> None:
    writer = RunWriter.create(tmp_path / "shared.atts", about)
    stamps = simulate(31)
    writer.append(stamps)
    writer.keep("calibration", b"scores")
    writer.close()
    copy = import_run(tmp_path / "shared.atts", tmp_path / "runs").path
    assert all_of(copy) == stamps
    assert RunFile.open(copy).kept("calibration") == b"scores"
    assert RunFile.open(copy).about == about


def test_what_is_left_of_a_damaged_file_can_be_saved(
    tmp_path: Path, simulate: Simulate, about: About
) -> None:
    path = write(tmp_path / "r.atts", simulate(32, problems=20), about)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 // PAGE_BYTES * PAGE_BYTES + 100])  # within a page
    saved = import_run(path, tmp_path / "runs")
    assert "cut off" in saved.note
    assert all_of(saved.path) == simulate(32, problems=20)[: saved.events]
    assert saved.events > 100
    assert "cut off" in export(path, "jsonl", tmp_path / "r.jsonl")


def test_tables_say_what_the_state_says(tmp_path: Path, simulate: Simulate, about: About) -> None:
    stamps = simulate(33)
    path = write(tmp_path / "r.atts", stamps, about)
    state = RunState().fold(stamps)
    export(path, "csv-samples", tmp_path / "samples.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "samples.csv").read_text())))
    samples = [(problem, sample) for problem in state.problems for sample in problem.samples]
    assert len(rows) == len(samples)
    for row, (problem, sample) in zip(rows, samples, strict=True):
        assert (row["id"], int(row["sample"]), row["answer"]) == (
            problem.id,
            sample.index,
            sample.answer or "",
        )
        assert float(row["ended_at"]) == sample.ended_at
        assert int(row["taken_over"]) == sample.taken_over
    said = export(path, "csv-verdicts", tmp_path / "verdicts.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "verdicts.csv").read_text())))
    verdicts = [(s, s.event) for s in stamps if isinstance(s.event, ev.VerdictReached)]
    assert [(int(row["seq"]), float(row["ppl"])) for row in rows] == [(s.seq, e.ppl) for s, e in verdicts]
    assert said == f"wrote {tmp_path / 'verdicts.csv'}: {len(verdicts)} verdicts"


def test_nothing_is_written_over(tmp_path: Path, simulate: Simulate, about: About) -> None:
    path = write(tmp_path / "r.atts", simulate(34), about)
    target = tmp_path / "taken"
    target.write_text("precious")
    for form in FORMATS:
        with pytest.raises(SettingsError, match="exists"):
            export(path, form, target)
    assert target.read_text() == "precious"
    export(path, "jsonl", target, overwrite=True)
    assert target.read_text().startswith('{"seq":1,')
    empty = write(tmp_path / "empty.atts", [], about)
    with pytest.raises(RunError, match="nothing to export"):
        export(empty, "jsonl", tmp_path / "none")


def test_a_hostile_rest_of_a_record_ends_in_a_sentence(tmp_path: Path) -> None:
    file = imported_records(tmp_path, record(0, ["x"], extra=1), samples=1)
    file.close()
    copy = Path(shutil.copy(file.path, tmp_path / "hostile.atts"))
    connection = sqlite3.connect(copy)
    connection.execute("UPDATE kept SET body = ?", (b'{"keys": ["a"], "values": "[[["}',))
    connection.commit()
    connection.close()
    with pytest.raises(RunError, match="cannot be read"):
        records(RunFile.open(copy))
