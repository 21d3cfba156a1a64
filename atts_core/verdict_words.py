"""A verdict in one clause, and as a height in a chart, whatever it went by."""

from atts_core.events import VerdictReached

ACCEPTED, TAKEN_OVER = "accept", "target takes over"
"""What follows, at the end of a verdict's words."""


def verdict_in_words(verdict: VerdictReached) -> str:
    """What the step came to, against what, and what follows."""
    where = f"turn {verdict.turn + 1}"
    accepted = verdict.verdict == "accept"
    outcome = ACCEPTED if accepted else "rejected, drawn again" if verdict.again else TAKEN_OVER
    if verdict.verdict == "unverifiable":
        return f"{where}: nothing to verify in the draft's step → {outcome}"
    if verdict.rating is not None:
        sign = "≥" if accepted else "<"
        return f"{where}: rated {verdict.rating} of 9 {sign} {verdict.least_rating} → {outcome}"
    found = "" if verdict.ppl is None else f"PPL {verdict.ppl:.3f}"
    if verdict.rank is not None:
        return f"{where}: {found}, rank {verdict.rank} of {verdict.size} in its round → {outcome}"
    if verdict.p is None:  # some recorded runs kept the decision and not what it was made of
        return f"{where}: {found} → {outcome}"
    reference = verdict.rule == "reference"
    name = "percentile" if reference else "p"
    sign = ("<" if reference else "≤") if accepted else ("≥" if reference else ">")
    return f"{where}: {found}, {name} {verdict.p:.2f} {sign} {verdict.alpha:.2f} → {outcome}"


def suspicion(verdict: VerdictReached) -> tuple[float | None, float]:
    """How suspicious a step was found, and up to where it would have been accepted, both from 0 to 1.

    p and alpha where it has a p-value; by rank the share of its round that did not surprise more; by rating
    how much is missing to the best. None where it could not be judged, or nobody recorded by what it was.
    """
    if verdict.rank is not None and verdict.size:
        return (verdict.size - verdict.rank + 1) / verdict.size, verdict.alpha
    if verdict.least_rating is not None:
        limit = min(1 - (verdict.least_rating - 0.5) / 9, 1.0)
        return (None if verdict.rating is None else 1 - verdict.rating / 9), limit
    return verdict.p, verdict.alpha
