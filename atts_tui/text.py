"""Foreign text made safe and cut to cells: nothing a model writes may leave its own place on the screen.

What comes out of `clean` holds no control character, no mark that changes the direction of writing, nothing
that joins characters into one glyph, and no more than a few combining marks on a letter. Its width on a
terminal is therefore the sum of the widths of its characters, which is what the frame is built on.
"""

import re
import unicodedata
from collections.abc import Iterator

from rich.cells import cell_len, get_character_cell_size

COMBINING_KEPT = 2
"""Marks kept on one letter: enough for every living script, too few for a flood to cost anything."""

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

_UNSAFE_ASCII = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # OSC, DCS and kin
    r"|\x1b[ -/]*[0-~]"
)
_REGIONAL_A = 0x1F1E6
_REGIONAL_Z = 0x1F1FF
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_VARIATION_SELECTORS = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))


def clean(text: str) -> str:
    """The text without anything that a terminal could obey; newlines stay, tabs become spaces."""
    if not text.isprintable():
        text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", "    ")
        text = _SEQUENCES.sub("", text)
        text = _UNSAFE_ASCII.sub("", text)
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _NOT_ASCII.sub(_clean_found, unicodedata.normalize("NFC", text)))


def clean_line(text: str) -> str:
    """The same on one line: newlines and runs of spaces become one space."""
    return " ".join(clean(text).split())


def _clean_found(found: re.Match[str]) -> str:
    """A run of characters beyond ASCII; marks with no letter before them on their line are dropped."""
    begins_line = found.start() == 0 or found.string[found.start() - 1] == "\n"
    return _clean_run(found.group(), COMBINING_KEPT if begins_line else 0)


def _clean_run(run: str, marks: int) -> str:
    kept: list[str] = []
    for character in run:
        code = ord(character)
        if _REGIONAL_A <= code <= _REGIONAL_Z:
            kept.append(chr(ord("A") + code - _REGIONAL_A))
            marks = 0
            continue
        if code in _SKIN_TONES or any(code in block for block in _VARIATION_SELECTORS):
            continue
        category = unicodedata.category(character)
        if category in {"Cc", "Cf"}:
            continue
        if category in {"Cs", "Co", "Cn"}:
            kept.append(REPLACEMENT)
        elif category in {"Zl", "Zp"}:
            kept.append("\n")
            marks = COMBINING_KEPT
            continue
        elif category == "Zs":
            kept.append(" ")
        elif category in {"Mn", "Me", "Mc"} or not get_character_cell_size(character):
            marks += 1
            if marks > COMBINING_KEPT:
                continue
            kept.append(character)
            continue
        else:
            kept.append(character)
        marks = 0
    return "".join(kept)


def wrap(text: str, width: int) -> list[tuple[int, int]]:
    """Where to cut cleaned text into lines of at most `width` cells: spans (start, end) of indices.

    Cuts at spaces where there are any, which then belong to no line, and inside a word where there are none.
    """
    width = max(width, 2)  # a wide character has to fit
    spans: list[tuple[int, int]] = []
    start = 0
    for line in text.split("\n"):
        end = start + len(line)
        spans.extend(_wrap_line(text, start, end, width))
        start = end + 1
    return spans


def _wrap_line(text: str, start: int, end: int, width: int) -> Iterator[tuple[int, int]]:
    narrow = text.isascii() or text[start:end].isascii()
    while True:
        fitting = min(start + width, end) if narrow else _fitting(text, start, end, width)
        if fitting >= end:
            yield start, end
            return
        space = text.rfind(" ", start, fitting + 1)
        if space > start:
            yield start, space
            start = space + 1
        else:
            yield start, fitting
            start = fitting


def _fitting(text: str, start: int, end: int, width: int) -> int:
    """The first index whose character no longer fits into `width` cells from `start`."""
    cells = 0
    for index in range(start, end):
        cells += get_character_cell_size(text[index])
        if cells > width:
            return index
    return end


def shorten(text: str, width: int, ellipsis: str = "…") -> str:
    """The text if it fits into `width` cells, else its beginning and an ellipsis."""
    if cell_len(text) <= width:
        return text
    room = width - len(ellipsis)
    if room < 0:
        return ""
    return text[: _fitting(text, 0, len(text), room)] + ellipsis


def pad(text: str, width: int, *, right: bool = False, ellipsis: str = "…") -> str:
    """The text in exactly `width` cells, shortened or filled with spaces; `right` fills before it."""
    text = shorten(text, width, ellipsis)
    fill = " " * (width - cell_len(text))
    return fill + text if right else text + fill


def boxed_spans(text: str) -> list[tuple[int, int]]:
    r"""Where `\boxed{…}` stands, by balanced braces; an unclosed one reaches to the end of the text."""
    spans: list[tuple[int, int]] = []
    search = 0
    while (start := text.find("\\boxed{", search)) >= 0:
        depth = 0
        index = start + len("\\boxed")
        while index < len(text):
            if text[index] == "{":
                depth += 1
            elif text[index] == "}":
                depth -= 1
                if depth == 0:
                    break
            index += 1
        spans.append((start, min(index + 1, len(text))))
        search = index
    return spans
