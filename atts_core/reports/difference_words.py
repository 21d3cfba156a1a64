"""The measures of a comparison in words, for the command, the screen and the report alike."""

from collections.abc import Callable

from atts_core.percent import NONE, percent
from atts_core.reports.compare import Difference, Pairing

HEADINGS = ("", "first", "second", "difference", "95 % interval")


def difference_words(found: Difference) -> tuple[str, str, str, str, str]:
    """A measure as the columns of `HEADINGS`."""
    if found.unit == "points":
        first, second, value = percent(found.first, 1), percent(found.second, 1), _points(found.value)
        value += " points"
        interval = _interval(found.low, found.high, _points)
    elif found.unit == "saved":
        first, second = (f"{total or 0:,.0f}" for total in (found.first, found.second))
        value = _less(found.value)
        interval = _interval(found.high, found.low, _less)  # from fewer tokens to more
    else:
        first, second = (f"{seconds or 0:,.1f} s" for seconds in (found.first, found.second))
        value = NONE if found.value is None else f"{found.value:.2f} ×"
        interval = _interval(found.low, found.high, "{:.2f}".format)
    return found.name, first, second, value, interval


def settings_words(pair: Pairing) -> str:
    """In what two runs differ by intent, in a sentence, names as they stand in their files."""
    if not pair.differs:
        return "What differs: nothing in settings, models or calibration."
    listed = "; ".join(f"{name} {first} → {second}" for name, first, second in pair.differs)
    return f"What differs: {listed}."


def _points(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:+.1f}".replace("-", "−")


def _less(saved: float | None) -> str:
    if saved is None:
        return NONE
    return f"{percent(abs(saved), 1)} {'less' if saved >= 0 else 'more'}"


def _interval(begin: float | None, end: float | None, say: Callable[[float], str]) -> str:
    return NONE if begin is None or end is None else f"[{say(begin)}, {say(end)}]"
