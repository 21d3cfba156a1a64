"""CPU time of one streamed token in the client: socket to `GenerateUpdate`, 64 streams at once.

    python tests/benchmarks/bench_client.py

A server process on loopback sends what SGLang sends, byte for byte in shape: 64 streams of 500 tokens, every
stream one token each 20 ms, so that hardly any events coalesce. Only this process's CPU time is counted. The
budget of the whole engine is 60 µs (DESIGN.md, section 6).

Measured on a shared 2-core machine under a load of 5, Python 3.11, CPU µs a token:

| events of | this client, to `GenerateUpdate` | httpx2's own transport, to bytes |
|---|---|---|
| 0.4.3.post4, which repeats all log-probabilities (9 kB an event on average) | 38 | 69 to 95 |
| 0.5.23, which repeats all ids (3 kB an event on average) | 34 | 69 to 86 |

The second column is why the client brings its own transport.
"""

import argparse
import asyncio
import json
import multiprocessing
import time
from multiprocessing.connection import Connection
from typing import Any

import httpx2

from atts_core.serving.client import SGLangClient
from atts_core.serving.requests import GenerateRequest, Sampling

STREAMS, TOKENS, SECONDS = 64, 500, 0.02
PROMPT = list(range(1, 400))
SHAPES = ("0.4.3.post4", "0.5.23")


def _event(shape: str, n: int) -> bytes:
    meta: dict[str, Any] = {
        "id": "0123456789abcdef0123456789abcdef",
        "finish_reason": {"type": "length", "length": TOKENS} if n == TOKENS else None,
        "prompt_tokens": len(PROMPT),
    }
    body: dict[str, Any] = {"text": "some" * n}
    if shape == "0.5.23":
        body["output_ids"] = list(range(10_000, 10_000 + n))
        meta |= {
            "weight_version": "default",
            "num_retractions": 0,
            "queue_time": 0.00031,
            "forward_entry_time": 1795167134.5797389,
            "prefill_finished_time": 1795167134.5835202,
            "cached_tokens_details": {"device": 10, "host": 0},
        }
    else:
        meta["input_token_logprobs"] = [[None, 18, None]]
        meta["output_token_logprobs"] = [[-2.856233596801758, 10_000 + i, None] for i in range(n)]
    meta |= {"completion_tokens": n, "cached_tokens": 10}
    body["meta_info"] = meta
    data = b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


def serve(shape: str, port_to: Connection) -> None:
    """A server that streams what SGLang of this release streams; tells its port."""
    events = [_event(shape, n) for n in range(1, TOKENS + 1)]
    info = {
        "version": shape,
        "model_path": "/m",
        "max_req_input_len": 32_000,
        "enable_deterministic_inference": False,
    }

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                fields = dict(
                    line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line
                )
                await reader.readexactly(int(fields.get(b"content-length", b"0")))
                if head.startswith(b"GET"):
                    body = json.dumps(info).encode()
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                    continue
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n"
                )
                start = loop.time()
                for n, event in enumerate(events):
                    await asyncio.sleep(start + n * SECONDS - loop.time())
                    writer.write(event)
                writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(client, "127.0.0.1", 0)
        port_to.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


async def _ours(url: str) -> tuple[float, int, int]:
    request = GenerateRequest(input_ids=PROMPT, sampling=Sampling(max_new_tokens=TOKENS))
    async with SGLangClient(url, role="draft", connections=STREAMS) as client:
        client.use_vocabulary(32_000)

        async def one() -> tuple[int, int]:
            tokens = updates = 0
            async for update in client.generate(request):
                tokens += len(update.ids)
                updates += 1
            return tokens, updates

        began = time.process_time()
        found = await asyncio.gather(*(one() for _ in range(STREAMS)))
        spent = time.process_time() - began
    return spent, sum(tokens for tokens, _ in found), sum(updates for _, updates in found)


async def _stock(url: str) -> tuple[float, int, int]:
    """httpx2's own transport, bytes only: nothing is decoded."""
    async with httpx2.AsyncClient(
        base_url=url, limits=httpx2.Limits(max_connections=STREAMS), timeout=None, trust_env=False
    ) as http:

        async def one() -> int:
            chunks = 0
            async with http.stream("POST", "/generate", content=b"{}") as response:
                async for _ in response.aiter_raw():
                    chunks += 1
            return chunks

        began = time.process_time()
        found = await asyncio.gather(*(one() for _ in range(STREAMS)))
        spent = time.process_time() - began
    return spent, STREAMS * TOKENS, sum(found)


def main() -> None:
    """Prints CPU microseconds for each token."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "").parse_args()
    for shape in SHAPES:
        receive, send = multiprocessing.Pipe(duplex=False)
        server = multiprocessing.Process(target=serve, args=(shape, send), daemon=True)
        server.start()
        url = f"http://127.0.0.1:{receive.recv()}"
        for name, run in (("client", _ours), ("httpx2's transport, bytes only", _stock)):
            spent, tokens, updates = asyncio.run(run(url))
            micros = spent / tokens * 1e6
            print(f"{shape}: {name}: {micros:.1f} µs a token ({tokens} tokens, {updates} updates)")  # noqa: T201
        server.terminate()
        server.join()


if __name__ == "__main__":
    main()
