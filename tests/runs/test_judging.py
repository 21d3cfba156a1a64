"""A judge over a recorded run, asked over real HTTP: what it is sent, what is kept, what stops nothing."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from atts_core import events as ev
from atts_core import overview
from atts_core.errors import AttsError, RunError, SettingsError
from atts_core.problems.agreement import agreements
from atts_core.runs.details import read_details
from atts_core.runs.export import export
from atts_core.runs.file import About, RunFile
from atts_core.runs.judging import Judge, Judged, judge_run, plan_judging
from atts_core.runs.manage import info_of
from atts_core.runs.writer import RunWriter
from atts_core.serving.chat import ChatClient
from atts_core.serving.errors import KeyRefused, ServerUnreachable
from atts_core.serving.retries import Retries
from atts_core.state import RunState
from atts_tui.cli import main

pytestmark = pytest.mark.usefixtures("no_power_cut")

Simulate = Callable[..., list[ev.Stamped]]
KEY = "sk-a-key-that-nobody-may-see"
AT_ONCE = Retries(attempts=3, first=0.0)


def completion(text: str) -> Response:
    return JSONResponse({"choices": [{"message": {"role": "assistant", "content": text}}]})


def verdict(word: str, **more: object) -> Response:
    return completion(json.dumps({"verdict": word, **more}))


class JudgeServer:
    """An OpenAI-compatible server that says what a test wants it to."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.reply: Callable[[dict[str, Any], int], Response] = lambda _body, _number: verdict("right")
        """Of the body and the number of a request, from 1."""
        self.hold = threading.Event()
        """Requests are answered once it is set."""
        self.hold.set()
        app = Starlette(routes=[Route("/v1/chat/completions", self._answer, methods=["POST"])])
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen()
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
        )
        self._thread = threading.Thread(target=lambda: self._server.run([self._socket]), daemon=True)
        self._thread.start()

    async def _answer(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(body)
        self.headers.append(dict(request.headers))
        number = len(self.asked)
        await asyncio.to_thread(self.hold.wait)
        return self.reply(body, number)

    def close(self) -> None:
        self.hold.set()
        self._server.should_exit = True
        self._thread.join()

    @property
    def words(self) -> list[str]:
        """Everything that was sent, request by request."""
        return ["\n".join(message["content"] for message in body["messages"]) for body in self.asked]


@pytest.fixture
def judge() -> Iterator[JudgeServer]:
    server = JudgeServer()
    yield server
    server.close()


@pytest.fixture
def run(tmp_path: Path, simulate: Simulate, about: About) -> Path:
    """Three problems of three samples whose gold answer is 2."""
    path = tmp_path / "r.atts"
    writer = RunWriter.create(path, about)
    writer.append([stamped for stamped in simulate(3) if not isinstance(stamped.event, ev.AnswerJudged)])
    writer.close()
    return path


def state_of(run: Path) -> RunState:
    file = RunFile.open(run)
    state = file.state(file.last())
    assert not file.trouble
    file.close()
    return state


def judged(run: Path) -> list[ev.AnswerJudged]:
    file = RunFile.open(run)
    found = [s.event for batch in file.events() for s in batch if isinstance(s.event, ev.AnswerJudged)]
    file.close()
    return found


def answered(state: RunState) -> set[tuple[int, int, str]]:
    return {(p.index, s.index, s.answer) for p in state.problems for s in p.samples if s.answer is not None}


async def ask(
    run: Path,
    judge: JudgeServer | str,
    *,
    sees: ev.Sees = "answer",
    key: str | None = None,
    at_once: int = 2,
    patience: float = 20.0,
    told: Callable[[], None] = lambda: None,
    **more: int,
) -> Judged:
    url = judge if isinstance(judge, str) else judge.url
    done = Judged()
    async with ChatClient(url, "m", api_key=key, timeout=patience, retries=AT_ONCE) as client:
        plan = plan_judging(run, Judge(name="m", url=client.url, sees=sees, **more))
        await judge_run(plan, client, at_once=at_once, done=done, told=told)
    return done


async def test_verdicts_stand_beside_ours(run: Path, judge: JudgeServer, tmp_path: Path) -> None:
    before = state_of(run)
    judge.reply = lambda body, _: verdict("wrong" if "| 3" in body["messages"][1]["content"] else "right")
    done = await ask(run, judge, key=KEY)
    after = state_of(run)
    wanted = answered(before)
    assert done == Judged(samples=len(wanted))
    assert {(e.problem, e.sample) for e in judged(run)} == {(p, s) for p, s, _ in wanted}
    # one request for equal answers of one problem
    assert len(judge.asked) == len({(problem, answer) for problem, _, answer in wanted})
    assert {header["authorization"] for header in judge.headers} == {f"Bearer {KEY}"}
    for body in judge.asked:
        assert (body["model"], body["temperature"]) == ("m", 0)
        assert body["max_tokens"] <= 64
    # nothing of ours changed, and the run took no longer
    for old, new in zip(before.problems, after.problems, strict=True):
        assert [s.correct for s in old.samples] == [s.correct for s in new.samples]
        assert (old.correct, old.tally) == (new.correct, new.tally)
    assert (after.now, after.finished) == (before.now, before.finished)
    assert info_of(run).status == "done"
    assert [path.name for path in run.parent.glob("r.atts*")] == ["r.atts"]
    (found,) = agreements(after)
    assert (found.judged, found.agree, found.differ) == (len(wanted), len(wanted), ())
    assert found.right_by_us == found.right_by_judge
    rows = tmp_path / "samples.csv"
    export(run, "csv-samples", rows)
    assert sum(",m,answer,right,," in line for line in rows.read_text().splitlines()) == sum(
        answer == "2" for *_, answer in wanted
    )


async def test_no_chain_is_sent_unless_it_is_asked_for(run: Path, judge: JudgeServer) -> None:
    state = state_of(run)
    await ask(run, judge)
    chains = [s.text for p in state.problems for s in p.samples if len(s.text) > 8]
    assert chains
    assert not any("given text" in words or "so " in words.split("BEGIN", 1)[1] for words in judge.words)
    judge.asked.clear()
    judge.reply = lambda _body, _number: verdict("right", answer="2")
    await ask(run, judge, sees="chain", characters=6)
    graded = [s for p in state.problems for s in p.samples if s.correct is not None and s.text]
    assert len(judge.asked) == len(graded)
    assert any(s.answer is None for s in graded)
    ends = sorted(tuple(f"| {line}" for line in s.text[-6:].splitlines()) for s in graded)
    sent = sorted(tuple(w.split("its end\n")[1].split("\nEND")[0].split("\n")) for w in judge.words)
    assert sent == ends
    # both judgements are kept
    both = [s for p in state_of(run).problems for s in p.samples if s.answer is not None and s.text]
    assert all(len(sample.judgements) == 2 for sample in both)
    assert {e.extracted for e in judged(run) if e.sees == "chain"} == {"2"}


async def test_texts_that_were_put_away_are_read_again(
    tmp_path: Path, simulate: Simulate, about: About, judge: JudgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamps = [s for s in simulate(3) if not isinstance(s.event, ev.AnswerJudged)]
    whole = RunState().fold(stamps)
    monkeypatch.setattr(overview, "DETAILS_BYTES", 1)
    run = tmp_path / "r.atts"
    writer = RunWriter.create(run, about)
    writer.append(stamps)
    writer.close()
    assert any(problem.put_away for problem in state_of(run).problems)
    judge.reply = lambda _body, _number: verdict("unclear", answer=None)
    done = await ask(run, judge, sees="chain")
    assert not done.unanswered
    texts = {s.text for p in whole.problems for s in p.samples if s.correct is not None and s.text}
    for text in texts:
        assert any("\n".join(f"| {line}" for line in text.splitlines()) in words for words in judge.words)
    assert all(s.judgements for p in state_of(run).problems for s in p.samples if s.characters)


async def test_what_fails_is_unclear_and_asked_again(run: Path, judge: JudgeServer) -> None:
    """A busy server is asked again at once; one that keeps failing costs one verdict, not the others."""
    replies = {2: 429, 3: 200, 4: 500, 5: 500, 6: 500}

    def reply(_: dict[str, Any], number: int) -> Response:
        status = replies.get(number, 200)
        return verdict("right") if status == 200 else Response("overloaded", status)

    judge.reply = reply
    done = await ask(run, judge, at_once=1)
    failed = [e for e in judged(run) if e.message]
    assert {e.verdict for e in failed} == {"unclear"}
    assert len({(e.problem, e.message) for e in failed}) == 1
    assert "status 500" in failed[0].message
    assert done.unanswered == len(failed)
    (found,) = agreements(state_of(run))
    assert (found.unanswered, found.unclear) == (len(failed), 0)
    before = len(judge.asked)
    again = await ask(run, judge, at_once=1)
    assert len(judge.asked) == before + 1
    assert again == Judged(samples=len(failed))
    assert agreements(state_of(run))[0].unanswered == 0
    left = plan_judging(run, Judge(name="m", url=f"{judge.url}/v1/chat/completions", sees="answer"))
    assert (left.questions, left.judged) == ((), found.judged)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (completion("I say: right"), "JSON"),
        (Response("right"), "chat completion"),
        (JSONResponse({"choices": []}), "chat completion"),
        (JSONResponse({"choices": [{"message": {"content": None}}]}), "chat completion"),
        (Response("x" * (2 << 20)), "1 MiB"),
    ],
)
async def test_garbage_is_unclear(run: Path, judge: JudgeServer, reply: Response, why: str) -> None:
    judge.reply = lambda _body, _number: reply
    done = await ask(run, judge)
    assert done.unanswered == done.samples == len(answered(state_of(run)))
    assert all(e.verdict == "unclear" and why in e.message for e in judged(run))


async def test_a_judge_that_says_nothing_is_left_after_a_while(run: Path, judge: JudgeServer) -> None:
    judge.hold.clear()
    done = await ask(run, judge, patience=0.05, at_once=8)
    assert done.unanswered == done.samples
    assert all("within" in e.message or "silent" in e.message for e in judged(run))
    assert len(judge.asked) <= len({(p, a) for p, _, a in answered(state_of(run))})  # none is sent twice


async def test_who_refuses_the_first_question_gets_no_other(run: Path, judge: JudgeServer) -> None:
    judge.reply = lambda _body, _number: JSONResponse({"error": f"bad key {KEY}"}, 401)
    with pytest.raises(KeyRefused, match="ATTS_JUDGE_API_KEY") as refused:
        await ask(run, judge, key=KEY)
    assert KEY not in str(refused.value)
    assert len(judge.asked) == 1
    judge.reply = lambda _body, _number: JSONResponse({"error": {"message": f"no such model {KEY}"}}, 404)
    with pytest.raises(AttsError, match="no such model") as unknown:
        await ask(run, judge, key=KEY)
    assert KEY not in str(unknown.value)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        with pytest.raises(ServerUnreachable, match="--judge"):
            await ask(run, f"http://127.0.0.1:{probe.getsockname()[1]}")
    assert not judged(run)
    assert info_of(run).status == "done"


async def test_a_server_without_shapes_is_asked_in_words(run: Path, judge: JudgeServer) -> None:
    def reply(body: dict[str, Any], _: int) -> Response:
        shaped = "response_format" in body
        return JSONResponse({"error": "no response_format here"}, 400) if shaped else verdict("right")

    judge.reply = reply
    done = await ask(run, judge, at_once=1)
    assert not done.unanswered
    assert ["response_format" in body for body in judge.asked[:3]] == [True, False, False]


async def test_the_key_is_nowhere_in_the_file(run: Path, judge: JudgeServer) -> None:
    """Not even where the server sends it back."""

    def reply(_: dict[str, Any], number: int) -> Response:
        if number % 2:
            return verdict("right", answer=f"2 {KEY}")
        return JSONResponse({"error": {"message": f"out of order, {KEY}"}}, 500)

    judge.reply = reply
    await ask(run, judge.url.replace("http://", f"http://user:{KEY}@"), sees="chain", key=KEY)
    assert judged(run)
    assert all("@" not in e.url for e in judged(run))
    for path in run.parent.glob("r.atts*"):
        assert KEY.encode() not in path.read_bytes()


async def test_stopped_halfway_it_goes_on_where_it_was(run: Path, judge: JudgeServer) -> None:
    questions = len({(problem, answer) for problem, _, answer in answered(state_of(run))})
    assert questions > 3
    enough = asyncio.Event()
    told = iter(range(questions))

    def tell() -> None:
        if next(told) == 1:
            judge.hold.clear()
            enough.set()

    judging = asyncio.create_task(ask(run, judge, at_once=1, told=tell))
    await enough.wait()
    judging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await judging
    first = judged(run)
    assert {(e.problem, e.sample) for e in first} < {(p, s) for p, s, _ in answered(state_of(run))}
    judge.hold.set()
    judge.asked.clear()
    await ask(run, judge)
    # Each once; what was under way when it was stopped may reach the judge late, and so twice.
    assert len({str(body) for body in judge.asked}) == questions - 2
    assert len(judged(run)) == len(answered(state_of(run)))


async def test_a_run_that_goes_on_is_not_judged(run: Path, judge: JudgeServer, run_started: Any) -> None:
    client = ChatClient(judge.url, "m")
    who = Judge(name="m", url=client.url, sees="answer")
    plan = plan_judging(run, who)
    engine = RunWriter.resume(run)
    with pytest.raises(RunError, match="going on"):
        plan_judging(run, who)
    last = engine.last
    engine.append([ev.Stamped(last.seq + 1, last.at, run_started())])
    engine.close()
    with pytest.raises(RunError, match="meanwhile"):
        await judge_run(plan, client, at_once=1, done=Judged())
    assert not judge.asked


async def test_a_sample_that_goes_on_is_judged_anew(run: Path, judge: JudgeServer, run_started: Any) -> None:
    """What was said of an answer that is no more says nothing of the next one."""
    await ask(run, judge)
    before = state_of(run)
    problem, sample, _ = min(answered(before))
    engine = RunWriter.resume(run)
    seq, at = engine.last.seq, engine.last.at
    again = (run_started(), ev.SampleStarted(problem=problem, sample=sample))
    engine.append([ev.Stamped(seq + number, at, event) for number, event in enumerate(again, start=1)])
    engine.close()
    after = state_of(run).problems
    assert before.problems[problem].samples[sample].judgements
    assert not after[problem].samples[sample].judgements
    assert sum(bool(s.judgements) for p in after for s in p.samples) == len(answered(before)) - 1


async def test_a_problem_read_again_has_its_judgements(run: Path, judge: JudgeServer) -> None:
    await ask(run, judge)
    state = state_of(run)
    file = RunFile.open(run)
    for problem in state.problems:
        whole = read_details(file, state, problem.index)
        assert whole is not None
        assert [s.judgements for s in whole.samples] == [s.judgements for s in problem.samples]
    file.close()


def test_without_gold_answers_there_is_nothing_to_judge(
    tmp_path: Path, about: About, run_started: Any
) -> None:
    path = tmp_path / "r.atts"
    writer = RunWriter.create(path, about)
    writer.append(
        [
            ev.Stamped(1, 0.0, run_started(1)),
            ev.Stamped(2, 0.0, ev.ProblemAdded(problem=0, id="a", question="?")),
            ev.Stamped(3, 0.0, ev.SampleStarted(problem=0, sample=0)),
            ev.Stamped(4, 0.0, ev.SampleFinished(problem=0, sample=0, end="answered", answer="2")),
        ]
    )
    writer.close()
    with pytest.raises(SettingsError, match="gold"):
        plan_judging(path, Judge(name="m", url="http://j", sees="answer"))


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "/v1/chat/completions"])
async def test_an_address_may_be_short(judge: JudgeServer, path: str) -> None:
    async with ChatClient(judge.url + path, "m") as client:
        assert client.url == f"{judge.url}/v1/chat/completions"


def test_the_command_says_what_it_sends_and_asks_first(
    run: Path, judge: JudgeServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTS_JUDGE_API_KEY", KEY)
    judge.reply = lambda _body, _number: verdict("wrong")
    said = ["runs", "judge", str(run), "--judge", judge.url, "--judge-model", "m"]
    assert main(said) == 2
    refused = capsys.readouterr().err
    assert "--yes" in refused
    state = state_of(run)
    questions = len({(problem, answer) for problem, _, answer in answered(state)})
    assert f"sends {questions} requests about {len(answered(state))} samples to {judge.url}/v1/" in refused
    assert "no chains" in refused
    assert not judge.asked
    assert main([*said, "--yes"]) == 0
    told = capsys.readouterr()
    right = sum(answer == "2" for *_, answer in answered(state))
    assert f"agrees with us on {len(answered(state)) - right} of {len(answered(state))} samples" in told.out
    assert told.out.count("right by us (math), wrong by the judge: 2") == right
    assert KEY not in told.out + told.err
    assert main(["runs", "show", str(run)]) == 0
    assert "judge m (sees the answer): agrees" in capsys.readouterr().out
    assert main(["runs", "show", str(run), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert len(shown["judges"][0]["differ"]) == right
    judge.reply = lambda _body, _number: completion("?")
    assert main([*said, "--judge-model", "n", "--yes"]) == 1
    assert "no usable reply about" in capsys.readouterr().err
    assert main(said) == 0  # nothing is left, so nothing is asked
    assert "nothing is left" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "why"),
    [
        (["--judge-characters", "9"], "--judge-sees chain"),
        (["--judge-concurrency", "0"], "between 1 and 1000"),
        (["--judge-timeout", "nan"], "seconds"),
        (["--judge", "gpu1"], "address"),
    ],
)
def test_a_slip_is_one_sentence(
    run: Path, option: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs", "judge", str(run), "--judge", "http://x", "--judge-model", "m", *option]) == 2
    assert why in capsys.readouterr().err
