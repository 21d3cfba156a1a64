"""The lines of the servers: KV cache, requests, prefix hits and rate of each, and what it was read from."""

from typing import get_args

from rich.style import Style

from atts_core.events import Role
from atts_core.percent import percent
from atts_core.state import WorkerState
from atts_core.telemetry.readings import ServerReading
from atts_tui import words
from atts_tui.text import clean_line, shorten
from atts_tui.view import View
from atts_tui.widgets.gpu_rows import STALE_AFTER, age_words
from atts_tui.widgets.rows import Part, Row, paragraph

FULL = 0.95
"""Share of a KV cache above which SGLang soon throws requests back into the queue."""


def server_rows(view: View, width: int) -> list[Row]:
    """One line a server, under one line of titles."""
    state = view.state
    if state.run is None:
        return paragraph("Waiting for the run to begin.", width, view.palette.muted)
    columns = _Columns(width)
    rows = [columns.head(view)]
    for role in get_args(Role):
        for url, worker in workers_of(view, role):
            rows += _server(view, columns, role, url, worker, width)
            for other, load in state.machines.loads[role].items():
                if load.router and load.router == url:
                    behind = WorkerState(reading=load.reading, read_at=load.read_at)
                    rows += _server(view, columns, role, other, behind, width)
    return rows


def workers_of(view: View, role: Role) -> list[tuple[str, WorkerState]]:
    """The servers of a role by URL; runs of before there could be several have one without."""
    server = view.state.servers[role]
    if server.workers:
        return list(server.workers.items())
    return [("", WorkerState(server.lost, server.reading, server.read_at))]


def _server(
    view: View, columns: "_Columns", role: Role, url: str, worker: WorkerState, width: int
) -> list[Row]:
    palette, reading = view.palette, worker.reading
    if worker.lost:
        return [
            columns.name(view, role, url, lost=True),
            *paragraph("  does not answer: " + clean_line(worker.lost), width, palette.error),
        ]
    if reading is None and any(load.router == url for load in view.state.machines.loads[role].values()):
        return [(*columns.name(view, role, url), ("a router; the servers behind it:", palette.muted))]
    if reading is None:
        return [(*columns.name(view, role, url), ("nothing heard of it yet", palette.muted))]
    if reading.unavailable:
        return [
            columns.name(view, role, url),
            *paragraph("  " + clean_line(reading.unavailable), width, palette.muted),
        ]
    said = _old(view, role, url, worker, reading)
    if said:
        return [
            columns.row(view, role, url, worker, reading, palette.faint),
            *paragraph("  " + said, width, palette.muted),
        ]
    return [columns.row(view, role, url, worker, reading, None)]


def _old(view: View, role: Role, url: str, worker: WorkerState, reading: ServerReading) -> str:
    """Why its numbers are not to be taken as those of now; empty where they are."""
    state = view.state
    if state.finished is not None:
        return ""
    unheard = state.now - (worker.read_at or 0.0)
    if unheard > STALE_AFTER:
        return f"not heard of for {words.span(unheard)}: these numbers are old"
    still = state.machines.still(role, url, state.now)
    if still is not None and (reading.running or reading.queued or reading.cache_usage):
        said = f"nothing has moved for {words.span(still)}: it idles, and these numbers are old"
        return f"{said} ({clean_line(reading.source)})"
    return ""


def tell_apart(urls: list[str], most: int) -> dict[str, str]:
    """The shortest that tells servers of one role apart, in so many cells: port, else host, else a number."""
    places = [clean_line(url).partition("://")[2].strip("/") or clean_line(url) for url in urls]
    cut = [place.rpartition(":") for place in places]
    for told in ([f":{port}" for *_, port in cut], [host for host, *_ in cut], places):
        if len(set(told)) == len(told) and all(1 < len(label) <= most for label in told):
            return dict(zip(urls, told, strict=True))
    return {url: f"no. {number}" if url else "" for number, url in enumerate(urls, 1)}


class _Columns:
    """Which columns fit."""

    def __init__(self, width: int) -> None:
        self.label = 34 if width >= 128 else 30 if width >= 110 else 17
        self.tokens = 18 if width >= 110 else 0
        self.rate = 8
        self.read = 28 if width >= 128 else 16 if width >= 110 else 10 if width >= 72 else 0
        fixed = self.label + 6 + self.tokens + 8 + 8 + 7 + self.rate + self.read
        self.bar = max(min(width - fixed, 40), 4)

    def head(self, view: View) -> Row:
        tokens = "tokens".rjust(self.tokens) if self.tokens else ""
        told = {
            worker.reading.source
            for role in get_args(Role)
            for _, worker in workers_of(view, role)
            if worker.reading is not None and worker.reading.source
        }
        first = "server"
        if self.read < 16 and len(told) == 1:  # no room on each line
            first = shorten(f"by {clean_line(told.pop())}", self.label - 1)
        titles = (
            first.ljust(self.label) + "KV cache".ljust(self.bar) + " " * 6 + tokens + "running".rjust(8)
            + "queued".rjust(8) + "cached".rjust(7) + "tok/s".rjust(self.rate)
            + ("read".rjust(self.read) if self.read else "")
        )  # fmt: skip
        return ((titles, view.palette.muted),)

    def name(self, view: View, role: Role, url: str, *, lost: bool = False) -> Row:
        """Who it is."""
        palette, glyphs, run = view.palette, view.glyphs, view.state.run
        own = palette.draft if role == "draft" else palette.target
        mark = glyphs.lost if lost else glyphs.live
        place = clean_line(url).partition("://")[2] or clean_line(url)
        card = next((model for model in run.models if model.role == role), None) if run else None
        if self.label < 20:
            urls = [known for known, _ in workers_of(view, role)]
            urls += [known for known in view.state.machines.loads[role] if known not in urls]
            place = tell_apart(urls, self.label - len(role) - 3)[url]
        elif card is not None and clean_line(card.name) != role and len(place) < 18:
            place = f"{place} {clean_line(card.name)}"
        room = self.label - len(role) - 4
        return (
            (f"{mark} {role} ", palette.error if lost else own),
            (shorten(place, room).ljust(room + 1), palette.text),
        )

    def row(
        self,
        view: View,
        role: Role,
        url: str,
        worker: WorkerState,
        reading: ServerReading,
        style: Style | None,
    ) -> Row:
        """Its numbers, all in one style where they are old."""
        palette, glyphs = view.palette, view.glyphs
        text = style or palette.text
        usage = reading.cache_usage
        own = palette.draft if role == "draft" else palette.target
        parts: list[Part] = list(self.name(view, role, url))
        filled = min(max(round((usage or 0.0) * self.bar), 0), self.bar)
        full = usage is not None and usage >= FULL
        parts += [
            (glyphs.bar * filled, style or (palette.warning if full else own)),
            (glyphs.bar_rest * (self.bar - filled), palette.faint),
            (("N/A" if usage is None else percent(usage)).rjust(6), text),
        ]
        if self.tokens:
            used = "N/A" if reading.used_tokens is None else words.number(reading.used_tokens)
            most = f" of {words.number(reading.capacity)}" if reading.capacity else ""
            parts.append(((used + most).rjust(self.tokens), text))
        queued = palette.warning if reading.queued and style is None else text
        hits = _hits(reading)
        # The gauge stays at its last value when the last request ends.
        rate = 0.0 if reading.running == 0 else reading.generation_throughput
        parts += [
            (_count(reading.running).rjust(8), text),
            (_count(reading.queued).rjust(8), queued),
            (("N/A" if hits is None else percent(hits)).rjust(7), text),
            (("N/A" if rate is None else words.number(rate)).rjust(self.rate), text),
        ]
        if self.read:
            source = f"{clean_line(reading.source)} " if self.read > 12 else ""
            age = age_words(view, worker.read_at)
            if view.state.finished is not None:
                age = words.clock(worker.read_at or 0.0)
            # Of `/v1/loads and /metrics` the first gives the gauges, which are what grows old.
            for shorter in (source.partition(" ")[0] + " ", ""):
                if source and len(source + age) >= self.read:
                    source = shorter
            old = view.state.finished is None and view.state.now - (worker.read_at or 0.0) > STALE_AFTER
            parts.append(
                (
                    shorten(source + age, self.read - 1).rjust(self.read),
                    palette.warning if old else palette.muted,
                )
            )
        return tuple(parts)


def _count(value: int | None) -> str:
    return "N/A" if value is None else f"{value:,}"


def _hits(reading: ServerReading) -> float | None:
    """Share of prompt tokens found in the prefix cache: counted since the start, else as the server says."""
    if reading.cached_tokens is not None and reading.prompt_tokens:
        return min(reading.cached_tokens / reading.prompt_tokens, 1.0)
    return reading.cache_hit_rate
