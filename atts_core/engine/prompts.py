"""What the models are asked, in our own words. The prompt's version goes into every run and calibration."""

from collections.abc import Mapping, Sequence

PROMPT_VERSION = "1"

INSTRUCTION = (
    "Solve the problem below. Reason step by step and leave a blank line between steps. "
    "Finish with the final answer inside \\boxed{}.\n\n"
)


def messages(question: str, *, instruct: bool) -> Sequence[Mapping[str, str]]:
    """The conversation that both models continue, the same for every turn of a chain.

    `instruct` is off for models that were trained on bare problems, as the embedded pair was.
    """
    return [{"role": "user", "content": INSTRUCTION + question if instruct else question}]


RATING_REQUEST = (
    "Look only at the last step of your reasoning above. How good is it: correct, and of use on the way to "
    "the answer? Say one digit, from 0 for a step that is wrong to 9 for one that you would write yourself."
)
RATING_OPENING = "The last step's rating, from 0 to 9: "
"""What the answer begins with, so that its next token can only be the digit."""

LOOK_BACK = "Before I go on, let me look for steps above that may be wrong:"
"""What the target goes on after where it is made to check its chain."""
