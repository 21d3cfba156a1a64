"""What the embedded server counts, in the Prometheus text format and under SGLang's names.

A series is written by one thread and read by any; what a reader sees may be a step old.
"""

import time
from bisect import bisect_left
from typing import Final

_FIRST_TOKEN: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 8.0, 20.0, 60.0)
_PER_TOKEN: Final = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.015, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_END_TO_END: Final = (0.01, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0)
_THROUGHPUT_WINDOW: Final = 1.0


class Histogram:
    """Counts of observations at or below each bound, as Prometheus wants them."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Counts one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self, name: str, labels: str) -> list[str]:
        """The histogram's series in Prometheus' text format."""
        found = [f"# TYPE {name} histogram", f"{name}_sum{{{labels}}} {self.total}"]
        running = 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            running += count
            found.append(f'{name}_bucket{{{labels},le="{bound}"}} {float(running)}')
        return [*found, f"{name}_count{{{labels}}} {float(running)}"]


class Metrics:
    """Counters and histograms of one server, filled by the batcher's thread."""

    def __init__(self) -> None:
        self.requests = 0
        self.aborted = 0
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.generated_tokens = 0
        self.throughput = 0.0
        self._time_to_first = Histogram(_FIRST_TOKEN)
        self._between_tokens = Histogram(_PER_TOKEN)
        self._end_to_end = Histogram(_END_TO_END)
        self._window: tuple[float, int] | None = None

    def admitted(self, prompt_tokens: int, cached_tokens: int) -> None:
        """A request joined the batch."""
        self.requests += 1
        self.prompt_tokens += prompt_tokens
        self.cached_tokens += cached_tokens

    def first_token(self, seconds: float) -> None:
        """A request wrote its first token so many seconds after it came."""
        self._time_to_first.observe(seconds)

    def next_token(self, seconds: float) -> None:
        """A request wrote a further token so many seconds after the one before."""
        self._between_tokens.observe(seconds)

    def finished(self, seconds: float, aborted: bool) -> None:
        """A request ended so many seconds after it came."""
        self.aborted += aborted
        self._end_to_end.observe(seconds)

    def step(self, tokens: int) -> None:
        """A step of the batch wrote `tokens` tokens."""
        self.generated_tokens += tokens
        now = time.monotonic()
        if self._window is None:
            self._window = (now, self.generated_tokens)
            return
        since, before = self._window
        if now - since >= _THROUGHPUT_WINDOW:
            self.throughput = (self.generated_tokens - before) / (now - since)
            self._window = (now, self.generated_tokens)

    def idle(self) -> None:
        """The batch is empty."""
        self.throughput = 0.0
        self._window = None

    def render(self, model_name: str, running: int, waiting: int, used_tokens: int, capacity: int) -> str:
        """The page of `/metrics`."""
        labels = f'engine_type="unified",model_name="{model_name}"'
        hit_rate = self.cached_tokens / self.prompt_tokens if self.prompt_tokens else 0.0
        gauges = {
            "num_running_reqs": running,
            "num_queue_reqs": waiting,
            "num_used_tokens": used_tokens,
            "max_total_num_tokens": capacity,
            "token_usage": used_tokens / capacity,
            "gen_throughput": self.throughput,
            "cache_hit_rate": hit_rate,
        }
        counters = {
            "prompt_tokens_total": self.prompt_tokens,
            "generation_tokens_total": self.generated_tokens,
            "cached_tokens_total": self.cached_tokens,
            "num_requests_total": self.requests,
            "num_aborted_requests_total": self.aborted,
        }
        lines = []
        for kind, series in (("gauge", gauges), ("counter", counters)):
            for name, value in series.items():
                lines += [f"# TYPE sglang:{name} {kind}", f"sglang:{name}{{{labels}}} {float(value)}"]
        for name, histogram in (
            ("time_to_first_token_seconds", self._time_to_first),
            ("inter_token_latency_seconds", self._between_tokens),
            ("e2e_request_latency_seconds", self._end_to_end),
        ):
            lines += histogram.lines(f"sglang:{name}", labels)
        return "\n".join(lines) + "\n"
