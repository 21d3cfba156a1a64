"""Plots as SVG, by a few small functions: axes, dots, lines, bars and intervals, nothing else.

Colours are classes (`c-draft`, `c-target`, …) that the page's style sheet gives a meaning in light and dark.
All text is escaped. Coordinates are user units, which the page shows as pixels at most.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

LEFT, RIGHT, TOP, BOTTOM = 64, 16, 12, 44
"""Room around the plot for the words of its axes."""
MOST_TICKS = 8


@dataclass
class Axis:
    """From `low` to `high`; `log`: equal factors take equal room. `percent`: values are shares."""

    low: float
    high: float
    label: str
    log: bool = False
    percent: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError("an axis ends at a number")
        if self.log:
            self.low = max(self.low, 1e-12)
        if self.high <= self.low:
            self.high = self.low * 1.01 if self.log else self.low + 1.0

    def share(self, value: float) -> float:
        """Where a value lies, 0 at `low` and 1 at `high`; beyond them at the nearer end."""
        if self.log:
            place = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            place = (value - self.low) / (self.high - self.low)
        return min(max(place, 0.0), 1.0)

    def ticks(self) -> list[float]:
        """Round values on the axis."""
        if self.log:
            return _log_ticks(self.low, self.high)
        step = _round_step((self.high - self.low) / MOST_TICKS)
        if self.whole:
            step = max(step, 1.0)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]

    def said(self, value: float) -> str:
        """A value as it stands at its tick."""
        if self.percent:
            return f"{value * 100:g} %"
        if abs(value) >= 10_000:
            return f"{value / 1000:,.4g}k"
        return f"{value:.4g}"


@dataclass
class Plot:
    """One plot; what is drawn first lies lowest."""

    x: Axis
    y: Axis
    width: int = 760
    height: int = 260
    title: str = ""
    """Read by screen readers."""
    _parts: list[str] = field(default_factory=list)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """A point in user units."""
        across, up = self.width - LEFT - RIGHT, self.height - TOP - BOTTOM
        return LEFT + self.x.share(x) * across, TOP + (1 - self.y.share(y)) * up

    def dots(self, points: Iterable[tuple[float, float]], colour: str, radius: float = 2.0) -> None:
        """A dot at each point."""
        made = "".join(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"/>' for x, y in (self.at(*p) for p in points)
        )
        self._parts.append(f'<g class="{colour}">{made}</g>')

    def line(self, points: Sequence[tuple[float, float]], colour: str, *, dashed: bool = False) -> None:
        """A line through the points."""
        if not points:
            return
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.at(*p) for p in points))
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self._parts.append(f'<polyline class="l-{colour[2:]}"{dash} points="{path}"/>')

    def rule(self, y: float, colour: str, said: str = "") -> None:
        """A dashed line across, with a word at its right end."""
        self.line([(self.x.low, y), (self.x.high, y)], colour, dashed=True)
        if said:
            _, up = self.at(self.x.high, y)
            self._parts.append(
                f'<text class="{colour}" x="{self.width - RIGHT}" y="{up - 4:.1f}" text-anchor="end">'
                f"{escape(said)}</text>"
            )

    def interval(self, x: float, low: float, high: float, colour: str) -> None:
        """An upright line with ends."""
        across, first = self.at(x, low)
        _, last = self.at(x, high)
        ends = "".join(f"M{across - 4:.1f},{y:.1f}h8" for y in (first, last))
        self._parts.append(f'<path class="l-{colour[2:]}" d="M{across:.1f},{first:.1f}V{last:.1f}{ends}"/>')

    def box(self, start: float, end: float, y: float, height: float, colour: str) -> None:
        """A filled box from `start` to `end`, `height` user units high, its middle at `y`."""
        first, middle = self.at(start, y)
        last, _ = self.at(end, y)
        self._parts.append(
            f'<rect class="{colour}" x="{first:.1f}" y="{middle - height / 2:.1f}"'
            f' width="{max(last - first, 0.5):.1f}" height="{height:.1f}"/>'
        )

    def word(self, x: float, y: float, said: str, colour: str = "c-text") -> None:
        """A word beside a point."""
        across, up = self.at(x, y)
        self._parts.append(
            f'<text class="{colour}" x="{across + 8:.1f}" y="{up + 4:.1f}">{escape(said)}</text>'
        )

    def svg(self, *, y_ticks: bool = True) -> str:
        """The whole plot."""
        bottom, right = self.height - BOTTOM, self.width - RIGHT
        label = escape(self.title, quote=True)
        made = [f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{label}">']
        for value in self.x.ticks():
            across, _ = self.at(value, self.y.low)
            made.append(
                f'<path class="grid" d="M{across:.1f},{TOP}V{bottom}"/><text class="c-muted" x="{across:.1f}"'
                f' y="{bottom + 16}" text-anchor="middle">{escape(self.x.said(value))}</text>'
            )
        for value in self.y.ticks() if y_ticks else ():
            _, up = self.at(self.x.low, value)
            made.append(
                f'<path class="grid" d="M{LEFT},{up:.1f}H{right}"/><text class="c-muted" x="{LEFT - 6}"'
                f' y="{up + 4:.1f}" text-anchor="end">{escape(self.y.said(value))}</text>'
            )
        made.append(f'<path class="axis" d="M{LEFT},{TOP}V{bottom}H{right}"/>')
        middle = (LEFT + right) / 2
        made.append(
            f'<text class="c-muted" x="{middle:.0f}" y="{self.height - 8}" text-anchor="middle">'
            f"{escape(self.x.label)}</text>"
        )
        upright = (TOP + bottom) / 2
        made.append(
            f'<text class="c-muted" transform="translate(14 {upright:.0f}) rotate(-90)"'
            f' text-anchor="middle">{escape(self.y.label)}</text>'
        )
        return "".join([*made, *self._parts, "</svg>"])


def _round_step(step: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= step * (1 - 1e-9))


def _log_ticks(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for factors in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        found = [
            factor * 10.0**power
            for power in range(first, last + 1)
            for factor in factors
            if low * (1 - 1e-9) <= factor * 10.0**power <= high * (1 + 1e-9)
        ]
        if len(found) >= 3:
            return found
    return Axis(low, high, "").ticks()
