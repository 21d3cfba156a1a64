"""Shares in words: one form for the screens, the commands and the reports."""

NONE = "–"


def percent(share: float | None, decimals: int = 0) -> str:
    """A share from 0 to 1, such as `41 %`; a dash where there is none."""
    return NONE if share is None else f"{100 * share:.{decimals}f} %"
