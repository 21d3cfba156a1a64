"""The pair's vocabulary: every word of the built-in problems, and every printable character."""

import re
from itertools import islice

from atts_core.embedded.tokenizer import BOS, EOS, PAD, STEP_END, UNKNOWN
from atts_core.problems.builtin.streams import endless
from atts_core.problems.builtin.words import LABELS

# A word with the space before it is one token; single letters are variables and stay characters, except "A".
_WORD = re.compile(r"[ ]?(?:[A-Za-z][a-z]+|(?<= )A\b)")
_SIGNS = (" +", " -", " *", " /", " =", ", ", ": ", "\\boxed{")


def build_vocabulary() -> list[str]:
    """The tokens' texts in id order; always the same."""
    words: set[str] = set()
    for problem in islice(endless("train", 0), 20_000):
        for text in (problem.question, *problem.steps):
            words.update(_WORD.findall(text.replace("\\boxed", "")))
    characters = ["\n", *map(chr, range(32, 127))]
    return [PAD, BOS, EOS, UNKNOWN, STEP_END, *LABELS, *_SIGNS, *sorted(words), *characters]
