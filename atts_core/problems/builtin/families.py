"""The five families of built-in problems: each draws a problem and works its solution step by step."""

import random
from collections.abc import Callable
from typing import Final

import msgspec

from atts_core.problems.builtin import words
from atts_core.problems.builtin.arithmetic import LARGEST, Operator, apply, worked


class Draft(msgspec.Struct, frozen=True):
    """A drawn problem before it has an id. `skeleton` is its arithmetic without the words around it."""

    question: str
    steps: tuple[str, ...]
    result: int
    family: str
    level: int
    skeleton: str


class _RetryError(Exception):
    """These numbers make no good problem: draw again."""


def draw(rng: random.Random, family: str, level: int) -> Draft:
    """One problem of `family` that takes `level` operations (2 to 5; equations 2 to 4)."""
    while True:
        try:
            question, steps, result, skeleton = _FAMILIES[family](rng, level)
        except _RetryError:
            continue
        last = f"So the answer is \\boxed{{{result}}}."
        return Draft(question, (*steps, last), result, family, level, skeleton)


_Draw = Callable[[random.Random, int], tuple[str, list[str], int, str]]


def _operation(rng: random.Random, value: int) -> tuple[Operator, int]:
    """An operator and operand that keep the running value a whole number in 2..LARGEST."""
    while True:
        kind = rng.random()
        if kind < 0.34:
            operand = rng.randint(3, 60)
            if value + operand <= LARGEST:
                return "+", operand
        elif kind < 0.68:
            operand = rng.randint(3, 60)
            if value - operand >= 2:
                return "-", operand
        elif kind < 0.86:
            operand = rng.randint(2, 9)
            if value * operand <= LARGEST:
                return "*", operand
        else:
            divisors = [d for d in range(2, 10) if value % d == 0 and value // d >= 2]
            if divisors:
                return "/", rng.choice(divisors)


def _story(rng: random.Random, level: int) -> tuple[str, list[str], int, str]:
    name, thing = rng.choice(words.NAMES), rng.choice(words.THINGS)
    he = "He" if name in words.MEN else "She"
    value = rng.randint(12, 60)
    start = f"(1) {name} has {value} {thing}."
    sentences, steps, skeleton = [start], [start], str(value)
    clauses = {"+": words.MORE, "-": words.FEWER, "*": words.TIMES, "/": words.PARTS}
    for number in range(2, level + 2):
        operator, operand = _operation(rng, value)
        clause = f"({number}) " + rng.choice(clauses[operator]).format(he=he, n=operand)
        sentences.append(clause + ".")
        steps.append(f"{clause}: {worked(value, operator, operand)}.")
        skeleton += f"{operator}{operand}"
        value = apply(value, operator, operand)
    question = f"How many {thing} does {he.lower()} have now?"
    return " ".join([*sentences, question]), steps, value, skeleton


def _definitions(rng: random.Random, count: int) -> tuple[list[str], list[str], str, int, str]:
    """`Let a = 12 + 7. Let b = a * 3. …` -> sentences, steps, the last variable, its value, skeleton."""
    value = rng.randint(3, 60)
    sentences, steps, skeleton, previous = [], [], str(value), ""
    for variable in words.VARIABLES[:count]:
        operator, operand = _operation(rng, value)
        left = previous or str(value)
        sentences.append(f"Let {variable} = {left} {operator} {operand}.")
        symbolic = f"{previous} {operator} {operand} = " if previous else ""
        steps.append(f"{variable} = {symbolic}{worked(value, operator, operand)}.")
        skeleton += f"{operator}{operand}"
        value, previous = apply(value, operator, operand), variable
    return sentences, steps, previous, value, skeleton


def _definition(rng: random.Random, level: int) -> tuple[str, list[str], int, str]:
    sentences, steps, variable, value, skeleton = _definitions(rng, level)
    return " ".join([*sentences, f"What is {variable}?"]), steps, value, skeleton


def _remainder(rng: random.Random, level: int) -> tuple[str, list[str], int, str]:
    sentences, steps, variable, value, skeleton = _definitions(rng, level - 1)
    divisors = [d for d in range(3, 10) if 1 <= value // d <= 9]
    if not divisors:
        raise _RetryError
    divisor = rng.choice(divisors)
    question = f"What is {variable} mod {divisor}?"
    steps.append(f"{variable} mod {divisor}: {worked(value, 'mod', divisor)}.")
    return " ".join([*sentences, question]), steps, value % divisor, f"{skeleton}mod{divisor}"


def _equation(rng: random.Random, level: int) -> tuple[str, list[str], int, str]:
    x, a, b = rng.randint(2, 40), rng.randint(2 if level == 2 else 3, 9), rng.randint(3, 60)
    sign: Operator = "-" if level == 2 and rng.random() < 0.5 else "+"
    if a * x > LARGEST or not 2 <= apply(a * x, sign, b) <= LARGEST:
        raise _RetryError
    if level == 2:
        right = apply(a * x, sign, b)
        equation = f"{a}x {sign} {b} = {right}"
        return f"Solve {equation} for x.", _isolate(a, sign, b, right), x, equation
    d = rng.randint(1, a - 2)
    right = a * x + b - d * x
    if not 3 <= right <= LARGEST:
        raise _RetryError
    equation = f"{a}x + {b} = {_term(d)} + {right}"
    steps = [f"Collect x: {a} - {d} = {a - d}, so {a - d}x + {b} = {right}."]
    steps += _isolate(a - d, "+", b, right)
    if level == 3:
        return f"Solve {equation} for x.", steps, x, equation
    k = rng.randint(2, 9)
    if x * k > LARGEST:
        raise _RetryError
    steps.append(f"Multiply by {k}: {worked(x, '*', k)}.")
    return f"Solve {equation} for x. What is {k}x?", steps, x * k, f"{equation};{k}"


def _isolate(factor: int, sign: Operator, b: int, right: int) -> list[str]:
    """Steps from `factor x ± b = right` to `x = …`."""
    word: str = "Subtract" if sign == "+" else "Add"
    inverse: Operator = "-" if sign == "+" else "+"
    alone = apply(right, inverse, b)
    return [
        f"{word} {b}: {factor}x = {worked(right, inverse, b)}.",
        f"Divide by {factor}: x = {worked(alone, '/', factor)}.",
    ]


def _term(factor: int) -> str:
    return "x" if factor == 1 else f"{factor}x"


def _shop(rng: random.Random, level: int) -> tuple[str, list[str], int, str]:
    """Prices, a purchase of one to three kinds of goods, and at even levels the change."""
    kinds = {2: 1, 3: 2, 4: 2, 5: 3}[level]
    change = level % 2 == 0
    name = rng.choice(words.NAMES)
    he = "he" if name in words.MEN else "she"
    goods = rng.sample(words.GOODS, kinds)
    prices = [rng.randint(2, 30) for _ in goods]
    counts = [rng.randint(2, 9) for _ in goods]
    costs = [price * count for price, count in zip(prices, counts, strict=True)]
    if max(costs) > LARGEST or sum(costs) > LARGEST - (3 if change else 0):
        raise _RetryError
    sentences = [f"The {good} cost {price} coins each." for good, price in zip(goods, prices, strict=True)]
    bought = [f"{count} {good}" for count, good in zip(counts, goods, strict=True)]
    sentences.append(f"{name} buys {' and '.join(bought)}.")
    steps = [
        f"{item} cost {worked(price, '*', count)}."
        for item, price, count in zip(bought, prices, counts, strict=True)
    ]
    total = costs[0]
    for cost in costs[1:]:
        steps.append(f"Together: {worked(total, '+', cost)}.")
        total += cost
    skeleton = "+".join(f"{price}*{count}" for price, count in zip(prices, counts, strict=True))
    if not change:
        return " ".join([*sentences, f"How many coins does {he} pay?"]), steps, total, skeleton
    money = rng.randint(total + 2, LARGEST)
    sentences.append(f"{he.capitalize()} has {money} coins.")
    steps.append(f"Left: {worked(money, '-', total)}.")
    return (
        " ".join([*sentences, "How many coins are left?"]),
        steps,
        money - total,
        f"{money}-({skeleton})",
    )


_FAMILIES: Final[dict[str, _Draw]] = {
    "story": _story,
    "definition": _definition,
    "equation": _equation,
    "remainder": _remainder,
    "shop": _shop,
}
FAMILIES: Final = tuple(_FAMILIES)
LEVELS: Final = {family: (2, 3, 4) if family == "equation" else (2, 3, 4, 5) for family in FAMILIES}
