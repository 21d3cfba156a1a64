"""A real embedded server as a child process, for tests that speak HTTP to it."""

import contextlib
import json
import subprocess
import sys

import httpx2


def command(*arguments):
    return [sys.executable, "-m", "atts_core.embedded.server", *map(str, arguments)]


@contextlib.contextmanager
def running_server(model, *arguments, watch_parent=True):
    """Yields (client, process); the server is gone afterwards."""
    watching = ("--watch-parent",) if watch_parent else ()
    process = subprocess.Popen(
        command("--model", model, *watching, *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line, f"the server ended with status {process.wait()}"
        ready = json.loads(line)
        assert ready["event"] == "ready"
        with httpx2.Client(base_url=ready["url"], timeout=30, trust_env=False) as client:
            yield client, process
    finally:
        process.stdin.close()
        if not watch_parent:
            process.terminate()
        process.wait(10)
        process.stdout.close()


def events(response):
    """The JSON events of a stream, without the final [DONE], which must be there."""
    lines = [line for line in response.iter_lines() if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
