"""CPU time of one streamed token in the whole engine: socket to folded state, 64 streams at once.

    python tests/benchmarks/bench_engine.py

The servers of `bench_client.py` stream to `engine.requests`, which publishes to a bus whose subscriber folds
into RunState ten times a second, as a screen does. Only this process's CPU time is counted. Budget: 60 µs.

Measured on two shared cores, Python 3.11. Quiet (load 0.3), four runs: 58 to 63 µs in the shape of
0.4.3.post4, whose events hold 9 kB on average, which is at the budget and over it, and 48 to 53 µs in that of
0.5.23; the client alone takes 51 and 39. Under a load of 2 to 4 events coalesce: 50 and 43. Publishing and
folding a token take 1.5 µs; the rest is the event loop and the sockets. 256 and 512 streams at once, under a
load of 16 to 20: 18 to 21 µs, because much arrives while the process waits for a core. Another such machine
(load 0.4): 37 and 28 µs, the client alone 34 and 24.
"""

import asyncio
import multiprocessing
import sys
import time

import bench_client

from atts_core import events as ev
from atts_core.bus import Bus
from atts_core.config import SERVERS, Given, load
from atts_core.engine.limits import Limiter
from atts_core.engine.pair import Pair, Side, Worker
from atts_core.engine.requests import Context, Gate, Requests
from atts_core.engine.servers import Servers
from atts_core.serving.client import SGLangClient
from atts_core.state import RunState

BUDGET = 60.0


class Words:
    """A tokenizer that only the end of a step asks, once."""

    vocab_size, bos_id, eos_ids, identity = 32_000, None, frozenset[int](), "words"

    def encode(self, text: str) -> list[int]:
        return [1] * len(text)

    def decode(self, ids: list[int]) -> str:
        return "some" * len(ids)

    def render(self, messages: object) -> list[int]:
        return bench_client.PROMPT


async def engine(url: str) -> tuple[float, int]:
    """CPU seconds, and tokens folded."""
    settings = load(Given(draft_tokens=bench_client.TOKENS, samples=bench_client.STREAMS), {}).resolve(
        SERVERS
    )
    async with SGLangClient(url, role="draft", connections=bench_client.STREAMS) as client:
        client.use_vocabulary(32_000)
        limiter = Limiter(bench_client.STREAMS)
        side = Side("draft", [Worker(client)], client.info, Words(), limiter)  # type: ignore[arg-type]
        pair = Pair(side, side, SERVERS)
        bus, state = Bus(), RunState()
        subscription = bus.subscribe()
        context = Context(pair, settings, bus, Gate(bus.publish), Servers(pair, bus.publish, 60.0))
        card = side.card()
        bus.publish(
            ev.RunStarted(
                run="bench", command="solve", started_at=0.0, version="0", strategy="atts",
                takeover="continue", samples=bench_client.STREAMS, turns=1, seed=0, models=(card, card),
                calibration=None, settings={},
            )
        )  # fmt: skip
        bus.publish(ev.ProblemAdded(problem=0, id="p", question="?"))
        for sample in range(bench_client.STREAMS):
            bus.publish(ev.SampleStarted(problem=0, sample=sample))
            bus.publish(ev.DraftStarted(problem=0, sample=sample, turn=0))

        async def frames() -> None:
            while True:
                state.fold(subscription.drain())
                await asyncio.sleep(0.1)

        async def write(sample: int) -> None:
            requests = Requests(context, 0, "p", sample)
            async with requests.place(side, "draft", 0) as held:
                await requests.write(held, bench_client.PROMPT, 0)

        clock = asyncio.create_task(frames())
        began = time.process_time()
        await asyncio.gather(*(write(sample) for sample in range(bench_client.STREAMS)))
        state.fold(subscription.drain())
        spent = time.process_time() - began
        clock.cancel()
        return spent, state.draft_tokens


def main() -> None:
    """Prints CPU microseconds for each token; exit status 1 beyond the budget."""
    over = False
    for shape in bench_client.SHAPES:
        receive, send = multiprocessing.Pipe(duplex=False)
        server = multiprocessing.Process(target=bench_client.serve, args=(shape, send), daemon=True)
        server.start()
        spent, tokens = asyncio.run(engine(f"http://127.0.0.1:{receive.recv()}"))
        server.terminate()
        server.join()
        micros = spent / tokens * 1e6
        print(f"{shape}: socket to folded state: {micros:.1f} µs a token, budget {BUDGET:g}")  # noqa: T201
        assert tokens == bench_client.STREAMS * bench_client.TOKENS
        over |= micros > BUDGET
    sys.exit(over)


if __name__ == "__main__":
    main()
