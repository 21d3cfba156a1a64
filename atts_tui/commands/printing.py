"""What programs read on standard output."""

import sys

import msgspec


def print_json(what: object) -> None:
    """One JSON value over several lines: UTF-8, whatever the encoding of the terminal is."""
    sys.stdout.flush()
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(what)) + b"\n")
    sys.stdout.buffer.flush()
