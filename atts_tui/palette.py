"""Colours and glyphs by meaning. Every meaning has both, so that a screen without colour says the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from rich.color import Color as RichColor
from rich.style import Style
from textual.color import Color

SHADES = 4
"""Shades of a verdict: how surprising the step was, in quarters of the room below or above the threshold."""


@dataclass(frozen=True)
class Glyphs:
    """One character a meaning (`right` and `wrong` may be words)."""

    accept: str = "■"
    take_over: str = "◆"
    unverifiable: str = "▲"
    draft: str = "□"
    verify: str = "?"
    answer: str = "="
    target: str = "◇"
    queued: str = "…"
    scored: str = "▪"
    open_turn: str = "·"
    selected: str = "▸"
    right: str = "✓"
    wrong: str = "✗"
    live: str = "●"
    paused: str = "‖"
    lost: str = "!"
    bar: str = "▇"
    line: str = "━"
    bar_rest: str = "─"
    playing: str = "▶"
    standing: str = "‖"
    handle: str = "●"
    threshold: str = "╌"
    tick: str = "┊"
    lane_draft: str = "▄"
    lane_verify: str = "░"
    lane_target: str = "▇"
    lane_wait: str = "·"
    margin: str = "▌"
    margin_discarded: str = "┊"
    cursor: str = "▁"
    scroll_thumb: str = "┃"
    scroll_track: str = "│"
    dot_accept: str = "•"
    dot_take_over: str = "◆"
    dot_unverifiable: str = "▲"
    axis_vertical: str = "│"
    axis_corner: str = "└"
    axis_horizontal: str = "─"
    blocks: str = " ▁▂▃▄▅▆▇█"
    separator: str = "·"
    more: str = "…"
    up_down: str = "↑↓"
    left_right: str = "←→"
    plain: bool = False
    """Only ASCII may reach the terminal."""

    def safe(self, text: str) -> str:
        """The text, where only ASCII may be shown with every other character replaced, cell for cell."""
        if not self.plain or text.isascii():
            return text
        return "".join(
            character if character < "\x80" else _ASCII.get(character, "?" * _cells(character))
            for character in text
        )


_ASCII = {
    "·": "-", "•": "o", "…": ".", "–": "-", "—": "-", "−": "-", "×": "x", "→": ">", "←": "<", "↑": "^",
    "↓": "v", "≤": "<", "≥": ">", "≈": "~", "“": '"', "”": '"', "‘": "'", "’": "'", "│": "|", "─": "-",
    "╷": "|", "█": "#", "✓": "Y", "✗": "N", "▸": ">", "⏎": "$", "α": "a", "ρ": "r", "π": "p", "°": "o",
    "\N{NO-BREAK SPACE}": " ",
}  # fmt: skip


def _cells(character: str) -> int:
    from rich.cells import get_character_cell_size  # noqa: PLC0415  # only where only ASCII may be shown

    return get_character_cell_size(character)


UNICODE_GLYPHS = Glyphs()

ASCII_GLYPHS = Glyphs(
    accept="A", take_over="T", unverifiable="!", draft="d", verify="?", target="t", queued=".", scored="s",
    open_turn=".", selected=">", right="ok", wrong="no", live="*", paused="=", bar="#", line="=",
    bar_rest=".", playing=">", standing="=", handle="o",
    threshold="-", tick="|", lane_draft="d", lane_verify="?", lane_target="T", lane_wait=".",
    margin="|", margin_discarded=":", cursor="_",
    scroll_thumb="#",
    scroll_track="|", dot_accept="o", dot_take_over="x", dot_unverifiable="!", axis_vertical="|",
    axis_corner="+", axis_horizontal="-", blocks=" .:-=+*#@", separator="-", more=".",
    up_down="up/dn", left_right="<>", plain=True,
)  # fmt: skip


@dataclass(frozen=True)
class Palette:
    """Styles by meaning; each names a foreground only, but for `selected`, `badge` and the badges."""

    text: Style
    strong: Style
    muted: Style
    faint: Style
    accent: Style
    accept: tuple[Style, ...]
    """From the least surprising of the accepted steps to the most."""
    take_over: tuple[Style, ...]
    """From the least surprising of the steps taken over to the most."""
    draft: Style
    target: Style
    discarded: Style
    threshold: Style
    right: Style
    wrong: Style
    warning: Style
    error: Style
    boxed: Style
    selected: Style
    """What the selected row has more: a background, or, with 16 colours that we cannot know, weight."""
    brand: Style
    badges: Mapping[str, Style]
    """Background and foreground of the run's state, by its word."""

    def shade(self, verdict: str, p: float | None, alpha: float) -> Style:
        """The style of a decided step; brighter is more surprising."""
        if verdict == "accept":
            share = p / alpha if p is not None and alpha > 0 else 0.0
            return self.accept[min(int(share * SHADES), SHADES - 1)]
        share = (p - alpha) / (1 - alpha) if p is not None and alpha < 1 else 1.0
        return self.take_over[min(max(int(share * SHADES), 0), SHADES - 1)]


def palette_from(variables: Mapping[str, str]) -> Palette:
    """The palette of a theme, from the variables that Textual makes of it and our own `atts-…` ones."""

    def color(name: str, fallback: str) -> Color:
        return _parse(variables.get(f"atts-{name}") or variables.get(fallback) or fallback)

    ansi = color("text", "foreground").ansi is not None
    background = color("background", "background")
    text = color("text", "foreground")
    muted = color("muted", "foreground")
    faint = color("faint", "foreground")
    accept = color("accept", "primary")
    take_over = color("take-over", "warning")
    error = color("error", "error")
    right = color("right", "success")
    warning = color("warning", "warning")
    accent = color("accent", "accent")
    on_badge = color("on-badge", "background")

    def on(foreground: Color, backdrop: Color) -> Style:
        if ansi:
            return Style(color=foreground.rich_color, reverse=True, bold=True)
        return Style(color=backdrop.rich_color, bgcolor=foreground.rich_color, bold=True)

    return Palette(
        text=_style(text),
        strong=_style(text, bold=True),
        muted=_style(muted, dim=ansi),
        faint=_style(faint, dim=ansi),
        accent=_style(accent),
        accept=_shades(accept, text, background, ansi),
        take_over=_shades(take_over, text, background, ansi),
        draft=_style(accept),
        target=_style(take_over),
        discarded=_style(muted, strike=True, dim=ansi),
        threshold=_style(color("threshold", "accent")),
        right=_style(right, bold=True),
        wrong=_style(error, bold=True),
        warning=_style(warning, bold=True),
        error=_style(error, bold=True),
        boxed=_style(color("boxed", "success"), bold=True, underline=True),
        selected=Style(bold=True) if ansi else Style(bgcolor=color("selected", "panel").rich_color),
        brand=on(accent, on_badge),
        badges={
            "LIVE": on(right, on_badge),
            "DONE": on(accept, on_badge),
            "PAUSED": on(warning, on_badge),
            "FROZEN": on(accent, on_badge),
            "WAITING": on(muted, on_badge),
            "INCOMPLETE": on(warning, on_badge),
            "INTERRUPTED": on(warning, on_badge),
            "LOST": on(error, on_badge),
            "FAILED": on(error, on_badge),
            "GONE": on(error, on_badge),
            "STALLED": on(warning, on_badge),
            "REPLAY": on(accent, on_badge),
        },
    )


def _style(color: Color, **attributes: bool) -> Style:
    found: RichColor = color.rich_color
    return Style(color=found, **{name: True for name, value in attributes.items() if value})  # type: ignore[arg-type]


def _shades(base: Color, text: Color, background: Color, ansi: bool) -> tuple[Style, ...]:
    """Four steps from calm to bright around a colour; with 16 colours dim, plain, plain, bold."""
    if ansi:
        return (_style(base, dim=True), _style(base), _style(base), _style(base, bold=True))
    return (
        _style(base.blend(background, 0.45)),
        _style(base.blend(background, 0.18)),
        _style(base),
        _style(base.blend(text, 0.45)),
    )


@lru_cache(64)
def _parse(value: str) -> Color:
    return Color.parse(value)
