"""A verdict in one clause, for somebody who has never seen one."""

from atts_core.events import VerdictReached


def verdict_in_words(verdict: VerdictReached) -> str:
    """What the step came to, against what, and what follows."""
    where = f"turn {verdict.turn + 1}"
    accepted = verdict.verdict == "accept"
    outcome = "accept" if accepted else "rejected, drawn again" if verdict.again else "target takes over"
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
