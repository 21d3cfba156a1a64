"""What conformal decisions cost; exit status 1 where one is over its budget."""

import sys
import time

import numpy as np

from atts_core.conformal import ConformalSettings, Decider, flat_calibration
from atts_core.conformal.pvalues import p_values
from atts_core.conformal.sorted_scores import SortedScores

_MILLION = 1_000_000
_CALLS = 20_000


def main() -> None:
    rng = np.random.default_rng(0)
    scores, ppls = 1 + rng.gamma(2, 0.4, _MILLION), 1 + rng.gamma(2, 0.4, _MILLION)
    rows: list[tuple[str, float, float, str]] = []

    begin = time.perf_counter()
    p_values(ppls, scores)
    rows.append(("1,000,000 p-values against 1,000,000 scores", time.perf_counter() - begin, 2.0, "s"))

    held = SortedScores(scores)
    fresh = [float(ppl) for ppl in ppls[:_CALLS]]
    begin = time.perf_counter()
    for ppl in fresh:
        below = held.below(ppl)
        held.up_to(ppl) - below
    rows.append(("query at 1,000,000 scores", (time.perf_counter() - begin) / _CALLS * 1e6, 20.0, "µs"))
    begin = time.perf_counter()
    for ppl in fresh:
        held.add(ppl)
    rows.append(("insertion at 1,000,000 scores", (time.perf_counter() - begin) / _CALLS * 1e6, 20.0, "µs"))

    decider = Decider(ConformalSettings(), flat_calibration(scores, 16))
    begin = time.perf_counter()
    for ppl in fresh:
        decider.decide("p", 0, ppl)
    rows.append(
        (
            "whole online decision (p, threshold, alpha, insertion) at 1,000,000",
            (time.perf_counter() - begin) / _CALLS * 1e6,
            40.0,
            "µs",
        )
    )
    for name, value, budget, unit in rows:
        sys.stdout.write(f"{name:70} {value:8.3f} {unit} (at most {budget:g})\n")
    if any(value > budget for _, value, budget, _ in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
