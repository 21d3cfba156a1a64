"""How fast the embedded pair writes: the engine alone, and over HTTP, streamed and not.

    python tests/benchmarks/bench_embedded.py [draft|target] [streams ...]

One core, one BLAS thread, one process; tokens/s of wall time, in brackets tokens per second of the server's
CPU time, best of 8 rounds. Two cores of an AMD EPYC (Zen 4), 2026-11-20, while training and other tests kept
both busy (load average 4 to 5), so that wall time is a lower bound; 62 prompt tokens, 120 new ones.

    target (1.85 M)   engine          HTTP            HTTP, streamed with log-probabilities
     1 stream          1529 ( 1534)    1357 ( 1333)    1135 ( 1333)
     8 streams         5612 ( 5830)    5413 ( 5647)    4138 ( 4571)
    16 streams         6273 ( 6514)    5926 ( 6000)    4379 ( 5053)
    32 streams         7102 ( 7436)    6774 ( 6857)    3469 ( 4861)
    draft (0.37 M)
     1 stream          2956 ( 2963)    2425 ( 2400)    2323 ( 3000)
     8 streams        13144 (13186)   10902 (10667)    9664 ( 9600)
    16 streams        12844 (13643)   10066 (12800)    7334 (10105)
    32 streams        14951 (14951)   12961 (13241)    7523 ( 8727)

On a quiet machine (load 0.3), 16 target streams: 6451 (6451), 6099 (6000), 4142 (4000); on another (load
0.5): 6704 (6706), 6389 (6400), 5711 (5486).

A forward pass alone, 16 target sequences of 100 tokens, nothing else running: 1.9 ms, 8,300 tokens/s.
The first token of 16 streams that begin together came within 13 (draft) and 35 ms (target).
"""

import asyncio
import os
import sys
import threading
import time
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"

from atts_core.embedded.batcher import Batcher
from atts_core.embedded.jobs import Job
from atts_core.embedded.launch import EmbeddedServer
from atts_core.embedded.loading import LoadedModel, load_model
from atts_core.embedded.sampling import SamplingParams

QUESTION = "Let a = 25 + 22. Let b = a - 34. Let c = b + 8. Let d = c + 42. Let e = d + 21. What is e?"
TOKENS = 120
ROUNDS = 8


def engine(loaded: LoadedModel, prompt: list[int], streams: int) -> tuple[float, float]:
    """Tokens per second of wall time and of CPU time, best of the rounds."""
    left = threading.Semaphore(0)

    def notify(jobs: list[Job]) -> None:
        for job in jobs:
            if job.progress.finish:
                left.release()

    batcher = Batcher(loaded.model, loaded.vocabulary, notify=notify)
    batcher.start()
    params = SamplingParams(max_new_tokens=TOKENS, temperature=0.8, ignore_eos=True)
    best = (0.0, 0.0)
    for turn in range(ROUNDS):
        jobs = [Job(f"{turn}-{i}", "", prompt, params, seed=i) for i in range(streams)]
        wall, cpu = time.perf_counter(), time.process_time()
        batcher.submit(jobs)
        for _ in jobs:
            left.acquire()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        best = max(best, (streams * TOKENS / wall, streams * TOKENS / cpu))
    batcher.stop()
    return best


async def http(model: str, prompt: list[int], streams: int, stream: bool) -> tuple[float, float, float]:
    """As `engine`, with the server's CPU time; and the longest time to a first token, in ms."""
    server = EmbeddedServer(model)
    await server.start()
    try:
        best = (0.0, 0.0, 0.0)
        for _ in range(ROUNDS):
            wall, cpu = time.perf_counter(), _cpu_seconds(server.pid)
            firsts = await asyncio.gather(
                *(_request(server.url, prompt, seed, stream) for seed in range(streams))
            )
            wall, cpu = time.perf_counter() - wall, _cpu_seconds(server.pid) - cpu
            best = max(best, (streams * TOKENS / wall, streams * TOKENS / cpu, max(firsts) * 1e3))
    finally:
        await server.stop()
    return best


async def _request(url: str, prompt: list[int], seed: int, stream: bool) -> float:
    """A bare client, so that it costs the machine little; seconds to the first bytes of the body."""
    host, port = url.removeprefix("http://").split(":")
    params = {"max_new_tokens": TOKENS, "temperature": 0.8, "ignore_eos": True, "sampling_seed": seed}
    body = str({"input_ids": prompt, "sampling_params": params, "stream": stream, "return_logprob": stream})
    body = body.replace("'", '"').replace("True", "true").replace("False", "false")
    reader, writer = await asyncio.open_connection(host, int(port))
    since = time.perf_counter()
    writer.write(
        f"POST /generate HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        f"{body}".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    received = await reader.read(1024)
    first = time.perf_counter() - since
    while chunk := await reader.read(2**20):
        received = received[-20000:] + chunk
    writer.close()
    assert b'"length"' in received, received[-300:]
    return first


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Prints one line for each number of streams."""
    write = sys.stdout.write
    model = sys.argv[1] if len(sys.argv) > 1 else "target"
    counts = [int(text) for text in sys.argv[2:]] or [1, 8, 16, 32]
    loaded = load_model(model, 64)
    prompt = loaded.tokenizer.render([{"role": "user", "content": QUESTION}])
    write(f"{model}: {len(prompt)} prompt tokens, {TOKENS} new; tokens/s of wall time (of CPU time)\n")
    for count in counts:
        engine_wall, engine_cpu = engine(loaded, prompt, count)
        plain_wall, plain_cpu, _ = asyncio.run(http(model, prompt, count, stream=False))
        stream_wall, stream_cpu, first = asyncio.run(http(model, prompt, count, stream=True))
        write(
            f"{count:3} streams: engine {engine_wall:6.0f} ({engine_cpu:6.0f})"
            f"   HTTP {plain_wall:6.0f} ({plain_cpu:6.0f})"
            f"   HTTP streamed with log-probabilities {stream_wall:6.0f} ({stream_cpu:6.0f}),"
            f" first token within {first:.0f} ms\n"
        )


if __name__ == "__main__":
    main()
