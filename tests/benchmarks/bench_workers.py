"""One model on 1, 2 and 4 servers: given as several URLs, and behind a real sglang-router.

    python tests/benchmarks/bench_workers.py [--router PYTHON]

PYTHON is one that has sglang-router 0.3.2 (`pip install --no-deps sglang-router==0.3.2`, then setproctitle,
aiohttp, fastapi, orjson and uvicorn). Each server is the embedded target held to 12 tokens a second and
stream, 8 streams at once, so that one server is a bottleneck of 96 tokens a second that no faster machine
would widen. A whole run of 10 problems with 8 samples each goes over them, both roles on the same servers.

Measured on two shared cores under a load of 0.3 to 1, Python 3.11, sglang-router 0.3.2 with `cache_aware`:

| servers | several URLs: seconds, tokens/s, found in prefix caches | router: the same |
|---|---|---|
| 1 | 86.3, 90, 88 % | 85.9, 91, 88 % |
| 2 | 44.9, 173, 85 % | 50.1, 155, 87 % |
| 4 | 24.4, 319, 84 % | 27.1, 288, 88 % |

This process used 1 to 4 % of a core. A run of 80 samples on 32 places has an end at which places are empty.
Under a load of 11 to 20 it was 79, 147, 282 and 82, 127, 236 tokens/s.
"""

# ruff: noqa: T201  # it prints its figures

import argparse
import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import httpx2

from atts_core.bus import Bus
from atts_core.config import Given, load
from atts_core.engine.session import open_session
from atts_core.problems.load import Request, load_problems
from atts_core.state import RunState

PACE, AT_ONCE, PLACES = 12.0, 8, 8
PROBLEMS, SAMPLES = 10, 8


@contextlib.contextmanager
def workers(count: int) -> Iterator[list[str]]:
    """So many servers with a latency of their own; their URLs."""
    command = [sys.executable, "-m", "atts_core.embedded.server", "--model", "target", "--watch-parent"]
    started = [
        subprocess.Popen(
            [*command, "--pace", str(PACE), "--max-running", str(AT_ONCE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    try:
        yield [json.loads(process.stdout.readline())["url"] for process in started if process.stdout]
    finally:
        for process in started:
            process.kill()
            process.wait()


@contextlib.contextmanager
def router(python: str, urls: Sequence[str]) -> Iterator[str]:
    """A real sglang-router in front of them; its URL."""
    ports = []
    for _ in range(2):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(str(probe.getsockname()[1]))
    command = [python, "-m", "sglang_router.launch_router", "--host", "127.0.0.1", "--port", ports[0]]
    process = subprocess.Popen(
        [*command, "--worker-urls", *urls, "--policy", "cache_aware", "--prometheus-port", ports[1]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{ports[0]}"
    try:
        for _ in range(300):
            with contextlib.suppress(httpx2.HTTPError):
                if httpx2.get(f"{url}/readiness").json().get("healthy_workers") == len(urls):
                    break
            time.sleep(0.2)
        yield url
    finally:
        process.kill()
        process.wait()


def cached(urls: Sequence[str]) -> float:
    """The share of prompt tokens that the servers found in their prefix caches."""
    totals = {"sglang:cached_tokens_total": 0.0, "sglang:prompt_tokens_total": 0.0}
    for url in urls:
        for line in httpx2.get(f"{url}/metrics").text.splitlines():
            name = line.partition("{")[0]
            if name in totals:
                totals[name] += float(line.rpartition(" ")[2])
    hit, asked = totals.values()
    return hit / asked if asked else 0.0


async def run(urls: Sequence[str], places: int) -> tuple[float, int, float]:
    """Seconds, tokens written, and this process's CPU seconds of a whole run."""
    given = Given(
        draft=tuple(urls),
        target=tuple(urls),
        samples=SAMPLES,
        seed=1,
        mode="marginal",
        draft_concurrency=places,
        target_concurrency=places,
    )
    problems = load_problems(Request(dataset="builtin", part="test", limit=PROBLEMS))
    async with open_session(load(given, {}), {}) as session:
        bus = Bus()
        subscription = bus.subscribe()
        engine = await session.start(bus, problems, command="bench")
        began, cpu = time.perf_counter(), time.process_time()
        assert await engine.run() == "done"
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    state = RunState().fold(subscription.drain())
    return seconds, state.draft_tokens + state.target_tokens, cpu


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--router", metavar="PYTHON")
    arguments = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}")
    print("servers  how       seconds  tokens/s  prefix cache  this process's CPU")
    for count in (1, 2, 4):
        for how in ("URLs", "router") if arguments.router else ("URLs",):
            with contextlib.ExitStack() as stack:
                urls = stack.enter_context(workers(count))
                if how == "router":
                    front = [stack.enter_context(router(arguments.router, urls))]
                    seconds, tokens, cpu = asyncio.run(run(front, PLACES * count))
                else:
                    seconds, tokens, cpu = asyncio.run(run(urls, PLACES))
                share = cached(urls)
            figures = f"{seconds:>7.1f}  {tokens / seconds:>8.0f}  {share:>12.0%}  {cpu / seconds:>6.0%}"
            print(f"{count:>7}  {how:<8}  {figures}")


if __name__ == "__main__":
    main()
