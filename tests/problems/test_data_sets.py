"""Data sets from files, folders and the hub's cache: what is loaded, and what is refused with which words."""

import csv
import gzip
import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atts_core.config import data_sets
from atts_core.errors import SettingsError
from atts_core.problems.catalogue import DATASETS, Columns, Draw
from atts_core.problems.choose import choose, drawn, is_calibration, order_of, places
from atts_core.problems.load import ProblemSet, Request, fingerprint, load_problems
from atts_core.problems.problem import Problem

SHARED = Path(__file__).parents[3] / "shared" / "data"
ORDER = Path(__file__).with_name("math500_order.txt")


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def load(dataset: str, part: str = "all", **said: Any) -> ProblemSet:
    return load_problems(Request(dataset=dataset, part=part, **said))  # type: ignore[arg-type]


SUMS = [{"question": f"Was ist {k} + {k}? 数", "answer": str(2 * k)} for k in range(12)]


@pytest.fixture
def sums(tmp_path: Path) -> str:
    return write(tmp_path / "sums.jsonl", SUMS)


def test_every_kind_of_file_holds_the_same_problems(tmp_path: Path, sums: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    (tmp_path / "sums.json").write_text(json.dumps(SUMS), encoding="utf-8-sig")
    parquet.write_table(pyarrow.Table.from_pylist(SUMS), tmp_path / "sums.parquet")
    for suffix, delimiter in (("csv", ","), ("tsv", "\t")):
        with (tmp_path / f"sums.{suffix}").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["question", "answer"], delimiter=delimiter)
            writer.writeheader()
            writer.writerows(SUMS)
    loaded = {suffix: load(str(tmp_path / f"sums.{suffix}")) for suffix in ("json", "parquet", "csv", "tsv")}
    loaded["jsonl"] = load(sums)
    assert all(each == loaded["jsonl"] for each in loaded.values())
    assert loaded["jsonl"].dataset == "sums"
    assert loaded["jsonl"].problems[3].gold == "6"
    assert loaded["jsonl"].problems[3].grading == "math"


def test_what_the_datasets_library_saved(tmp_path: Path, sums: str) -> None:
    datasets = pytest.importorskip("datasets")
    half = datasets.Dataset.from_list(SUMS[:6])
    half.save_to_disk(tmp_path / "one")
    both = datasets.DatasetDict({"train": half, "test": datasets.Dataset.from_list(SUMS)})
    both.save_to_disk(tmp_path / "both")
    assert load(str(tmp_path / "one")).problems == load(sums, limit=6).problems
    copy = load("gsm8k", "test", columns=Columns(path=str(tmp_path / "both")))
    assert copy.problems == load(sums).problems  # the split that the named set has
    with pytest.raises(SettingsError, match="no split 'nope'; it has train, test"):
        load("x", known={"x": Columns(path=str(tmp_path / "both"), split="nope")})


def test_a_folder_of_shards_and_splits(tmp_path: Path, sums: str) -> None:
    folder = tmp_path / "copy" / "data"
    folder.mkdir(parents=True)
    write(folder / "train.jsonl", [{"question": "Train?", "answer": "1"}])
    write(folder / "test-00000-of-00002.jsonl", SUMS[:6])
    write(folder / "test-00001-of-00002.jsonl", SUMS[6:])
    columns = Columns(path=str(folder.parent))
    assert load("gsm8k", columns=columns).problems == load(sums).problems
    training = load("gsm8k", "calibration", columns=columns)
    assert [problem.question for problem in training.problems] == ["Train?"]
    assert training.fingerprint == load("gsm8k", columns=columns).fingerprint  # of the set, not of the part


CACHE = """
import sys
from pathlib import Path
import datasets
from datasets.arrow_writer import ArrowWriter
root = Path(sys.argv[1]) / "datasets/HuggingFaceH4___math-500/default/0.0.0" / ("a" * 40)
root.mkdir(parents=True)
rows = [{"problem": f"What is {k} + {k}?", "answer": str(2 * k), "unique_id": f"test/{k}"} for k in range(5)]
features = datasets.Dataset.from_list(rows).features
writer = ArrowWriter(path=str(root / "math-500-test.arrow"), features=features)
for row in rows:
    writer.write(row)
examples, size = writer.finalize()
split = datasets.SplitInfo("test", num_examples=examples, num_bytes=size, dataset_name="math-500")
datasets.DatasetInfo(
    features=features, builder_name="json", dataset_name="math-500", config_name="default",
    version="0.0.0", splits=datasets.SplitDict({"test": split}),
).write_to_directory(str(root))
"""
LOAD = """
from atts_core.problems.load import Request, load_problems
from atts_core.errors import SettingsError
for dataset in ("math500", "aime24", "math500:paper"):
    try:
        print([problem.id for problem in load_problems(Request(dataset=dataset, part="all")).problems])
    except SettingsError as error:
        print(error)
"""


def test_the_hub_offline_is_its_cache_or_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", CACHE, str(tmp_path)], env=environment, check=True)
    done = subprocess.run(
        [sys.executable, "-c", LOAD], env=environment, check=True, capture_output=True, text=True
    )
    cached, missing, small = done.stdout.splitlines()
    assert cached == str([f"test/{k}" for k in range(5)])
    assert missing.startswith("simplescaling/aime24_nofigures cannot be reached on the Hugging Face hub")
    assert "--from" in missing
    assert small == "The authors took 100 problems, and there are 5 here: this is another set."
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", "", "a.jsonl holds no problems"),
        ("a.jsonl", "\n\n", "a.jsonl holds no problems"),
        ("a.csv", "", "a.csv holds no problems"),
        ("a.jsonl", '{"question": "a"}\n{"question":\n', "a.jsonl line 2 is no JSON"),
        ("a.jsonl", "[" * 100_000, "a.jsonl line 1 is no JSON"),
        ("a.jsonl", '{"question": "a", "answer": ' + "9" * 5000 + "}", "a.jsonl line 1 is no JSON"),
        ("a.jsonl", "[1]", "a.jsonl line 1 is no JSON object"),
        ("a.json", '{"a": 1}', "neither a list of problems nor an object"),
        ("a.jsonl", '{"task": "a"}', "no column question, problem or prompt; it has task"),
        ("a.jsonl", '{"question": ""}', "a.jsonl line 1: the question .'question'. is empty"),
        ("a.jsonl", '{"question": "a"}\n{"answer": "1"}', "a.jsonl line 2: the question .* is missing"),
        ("a.jsonl", '{"question": ["a"]}', "is no text"),
        ("a.jsonl", '{"question": "a", "answer": {"x": 1}}', "the answer .'answer'. is an object"),
        ("a.jsonl", '{"question": "a", "answer": true}', "is true or false"),
        ("a.jsonl", '{"question": "a", "id": null}', "the id .* neither a text nor a number"),
        (
            "a.jsonl",
            '{"id": 1, "question": "a"}\n{"id": "1", "question": "b"}',
            "given twice: at .* line 1 and",
        ),
        ("a.csv", "question,answer\na,b,c\n", "line 2 has 3 cells, and the first line names 2"),
        ("a.csv", "question,question\na,b\n", "two columns of one name"),
        ("a.csv", 'question\n"a" b\n', "line 2 is no CSV"),
        ("a.txt", "hello", "of no kind that is read here"),
        ("a.parquet", "hello", "is no Parquet file"),
        ("a.jsonl", json.dumps({"question": "x" * 100_001}), "100,001 characters"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path: Path, name: str, content: str, words: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SettingsError, match=words) as refused:
        load(str(path))
    assert str(refused.value).count("\n") == 0
    assert len(str(refused.value)) < 400


def test_not_utf8_and_not_there(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes("question\ngrößer?\n".encode("latin-1"))
    with pytest.raises(SettingsError, match="not text in UTF-8"):
        load(str(tmp_path / "latin.csv"))
    with pytest.raises(SettingsError, match=r"no data set and no file 'nope'; there are builtin, aime24"):
        load("nope")
    (tmp_path / "many").mkdir()
    with pytest.raises(SettingsError, match="holds no data set"):
        load(str(tmp_path / "many"))
    write(tmp_path / "many" / "a.jsonl", SUMS)
    write(tmp_path / "many" / "b.jsonl", SUMS)
    with pytest.raises(SettingsError, match="holds several files"):
        load(str(tmp_path / "many"))


def test_ten_thousand_problems_and_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"id": k, "question": f"{k}?", "answer": k} for k in range(10_000)]
    path = write(tmp_path / "many.jsonl", rows)
    assert len(load(path).problems) == 10_000
    monkeypatch.setattr("atts_core.problems.rows.MOST_ROWS", 9_999)
    with pytest.raises(SettingsError, match="more than 9,999 problems"):
        load(path)
    monkeypatch.setattr("atts_core.problems.rows.MOST_BYTES", 1000)
    with pytest.raises(SettingsError, match=r"at most 0\.0 GB"):
        load(path)


def test_gold_answers_in_every_dress(tmp_path: Path) -> None:
    cells = ["5", 5, 5.0, "so #### 5", r"thus \boxed{5}.", ["5"], "$5$", None, "", [], "$1$ and $2$"]
    rows = [{"question": f"{k}?", "answer": cell} for k, cell in enumerate(cells)]
    found = [problem.gold for problem in load(write(tmp_path / "a.jsonl", rows)).problems]
    assert found == ["5"] * 7 + [None] * 3 + ["$1$ and $2$"]


def test_columns_by_name_on_the_command_line_and_in_atts_toml(tmp_path: Path) -> None:
    rows = [{"task": row["question"], "result": row["answer"], "key": f"k{k}"} for k, row in enumerate(SUMS)]
    path = write(tmp_path / "mine.jsonl", rows)
    said = load(path, columns=Columns(question="task", answer="result", id="key", grading="exact"))
    assert (said.problems[1].id, said.problems[1].gold, said.problems[1].grading) == ("k1", "2", "exact")
    (tmp_path / "atts.toml").write_text(
        'samples = 2\n[datasets.mine]\npath = "mine.jsonl"\nquestion = "task"\nanswer = "result"\n'
        'id = "key"\ngrading = "exact"\n'
    )
    known = data_sets({"ATTS_CONFIG": str(tmp_path / "atts.toml")})
    assert load("mine", known=known).problems == said.problems
    (tmp_path / "atts.toml").write_text('[datasets.mine]\npaht = "x"\n')
    with pytest.raises(SettingsError, match="paht"):
        data_sets({"ATTS_CONFIG": str(tmp_path / "atts.toml")})
    with pytest.raises(SettingsError, match="needs path or hub"):
        load("mine", known={"mine": Columns()})


def test_without_gold_answers_the_set_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"question": "Why?"}, {"question": "What?"}])
    assert load(path).notes == ("The problems have no gold answer: nothing is said of their accuracy.",)


def test_a_problem_without_an_id_keeps_its_own_in_any_order(tmp_path: Path, sums: str) -> None:
    backwards = load(write(tmp_path / "sums2.jsonl", [*reversed(SUMS)]))
    assert {p.id: p for p in backwards.problems} == {p.id: p for p in load(sums).problems}
    assert backwards.fingerprint == load(sums).fingerprint
    twice = load(write(tmp_path / "twice.jsonl", [SUMS[0], SUMS[0]]))
    assert len({problem.id for problem in twice.problems}) == 2
    changed = [{**SUMS[0], "answer": "1"}, *SUMS[1:]]
    assert load(write(tmp_path / "changed.jsonl", changed)).fingerprint != backwards.fingerprint


def test_parts_of_a_set_with_one_split_never_share_a_problem(sums: str) -> None:
    test, calibration = load(sums, "test"), load(sums, "calibration")
    assert {p.id for p in test.problems} | {p.id for p in calibration.problems} == {
        p.id for p in load(sums).problems
    }
    assert not {p.id for p in test.problems} & {p.id for p in calibration.problems}
    assert "never share one" in calibration.notes[0]
    assert test.fingerprint == calibration.fingerprint


@given(st.text(min_size=1))
def test_the_part_depends_on_the_text_alone(question: str) -> None:
    assert is_calibration(question) == is_calibration(f"  {question}\n")


def test_about_half_are_for_calibration() -> None:
    assert 0.45 < sum(is_calibration(f"{k}?") for k in range(2000)) / 2000 < 0.55


def test_choices_are_shuffled_by_id_and_the_gold_letter_follows(tmp_path: Path) -> None:
    def row(k: int) -> dict[str, str]:
        wrong = {f"Incorrect Answer {n}": f"wrong {n}" for n in (1, 2, 3)}
        return {"Record ID": f"r{k}", "Question": f"{k}?", "Correct Answer": f"right {k}", **wrong}

    rows = [row(k) for k in range(40)]
    first = load("gpqa", columns=Columns(path=write(tmp_path / "a.jsonl", rows))).problems
    assert {problem.gold for problem in first} == set("ABCD")
    for k, problem in enumerate(first):
        assert f"{problem.gold}) right {k}\n" in problem.question + "\n"
        assert problem.grading == "choice"
    columns = Columns(path=write(tmp_path / "b.jsonl", [*reversed(rows)]))
    assert {p.id: p for p in load("gpqa", columns=columns).problems} == {p.id: p for p in first}
    assert [p.gold for p in load("gpqa", columns=columns, option_seed=1).problems] != [p.gold for p in first]
    paper = load("gpqa:paper", columns=Columns(path=write(tmp_path / "c.jsonl", [row(k) for k in range(80)])))
    assert [problem.id for problem in paper.problems] == [f"r{k}" for k in range(60)]
    rows[3]["Incorrect Answer 2"] = ""
    with pytest.raises(SettingsError, match="line 4: one of the choices is empty"):
        load("gpqa", columns=Columns(path=write(tmp_path / "d.jsonl", rows)))


def test_the_authors_subsets(tmp_path: Path) -> None:
    def copy(name: str, count: int, **cells: Any) -> Columns:
        rows = [{"question": f"{k}?", "problem": f"{k}?", "answer": k, **cells} for k in range(count)]
        return Columns(path=write(tmp_path / f"{name}.jsonl", rows))

    first = load("aime24:paper", columns=copy("aime24", 30))
    assert [p.question for p in first.problems] == [f"{k}?" for k in range(15)]
    assert first.dataset == "aime24:paper"
    rest = load("aime24:paper", "calibration", columns=copy("aime24", 30))
    assert [p.question for p in rest.problems] == [f"{k}?" for k in range(15, 30)]
    assert load("amc:paper", columns=copy("amc", 83)).dataset == "amc23:paper"
    math = load("math500:paper", columns=copy("math", 500))
    expected = random.Random(42).sample(range(500), 100)
    assert [p.question for p in math.problems] == [f"{k}?" for k in expected]
    assert expected[:3] == [327, 57, 12]
    assert "not in the order that the authors drew from" in math.notes[0]
    with pytest.raises(SettingsError, match="without a seed, so nobody can draw them again"):
        load("gsm8k:paper")
    numbers = {"final_answer": ["7"], "answer_type": "Numerical", "is_multiple_answer": False}
    single = copy("olympiad", 60, **numbers)
    assert len(load("olympiad:paper", columns=single).problems) == 50
    with pytest.raises(SettingsError, match="there are 0 here"):
        load("olympiad:paper", columns=copy("o2", 60, **{**numbers, "is_multiple_answer": True}))
    long = copy("s1", 3, solution="So, for reasons that fill a page, " * 4 + r"\boxed{4}")
    assert [p.gold for p in load("s1", columns=long).problems] == ["4"] * 3
    assert load("s1", columns=copy("s2", 1, solution="words " * 40)).problems[0].gold is None


def test_recorded_questions_are_the_papers_subset_in_its_order() -> None:
    """`math500_order.txt` holds a digest of each MATH-500 question in the hub's order."""
    if not SHARED.is_dir():
        pytest.skip("the recorded runs are not here")
    digests = ORDER.read_text().split()
    taken = drawn([{}] * len(digests), DATASETS["math500"].paper or Draw(count=0))
    asked: dict[int, str] = {}
    with gzip.open(SHARED / "runs" / "math500_ct0_dev48.jsonl.gz") as file:
        for line in file:
            record = json.loads(line)
            asked[record["problem_index"] // 16] = record["question"]
    assert len(asked) == 48
    for number, question in asked.items():
        text = hashlib.sha256(" ".join(question.split()).encode()).hexdigest()[:8]
        assert text == digests[taken[number]]


PROBLEMS = [Problem(id=f"p{k}", question=f"{k}?") for k in range(20)]


def test_positions_shuffle_limit_and_repeat() -> None:
    assert places("3,7-9, 1,8", 20, "x") == [2, 6, 7, 8, 0]
    assert [p.id for p in choose(PROBLEMS, positions="2,20")] == ["p1", "p19"]
    shuffled = choose(PROBLEMS, shuffle=1)
    assert shuffled != PROBLEMS
    assert choose([*reversed(PROBLEMS)], shuffle=1) == shuffled
    assert choose(PROBLEMS, shuffle=1, limit=3) == shuffled[:3]
    copies = choose(PROBLEMS, limit=2, repeat=3)
    assert [p.id for p in copies] == ["p0", "p0#2", "p0#3", "p1", "p1#2", "p1#3"]
    assert [p.repeats for p in copies] == ["", "p0", "p0", "", "p1", "p1"]
    clash = [Problem(id="a", question="?"), Problem(id="a#2", question="!")]
    with pytest.raises(SettingsError, match="--repeat"):
        choose(clash, repeat=2)


@pytest.mark.parametrize("said", ["0", "21", "5-3", "x", "", "1-", "3,,4", "9" * 30])
def test_places_that_are_none(said: str) -> None:
    with pytest.raises(SettingsError, match="--problems"):
        places(said, 20, "the set")


@given(st.permutations(PROBLEMS))
def test_the_fingerprint_does_not_know_the_order(problems: list[Problem]) -> None:
    assert fingerprint(problems) == fingerprint(PROBLEMS)
    assert fingerprint(problems[:-1]) != fingerprint(PROBLEMS)


def test_order_is_told_by_the_beginnings() -> None:
    assert order_of(["What is $2$?", "b"]) == order_of(["What  is 2?", "b"])
    assert order_of(["a", "b"]) != order_of(["b", "a"])


def test_builtin_problems_are_drawn_and_their_parts_are_disjoint() -> None:
    test, calibration = load("builtin", limit=30), load("builtin", "calibration", limit=30)
    assert not {p.id for p in test.problems} & {p.id for p in calibration.problems}
    assert load("builtin", positions="2,5").problems == (test.problems[1], test.problems[4])
    assert {p.grading for p in test.problems} == {"exact"}
    assert {p.level for p in load("builtin", level=3, limit=5).problems} == {3}
    with pytest.raises(SettingsError, match="drawn and not read"):
        load("builtin", columns=Columns(path="x"))
    with pytest.raises(SettingsError, match="--level"):
        load("aime24", level=2)
