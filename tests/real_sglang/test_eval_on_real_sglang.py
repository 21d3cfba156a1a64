"""A whole `atts eval` on real SGLang, and its decisions taken again with the embedded server's scores."""

import json
import math
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from atts_core import events as ev
from atts_core.embedded.export import MODELS
from atts_core.embedded.launch import EmbeddedServers
from atts_core.runs.file import RunFile
from atts_core.serving.client import SGLangClient
from atts_core.serving.tokenizers import load_tokenizer

pytestmark = pytest.mark.real_sglang

BOUND = 1e-3
"""Of log-probabilities: the same weights in float32, other kernels."""
NEAR = 0.01
"""Relative distance of a PPL to its threshold within which a decision may fall on either side."""
PROBLEMS = os.environ.get("ATTS_REAL_SGLANG_PROBLEMS", "20")
OPTIONS = ("--limit", PROBLEMS, "--samples", "4", "--seed", "11", "--mode", "marginal", "--json")


@dataclass
class Step:
    """A draft's step that was verified in the run."""

    before: list[int]
    """Prompt and chain so far."""
    ids: tuple[int, ...]
    verdict: ev.VerdictReached


@dataclass
class Chain:
    ids: list[int]
    pending: tuple[int, ...] = ()
    steps: list[Step] = field(default_factory=list)


def evaluate(folder: Path, *options: str) -> dict[str, Any]:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "atts_tui.cli",
            "eval",
            "builtin",
            *OPTIONS,
            "--runs-dir",
            str(folder),
            *options,
        ],
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def urls() -> tuple[str, ...]:
    found = [os.environ.get(f"ATTS_REAL_SGLANG_{role}") for role in ("DRAFT", "TARGET")]
    if not all(found):
        pytest.skip("ATTS_REAL_SGLANG_DRAFT and _TARGET are not set: no real servers to try")
    return "--draft", str(found[0]), "--target", str(found[1])


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The same evaluation, on real SGLang and on the embedded servers."""
    folder = tmp_path_factory.mktemp("runs")
    return {"real": evaluate(folder / "real", *urls()), "embedded": evaluate(folder / "embedded")}


@pytest.fixture
async def embedded_target() -> AsyncIterator[SGLangClient]:
    async with EmbeddedServers() as servers, SGLangClient(servers.target_url, role="target") as client:
        client.use_vocabulary(load_tokenizer(client.info.tokenizer_path).vocab_size)
        yield client


def steps_of(path: Path) -> list[Step]:
    """Every verified step of a run in the variant `rewrite`, with what stood before it."""
    chains: dict[tuple[int, int], Chain] = {}
    questions: dict[int, str] = {}
    tokenizer = None
    file = RunFile.open(path)
    for stamps in file.events():
        for event in (stamped.event for stamped in stamps):
            match event:
                case ev.ProblemAdded():
                    questions[event.problem] = event.question
                case ev.SampleStarted():
                    tokenizer = tokenizer or load_tokenizer(str(MODELS / "target"))
                    prompt = tokenizer.render([{"role": "user", "content": questions[event.problem]}])
                    chains[event.problem, event.sample] = Chain(list(prompt))
                case ev.DraftFinished():
                    chains[event.problem, event.sample].pending = event.ids
                case ev.VerdictReached():
                    chain = chains[event.problem, event.sample]
                    chain.steps.append(Step(list(chain.ids), chain.pending, event))
                    if event.verdict == "accept":
                        chain.ids += chain.pending
                case ev.TakeOverFinished():
                    chains[event.problem, event.sample].ids += event.ids
    file.close()
    return [step for chain in chains.values() for step in chain.steps]


def test_atts_check_finds_no_problem() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "atts_tui.cli", "check", "--json", *urls()],
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    found = json.loads(done.stdout)
    assert [finding for finding in found["findings"] if finding["level"] == "problem"] == []
    assert "collected with this pair" in next(
        finding["words"] for finding in found["findings"] if finding["what"] == "calibration"
    )


def test_nothing_was_lost(results: dict[str, dict[str, Any]]) -> None:
    for result in results.values():
        assert result["end"] == "done"
        assert result["samples"]["failed"] == 0
        assert result["samples"]["finished"] == 4 * int(PROBLEMS)


def test_accuracy_and_takeover_rate_are_the_same_within_intervals(
    results: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    real, embedded = results["real"], results["embedded"]
    told = []
    for name in ("sample", "majority"):
        a, b = real["accuracy"][name], embedded["accuracy"][name]
        told.append(
            f"{name} accuracy {a['value']:.3f} and {b['value']:.3f} [{b['low']:.3f}, {b['high']:.3f}]"
        )
        assert a["low"] <= b["high"]
        assert b["low"] <= a["high"]
    rates = [(r["takeover"]["realised"], r["takeover"]["decisions"]) for r in (real, embedded)]
    told.append(f"take-over rate {rates[0][0]:.3f} of {rates[0][1]} and {rates[1][0]:.3f} of {rates[1][1]}")
    spread = math.sqrt(sum(rate * (1 - rate) / count for rate, count in rates))
    with capsys.disabled():
        print(f"\nreal and embedded, {PROBLEMS} problems × 4 samples: {'; '.join(told)}")  # noqa: T201
    assert abs(rates[0][0] - rates[1][0]) < 4 * max(spread, 0.01)


async def test_every_decision_is_the_embedded_servers_decision(
    results: dict[str, dict[str, Any]],
    embedded_target: SGLangClient,
    capsys: pytest.CaptureFixture[str],
) -> None:
    steps = steps_of(Path(results["real"]["run"]))
    real = SGLangClient(urls()[3], role="target", connections=4)
    await real.connect()
    real.use_vocabulary(embedded_target.info.vocab_size)
    largest, tokens, judged, other, near = 0.0, 0, 0, 0, 0
    for step in steps:
        if step.verdict.ppl is None or step.verdict.threshold is None:
            continue
        mine = (await embedded_target.score(step.before, list(step.ids))).logprobs
        theirs = (await real.score(step.before, list(step.ids))).logprobs
        largest = max(largest, *(abs(a - b) for a, b in zip(mine, theirs, strict=True)))
        tokens += len(mine)
        ppl = math.exp(-sum(mine) / len(mine))
        assert abs(math.log(ppl) - math.log(step.verdict.ppl)) < BOUND
        judged += 1
        taken = "take-over" if ppl > step.verdict.threshold else "accept"
        if taken != step.verdict.verdict:
            other += 1
            near += abs(ppl / step.verdict.threshold - 1) < NEAR
    await real.close()
    with capsys.disabled():
        print(  # noqa: T201
            f"\n{judged} decisions taken again with the embedded server's scores: {judged - other} the same; "
            f"largest difference of {tokens:,} log-probabilities {largest:.1e}"
        )
    assert judged > 2 * int(PROBLEMS)
    assert largest < BOUND
    assert other == near
