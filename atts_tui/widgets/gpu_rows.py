"""The lines of the GPUs: who holds their memory, how busy, hot and held back they are, and who says so."""

from collections.abc import Iterable

from rich.style import Style

from atts_core.percent import percent
from atts_core.telemetry.history import HERE, GpuSource
from atts_core.telemetry.readings import GpuReading
from atts_tui import words
from atts_tui.text import clean_line, shorten
from atts_tui.view import View
from atts_tui.widgets.rows import Part, Row, paragraph

HOT = 85.0
"""Degrees: data-centre GPUs slow down a few above."""
HARMLESS = frozenset({"power cap", "set clocks", "sync boost", "display clocks"})
"""What holds clocks down in everyday work; all else is worth a look."""
OTHERS_FROM = 4 << 30
"""Bytes: less is the driver's own, and what a CUDA context takes besides the tensors."""
AGE_SHOWN = 2.0
STALE_AFTER = 10.0
FIELDS = {
    "memory_used": "memory",
    "memory_by_role": "whose memory it is",
    "utilisation": "busy",
    "power": "power",
    "temperature": "temperature",
    "clock": "clock",
    "throttled": "what holds it back",
    "ecc_errors": "memory errors",
}
"""Fields whose absence is explained, as the columns call them."""


def gpu_rows(view: View, width: int) -> list[Row]:
    """All machines, one after another; why there are none, and what would tell of them."""
    sources = view.state.machines.sources
    told = {name: source for name, source in sources.items() if source.gpus or name != HERE}
    rows: list[Row] = []
    for name, source in told.items():
        rows += _machine(view, name, source, width)
    if not told:
        rows += _none(view, sources.get(HERE), width)
    return rows


def _none(view: View, here: GpuSource | None, width: int) -> list[Row]:
    palette = view.palette
    if here is None:
        return paragraph("Waiting for the first look at this machine's GPUs.", width, palette.muted)
    why = clean_line(here.unavailable) or "none found"
    return [
        *paragraph(f"This machine: {why}.", width, palette.text),
        *paragraph(
            "For GPUs of other machines run a dcgm-exporter or an nvitop-exporter there, and give its page:",
            width,
            palette.muted,
        ),
        (("  --gpu-metrics draft=http://gpu1:9400/metrics", palette.text),),
    ]


def _machine(view: View, name: str, source: GpuSource, width: int) -> list[Row]:
    palette = view.palette
    where = "this machine" if name == HERE else clean_line(name)
    if source.roles:
        where = f"{' and '.join(source.roles)}: {where}"
    rows: list[Row] = [
        ((shorten(where, max(width - 34, 12)), palette.strong), *_told(view, source)),
    ]
    if source.unavailable:
        words_of = clean_line(source.unavailable)
        rows += paragraph(words_of[0].upper() + words_of[1:] + ".", width, palette.warning)
    if source.gpus:
        columns = _Columns(width)
        rows.append(columns.head(view))
        divided = {gpu.index for gpu in source.gpus if gpu.instance}
        rows += [columns.row(view, gpu, source.roles, divided=gpu.index in divided) for gpu in source.gpus]
        rows += _missing(view, source.gpus, width)
    return rows


def _told(view: View, source: GpuSource) -> Row:
    """What reads it, and how long ago."""
    palette = view.palette
    kind = clean_line(source.kind)
    parts: list[Part] = [(f" {view.glyphs.separator} {kind}" if kind else "", palette.muted)]
    age = age_words(view, source.read_at)
    if age:
        old = view.state.finished is None and view.state.now - (source.read_at or 0.0) > STALE_AFTER
        parts.append((f" {view.glyphs.separator} {age}", palette.warning if old else palette.muted))
    return tuple(parts)


def age_words(view: View, read_at: float | None) -> str:
    """How old a reading is."""
    if read_at is None:
        return ""
    if view.state.finished is not None:
        return f"last read at {words.clock(read_at)}"
    age = view.state.now - read_at
    return "now" if age < AGE_SHOWN else f"{words.span(age)} old"


class _Columns:
    """Which columns fit, and how wide the bar is."""

    def __init__(self, width: int) -> None:
        self.name = 19 if width >= 128 else 0
        self.held = 22 if width >= 100 else 0
        self.clock = 10 if width >= 112 else 0
        fixed = 4 + self.name + 13 + self.held + 7 + 11 + 7 + self.clock
        self.trouble = max(min(24, width - fixed - 12), 0)
        self.bar = max(min(width - fixed - self.trouble, 40), 6)

    def head(self, view: View) -> Row:
        name = "name".ljust(self.name) if self.name else ""
        held = "held by".ljust(self.held) if self.held else ""
        clock = "clock".rjust(self.clock) if self.clock else ""
        titles = (
            "GPU ".ljust(4) + name + "memory".ljust(self.bar) + "GB".rjust(12) + " " + held
            + "busy".rjust(7) + "power".rjust(11) + "temp".rjust(7) + clock
        )  # fmt: skip
        return ((titles, view.palette.muted),)

    def row(self, view: View, gpu: GpuReading, roles: tuple[str, ...], *, divided: bool) -> Row:
        palette = view.palette
        label = f"  {'└' if not view.glyphs.plain else '+'}" if gpu.instance else f"{gpu.index:>3}"
        parts: list[Part] = [(label + " ", palette.strong)]
        title = clean_line(gpu.instance or gpu.name.removeprefix("NVIDIA "))
        if self.name:
            parts.append((shorten(title, self.name - 1).ljust(self.name), palette.text))
        parts += self._memory(view, gpu, roles)
        if self.held:
            held = held_words(gpu)
            if gpu.instance and not self.name:
                held = f"{title} {held}"
            elif divided:
                held = "divided (MIG)"
            elif roles and not gpu.memory_by_role:
                held = " and ".join(roles) + "'s machine"
            parts.append((shorten(held, self.held - 1).ljust(self.held), palette.text))
        if gpu.instance:
            return tuple(parts)
        hot = gpu.temperature is not None and gpu.temperature >= HOT
        limit = f"/{gpu.power_limit:.0f}" if gpu.power_limit is not None else ""
        power = None if gpu.power is None else f"{gpu.power:.0f}{limit} W"
        parts += [
            _cell(view, None if gpu.utilisation is None else percent(gpu.utilisation), 7),
            _cell(view, power, 11),
            _cell(
                view,
                None if gpu.temperature is None else f"{gpu.temperature:.0f} °C",
                7,
                palette.warning if hot else None,
            ),
        ]
        if self.clock:
            parts.append(_cell(view, None if gpu.clock is None else f"{gpu.clock:,} MHz", self.clock))
        return (*parts, *self._trouble(view, gpu))

    def _memory(self, view: View, gpu: GpuReading, roles: tuple[str, ...]) -> list[Part]:
        palette, glyphs = view.palette, view.glyphs
        used, total = gpu.memory_used, gpu.memory_total
        if used is None or not total or used < 0:
            return [(" " * self.bar, palette.muted), _cell(view, None, 12), (" ", palette.muted)]
        room = self.bar - 1
        shares: list[tuple[int, Style]] = [
            (gpu.memory_by_role.get("draft", 0), palette.draft),
            (gpu.memory_by_role.get("target", 0), palette.target),
        ]
        known = sum(size for size, _ in shares)
        rest = palette.muted
        if not known and len(roles) == 1:
            rest = palette.draft if roles[0] == "draft" else palette.target
        shares.append((max(used - known, 0), rest))
        parts: list[Part] = []
        filled = held = 0
        for size, style in shares:
            held += size
            cells = min(round(held / total * room), room) - filled
            if cells > 0:
                parts.append((glyphs.bar * cells, style))
                filled += cells
        parts.append((glyphs.bar_rest * (room - filled) + " ", palette.faint))
        numbers = f"{words.gigabytes(used)}/{words.gigabytes(total)}"
        return [*parts, (numbers.rjust(12) + " ", palette.text)]

    def _trouble(self, view: View, gpu: GpuReading) -> list[Part]:
        palette = view.palette
        if gpu.ecc_errors:
            return [(f"  {gpu.ecc_errors:,} memory errors", palette.error)]
        grave = [clean_line(reason) for reason in gpu.throttled if reason not in HARMLESS]
        if grave:
            return [("  slowed: " + ", ".join(grave), palette.warning)]
        if gpu.throttled:
            return [("  " + ", ".join(map(clean_line, gpu.throttled)), palette.muted)]
        return []


def held_words(gpu: GpuReading) -> str:
    """Whose memory it is, as far as that is known and worth a word."""
    held = [(clean_line(role), size) for role, size in sorted(gpu.memory_by_role.items())]
    rest = (gpu.memory_used or 0) - sum(size for _, size in held)
    if rest > OTHERS_FROM and "memory_by_role" not in gpu.missing:
        held.append(("others", rest))
    return ", ".join(f"{who} {words.gigabytes(size)}" for who, size in held)


def _cell(view: View, text: str | None, width: int, style: Style | None = None) -> Part:
    if text is None:
        return ("N/A".rjust(width), view.palette.faint)
    return (text.rjust(width), style or view.palette.text)


def _missing(view: View, gpus: Iterable[GpuReading], width: int) -> list[Row]:
    """Why there is N/A, each reason once."""
    whys: dict[str, list[str]] = {}
    for gpu in gpus:
        for name, why in gpu.missing.items():
            if name in FIELDS and FIELDS[name] not in whys.setdefault(clean_line(why), []):
                whys[clean_line(why)].append(FIELDS[name])
    rows: list[Row] = []
    for why, fields in whys.items():
        if fields:
            rows += paragraph(f"N/A {', '.join(fields)}: {why}", width, view.palette.muted)
    return rows
