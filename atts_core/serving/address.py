"""A server's address and key, checked before anything is sent there."""

import re
from collections.abc import Mapping

import httpx2

from atts_core.errors import SettingsError
from atts_core.events import Role
from atts_core.serving.errors import Side
from atts_core.serving.wording import readable


def server_url(url: str, role: Side) -> httpx2.URL:
    """The base address of a server. User and password in it are sent, and never shown.

    Raises `SettingsError` on anything but http(s)://host[:port][/path].
    """
    try:
        parsed = httpx2.URL(url)
        good = (
            parsed.scheme in ("http", "https") and bool(parsed.host) and not (parsed.query or parsed.fragment)
        )
    except (httpx2.InvalidURL, TypeError, ValueError):
        good = False
    if not good:
        shown = readable(re.sub(r"//[^/]*@", "//", str(url)))
        raise SettingsError(
            f"--{role} {shown} is not the address of a server: write it as in http://127.0.0.1:30000"
        )
    return parsed


def key_of(role: Role, environment: Mapping[str, str]) -> str | None:
    """The key of a role's servers: its own variable, or that of both."""
    return environment.get(f"ATTS_{role.upper()}_API_KEY") or environment.get("ATTS_API_KEY")


def server_headers(api_key: str | None, role: Side) -> dict[str, str]:
    """What every request carries. Raises `SettingsError` on a key that no header can hold; never shows it."""
    headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
    if api_key is not None:
        if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
            raise SettingsError(f"the key of the {role} server must be printable ASCII without spaces")
        headers["Authorization"] = f"Bearer {api_key}"
    return headers
