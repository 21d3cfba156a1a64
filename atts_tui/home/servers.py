"""The servers that a run would go to, and whether they answer."""

import asyncio
from dataclasses import dataclass

import httpx2
from textual.geometry import Size

from atts_core.config import Given, without_credentials
from atts_tui.text import clean_line, shorten
from atts_tui.view import View
from atts_tui.widgets.rows import Row, Rows

PROBE_SECONDS = 2.0


@dataclass(frozen=True)
class ServerWord:
    """One server: who it is, and how it is."""

    role: str
    said: str
    good: bool | None
    """None: not asked yet, or nothing to ask."""


def servers_of(given: Given) -> list[tuple[str, str]]:
    """Role and URL of each server that a run would use; none: the embedded pair."""
    found = []
    for role, said in (("draft", given.draft), ("target", given.target)):
        found += [(role, url) for url in ((said,) if isinstance(said, str) else said or ())]
    return found


def before(given: Given) -> list[ServerWord]:
    """What can be said before anybody is asked."""
    servers = servers_of(given)
    if not servers:
        return [ServerWord("embedded pair", "built in, starts with a run", None)]
    return [ServerWord(role, without_credentials(url) or "", None) for role, url in servers]


async def probe(given: Given) -> list[ServerWord]:
    """Ask each server for its health."""
    async with httpx2.AsyncClient(timeout=PROBE_SECONDS) as client:
        return list(await asyncio.gather(*(_ask(client, *server) for server in servers_of(given))))


async def _ask(client: httpx2.AsyncClient, role: str, url: str) -> ServerWord:
    name = without_credentials(url) or ""
    try:
        answer = await client.get(f"{url.rstrip('/')}/health")
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        reason = "no answer" if isinstance(error, httpx2.TimeoutException) else "cannot be reached"
        return ServerWord(role, f"{name}: {reason}", False)
    good = answer.status_code == httpx2.codes.OK
    return ServerWord(
        role, f"{name} " + ("answers" if good else f"says {answer.status_code} to /health"), good
    )


class ServersPane(Rows):
    """One line a server."""

    DEFAULT_CSS = """
    ServersPane { border: round $border-blurred; border-title-color: $atts-title; padding: 0 1; }
    ServersPane:focus { border: round $border; }
    ServersPane.-compact { border: none; border-top: solid $border-blurred; padding: 0 1; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.border_title = "Servers"
        self.servers: list[ServerWord] = []

    def key(self, _view: View) -> tuple[ServerWord, ...]:
        """The words."""
        return tuple(self.servers)

    def build(self, view: View, size: Size) -> list[Row]:
        """A sign, the role, the rest."""
        palette, glyphs = view.palette, view.glyphs
        styles = {True: (glyphs.live, palette.right), False: (glyphs.lost, palette.error)}
        rows: list[Row] = []
        for server in self.servers:
            sign, style = (glyphs.separator, palette.muted) if server.good is None else styles[server.good]
            said = shorten(clean_line(server.said), size.width - len(server.role) - 5, glyphs.more)
            rows.append(((f"{sign} ", style), (f"{server.role}  ", palette.strong), (said, palette.muted)))
        return rows
