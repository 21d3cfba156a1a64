"""The program that compares mathematical expressions, run as a process of its own (see `mathematics`).

Reads `{"gold": …, "answer": …}` a line on standard input and writes one word a line (`compare`). Nothing here
is trusted to end: every comparison has so many seconds of processor time, after which the kernel ends the
process, and the process so much memory. What is decided by size is decided before anything is calculated.
"""

import contextlib
import io
import json
import logging
import math
import os
import re
import resource
import sys
from typing import Any

MEMORY = 2 << 30
"""Bytes of address space; loaded it takes 0.3 GB."""
SECONDS = 5
"""Of processor time for one comparison: usual ones take 0.001 to 0.2."""
MOST_CHARACTERS = 400
"""Of either side: no final answer of the data sets has as many, and parsing takes more than linear time."""
RELATIVE = 2e-6
"""Two numbers that differ by no more are equal: 0.333333 is 1/3, and 0.333 is not."""
MOST_BRACKETS = 80
MOST_EXPONENT = 100_000.0
MOST_FACTORIAL = 2000.0
MOST_DEGREE = 200.0
"""Exponent of what holds a variable: it may be multiplied out."""
MOST_NODES = 2000
_FAST_GROWING = re.compile("factorial|binomial|gamma", re.IGNORECASE)


def main() -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    sys.stdout = io.StringIO()  # a library that prints must not be read as a verdict
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.disable(logging.CRITICAL)
    import math_verify  # noqa: PLC0415  # half a second, and only here

    with contextlib.suppress(ValueError, OSError):  # macOS knows the limit and does not set it
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        _allow_seconds()
        asked = json.loads(line)
        try:
            verdict = compare(math_verify, asked["gold"], asked["answer"])
        except MemoryError:
            verdict = "too-large"
        except Exception:  # whatever a parser of foreign text raises
            verdict = "unreadable"
        answers.write(verdict + "\n")
        answers.flush()


def _allow_seconds() -> None:
    """From now on so much processor time; then SIGXCPU ends the process, even within one C function."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = math.ceil(used.ru_utime + used.ru_stime) + SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def compare(math_verify: Any, gold: str, answer: str) -> str:
    """`equal`, `different`, `too-large`, or `unreadable` where one side is no mathematics."""
    for text in (gold, answer):
        if len(text) > MOST_CHARACTERS or len(re.findall(r"[({\[]", text)) > MOST_BRACKETS:
            return "too-large"
    sides = []
    for text in (gold, answer):
        # Only LaTeX: the other reader evaluates Python.
        config = [math_verify.LatexExtractionConfig()]
        found = math_verify.parse(f"${text.replace('$', '')}$", config, parsing_timeout=None)
        expressions = [each for each in found if not isinstance(each, str)]
        if not all(map(_is_small, expressions)):
            return "too-large"
        sides.append(found)
    if not all(sides):
        return "unreadable"
    if not math_verify.verify(*sides, timeout_seconds=None):
        return "different"
    return "equal" if _are_close(*(side[0] for side in sides)) else "different"


def _are_close(one: Any, other: Any) -> bool:
    """False for two numbers that only agree to a few decimals: .000067 is not .0000672."""
    if isinstance(one, str) or isinstance(other, str):
        return True
    try:
        first, second = complex(one), complex(other)
    except (TypeError, ValueError, OverflowError, AttributeError):
        return True  # no plain numbers: what the library found stands
    return one.is_Relational or _percent(first, second) or abs(first - second) <= RELATIVE * abs(first)


def _percent(gold: complex, answer: complex) -> bool:
    """50 % and 50, as the library lets them pass."""
    return abs(gold - 100 * answer) <= RELATIVE * abs(gold) or abs(100 * gold - answer) <= RELATIVE * abs(
        answer
    )


def _is_small(expression: Any) -> bool:
    """Whether calculating it stays small: no tower of powers, no factorial of a large number."""
    nodes = [expression]
    seen = 0
    while nodes:
        node = nodes.pop()
        seen += 1
        if seen > MOST_NODES:
            return False
        arguments = list(getattr(node, "args", ()))
        name = type(node).__name__
        if name == "Pow":
            most = MOST_EXPONENT if arguments[0].is_number else MOST_DEGREE
            if not _magnitude(arguments[1]) <= most:
                return False
        if _FAST_GROWING.search(name) and not _magnitude(arguments[0]) <= MOST_FACTORIAL:
            return False
        nodes += arguments
    return True


def _magnitude(node: Any) -> float:
    """An upper bound of the absolute value; a variable counts as 2. Infinite where it is too large to say."""
    arguments = [_magnitude(each) for each in getattr(node, "args", ())]
    if not arguments:
        return abs(float(node)) if getattr(node, "is_number", False) else 2.0
    name = type(node).__name__
    try:
        if name == "Mul":
            return math.prod(arguments)
        if name == "Pow":
            return float(max(arguments[0], 1.0) ** arguments[1])
        if _FAST_GROWING.search(name):
            return math.gamma(arguments[0] + 1)
        return math.fsum(arguments)
    except (OverflowError, ValueError):
        return math.inf


if __name__ == "__main__":
    main()
