"""Finding the final answer in a chain of reasoning, and bringing equal answers to one spelling.

An answer is the content of the last complete, non-empty `\\boxed{…}` with balanced braces, or what follows
the last `ANSWER:` on its line. A box that is still open is no answer yet: the text goes on in the next step.
"""

import re

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_ANSWER_LINE = re.compile(r"^[\s*]*ANSWER\s*:[ \t]*(?P<answer>\S.*?)[\s*]*$", re.IGNORECASE | re.MULTILINE)
_LEADING_ZEROS = re.compile(r"^(-?)0+(?=\d)")
_MARKUP = re.compile(r"\\(?:left|right|!|,|;|:|\s)|\\(?:text|mathrm|textbf)\s*(?=\{)")

MAX_ANSWER = 2000
"""Characters: a longer box is a chain that lost its way, not an answer."""


def find_answer(text: str) -> str | None:
    """The final answer that `text` holds, stripped of surrounding space, or None."""
    answer: str | None = None
    for box in _BOX.finditer(text):
        content = _balanced(text, box.end())
        if content is not None and content.strip() and len(content) <= MAX_ANSWER:
            answer = content.strip()
    if answer is not None:
        return answer
    for line in _ANSWER_LINE.finditer(text):
        if len(line["answer"]) <= MAX_ANSWER:
            answer = line["answer"]
    return answer


def _balanced(text: str, start: int) -> str | None:
    """The text from `start` to the brace that closes one opened just before it; None if it stays open."""
    depth = 1
    position = start
    while position < len(text):
        character = text[position]
        if character == "\\":
            position += 1  # an escaped brace neither opens nor closes
        elif character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return text[start:position]
        position += 1
    return None


def normalise(answer: str) -> str:
    """One spelling for answers that differ only in typography; what votes and exact grading compare.

    Removes spaces, dollar signs, `\\left`/`\\right` and thin spaces, a trailing full stop, thousands
    separators and leading zeros of plain integers. Mathematical equivalence is the grader's work.
    """
    text = _MARKUP.sub("", answer).replace("$", "").strip().rstrip(".")
    text = re.sub(r"\s+", "", text).replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    if re.fullmatch(r"-?\d{1,3}(,\d{3})+", text):
        text = text.replace(",", "")
    if re.fullmatch(r"-?\d+", text):
        text = _LEADING_ZEROS.sub(r"\1", text)
        return "0" if text == "-0" else text
    return text
