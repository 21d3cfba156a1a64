"""Two charts of the Machines screen: the servers' rates over the run, and memory against samples running."""

import math
from collections.abc import Hashable
from itertools import pairwise, zip_longest
from typing import get_args

from rich.style import Style
from textual.geometry import Size

from atts_core.events import Role
from atts_core.percent import percent
from atts_core.telemetry.history import BySamples, Series
from atts_core.telemetry.server_metrics import HEARTBEAT
from atts_tui import words
from atts_tui.text import shorten
from atts_tui.view import View
from atts_tui.widgets.blocks import block_lines
from atts_tui.widgets.rows import Part, Row, Rows, paragraph
from atts_tui.widgets.server_rows import tell_apart

LABEL = 8
MOST_BANDS = 6
HELD = HEARTBEAT + 2.0
"""Run seconds for which a rate counts as unchanged where nothing was read."""


class MachineChart(Rows):
    """What both have in common: a frame, and drawn about once a second."""

    DEFAULT_CSS = """
    MachineChart { border: round $border-blurred; border-title-color: $atts-title; padding: 0 1; }
    MachineChart:focus { border: round $border; }
    MachineChart.-compact { border: none; border-top: solid $border-blurred; padding: 0; }
    MachineChart.-compact:focus { border-top: solid $border; }
    """
    can_focus = True

    def key(self, view: View) -> Hashable:
        """Changes each second of run time."""
        state = view.state
        return (int(state.now), state.finished is not None, state.run is None, view.epoch)


class ThroughputChart(MachineChart):
    """One band a server, or a role where there are many; all on one scale."""

    def build(self, view: View, size: Size) -> list[Row]:
        """Bands from the run's beginning to now."""
        self.border_title = "Tokens per second of the servers"
        width, height = size
        bands = _bands(view, max(height // 2, 1))
        columns = width - LABEL - 1
        if not bands:
            return paragraph(
                "No server tells its rate. SGLang does with --enable-metrics; the run's own count is on the "
                "Solve screen.",
                width,
                view.palette.muted,
            )
        if columns < 8 or height < 2:
            return []
        now = view.state.now
        drawn = [
            (label, _spread(rates, columns, now), _is_new(rates, now), own, fill)
            for label, rates, own, fill in bands
        ]
        top = max((value for _, values, *_ in drawn for value in values), default=0.0) or 1.0
        each, left = divmod(height - 1, len(drawn))
        rows: list[Row] = []
        for number, (label, values, new, own, fill) in enumerate(drawn):
            lines = each + (number < left)
            rows += _band(view, label, values, top, lines, own, fill, new=new)
        palette = view.palette
        end = words.clock(view.state.now)
        axis = "0:00" + end.rjust(max(columns - 4, 0))
        rows.append(((" " * (LABEL + 1) + axis, palette.muted),))
        return rows


Rates = tuple[float, list[float | None]]
"""Seconds of one stretch, and the means from the beginning."""
Band = tuple[str, Rates, Style, Style]
"""Label, rates, style of the label, style of the blocks."""


def _bands(view: View, most: int) -> list[Band]:
    palette = view.palette
    styles = {"draft": (palette.draft, palette.accept[1]), "target": (palette.target, palette.take_over[1])}
    loads = {
        role: {
            url: load.throughput
            for url, load in view.state.machines.loads[role].items()
            if load.throughput.counts
        }
        for role in get_args(Role)
    }
    servers = sum(len(of_role) for of_role in loads.values())
    apart = servers <= min(most, MOST_BANDS)
    bands: list[Band] = []
    for role, of_role in loads.items():
        if not of_role:
            continue
        if apart and len(of_role) > 1:
            labels = tell_apart(list(of_role), LABEL)
            bands += [
                (labels[url], (series.seconds, series.means()), *styles[role])
                for url, series in of_role.items()
            ]
        else:
            bands.append((role, _total(list(of_role.values())), *styles[role]))
    return bands


def _total(of_all: list[Series]) -> Rates:
    """Rates of several servers together; stretches may differ where one came later."""
    widest = max(series.seconds for series in of_all)
    if any(series.seconds != widest for series in of_all):
        joined: list[list[float | None]] = []
        for series in of_all:
            each = int(widest / series.seconds)
            means = series.means()
            parts = [[m for m in means[i : i + each] if m is not None] for i in range(0, len(means), each)]
            joined.append([sum(part) / len(part) if part else None for part in parts])
    else:
        joined = [series.means() for series in of_all]
    return widest, [
        sum(value for value in values if value is not None)
        if any(value is not None for value in values)
        else None
        for values in zip_longest(*joined)
    ]


def _is_new(rates: Rates, now: float) -> bool:
    """Whether the last rate is one of now."""
    seconds, means = rates
    return len(means) * seconds > now - HELD


def _spread(rates: Rates, columns: int, now: float) -> list[float]:
    """The means under each column, from the beginning to now.

    A stretch that was not read goes on as the one before, as long as a reading may be unchanged and unsaid.
    """
    seconds, means = rates
    filled: list[float] = []
    unsaid = 0.0
    for value in (*means, *([None] * max(int(now / seconds) + 1 - len(means), 0))):
        unsaid = 0.0 if value is not None else unsaid + seconds
        before = filled[-1] if filled and unsaid <= HELD else 0.0
        filled.append(before if value is None else value)
    if len(filled) <= columns:
        return [filled[column * len(filled) // columns] for column in range(columns)]
    cuts = [column * len(filled) // columns for column in range(columns + 1)]
    return [sum(filled[a:b]) / (b - a) for a, b in pairwise(cuts)]


def _band(
    view: View, label: str, values: list[float], top: float, lines: int, own: Style, fill: Style, *, new: bool
) -> list[Row]:
    palette, glyphs = view.palette, view.glyphs
    now = values[-1] if new and view.state.finished is None else None
    said = [label.ljust(LABEL), (words.number(now) if now is not None else "").ljust(LABEL)]
    rows: list[Row] = []
    for line, blocks in enumerate(block_lines(values, top, lines, glyphs)):
        text = said[line] if line < len(said) else " " * LABEL
        rows.append(
            (
                (text, own if line == 0 else palette.strong),
                (glyphs.axis_vertical, palette.faint),
                (blocks, fill),
            )
        )
    return rows


class MemoryChart(MachineChart):
    """The peaks of both models, and what they held while so many samples ran."""

    def build(self, view: View, size: Size) -> list[Row]:
        """Peaks first, then as many charts as there is something to draw and room for."""
        self.border_title = "Memory against samples running"
        width, height = size
        machines, palette = view.state.machines, view.palette
        rows = [row for role in get_args(Role) for row in _peak_rows(view, role, width)]
        if not rows:
            return paragraph(
                "Nothing measured yet: GPU memory comes from NVML or --gpu-metrics, tokens in the KV cache "
                "from servers with --enable-metrics.",
                width,
                palette.muted,
            )
        charts = [
            (title, kept, unit)
            for title, kept, unit in (
                ("GB on the GPUs", machines.memory, 1e9),
                ("tokens in the KV caches", machines.tokens, 1.0),
            )
            if any(kept[role].bins for role in get_args(Role))
        ]
        room = height - len(rows)
        while charts and room // len(charts) < 4:
            charts.pop(0 if len(charts) > 1 and _flat(machines.memory) else -1)
        for number, (title, kept, unit) in enumerate(charts):
            lines = room // len(charts) + (number < room % len(charts))
            rows += _scatter(view, title, kept, unit, width, lines)
        return rows[:height]


def _flat(memory: dict[str, BySamples]) -> bool:
    """Whether GPU memory never moved, as with a server that takes its share at the start."""
    for kept in memory.values():
        largest = [found for *_, found in kept.points()]
        if largest and max(largest) > 1.02 * min(largest):
            return False
    return True


def _peak_rows(view: View, role: Role, width: int) -> list[Row]:
    peak = view.state.machines.peaks[role]
    palette = view.palette
    own = palette.draft if role == "draft" else palette.target
    said: list[str] = []
    if peak.memory is not None:
        basis = "" if peak.basis == "processes" else " (all on its GPUs)"
        said.append(f"{words.gigabytes(peak.memory)} GB{basis}")
    if peak.tokens is not None:
        share = f" ({percent(peak.usage)})" if peak.usage is not None else ""
        said.append(f"KV {words.number(peak.tokens)} tokens{share}")
    if not said:
        return []
    mark = view.glyphs.dot_accept if role == "draft" else view.glyphs.dot_take_over
    text = f"{role} peak " + ", ".join(said)
    if len(text) > width - 2:
        text = text.replace(" tokens", "").replace(" (all on its GPUs)", " (all)")
    return [((f"{mark} ", own), (shorten(text, width - 2), palette.text))]


def _scatter(
    view: View, title: str, kept: dict[str, BySamples], unit: float, width: int, lines: int
) -> list[Row]:
    """The largest value of every number of samples: both models over one pair of axes."""
    palette, glyphs = view.palette, view.glyphs
    columns, rows = width - LABEL - 1, lines - 1
    points = {role: kept[role].points() for role in get_args(Role)}
    across = max((samples for of_role in points.values() for samples, *_ in of_role), default=0.0) or 1.0
    top = _round_up(max((found for of_role in points.values() for *_, found in of_role), default=0.0) / unit)
    if columns < 8 or rows < 2:
        return []
    cells: list[list[Part]] = [[(" ", palette.text)] * columns for _ in range(rows)]
    for role, of_role in points.items():
        draft = role == "draft"
        part = (
            glyphs.dot_accept if draft else glyphs.dot_take_over,
            palette.draft if draft else palette.target,
        )
        for samples, _, found in of_role:
            x = min(int(samples / across * (columns - 1) + 0.5), columns - 1)
            y = min(int(found / unit / top * (rows - 1) + 0.5), rows - 1)
            cells[rows - 1 - y][x] = part
    found_rows: list[Row] = []
    for line, row in enumerate(cells):
        label = words.number(top) if line == 0 else "0" if line == rows - 1 else ""
        found_rows.append(
            ((label.rjust(LABEL - 1) + " ", palette.muted), (glyphs.axis_vertical, palette.faint), *row)
        )
    end = f"{across:.0f} samples"
    room = columns - 1 - len(end)
    title = next((said for said in (title, title.partition(" ")[0]) if len(said) + 2 <= room), "")
    axis = "0" + title.center(max(room, 0)) + end
    found_rows.append(((" " * (LABEL + 1), palette.muted), (axis[:columns], palette.muted)))
    return found_rows


def _round_up(value: float) -> float:
    """To one or two figures that read well."""
    if value <= 0:
        return 1.0
    scale = 10.0 ** math.floor(math.log10(value))
    return next(step * scale for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 20) if step * scale >= value)
