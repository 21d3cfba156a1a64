"""Finding the final answer in a chain of reasoning.

An answer is the content of the last complete, non-empty `\\boxed{…}` with balanced braces, or what follows
the last `ANSWER:` on its line. Boxes that stand together ("x = \\boxed{-2} or x = \\boxed{1}") are one
answer, joined by commas. A box that is still open is no answer yet: the text goes on in the next step.
"""

import re

from atts_core.engine.spelling import normalise

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)  # an escaped brace neither opens nor closes
_ANSWER_LINE = re.compile(
    r"^[\s*]*ANSWER\s*:[ \t*]*(?P<answer>[^\s*].*?)[\s*]*$", re.IGNORECASE | re.MULTILINE
)
# What may stand between boxes of one answer: punctuation, math delimiters, "and", "or", and the name of the
# next unknown ("x =", "x_2 =").
_BETWEEN = re.compile(
    r"(?:[\s$,;&]|\\[\[\]()!,;: ]|\\q?quad\b|\\(?:text|mathrm|textbf)\s*\{\s*(?:,|and|or|,\s*and)?\s*\}"
    r"|\\(?:land|lor|vee|wedge)\b|\b(?:and|or)\b|[a-zA-Z](?:_\{?\w\}?)?\s*=)*"
)

MAX_ANSWER = 2000
"""Characters: a longer box is a chain that lost its way, not an answer."""
_MAX_BETWEEN = 60
"""Characters between boxes of one answer."""


def find_answer(text: str) -> str | None:
    """The final answer that `text` holds, stripped of surrounding space, or None."""
    group: list[str] = []
    group_end = 0
    for box in _BOX.finditer(text):
        content = _balanced(text, box.end())
        if content is None or not content.strip() or _BOX.search(content):
            continue  # a box around a box: the inner one comes next
        gap = text[group_end : box.start()]
        if not group or not _together(gap):
            group = []
        if normalise(content) not in map(normalise, group):  # said twice is not two answers
            group.append(content.strip())
        group_end = box.end() + len(content) + 1
    answer = ", ".join(group)
    if answer and len(answer) <= MAX_ANSWER:
        return answer
    if group:
        return group[-1]
    last: str | None = None
    for line in _ANSWER_LINE.finditer(text):
        if len(line["answer"]) <= MAX_ANSWER:
            last = line["answer"]
    return last


def _together(gap: str) -> bool:
    """Whether what stands between two boxes makes them one answer; a new paragraph needs word or comma."""
    if len(gap) > _MAX_BETWEEN or not _BETWEEN.fullmatch(gap):
        return False
    return not re.search(r"\n\s*\n", gap) or bool(re.search(r"[,;&]|and|or", gap))


def _balanced(text: str, start: int) -> str | None:
    """The text from `start` to the brace that closes one opened just before it; None if it stays open, or
    open for longer than any answer is (which also bounds the work on a text of nothing but open boxes)."""
    depth = 1
    for mark in _BRACE.finditer(text, start, start + MAX_ANSWER + 1):
        if mark[0] == "{":
            depth += 1
        elif mark[0] == "}":
            depth -= 1
            if depth == 0:
                return text[start : mark.start()]
    return None
