"""Reads the numbers out of a pickle without executing it.

The authors store per-question scores as a pickled dictionary {question: [floats]} inside an .npy. Unpickling
runs whatever a file says. This walks its instructions instead and builds plain data: a "call" in the pickle
only becomes a note of what would have been called, and the notes that numpy writes for its arrays and floats
are then read as the numbers they hold. Anything else is refused.
"""

import math
import pickletools
import struct
from dataclasses import dataclass
from typing import TypeVar

from atts_core.errors import SettingsError

_Kind = TypeVar("_Kind")


class _RefusedError(Exception):
    """What the pickle wants that plain data does not need."""


@dataclass(frozen=True)
class _Name:
    """A global that the pickle names; it is never looked up."""

    name: str


@dataclass
class _Note:
    """A call that is not made."""

    function: str
    arguments: tuple[object, ...]
    state: object = None


_MARK = object()
_NAMES = {
    f"numpy{core}.multiarray {name}": name
    for core in (".core", "._core")
    for name in ("_reconstruct", "scalar")
} | {"numpy ndarray": "ndarray", "numpy dtype": "dtype", "_codecs encode": "encode"}
_PUSHES = frozenset(
    f"{prefix}{kind}{size}"
    for prefix in ("", "BIN", "SHORT_BIN")
    for kind in ("INT", "LONG", "FLOAT", "UNICODE", "STRING", "BYTES")
    for size in ("", "1", "2", "4", "8")
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MOST_SCORES = 2_000_000


def read_pickled_scores(data: bytes, source: str) -> dict[str, list[float]]:
    """{question: scores} from a pickle of a dictionary of number lists, bare or in a 0-d numpy array.

    SettingsError for a pickle that would import or call anything, or that holds anything else.
    """
    try:
        return _scores(_plain(_Machine().run(data)))
    except _RefusedError as error:
        raise SettingsError(
            f"{source} holds a pickle that {error}; nothing of it was executed, and it is not used."
        ) from None
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, struct.error, RecursionError):
        raise SettingsError(f"{source} holds a damaged or foreign pickle; nothing of it is used.") from None


class _Machine:
    """The pickle machine without the instructions that do things."""

    def __init__(self) -> None:
        self.stack: list[object] = []
        self.memo: dict[int, object] = {}

    def run(self, data: bytes) -> object:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                return self.stack.pop()
            self.step(opcode.name, argument)
        raise ValueError("no end")

    def step(self, name: str, argument: object) -> None:  # noqa: PLR0912 - a table of instructions
        stack = self.stack
        if name in ("PROTO", "FRAME"):
            return
        if name in _PUSHES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _TUPLES:
            count = _TUPLES[name]
            items = tuple(stack[len(stack) - count :]) if count else ()
            del stack[len(stack) - count :]
            stack.append(items)
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("EMPTY_LIST", "EMPTY_DICT"):
            stack.append([] if name == "EMPTY_LIST" else {})
        elif name in ("TUPLE", "LIST", "DICT"):
            items = self.marked()
            stack.append(items if name == "TUPLE" else list(items) if name == "LIST" else _pairs(items))
        elif name in ("APPEND", "APPENDS"):
            items = self.marked() if name == "APPENDS" else (stack.pop(),)
            _expect(stack[-1], list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self.marked() if name == "SETITEMS" else self.popped(2)
            _expect(stack[-1], dict).update(_pairs(items))
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[_expect(argument, int)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[_expect(argument, int)])
        else:
            self.note(name, argument)

    def note(self, name: str, argument: object) -> None:
        stack = self.stack
        if name in ("GLOBAL", "STACK_GLOBAL"):
            wanted = str(argument) if name == "GLOBAL" else " ".join(str(part) for part in self.popped(2))
            if wanted not in _NAMES:
                raise _RefusedError(
                    f"asks for {wanted.replace(' ', '.')!r:.80}, which no list of numbers needs"
                )
            stack.append(_Name(_NAMES[wanted]))
        elif name == "REDUCE":
            function, arguments = self.popped(2)
            stack.append(_Note(_expect(function, _Name).name, _expect(arguments, tuple)))
        elif name == "BUILD":
            state = stack.pop()
            _expect(stack[-1], _Note).state = state
        else:
            raise _RefusedError(f"uses the instruction {name}, which no list of numbers needs")

    def popped(self, count: int) -> tuple[object, ...]:
        if len(self.stack) < count:
            raise IndexError(count)
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        return items

    def marked(self) -> tuple[object, ...]:
        for at in range(len(self.stack) - 1, -1, -1):
            if self.stack[at] is _MARK:
                items = tuple(self.stack[at + 1 :])
                del self.stack[at:]
                return items
        raise IndexError("no mark")


def _expect(value: object, kind: type[_Kind]) -> _Kind:
    if not isinstance(value, kind):
        raise TypeError(kind.__name__)
    return value


def _pairs(items: tuple[object, ...]) -> dict[object, object]:
    return dict(zip(items[::2], items[1::2], strict=True))


def _plain(value: object) -> object:
    """What numpy's notes hold: an array's list or bytes, a scalar's number; anything else stays as it is."""
    if not isinstance(value, _Note):
        return value
    if value.function == "scalar":
        kind, data = value.arguments
        return struct.unpack(_struct_of(kind), _expect(_plain(data), bytes))[0]
    if value.function == "encode":
        # How protocols 0 to 2 write bytes: as text whose characters are the bytes.
        return _expect(value.arguments[0], str).encode("latin-1")
    if value.function == "_reconstruct":
        _, shape, kind, _, content = _expect(value.state, tuple)
        content = _plain(content)
        if isinstance(content, bytes):
            code = _struct_of(kind)
            count = math.prod(_expect(shape, tuple))
            if count * struct.calcsize(code) != len(content):
                raise ValueError("size")
            return [number for (number,) in struct.iter_unpack(code, content)]
        items = _expect(content, list)
        return items[0] if shape == () and len(items) == 1 else items
    raise TypeError(value.function)


def _struct_of(kind: object) -> str:
    note = _expect(kind, _Note)
    order = _expect(note.state, tuple)[1]
    return {"<": "<", ">": ">", "|": "<"}[str(order)] + {"f8": "d", "f4": "f", "i8": "q", "i4": "i"}[
        str(note.arguments[0])
    ]


def _scores(value: object) -> dict[str, list[float]]:
    scores: dict[str, list[float]] = {}
    total = 0
    for key, numbers in _expect(_plain(value), dict).items():
        question = _plain(key)
        if not isinstance(question, int | str):
            raise TypeError("question")
        own = _plain(numbers)
        if not isinstance(own, list | tuple):
            raise TypeError("scores")
        total += len(own)
        if total > _MOST_SCORES:
            raise _RefusedError(f"holds more than {_MOST_SCORES:,} numbers")
        scores[str(question)] = [float(_number(_plain(number))) for number in own]
    return scores


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("number")
    return value
