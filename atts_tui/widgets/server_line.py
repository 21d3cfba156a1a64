"""One line on the two servers and the GPUs: what each last said about itself, or why nothing is known."""

from collections.abc import Hashable

from textual.geometry import Size

from atts_core.events import Role
from atts_core.percent import percent
from atts_tui import words
from atts_tui.text import clean_line, shorten
from atts_tui.view import View
from atts_tui.widgets.rows import Part, Row, Rows
from atts_tui.widgets.status_bar import fit, length

STALE_AFTER = 10.0
"""Run seconds after which a reading is called old: ten times what lies between two of them."""


class ServerLine(Rows):
    """Draft, target, GPUs."""

    DEFAULT_CSS = """
    ServerLine { padding: 0 1; background: $background; }
    """

    def key(self, view: View) -> Hashable:
        """Changes with a reading, a loss, and each ten seconds (readings grow old)."""
        state = view.state
        servers = tuple(
            (server.lost, server.workers_lost, server.read_at) for server in state.servers.values()
        )
        gpus = tuple((source.read_at, source.unavailable) for source in state.machines.sources.values())
        return (servers, gpus, state.run is None, int(state.now / STALE_AFTER))

    def build(self, view: View, size: Size) -> list[Row]:
        """One line; the least important parts are left out where it is too long."""
        width = size.width
        if view.state.run is None:
            return [(("servers: waiting for the run to begin", view.palette.muted),)]
        items = [
            [self._server(view, "draft", long=True), self._server(view, "draft", long=False)],
            [self._server(view, "target", long=True), self._server(view, "target", long=False)],
            [self._gpus(view, long=True), self._gpus(view, long=False), ()],
        ]
        chosen = fit(items, width, 3)
        parts: list[Part] = []
        for row in chosen:
            if parts:
                parts.append((" | " if view.glyphs.plain else " │ ", view.palette.faint))
            parts.extend(row)
        return [tuple(parts)]

    def _server(self, view: View, role: Role, *, long: bool) -> Row:
        state, palette, glyphs = view.state, view.palette, view.glyphs
        server = state.servers[role]
        own = palette.draft if role == "draft" else palette.target
        card = next((model for model in state.run.models if model.role == role), None) if state.run else None
        if server.lost:
            return ((f"{glyphs.lost} {role} lost", palette.error),)
        parts: list[Part] = [(f"{glyphs.live} {role}", own)]
        if card is not None and long and card.name != role:
            parts.append((f" {shorten(clean_line(card.name), 26)}", palette.text))
        if server.workers_lost:
            parts.append(
                (f" {glyphs.lost} {server.workers_lost} of {len(server.workers)} lost", palette.error)
            )
        loads = state.machines.loads[role]
        told = {url: load for url, load in loads.items() if load.reading and not load.reading.unavailable}
        if not told:
            return (*parts, ("  no metrics", palette.muted)) if loads else tuple(parts)
        # Gauges that no longer move are of a server that idles: they count for nothing.
        moving = [
            load.reading
            for url, load in told.items()
            if load.reading and state.machines.still(role, url, state.now) is None
        ]
        facts: list[str] = []
        running = [reading.running for reading in moving if reading.running is not None]
        if running or not moving:
            facts.append(f"{sum(running)} running" if moving else "idle")
        if queued := sum(reading.queued or 0 for reading in moving):
            facts.append(f"{queued} queued")
        usage = [reading.cache_usage for reading in moving if reading.cache_usage is not None]
        if usage:
            facts.append(f"KV {percent(max(usage))}")
        age = state.now - max(load.read_at or 0.0 for load in told.values())
        if age > STALE_AFTER and state.finished is None:
            facts = [f"last heard of {age:.0f} s ago"]
        return (*parts, ("  " + ", ".join(facts), palette.muted))

    def _gpus(self, view: View, *, long: bool) -> Row:
        palette, sources = view.palette, view.state.machines.sources.values()
        gpus = [gpu for source in sources for gpu in source.gpus if not gpu.instance]
        if not gpus:
            why = next((clean_line(source.unavailable) for source in sources if source.unavailable), "")
            if not why:
                return ()
            return ((f"no GPU: {shorten(why, 40)}" if long else "no GPU", palette.muted),)
        texts: list[str] = []
        for gpu in gpus:
            text = f"GPU{gpu.index}"
            if gpu.memory_used is not None and gpu.memory_total:
                text += f" {words.gigabytes(gpu.memory_used)}/{words.gigabytes(gpu.memory_total)} GB"
            if long and gpu.utilisation is not None:
                text += f" {percent(gpu.utilisation)}"
            texts.append(text)
        row: Row = (("  ".join(texts), palette.muted),)
        if not long and length(row) > 30:
            return ((f"{len(gpus)} GPUs", palette.muted),)
        return row
