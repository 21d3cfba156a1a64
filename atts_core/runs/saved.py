"""What stopping decided problems early saved."""

import msgspec

from atts_core.state_parts import ProblemState

METHOD = (
    "each stopped sample would have written as much as its problem's samples that ended by themselves did on "
    "average; short chains end first, so this is rather too little"
)


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """Problems whose vote was decided early, and an estimate of what their other samples would have written.

    The estimate (`METHOD`): for each stopped sample and model, the mean tokens of its problem's samples that
    ended by themselves, less its own so far, and never less than nothing.
    """

    problems: int = 0
    samples: int = 0
    """Stopped."""
    draft_tokens: int = 0
    target_tokens: int = 0

    def __add__(self, other: "Saved") -> "Saved":
        return Saved(
            problems=self.problems + other.problems,
            samples=self.samples + other.samples,
            draft_tokens=self.draft_tokens + other.draft_tokens,
            target_tokens=self.target_tokens + other.target_tokens,
        )


def saved_by(problem: ProblemState) -> Saved:
    """Of one problem; nothing where its vote was not decided early."""
    stopped = [sample for sample in problem.samples if sample.end == "decided"]
    whole = [sample for sample in problem.samples if sample.end not in (None, "decided", "stopped", "failed")]
    if not stopped or not whole:
        return Saved()
    draft = sum(sample.draft_tokens for sample in whole) / len(whole)
    target = sum(sample.target_tokens for sample in whole) / len(whole)
    return Saved(
        problems=1,
        samples=len(stopped),
        draft_tokens=round(sum(max(draft - sample.draft_tokens, 0) for sample in stopped)),
        target_tokens=round(sum(max(target - sample.target_tokens, 0) for sample in stopped)),
    )
