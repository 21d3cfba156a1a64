"""One spelling for equal answers: what votes count by and what grading compares before it calculates.

Cheap and exact, so that a vote never depends on a computer algebra system. Merged are differences of
typography, numbers of the same exact value (`0.5`, `\\frac{1}{2}`, `1/2`), units, currency, degree and
percent signs at a number (`50\\%` is 50, not 0.5), `x = 5` and `5`, a choice in any brackets, and lists in
another order. Not merged is what takes algebra (`\\frac{1}{\\sqrt{3}}` and `\\frac{\\sqrt{3}}{3}`, `2(k+1)`
and `2k+2`), a decimal that rounds a fraction, mixed numbers, and intervals in another notation.
"""

import re
from fractions import Fraction
from functools import lru_cache

_SPACING = re.compile(r"\\(?:left|right)(?![a-zA-Z])\.?|\\!\s*|\\[,;: ()\[\]]|~|\\q?quad\b")
_TEXT = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|operatorname|mbox)\s*\{([^{}]*)\}")
_LONE = re.compile(r"([_^])\{(\w)\}")
_THOUSANDS = re.compile(r"(?<![\d.,])(\d{1,3})((?:(?:,|\{,\})\d{3})+)(?![\d,])")
_BRACKET = re.compile(r"[(\[]|\\\{")
_FRACTION = re.compile(r"\\frac(?:\{(?P<a>[^{}]+)\}|(?P<b>\w))(?:\{(?P<c>[^{}]+)\}|(?P<d>\w))")
_INTEGER = r"\d+"
_NUMBER = re.compile(r"(?P<sign>[-+]?)(?P<whole>\d*)(?:\.(?P<part>\d*))?")
_RATIO = re.compile(rf"(?P<sign>[-+]?)\(?(?P<over>-?{_INTEGER})\)?/\(?(?P<under>{_INTEGER})\)?")
_NAMED = re.compile(r"[a-zA-Z](?:_\w)?(?:=|\\in)(?P<rest>.+)")
_CHOICE = re.compile(r"[(\[{]*([A-J])[)\]}]*[.:]?")
_WORD = re.compile(r"[a-z]+")
_COUNTING = re.compile(r"\b(?:dozen|hundred|thousand|[mbtr]+illion)s?\b")
_UNIT = re.compile(
    r"(?:square|cubic|per|degree|radian|percent|dollar|cent|(?:[mcdk]|mili|milli|centi|kilo)?m(?<!\bm)"
    r"|(?:centi|milli|kilo)?met(?:er|re)|inche?|foot|feet|ft|yard|mile|mph|second|sec|minute|min|hour|hr|day"
    r"|week|month|year|unit|(?:kilo)?gram|kg|pound|ounce|lit(?:er|re)|gallon|people|way)s?"
)
_PASSES = 20
"""Taking one wrapping off can uncover the next; deeper ones stand as they are."""
MAX_LIST = 50
"""Entries of a list that are sorted; a longer one stands as it is."""


@lru_cache(maxsize=4096)
def normalise(answer: str) -> str:
    """The answer in its one spelling. Idempotent; never fails, whatever the text."""
    text = answer
    for _ in range(_PASSES):
        again = _once(text) or text
        if again == text:
            break
        text = again
    return text


def _once(answer: str) -> str:
    text = " ".join(answer.split())
    text = _SPACING.sub("", text).replace("−", "-").replace("–", "-").replace("π", "\\pi ")
    text = text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac").replace("\\$", "").replace("$", "")
    if not _BRACKET.search(text):  # (100,200) is a point
        text = _THOUSANDS.sub(lambda found: found[1] + re.sub(r"[,{}]", "", found[2]), text)
    text = _without_unit(text.strip())
    text = _TEXT.sub(r"\1", text)
    text = _LONE.sub(r"\1\2", re.sub(r"\s+", "", text)).rstrip(".")
    choice = _CHOICE.fullmatch(text)
    if choice:
        return choice[1]
    named = _NAMED.fullmatch(text)
    if named and _value(named["rest"]) is not None:
        text = named["rest"]
    value = _value(text)
    if value is not None:
        return str(value)
    return _sorted_list(text)


def _without_unit(text: str) -> str:
    """A number without what it counts: the sign or word after it, or a `\\text{…}`."""
    bare = re.sub(r"(?:\^\s*\{?\s*\\circ\s*\}?|\\circ|°|\\?%)\s*$", "", text).rstrip()
    unit = re.fullmatch(
        r"(?P<number>.*[\d}])\s*\\(?:text|mathrm|mbox|textrm)\s*\{(?P<unit>[^{}]*)\}(?:\^\{?[23]\}?)?", bare
    )
    if unit is None:
        unit = re.fullmatch(
            r"(?P<number>.*[\d}])\s*(?P<unit>[a-z]+(?:[ .][a-z]+)*\.?)(?:\^\{?[23]\}?)?", bare
        )
        if unit is None or not all(map(_UNIT.fullmatch, _WORD.findall(unit["unit"]))):
            unit = None
    elif _COUNTING.search(unit["unit"].lower()) or re.search(r"\d|\b(?:and|or)\b", unit["unit"]):
        unit = None
    number = bare if unit is None else unit["number"]
    return number if _value(re.sub(r"\s+", "", number)) is not None else text


def _value(text: str) -> Fraction | None:
    """The exact number that a text without spaces writes plainly, or None."""
    text = text.removeprefix("{").removesuffix("}") if text.startswith("{") and text.count("{") == 1 else text
    if len(text) > 1000:
        return None
    sign = 1
    if text.startswith(("-", "+")) and text[1:2] == "\\":
        sign, text = (-1 if text[0] == "-" else 1), text[1:]
    fraction = _FRACTION.fullmatch(text)
    if fraction:
        over, under = _value(fraction["a"] or fraction["b"]), _value(fraction["c"] or fraction["d"])
        return None if over is None or not under else sign * over / under
    ratio = _RATIO.fullmatch(text)
    if ratio:
        over, under = Fraction(int(ratio["over"])), Fraction(int(ratio["under"]))
        return None if not under else (-1 if ratio["sign"] == "-" else 1) * over / under
    number = _NUMBER.fullmatch(text)
    if number is None or sign < 0 or not (number["whole"] or number["part"]) or not text.isascii():
        return None
    part = number["part"] or ""
    return Fraction(int(number["sign"] + (number["whole"] or "") + part), 10 ** len(part))


def _sorted_list(text: str) -> str:
    """A bare list or a set in one order; anything in round or square brackets has its own."""
    inner = re.fullmatch(r"\\\{(.*)\\\}", text)
    body = inner[1] if inner else text
    parts = _split(body)
    if parts is None or not 2 <= len(parts) <= MAX_LIST:
        return text
    spelled = []
    for part in parts:
        named = _NAMED.fullmatch(part)
        value = _value(named["rest"] if named else part)
        spelled.append(part if value is None else str(value))
    return ", ".join(sorted(spelled))  # with a space: "100, 200" is a list, "100,200" a number


def _split(text: str) -> list[str] | None:
    """The entries of a list at its top level; None where brackets do not match or an entry is empty."""
    parts, depth, begin = [], 0, 0
    for place, character in enumerate(text):
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
            if depth < 0:
                return None
        elif character == "," and depth == 0:
            parts.append(text[begin:place])
            begin = place + 1
    parts.append(text[begin:])
    return parts if depth == 0 and all(parts) else None
