"""A file of right answers: a JSON object from problem to answer, or to an object with `gold`."""

from pathlib import Path

import msgspec

from atts_core.errors import SettingsError


class _Entry(msgspec.Struct):
    gold: str


def read_gold(path: Path) -> dict[str, str]:
    """Problem → right answer. Raises `SettingsError` for a file that cannot be read or is none of these."""
    try:
        entries = msgspec.json.decode(path.read_bytes(), type=dict[str, str | _Entry])
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from None
    except msgspec.MsgspecError as error:
        raise SettingsError(
            f"{path} is no gold file, which maps problems to answers in JSON: {error}."
        ) from None
    return {problem: entry if isinstance(entry, str) else entry.gold for problem, entry in entries.items()}
