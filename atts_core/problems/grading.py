"""Comparing an answer with the gold answer."""

from atts_core.engine.answers import normalise


def grade(answer: str | None, gold: str | None) -> bool | None:
    """Whether `answer` is right: exact after `normalise`. None where no gold answer is known.

    No answer is a wrong answer where the gold is known.
    """
    if gold is None:
        return None
    return answer is not None and normalise(answer) == normalise(gold)
