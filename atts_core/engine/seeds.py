"""One seed for every request, derived from what the request is and from nothing else.

A run with the same seed sends the same requests in whatever order they are answered, so on
servers that honour a seed it gives the same texts, scores and votes.
"""

import hashlib

from atts_core.events import Stage


def request_seed(run_seed: int, problem: str, sample: int, turn: int, stage: Stage, attempt: int = 0) -> int:
    """A seed in [0, 2³¹) for one request; 31 bits because servers differ in what they take beyond.

    `attempt` counts deliberate new tries with another text, not repeats of a failed request: those keep their
    seed, so that a retry gives what the first try would have given.
    """
    key = f"{run_seed}\x1f{problem}\x1f{sample}\x1f{turn}\x1f{stage}\x1f{attempt}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest()) & 0x7FFF_FFFF
