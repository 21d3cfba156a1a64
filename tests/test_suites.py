"""A suite as data: which runs a file makes, what they are called, and what is refused."""

from pathlib import Path

import pytest

from atts_core.errors import SettingsError
from atts_core.suites import Cell, SuiteFile, expand, read_suite

KNOWN = {"dataset", "limit", "strategy", "takeover", "takeover_rate", "seed", "mode"}

FILE = """
baseline = "draft-only"

[settings]
dataset = "builtin"
limit = 50

[matrix]
strategy = ["draft-only", "atts"]
takeover = ["continue", "rewrite"]
takeover_rate = [0.2, 0.4]

[[run]]
name = "by problem"
mode = "conditional"
"""


def suite_of(tmp_path: Path, text: str) -> SuiteFile:
    path = tmp_path / "suite.toml"
    path.write_text(text)
    return read_suite(path)


def only_atts_has_a_rate(options: object) -> set[str]:
    assert isinstance(options, dict)
    return {"takeover", "takeover_rate"} if options.get("strategy") == "draft-only" else set()


def test_every_combination_is_one_run_and_what_means_nothing_makes_no_second_one(tmp_path: Path) -> None:
    cells = expand(suite_of(tmp_path, FILE), KNOWN, drop=only_atts_has_a_rate)
    assert [cell.name for cell in cells] == [
        "draft-only",
        "atts continue, takeover_rate 0.2",
        "atts continue, takeover_rate 0.4",
        "atts rewrite, takeover_rate 0.2",
        "atts rewrite, takeover_rate 0.4",
        "by problem",
    ]
    assert cells[0].options == {"dataset": "builtin", "limit": 50, "strategy": "draft-only"}
    assert cells[-1].options == {"dataset": "builtin", "limit": 50, "mode": "conditional"}


def test_a_run_keeps_its_key_whatever_stands_around_it(tmp_path: Path) -> None:
    cells = expand(suite_of(tmp_path, FILE), KNOWN, drop=only_atts_has_a_rate)
    other_file = FILE.replace("[0.2, 0.4]", "[0.4]")
    fewer = expand(suite_of(tmp_path, other_file), KNOWN, drop=only_atts_has_a_rate)
    keys = {cell.key for cell in cells}
    assert len(keys) == len(cells)
    assert {cell.key for cell in fewer} < keys
    other = Cell(name="another name", pair=None, options=dict(reversed(cells[1].options.items())))
    assert other.key == cells[1].key


def test_the_command_line_wins(tmp_path: Path) -> None:
    cells = expand(suite_of(tmp_path, FILE), KNOWN, drop=only_atts_has_a_rate, override={"limit": 3})
    assert {cell.options["limit"] for cell in cells} == {3}


def test_pairs_multiply_and_name_their_runs(tmp_path: Path) -> None:
    pairs = """
[[pair]]
name = "small"
draft = "http://a:1"
target = ["http://b:1", "http://b:2"]

[[pair]]
name = "large"
preset = "r1-8b+qwq"
servers = { draft_gpus = "0" }
settings = { limit = 10 }
"""
    cells = expand(suite_of(tmp_path, FILE.replace('baseline = "draft-only"', "") + pairs), KNOWN)
    assert len(cells) == 18
    assert cells[0].name.startswith("small: ")
    assert cells[-1].name == "large: by problem"
    assert cells[-1].options["limit"] == 10


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[settings", "suite.toml"),
        ("[settings]\ndataset = 'builtin'\nlimt = 3", "'limt', which is no option"),
        ("[matrix]\nseed = [1, 2]", "no data set"),
        ("[settings]\ndataset = 'builtin'\n[matrix]\nseed = []", "matrix.seed has no value"),
        ("[settings]\ndataset = 'builtin'\n[metrix]\nseed = [1]", "metrix"),
        ("baseline = 'x'\n[settings]\ndataset = 'builtin'", "none of its runs: as set"),
        ("[settings]\ndataset = 'b'\n[[run]]\nname = 'x'\n[[run]]\nname = 'x'\nseed = 2", "called 'x'"),
        ("[settings]\ndataset = 'b'\n[[pair]]\nname = 'x'", "URLs of its servers, or a preset"),
        (
            "[settings]\ndataset = 'b'\n[[pair]]\nname = 'x'\ndraft = 'http://a'\nservers = {restart = true}",
            "no preset",
        ),
        (f"[settings]\ndataset = 'b'\n[matrix]\nseed = {list(range(1001))}", "at most 1,000"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        expand(suite_of(tmp_path, text), KNOWN)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml cannot be read"):
        read_suite(tmp_path / "none.toml")
