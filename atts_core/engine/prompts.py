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
