r"""LaTeX as a person reads it in a terminal: \frac{a}{b} as a/b, x^2 as x², \boxed{…} marked.

Only what Unicode can show is changed; anything else, and anything unclosed, stays as the model wrote it. One
pass over the text, so that a long step costs no more than its length.
"""

import re
from typing import NamedTuple

MOST_NESTED = 12
"""Braces within braces that are looked into; deeper ones stay as they are."""

_SYMBOLS = {
    "times": "×", "cdot": "·", "div": "÷", "pm": "±", "mp": "∓", "le": "≤", "leq": "≤", "ge": "≥", "geq": "≥",
    "ne": "≠", "neq": "≠", "approx": "≈", "equiv": "≡", "sim": "∼", "infty": "∞", "to": "→",
    "rightarrow": "→",
    "leftarrow": "←", "Rightarrow": "⇒", "implies": "⇒", "iff": "⇔", "in": "∈", "notin": "∉", "subset": "⊂",
    "subseteq": "⊆", "cup": "∪", "cap": "∩", "emptyset": "∅", "forall": "∀", "exists": "∃", "ldots": "…",
    "dots": "…", "cdots": "⋯", "circ": "°", "degree": "°", "angle": "∠", "triangle": "△", "perp": "⊥",
    "parallel": "∥", "sum": "∑", "prod": "∏", "int": "∫", "partial": "∂", "nabla": "∇", "therefore": "∴",
    "because": "∵", "star": "⋆", "mid": "|", "vert": "|", "lvert": "|", "rvert": "|", "lfloor": "⌊",
    "rfloor": "⌋", "lceil": "⌈", "rceil": "⌉", "langle": "⟨", "rangle": "⟩", "prime": "′",
    "hbar": "ℏ", "ell": "ℓ",
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "varepsilon": "ε", "zeta": "ζ",
    "eta": "η", "theta": "θ", "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ",
    "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "upsilon": "υ", "phi": "φ", "varphi": "φ", "chi": "χ",
    "psi": "ψ", "omega": "ω", "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Xi": "Ξ", "Pi": "Π",
    "Sigma": "Σ", "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω", "quad": "  ", "qquad": "    ",
    "left": "", "right": "", "big": "", "Big": "", "bigg": "", "displaystyle": "", "limits": "",
    "sin": "sin", "cos": "cos", "tan": "tan", "log": "log", "ln": "ln", "exp": "exp", "lim": "lim",
    "gcd": "gcd", "min": "min", "max": "max", "mod": "mod", "bmod": "mod", "deg": "deg", "det": "det",
}  # fmt: skip
_ESCAPED = {",": " ", ";": " ", ":": " ", " ": " ", "!": "", "%": "%", "$": "$", "{": "{", "}": "}", "#": "#",
            "&": "&", "_": "_", "(": "", ")": "", "[": "", "]": ""}  # fmt: skip
_PLAIN = frozenset({
    "text", "textbf", "textit", "textrm", "mathrm", "mathbf", "mathit", "mathsf", "operatorname", "mbox",
})  # fmt: skip
"""Of these only what is in the braces is shown."""
_BOXES = frozenset({"boxed", "fbox"})
_FRACTIONS = frozenset({"frac", "dfrac", "tfrac", "cfrac"})
_BOARD = {"R": "ℝ", "N": "ℕ", "Z": "ℤ", "Q": "ℚ", "C": "ℂ", "P": "ℙ"}
_UP = dict(
    zip("0123456789+-=()niabcdefghjklmoprstuvwxyz", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱᵃᵇᶜᵈᵉᶠᵍʰʲᵏˡᵐᵒᵖʳˢᵗᵘᵛʷˣʸᶻ", strict=True)
)
_DOWN = dict(zip("0123456789+-=()aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", strict=True))
_COMMAND = re.compile(r"\\([A-Za-z]+)[ \t]?")
_ATOM = re.compile(r"[\w.°′²³√∛π]+\Z")
_DOLLARS = re.compile(r"\$\$([^$]{1,2000}?)\$\$|(?<![\\$\w])\$(?! )([^$\n]{1,400}?)(?<![ \\])\$(?!\w)")
_WORTH = re.compile(r"[\\$^_]")


class Readable(NamedTuple):
    """Text for a person, and where in it boxed answers stand (start, end)."""

    text: str
    boxed: list[tuple[int, int]]


def readable(text: str) -> Readable:
    """The text with its LaTeX made readable where that can be done; it must have been cleaned before."""
    if not _WORTH.search(text):
        return Readable(text, [])
    reader = _Reader(_DOLLARS.sub(lambda found: found[1] or found[2], text))
    reader.read(0)
    return Readable("".join(reader.out), reader.boxed)


class _Reader:
    """Where it stands in the source, and what was written so far."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0
        self.out: list[str] = []
        self.length = 0
        self.boxed: list[tuple[int, int]] = []
        self._ends = _matching(source)

    def write(self, text: str) -> None:
        if text:
            self.out.append(text)
            self.length += len(text)

    def read(self, depth: int, end: int | None = None) -> None:
        """Everything up to `end` of the source."""
        source, end = self.source, len(self.source) if end is None else end
        while self.at < end:
            following = _next(source, self.at, end)
            self.write(source[self.at : following])
            self.at = following
            if following < end:
                self.special(depth, end)

    def special(self, depth: int, end: int) -> None:
        character = self.source[self.at]
        if character == "\\":
            self.command(depth, end)
        elif not self.script(character, depth, end):
            self.write(character)
            self.at += 1

    def command(self, depth: int, end: int) -> None:
        found = _COMMAND.match(self.source, self.at, end)
        if found is None:
            following = self.source[self.at + 1 : self.at + 2]
            known = _ESCAPED.get(following)
            self.write("\\" + following if known is None else known)
            self.at = min(self.at + 1 + len(following), end)
            return
        name, begin = found[1], self.at
        after = found.end(1)
        if name in _SYMBOLS:
            self.at = found.end() if name in ("left", "right") else after
            self.write(_SYMBOLS[name])
        elif depth < MOST_NESTED and self.arguments(name, after, depth):
            pass
        else:
            self.write(self.source[begin:after])
            self.at = after

    def arguments(self, name: str, at: int, depth: int) -> bool:
        """A command with braces; false where it is none of ours or is not closed."""
        if name in _FRACTIONS:
            return self.fraction(at, depth)
        if name == "sqrt":
            return self.root(at, depth)
        close = self._ends.get(at)
        if close is None or not (name in _PLAIN or name in _BOXES or name == "mathbb"):
            return False
        begin = self.length
        if name == "mathbb":
            letter = self.source[at + 1 : close]
            self.write(_BOARD.get(letter, letter))
        else:
            self.at = at + 1
            self.read(depth + 1, close)
        self.at = close + 1
        if name in _BOXES:
            self.boxed.append((begin, self.length))
        return True

    def fraction(self, at: int, depth: int) -> bool:
        """One above the other, beside each other."""
        close = self._ends.get(at)
        if close is None or self._ends.get(close + 1) is None:
            return False  # before anything is read: reading twice at each depth would take for ever
        above, below = self.braces(at, depth), self.braces(close + 1, depth)
        self.write(f"{_group(above)}/{_group(below)}")
        return True

    def root(self, at: int, depth: int) -> bool:
        """A square, cube or fourth root."""
        sign = "√"
        close = self.source.find("]", at, at + 8) if self.source[at : at + 1] == "[" else -1
        if close > 0:
            sign, at = {"3": "∛", "4": "∜"}.get(self.source[at + 1 : close], ""), close + 1
        if not sign or at not in self._ends:
            return False
        self.write(sign + _group(self.braces(at, depth)))
        return True

    def braces(self, at: int, depth: int) -> str:
        """What is in the braces at `at`, which close, made readable."""
        close = self._ends[at]
        kept, self.out, length, boxed = self.out, [], self.length, len(self.boxed)
        self.at = at + 1
        self.read(depth + 1, close)
        found = "".join(self.out)
        self.out, self.length, self.at = kept, length, close + 1
        del self.boxed[boxed:]
        return found

    def script(self, character: str, depth: int, end: int) -> bool:
        """Something raised or lowered, where it is about one letter, a number or a bracket."""
        if character not in "^_" or depth >= MOST_NESTED or not self._on_symbol():
            return False
        table = _UP if character == "^" else _DOWN
        following = self.source[self.at + 1 : self.at + 2]
        if following == "{":
            if self.at + 1 not in self._ends:
                return False
            inner = self.braces(self.at + 1, depth)
            if inner == "°" and character == "^":
                self.write("°")
            elif inner and all(letter in table for letter in inner):
                self.write("".join(table[letter] for letter in inner))
            else:
                self.write(character + (inner if len(inner) == 1 else f"({inner})"))
            return True
        if self.source.startswith("\\circ", self.at + 1) and character == "^":
            self.write("°")
            self.at += 6
            return True
        later = self.source[self.at + 2 : self.at + 3]
        if following in table and self.at + 1 < end and not (later.isalnum() and following.isalpha()):
            self.write(table[following])
            self.at += 2
            return True
        return False

    def _on_symbol(self) -> bool:
        """Whether what stands before is one letter, a digit or a closing bracket, not a word."""
        before = self.source[max(self.at - 2, 0) : self.at]
        if not before:
            return False
        last = before[-1]
        return last in ")]}|" or last.isdigit() or (last.isalpha() and not before[:-1].isalpha())


def _next(source: str, at: int, end: int) -> int:
    """Where the next character stands that may mean something."""
    found = _SPECIAL.search(source, at, end)
    return found.start() if found else end


_SPECIAL = re.compile(r"[\\^_]")


def _matching(source: str) -> dict[int, int]:
    """By place of each opening brace, that of its closing one."""
    ends: dict[int, int] = {}
    open_: list[int] = []
    skip = False
    for place, character in enumerate(source):
        if skip:
            skip = False
        elif character == "\\":
            skip = True
        elif character == "{":
            open_.append(place)
        elif character == "}" and open_:
            ends[open_.pop()] = place
    return ends


def _group(text: str) -> str:
    """In brackets unless it is one number, name or bracket already."""
    text = text.strip()
    return text if _ATOM.match(text) or not text else f"({text})"
