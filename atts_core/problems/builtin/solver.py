"""Reads a question of the built-in families, generated or typed by a person, and gives its exact answer."""

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from atts_core.problems.builtin import words
from atts_core.problems.builtin.arithmetic import Operator, apply


def solve(question: str) -> str | None:
    """The exact answer; None where the question is of no family, or has no whole answer from 0 up.

    White space does not matter, and the labels of a story may be missing.
    """
    text = " ".join(question.split())
    for read in (_story, _definitions, _equation, _shop):
        answer = read(text)
        if answer is not None:
            return str(answer)
    return None


def _calculate(left: int, operator: str, right: int) -> int | None:
    """One operation inside the whole numbers; None where it leaves them."""
    if operator == "/" and (right == 0 or left % right):
        return None
    known: dict[str, Operator] = {"+": "+", "-": "-", "*": "*", "/": "/"}
    result = apply(left, known[operator], right)
    return result if result >= 0 else None


def _any_of(texts: Sequence[str]) -> str:
    return "(?:" + "|".join(re.escape(text) for text in texts) + ")"


_LABEL = r"(?:\(\d\) ?)?"
_NAME = _any_of(words.NAMES)
_THING = _any_of(words.THINGS)
_NUMBER = r"(\d{1,6})"

_STORY: Final = re.compile(
    rf"{_LABEL}{_NAME} has {_NUMBER} (?P<thing>{_THING})\. (?P<clauses>.*\. )?"
    rf"How many (?P=thing) does (?:he|she) have now\?"
)


def _clause(template: str) -> re.Pattern[str]:
    escaped = re.escape(template).replace(re.escape("{he}"), "(?:He|She)").replace(re.escape("{n}"), _NUMBER)
    return re.compile(_LABEL + escaped)


_CLAUSES: Final[list[tuple[str, re.Pattern[str]]]] = [
    (operator, _clause(template))
    for operator, templates in (
        ("+", words.MORE),
        ("-", words.FEWER),
        ("*", words.TIMES),
        ("/", words.PARTS),
    )
    for template in templates
]


def _story(text: str) -> int | None:
    match = _STORY.fullmatch(text)
    if not match:
        return None
    value: int | None = int(match[1])
    for clause in (match["clauses"] or "").split(". ")[:-1]:
        found = [
            (operator, int(read[1])) for operator, pattern in _CLAUSES if (read := pattern.fullmatch(clause))
        ]
        if not found or value is None:
            return None
        value = _calculate(value, *found[0])
    return value


_DEFINITIONS: Final = re.compile(r"((?:Let [^.]*\. ?)+)What is ([a-g])(?: mod (\d{1,6}))?\?")
_LET: Final = re.compile(rf"Let ([a-g]) = (?:([a-g])|{_NUMBER}) ([-+*/]) (?:([a-g])|{_NUMBER})\. ?")


def _definitions(text: str) -> int | None:
    match = _DEFINITIONS.fullmatch(text)
    if not match:
        return None
    known: dict[str, int] = {}
    for let in re.findall(r"Let [^.]*\. ?", match[1]):
        value = _define(let, known)
        if value is None:
            return None
        known[let[4]] = value
    asked, divisor = known.get(match[2]), int(match[3] or 0)
    if asked is None or match[3] is None:
        return asked
    return asked % divisor if divisor else None


def _define(let: str, known: dict[str, int]) -> int | None:
    """The value of one definition, which may use the `known` ones."""
    read = _LET.fullmatch(let)
    if not read:
        return None
    _, left_name, left_digits, operator, right_name, right_digits = read.groups()
    left = known.get(left_name) if left_name else int(left_digits)
    right = known.get(right_name) if right_name else int(right_digits)
    return None if left is None or right is None else _calculate(left, operator, right)


_TERM = r"(\d{0,6})x"
_EQUATION: Final = re.compile(
    rf"Solve {_TERM} ([-+]) {_NUMBER} = (?:{_TERM} \+ )?{_NUMBER} for x\.(?: What is {_TERM}\?)?"
)


def _equation(text: str) -> int | None:
    match = _EQUATION.fullmatch(text)
    if not match:
        return None
    left, sign, added, right_x, right, asked = match.groups()
    factor = _factor(left) - (0 if right_x is None else _factor(right_x))
    if not factor:
        return None
    constant = int(right) + (-int(added) if sign == "+" else int(added))
    answer = Fraction(constant, factor) * (1 if asked is None else _factor(asked))
    return answer.numerator if answer.denominator == 1 and answer >= 0 else None


def _factor(digits: str) -> int:
    return int(digits) if digits else 1


_PRICE: Final = rf"The ({_THING}) cost {_NUMBER} coins each\. "
_ITEM: Final = rf"{_NUMBER} ({_THING})"
_SHOP: Final = re.compile(
    rf"(?P<prices>(?:{_PRICE})+){_NAME} buys (?P<items>{_ITEM}(?: and {_ITEM})*)\. "
    rf"(?:How many coins does (?:he|she) pay\?"
    rf"|(?:He|She) has (?P<money>\d{{1,6}}) coins\. How many coins are left\?)"
)


def _shop(text: str) -> int | None:
    match = _SHOP.fullmatch(text)
    if not match:
        return None
    prices = {good: int(price) for good, price in re.findall(_PRICE, match["prices"])}
    items = [(int(count), good) for count, good in re.findall(_ITEM, match["items"])]
    if any(good not in prices for _, good in items):
        return None
    total = sum(count * prices[good] for count, good in items)
    if match["money"] is None:
        return total
    return _calculate(int(match["money"]), "-", total)
