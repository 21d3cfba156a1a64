"""What is written to a terminal, beside the screen: never waited for, complete, told when it cannot be."""

import os
import pty
import queue

from textual.message import Message

from atts_tui import driver
from atts_tui.driver import Output, TerminalCaughtUp, TerminalGone


def test_everything_is_written_in_order_before_the_end() -> None:
    read, write = os.pipe()
    output = Output(write, lambda _: None)
    output.start()
    for number in range(100):
        output.write(f"{number}·")
    output.stop()
    os.close(write)
    with os.fdopen(read, encoding="utf-8") as said:
        assert said.read() == "".join(f"{number}·" for number in range(100))


def test_pictures_are_left_out_where_nobody_reads_and_the_last_words_are_not() -> None:
    read, write = os.pipe()
    told: queue.Queue[Message] = queue.Queue()
    output = Output(write, told.put)
    output.start()
    frame = "x" * 100_000
    for _ in range(100):
        output.write(frame)
    assert output._given <= driver.MOST_WAITING + 2 * len(frame)
    with os.fdopen(read, "rb", buffering=0) as said:
        left = output._given
        while left:
            left -= len(said.read(left))
        assert isinstance(told.get(timeout=10), TerminalCaughtUp)
        for _ in range(30):
            output.write(frame)
        output.last_words = True
        output.write("the end")
        output.stop()  # gives up: nobody reads
        assert output.is_alive()
        os.set_blocking(read, False)
        words = b""
        while output.is_alive() or words[-7:] != b"the end":
            words += said.read(1 << 20) or b""
        assert words.endswith(b"the end")
    os.close(write)


def test_a_terminal_that_is_gone_is_told_once_even_where_nothing_is_written() -> None:
    master, slave = pty.openpty()
    told: queue.Queue[Message] = queue.Queue()
    output = Output(slave, told.put)
    output.start()
    os.close(master)
    assert isinstance(told.get(timeout=10), TerminalGone)
    output.write("nobody reads this")
    output.stop()
    assert told.empty()
    os.close(slave)
