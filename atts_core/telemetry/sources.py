"""Which pages tell of the GPUs of other machines (`--gpu-metrics`), and whose servers are on those."""

from collections.abc import Iterable
from typing import Final, get_args
from urllib.parse import urlsplit, urlunsplit

import msgspec

from atts_core.config import Given, without_credentials
from atts_core.errors import SettingsError
from atts_core.events import Role

ROLES: Final[tuple[Role, ...]] = get_args(Role)


class Source(msgspec.Struct, frozen=True):
    """A page, and whose servers the GPUs there hold."""

    url: str
    roles: tuple[Role, ...]

    @property
    def shown(self) -> str:
        """The URL as it may be recorded and shown."""
        return without_credentials(self.url)


def given_sources(given: Given, said: str) -> tuple[Source, ...]:
    """What the settings name; `said` is where they do.

    Raises:
        SettingsError: something is not of the form `draft=URL` or `target=URL`.
    """
    named = given.gpu_metrics or ()
    return sources(named.split(",") if isinstance(named, str) else named, said)


def sources(given: Iterable[str], said: str = "--gpu-metrics") -> tuple[Source, ...]:
    """What `draft=URL` and `target=URL` name; one page that is named for both is one source.

    Raises:
        SettingsError: something is not of this form.
    """
    roles: dict[str, tuple[Role, ...]] = {}
    for entry in given:
        named, equals, url = entry.strip().partition("=")
        role = next((role for role in ROLES if role == named), None)
        wrong = f"{said} {without_credentials(entry)}"
        if not equals or role is None:
            raise SettingsError(
                f"{wrong}: say whose GPUs these are, as in draft=http://gpu1:9400/metrics (or target=…)."
            )
        try:
            parts = urlsplit(url)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good:
            raise SettingsError(f"{wrong}: that is not a URL; write it as in http://gpu1:9400/metrics")
        if parts.path in ("", "/"):
            url = urlunsplit(parts._replace(path="/metrics"))
        before = roles.get(url, ())
        if role not in before:
            roles[url] = (*before, role)
    return tuple(Source(url, whose) for url, whose in roles.items())
