"""A worker behind a real sglang-router is killed in mid-run and comes back; then the router itself.

Two embedded servers of each role stand behind a router each: they honour seeds, so that the run must end with
the very tokens of one that nothing disturbed. Opt-in (`make test-sglang SGLANG='--release router-0.3.2'`):
it kills processes of the pair.
"""

import os
from pathlib import Path

import httpx2
import pytest
from struck import PROBLEMS, SAMPLES, Evaluation, server, state

from atts_core import events as ev
from atts_core.runs.file import RunFile
from atts_core.servers.state import Server
from atts_core.telemetry.server_metrics import parse_metrics

pytestmark = pytest.mark.real_sglang

STREAMS = 2
"""That the worker writes when it is killed. A router sends a lost score to another worker by itself and tells
nobody; a stream it can only cut."""


def writes(worker: Server, verifying: int) -> int:
    """Streams that a worker surely writes, where so many requests under way anywhere are no streams."""
    running = parse_metrics(httpx2.get(f"{worker.url}/metrics", trust_env=False).text).running
    return (running or 0) - verifying


def recorded(folder: Path) -> list[ev.AnyEvent]:
    """The events of the run file that lies there."""
    (path,) = folder.glob("*.atts")
    file = RunFile.open(path)
    events = [stamped.event for stamps in file.events() for stamped in stamps]
    file.close()
    return events


def written(events: list[ev.AnyEvent]) -> dict[tuple[int, int], list[tuple[int, ...]]]:
    """What the models wrote: problem and sample → the token ids of every step."""
    steps: dict[tuple[int, int], list[tuple[int, ...]]] = {}
    for event in events:
        if isinstance(event, ev.DraftFinished | ev.TakeOverFinished):
            steps.setdefault((event.problem, event.sample), []).append(event.ids)
    return steps


@pytest.mark.parametrize("role", ["draft", "target"])
def test_no_sample_is_lost_and_no_token_another(
    role: str, home: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not os.environ.get("ATTS_REAL_SGLANG_RELEASE", "").startswith("router"):
        pytest.skip("run.py was not told to start a sglang-router")
    router = server(f"{role}-router")
    workers = [entry.label for entry in state().servers if entry.role == role and entry.kind != "router"]
    assert len(workers) == 2
    victim: list[Server] = []

    def one_writes() -> bool:
        others = run.verifying if role == "target" else 0
        victim[:] = [worker for worker in map(server, workers) if writes(worker, others) >= STREAMS]
        return bool(victim)

    def it_is_back() -> bool:
        entry = server(victim[0].label)
        return entry.ready and entry.restarts == victim[0].restarts + 1 and not run.lost

    with Evaluation(tmp_path / "undisturbed") as undisturbed:
        assert undisturbed.finish() == 0
    with Evaluation(tmp_path / "disturbed", "--servers", "real") as run:
        run.until("VerdictReached", when=one_writes)
        run.strike(victim[0])
        run.until("RequestRetried")
        run.let_go()
        run.until(when=it_is_back)
        run.strike(router)
        run.until("ServerLost")
        run.let_go()
        run.until("ServerFound")
        assert run.finish() == 0

    assert len(run.ends) == PROBLEMS * SAMPLES
    assert not {"failed", "stopped"} & {end["end"] for end in run.ends.values()}
    assert run.ends == undisturbed.ends
    events = recorded(tmp_path / "disturbed")
    assert written(events) == written(recorded(tmp_path / "undisturbed"))
    cuts = [event.message for event in events if isinstance(event, ev.RequestRetried)]
    losses = [event for event in events if isinstance(event, ev.ServerLost)]
    with capsys.disabled():
        print(f"\n{victim[0].label}: {cuts[0]}\n{router.label}: {losses[-1].message}")  # noqa: T201
    assert f"{role} server at {router.url}" in cuts[0]
    assert {(loss.role, loss.url) for loss in losses} == {(role, router.url)}
