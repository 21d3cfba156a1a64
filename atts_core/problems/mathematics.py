"""Mathematical equality of two answers, asked of a process of its own (`math_worker`).

Text of models is calculated with, so anything may happen: a tower of powers, a text that no parser ends on.
The process has limits of processor time and memory and is started again when it died. What a limit ends is
not known, and the same in every run: size is judged before anything is calculated, the seconds are of the
processor and not of the clock, and far more than a comparison takes. A process that died of something else is
started again and asked once more.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from typing import IO, Literal

Equality = Literal["equal", "different", "unknown"]

WALL_SECONDS = 120.0
"""How long an answer is waited for at all: far more than the processor time that the process gives itself."""
_KEPT_VARIABLES = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "VIRTUAL_ENV", "TMPDIR")
"""The process sees no key of ours."""


class Mathematics:
    """Compares answers; starts its process with the first question. Not safe for threads at once."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self.trouble = ""
        """Why the process does not work at all, in words; empty while it does."""
        self.restarts = 0

    def compare(self, gold: str, answer: str) -> Equality:
        """Whether `answer` equals `gold`. Unknown where a limit was met or no process can be had."""
        question = json.dumps({"gold": gold, "answer": answer}).encode() + b"\n"
        for _ in range(2):
            process = self._started()
            if process is None:
                return "unknown"
            verdict = self._ask(process, question)
            if verdict == "equal":
                return "equal"
            if verdict in ("different", "unreadable"):
                return "different"
            if verdict == "too-large":
                return "unknown"
            self.restarts += 1
            if self._end() == -signal.SIGXCPU:
                return "unknown"
        return "unknown"

    def close(self) -> None:
        """End the process; a question that is under way, in another thread, is then not known."""
        self.trouble = self.trouble or "it was closed"
        self._end()

    def _end(self) -> int | None:
        """End the process; gives its status, such as −SIGXCPU."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.kill()  # does nothing to one that died by itself
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        return process.wait()

    def _started(self) -> subprocess.Popen[bytes] | None:
        if self._process is not None or self.trouble:
            return self._process
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        try:
            self._process = subprocess.Popen(
                # -P: a math_verify.py in the user's folder is not ours
                [sys.executable, "-P", "-m", "atts_core.problems.math_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # ctrl-C is for the run, which ends this one itself
                env={**kept, "PYTHONHASHSEED": "0"},  # the order of sets is the same in every run
            )
        except OSError as error:
            self.trouble = f"no process for it could be started ({error.strerror})"
            return None
        if _line(self._process, WALL_SECONDS) != "ready":
            self._end()
            self.trouble = "its process ended at once; `pip install math-verify` may be missing"
        return self._process

    def _ask(self, process: subprocess.Popen[bytes], question: bytes) -> str:
        """The process's word; empty where it died or is stuck."""
        assert process.stdin is not None  # noqa: S101  # a pipe, as asked for above
        try:
            process.stdin.write(question)
            process.stdin.flush()
        except OSError:
            return ""
        return _line(process, WALL_SECONDS)


def _line(process: subprocess.Popen[bytes], seconds: float) -> str:
    """The next line that a process writes; empty where it ends or `seconds` pass first."""
    pipe: IO[bytes] | None = process.stdout
    assert pipe is not None  # noqa: S101  # a pipe, as asked for above
    end = time.monotonic() + seconds
    written = b""
    with selectors.DefaultSelector() as waiting:  # select() itself knows no more than 1,024 open files
        waiting.register(pipe, selectors.EVENT_READ)
        while not written.endswith(b"\n"):
            if not waiting.select(max(end - time.monotonic(), 0)):
                return ""
            read = os.read(pipe.fileno(), 4096)
            if not read:
                return ""
            written += read
    return written.decode(errors="replace").strip()
