"""The words of the built-in problems. The embedded pair's vocabulary is made of exactly these."""

from typing import Final

MEN: Final = ("Tom", "Ben", "Sam", "Max", "Leo", "Ali")
WOMEN: Final = ("Ann", "Mia", "Eva", "Zoe", "Ida", "Lin")
NAMES: Final = MEN + WOMEN
THINGS: Final = (
    "apples",
    "books",
    "cards",
    "coins",
    "eggs",
    "lemons",
    "pens",
    "pearls",
    "roses",
    "shells",
    "stamps",
    "toys",
)
GOODS: Final = tuple(thing for thing in THINGS if thing != "coins")

# {n} is the operand; {he} is "He" or "She".
MORE: Final = tuple("{he} " + verb + " {n} more" for verb in ("buys", "finds", "wins", "gets", "makes"))
FEWER: Final = tuple(
    "{he} " + verb + " {n}" for verb in ("sells", "loses", "gives away", "drops", "lends out")
)
TIMES: Final = (
    "A wizard makes it {n} times as many",
    "A lucky game pays {n} times as many",
)
PARTS: Final = (
    "{he} splits all into {n} boxes and keeps one",
    "{he} puts all into {n} bags and keeps one",
)

VARIABLES: Final = "abcdefg"
LABELS: Final = tuple(f"({number})" for number in range(1, 8))
