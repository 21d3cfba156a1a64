"""From a row of a data set to a problem: which column is what, and what of it is the gold answer."""

import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from atts_core.engine.answers import find_answer
from atts_core.errors import SettingsError
from atts_core.problems.catalogue import DataSet
from atts_core.problems.problem import Problem
from atts_core.problems.rows import Row

QUESTIONS = ("question", "problem", "prompt", "Question", "Problem")
ANSWERS = ("answer", "gold", "final_answer", "expected_answer", "target", "Answer")
IDS = ("id", "unique_id", "problem_id", "ID")
MAX_QUESTION = 100_000
"""Characters: no context holds more."""
SHORT_ANSWER = 60
"""Characters of a solution without a box that is taken for the answer itself."""
CHOICE_INSTRUCTION = "Choose one of these and answer with its letter:"


def to_problems(rows: Sequence[tuple[str, Row]], spec: DataSet, *, option_seed: int = 0) -> list[Problem]:
    """The problems of these rows, in their order.

    An id is that of its column, or made of the question's text, so that the order of rows never matters.
    With columns of wrong choices these and the right one become a list, shuffled by `option_seed` and the
    problem's id, and the gold answer is the letter of the right one.

    Raises:
        SettingsError: a column is missing, a value is of the wrong kind, or an id is given twice; says where.
    """
    header = {column: None for _, row in rows for column in row}  # rows of JSON need not be alike
    question = _column(header, spec.question, QUESTIONS, "question", rows[0][0])
    answer = _column(header, spec.answer, ANSWERS, "answer", rows[0][0])
    name = _column(header, spec.id, IDS, "id", rows[0][0])
    assert question is not None  # noqa: S101  # a question is never optional
    seen: dict[str, str] = {}
    problems = []
    for place, row in rows:
        text = _question(row, question, place)
        known = _id(row, name, place) if name else ""
        identity = known or _made_of(text)
        if identity in seen:
            if known:
                raise SettingsError(f"The id {identity} is given twice: at {seen[identity]} and {place}.")
            number = 2
            while f"{identity}-{number}" in seen:
                number += 1
            identity = f"{identity}-{number}"
        seen[identity] = place
        gold = _gold(row.get(answer), place, answer, worked=spec.worked) if answer else None
        if spec.wrong:
            text, gold = _choices(text, row, spec.wrong, gold, place, f"{option_seed} {identity}")
        problems.append(
            Problem(id=identity, question=text, gold=gold, grading=spec.grading, family=_family(row))
        )
    return problems


def _column(
    row: Mapping[str, object], said: str | None, usual: Sequence[str], what: str, place: str
) -> str | None:
    """The column that was said, or else one of a usual name; a question there must be."""
    if said is not None:
        if said not in row:
            raise SettingsError(f"{place} has no column {said!r} for the {what}; it has {_names(row)}.")
        return said
    found = next((name for name in usual if name in row), None)
    if found is None and what == "question":
        raise SettingsError(
            f"{place} has no column {', '.join(QUESTIONS[:2])} or {QUESTIONS[2]}; it has"
            f" {_names(row)}. Say which is the question with --question-column."
        )
    return found


def _names(row: Mapping[str, object]) -> str:
    names = ", ".join(str(name) for name in list(row)[:12])
    return (names or "none") + (" and more" if len(row) > 12 else "")


def _question(row: Row, column: str, place: str) -> str:
    found = row.get(column)
    if not isinstance(found, str) or not found.strip():
        what = "is missing" if found is None else "is empty" if found == "" else "is no text"
        what = "is empty" if isinstance(found, str) else what
        raise SettingsError(f"{place}: the question ({column!r}) {what}.")
    if len(found) > MAX_QUESTION:
        raise SettingsError(
            f"{place}: the question has {len(found):,} characters; at most {MAX_QUESTION:,} are taken."
        )
    return found.strip()


def _id(row: Row, column: str, place: str) -> str:
    found = row.get(column)
    if isinstance(found, bool) or not isinstance(found, str | int) or not str(found).strip():
        raise SettingsError(f"{place}: the id ({column!r}) is neither a text nor a number.")
    return str(found).strip()[:200]


def _made_of(question: str) -> str:
    return hashlib.sha256(" ".join(question.split()).encode()).hexdigest()[:10]


def _family(row: Row) -> str:
    """What the rows themselves say of their kind."""
    found = row.get("subject", row.get("subfield", ""))
    return found[:60] if isinstance(found, str) else ""


def _gold(value: Any, place: str, column: str, *, worked: bool) -> str | None:
    """The gold answer in a cell: after `####`, in a box, or the whole of it; None where it is empty."""
    if isinstance(value, list | tuple):
        parts = [_gold(each, place, column, worked=worked) for each in value]
        return ", ".join(part for part in parts if part) or None
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool | Mapping) or not isinstance(value, str | int | float):
        kind = (
            "true or false"
            if isinstance(value, bool)
            else "an object"
            if isinstance(value, Mapping)
            else "odd"
        )
        raise SettingsError(f"{place}: the answer ({column!r}) is {kind}, and neither a text nor a number.")
    text = str(value).rpartition("####")[2].strip()
    boxed = find_answer(text) if "\\boxed" in text else None
    if boxed is None and worked and len(text) > SHORT_ANSWER:
        return None
    text = boxed or text
    if text.startswith("$") and text.endswith("$") and text.count("$") == 2:
        text = text[1:-1].strip()
    return text or None


def _choices(
    question: str, row: Row, columns: Sequence[str], right: str | None, place: str, seed: str
) -> tuple[str, str]:
    """The question with its choices in an order that only `seed` decides, and the letter of the right one."""
    options = [right]
    for column in columns:
        if column not in row:
            raise SettingsError(f"{place} has no column {column!r} for a wrong choice; it has {_names(row)}.")
        options.append(str(row[column]).strip() if row[column] is not None else None)
    given = [option for option in options if option]
    if len(given) < len(options):
        raise SettingsError(f"{place}: one of the choices is empty.")
    order = list(range(len(given)))
    random.Random(seed).shuffle(order)
    lines = [f"{chr(ord('A') + k)}) {given[which]}" for k, which in enumerate(order)]
    text = "\n".join((question, "", CHOICE_INSTRUCTION, *lines))
    return text, chr(ord("A") + order.index(0))
