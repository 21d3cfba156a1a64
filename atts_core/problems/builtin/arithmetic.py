"""Whole-number arithmetic written out the way a person does it on paper, and the exact check of it."""

import re
from fractions import Fraction
from typing import Final, Literal

Operator = Literal["+", "-", "*", "/", "mod"]

LARGEST: Final = 99
"""No number of a problem, nor of its worked solution, is larger, except the tens of a product on the way."""


def apply(left: int, operator: Operator, right: int) -> int:
    """The exact result; `/` is used only where it leaves no remainder."""
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/":
            return left // right
        case "mod":
            return left % right


def worked(left: int, operator: Operator, right: int) -> str:
    """An equation chain with tens and ones apart, which ends in the result: `37 + 25 = 50 + 12 = 62`."""
    result = apply(left, operator, right)
    middle = None
    match operator:
        case "+":
            tens, ones = left // 10 * 10 + right // 10 * 10, left % 10 + right % 10
            if tens and ones:
                middle = f"{tens} + {ones}"
        case "-":
            if right > 10 and right % 10:
                middle = f"{left - right // 10 * 10} - {right % 10}"
        case "*":
            if left > 9 and left % 10:
                middle = f"{left // 10 * 10 * right} + {left % 10 * right}"
        case "/":
            whole = result // 10 * 10 * right
            if whole and left - whole:
                halves = f"{whole} / {right} + {(left - whole)} / {right}"
                middle = f"{halves} = {result // 10 * 10} + {result % 10}"
        case "mod":
            quotient = left // right
            return f"{left} - {right} * {quotient} = {left} - {right * quotient} = {result}"
    problem = f"{left} {operator} {right}"
    return f"{problem} = {result}" if middle is None else f"{problem} = {middle} = {result}"


# A side of an equation: numbers only. A letter beside it (5x, "b +", "+ b") makes it algebra, which is not
# checked here.
_SIDE = r"\d+(?: [-+*/] \d+)*"
_EQUATIONS: Final = re.compile(
    rf"(?<![\dA-Za-z])(?<![A-Za-z] [-+*/] ){_SIDE}(?: = {_SIDE})+(?![\dA-Za-z])(?! [-+*/])"
)


def check_step(step: str) -> bool | None:
    """Does every equation between numbers in `step` hold exactly? None: it holds no equation."""
    chains = _EQUATIONS.findall(step)
    if not chains:
        return None
    return all(_holds(chain.split(" = ")) for chain in chains)


def _holds(sides: list[str]) -> bool:
    values = [_value(side) for side in sides]
    return values[0] is not None and all(value == values[0] for value in values)


def _value(side: str) -> Fraction | None:
    """Exact value with the usual precedence; None where it divides by zero."""
    first, *rest = side.split()
    terms = [Fraction(first)]
    for operator, text in zip(rest[::2], rest[1::2], strict=True):
        number = Fraction(text)
        if operator == "*":
            terms[-1] *= number
        elif operator == "/":
            if not number:
                return None
            terms[-1] /= number
        else:
            terms.append(number if operator == "+" else -number)
    return sum(terms, Fraction(0))
