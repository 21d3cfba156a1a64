"""Takes a threshold on centred scores back to perplexities without losing a rounding step."""

import math


def scaled_threshold(edge: float | None, scale: float) -> float | None:
    """The largest PPL with PPL / `scale` <= `edge`: then PPL > result exactly where PPL / scale > edge."""
    if edge is None or edge == 0.0 or scale == 1.0:
        return edge
    ppl = edge * scale
    while ppl / scale > edge:
        ppl = math.nextafter(ppl, 0.0)
    while math.nextafter(ppl, math.inf) / scale <= edge:
        ppl = math.nextafter(ppl, math.inf)
    return ppl
