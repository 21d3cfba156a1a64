"""The authors' recorded runs: every published variant, and what is no such run."""

import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atts_core.conformal.records import RecordedRun, calibration_from, load_authors_run
from atts_core.errors import SettingsError

Entries = list[Any]


def _record(index: int, history: Entries, question: str = "q", **more: Any) -> dict[str, Any]:
    return {"problem_index": index, "final_answer": "4", "duration_seconds": 1.5, "full_history": history,
            "question": question} | more  # fmt: skip


def _turn(turn: int, ppl: float, p: float, taken: bool) -> Entries:
    continued = [{"turn": turn, "model": "eval_generate", "output": "b"}] if taken else []
    return [
        {"turn": turn, "model": "small", "output": "a"},
        {"turn": turn, "model": "eval_ppl", "ppl": ppl, "percentile": p},
        *continued,
    ]


def _folder(path: Path, records: list[dict[str, Any]]) -> Path:
    for record in records:
        (path / f"problem_{record['problem_index']:04d}.json").write_text(json.dumps(record))
    (path / "notes.json").write_text("not a record")
    return path


RECORDS = [
    _record(index, _turn(0, 1.5, 0.2, False) + _turn(1, 1.9, 0.8, True), f"question {index // 3}")
    for index in range(9)
]


def test_folder_lines_and_zipped_lines_are_the_same_run(tmp_path: Path) -> None:
    lines = "".join(json.dumps(record) + "\n" for record in RECORDS)
    (tmp_path / "run.jsonl").write_text(lines)
    (tmp_path / "run.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "folder").mkdir()
    run = load_authors_run(_folder(tmp_path / "folder", RECORDS))
    assert load_authors_run(tmp_path / "run.jsonl") == run
    assert load_authors_run(tmp_path / "run.jsonl.gz") == run
    assert run.samples == 3
    assert [(step.problem, step.turn, step.sample) for step in run.steps[:7]] == [
        ("0", 0, 0), ("0", 0, 1), ("0", 0, 2), ("0", 1, 0), ("0", 1, 1), ("0", 1, 2), ("1", 0, 0),
    ]  # fmt: skip
    assert [step.taken_over for step in run.steps[:6]] == [False] * 3 + [True] * 3
    assert run.chains[4].problem == "1"
    assert (run.chains[4].answer, run.chains[4].question, run.chains[4].seconds) == ("4", "question 1", 1.5)


def test_samples_are_told_by_the_questions_even_with_gaps(tmp_path: Path) -> None:
    kept = [record for record in RECORDS if record["problem_index"] not in (0, 5, 7)]
    (tmp_path / "folder").mkdir()
    run = load_authors_run(_folder(tmp_path / "folder", kept))
    assert run.samples == 3
    assert {(chain.problem, chain.sample) for chain in run.chains} == {
        ("0", 1), ("0", 2), ("1", 0), ("1", 1), ("2", 0), ("2", 2),
    }  # fmt: skip
    told = load_authors_run(tmp_path / "folder", samples=9)
    assert {chain.problem for chain in told.chains} == {"0"}


def test_samples_that_cannot_be_told(tmp_path: Path) -> None:
    (tmp_path / "run.jsonl").write_text(
        "\n".join(json.dumps(_record(i, _turn(0, 1.5, 0.2, False), f"q{i % 2}")) for i in range(4))
    )
    with pytest.raises(SettingsError, match="how many samples"):
        load_authors_run(tmp_path / "run.jsonl")


def test_variants_of_the_history(tmp_path: Path) -> None:
    history: Entries = [
        {"turn": 0, "model": "eval_ppl", "ppl": 1.5, "should_takeover": 1},
        {"turn": 1, "model": "self_ppl", "ppl": 0.0, "percentile": 0.0},
        {"turn": 1, "model": "self_continue", "output": "x"},
        {"turn": 2, "attempt": 0, "model": "draft", "ppl": 1.7, "percentile": 0.9, "accepted": False},
        {"turn": 2, "attempt": 1, "model": "draft", "ppl": 1.2, "percentile": 0.1, "accepted": True},
        {"turn": 3, "event": "fork", "forked_from": 3},
        {"turn": 4, "attempt": 0, "model": "draft", "ppl": 0.0, "percentile": 0.0, "accepted": True,
         "accepted_reason": "answer_found"},
    ]  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(_record(0, history, final_answer="invalid")))
    run = load_authors_run(tmp_path / "a.json")
    assert [(step.turn, step.ppl, step.p, step.taken_over) for step in run.steps] == [
        (0, 1.5, None, True),
        (1, None, 0.0, True),
        (2, 1.7, 0.9, True),
        (2, 1.2, 0.1, False),
    ]
    assert run.unscored == 1
    assert run.chains[0].answer is None


def test_a_run_becomes_a_calibration(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    calibration = calibration_from(load_authors_run(_folder(tmp_path / "folder", RECORDS)).steps)
    assert (len(calibration), calibration.problems) == (18, ("0", "1", "2"))
    assert calibration.turn.tolist()[:6] == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "holds no results"),
        ("{", "line 1 of .* is no JSON"),
        ("[]", "line 1 of .* is no result"),
        ('{"problem_index": -1, "full_history": []}', "is no result"),
        ('{"problem_index": "1", "full_history": []}', "is no result"),
        (json.dumps(_record(0, ["a", "b"])), "1 chains and no scored step"),
        (json.dumps(_record(0, [{"turn": "x", "model": "eval_ppl"}])), "has the turn 'x'"),
        ("[" * 100_000, "is no JSON"),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_run(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "run.jsonl").write_text(content)
    with pytest.raises(SettingsError, match=words) as caught:
        load_authors_run(tmp_path / "run.jsonl")
    assert "\n" not in str(caught.value)


def test_missing_empty_and_cut_off(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="There is no run"):
        load_authors_run(tmp_path / "none.jsonl")
    (tmp_path / "folder").mkdir()
    with pytest.raises(SettingsError, match="holds no results"):
        load_authors_run(tmp_path / "folder")
    packed = gzip.compress(json.dumps(RECORDS[0]).encode())
    (tmp_path / "run.jsonl.gz").write_bytes(packed[:-10])
    with pytest.raises(SettingsError, match="cut off"):
        load_authors_run(tmp_path / "run.jsonl.gz")


def test_every_published_run_has_the_steps_that_its_index_counts(
    data: Path, recorded: Callable[[str], RecordedRun]
) -> None:
    index = json.loads((data / "index.json").read_text())
    assert len(index["runs"]) == 9
    for entry in index["runs"]:
        run = recorded(Path(entry["file"]).name.removesuffix(".jsonl.gz"))
        expected = entry["expected"]
        assert len(run.chains) == expected["samples"]
        if "reject" in entry["file"] or "fork" in entry["file"]:
            continue
        assert len(run.steps) == expected["verified_turns"]
        assert sum(step.taken_over for step in run.steps) == expected["takeovers"]
        per_turn = Counter(step.turn for step in run.steps)
        assert {str(turn): n for turn, n in per_turn.items()} == {
            turn: counts["n"] for turn, counts in expected["per_turn"].items()
        }
        assert run.samples == (4 if "smoke" in entry["file"] else 16)
        assert sum(chain.answer is not None for chain in run.chains) == expected["answers_found"]
