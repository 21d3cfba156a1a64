"""The data sets of the paper by name: where each lies, its columns, and which problems the authors took.

A set has a source of test problems and, where its makers provide one, another of training problems to
calibrate on. `NAME` is the full set, `NAME:paper` the authors' subset, drawn as their programs draw it
(repository menik1126/Asynchronous-Test-Time-Scaling, commit bedf81d7): a seeded draw is `random.sample` over
row numbers, in that order. Their recorded MATH runs ask `math500:paper` in its order: so do the 48 of its 100
questions whose text is at hand.
"""

from typing import Literal

import msgspec

from atts_core.problems.problem import Grading

ALIASES = {"amc": "amc23"}
SEPARATOR = ":"
PRESET = "paper"


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of one kind: on the hub, or in a folder or file."""

    hub: str = ""
    """Repository on the Hugging Face hub."""
    config: str | None = None
    split: str = "train"
    path: str = ""
    """A folder or file, instead of the hub."""

    @property
    def said(self) -> str:
        """Where it lies, in words."""
        return f"{self.path or self.hub}, split {self.split}"


class Draw(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows of a source: the first `count`, or with a seed so many at random."""

    count: int
    seed: int | None = None
    single_numbers: bool = False
    """Only rows with one numerical answer (OlympiadBench says of each row whether it is one)."""
    order: str = ""
    """`choose.order_of` the rows that were drawn from; empty where it is not known."""


class DataSet(msgspec.Struct, frozen=True, kw_only=True):
    """One data set. Columns that are None are looked for under their usual names."""

    name: str
    test: Source
    calibration: Source | None = None
    """None: no rows of its own; a part of the test rows is kept for calibration."""
    question: str | None = None
    answer: str | None = None
    id: str | None = None
    wrong: tuple[str, ...] = ()
    """Columns of wrong choices; with these a problem is multiple choice."""
    grading: Grading = "math"
    worked: bool = False
    """The answer column may hold a whole solution: gold is its box, or a short answer, else nothing."""
    paper: Draw | None = None
    """The authors' test problems."""
    paper_calibration: Draw | None = None
    """The authors' draw from the calibration source."""
    no_paper: str = ""
    """Why there is no exact subset of the authors."""


def _single(name: str, hub: str, first: int, *, grading: Grading = "math") -> DataSet:
    return DataSet(name=name, test=Source(hub=hub), paper=Draw(count=first), grading=grading)


DATASETS: dict[str, DataSet] = {
    each.name: each
    for each in (
        _single("aime24", "simplescaling/aime24_nofigures", 15),
        _single("aime25", "simplescaling/aime25_nofigures", 15),
        _single("amc23", "AI-MO/aimo-validation-amc", 50),
        DataSet(
            name="math500",
            test=Source(hub="HuggingFaceH4/MATH-500", split="test"),
            calibration=Source(hub="ricdomolm/MATH-500", split="train"),
            question="problem",
            answer="answer",
            paper=Draw(count=100, seed=42, order="67c63f95963805b5"),
            paper_calibration=Draw(count=200, seed=43),
        ),
        DataSet(
            name="olympiad",
            test=Source(hub="Hothan/OlympiadBench", config="OE_TO_maths_en_COMP"),
            question="question",
            answer="final_answer",
            paper=Draw(count=50, single_numbers=True),
        ),
        DataSet(
            name="gpqa",
            test=Source(hub="Idavidrein/gpqa", config="gpqa_diamond"),
            question="Question",
            answer="Correct Answer",
            id="Record ID",
            wrong=("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"),
            grading="choice",
            paper=Draw(count=60),
        ),
        DataSet(
            name="gsm8k",
            test=Source(hub="openai/gsm8k", config="main", split="test"),
            calibration=Source(hub="openai/gsm8k", config="main", split="train"),
            question="question",
            answer="answer",
            no_paper="the authors drew 100 training problems without a seed, so nobody can draw them again",
        ),
        DataSet(
            name="s1",
            test=Source(hub="simplescaling/s1K-1.1"),
            question="question",
            answer="solution",
            worked=True,
            paper=Draw(count=200, seed=43),
        ),
    )
}

Part = Literal["test", "calibration", "all"]


class Columns(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a user says of a data set: on the command line, or as `[datasets.NAME]` in `atts.toml`."""

    path: str | None = None
    """A file or folder."""
    hub: str | None = None
    config: str | None = None
    split: str | None = None
    calibration_path: str | None = None
    """Problems to calibrate on; without any, a part of the set is kept for it."""
    calibration_split: str | None = None
    question: str | None = None
    answer: str | None = None
    id: str | None = None
    grading: Grading | None = None
