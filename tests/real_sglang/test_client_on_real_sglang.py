"""The client's contract on real SGLang, and the embedded server's numbers beside it."""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any

import pytest

from atts_core.embedded.launch import EmbeddedServers
from atts_core.serving.answers import GenerateUpdate
from atts_core.serving.client import SGLangClient
from atts_core.serving.errors import ContextFull, InvalidRequest, ServerError
from atts_core.serving.requests import GenerateRequest, Sampling
from atts_core.telemetry.server_metrics import ServerPoller

pytestmark = pytest.mark.real_sglang

QUESTIONS = (
    "What is 3 + 4 * 2?",
    "Tom has 12 cards and buys 7 more. How many cards does Tom have?",
    "Let a = 17 - 5. Let b = a * 3. What is b?",
    "What is the remainder of 58 divided by 9?",
    "Anna has 4 boxes of 6 pens. She gives 5 pens away. How many pens are left?",
    "Solve 3 * x + 4 = 19.",
)


def prompt(real: Any, question: str = QUESTIONS[0]) -> list[int]:
    ids: list[int] = real.tokenizer.render([{"role": "user", "content": question}])
    return ids


def greedy(ids: list[int], tokens: int = 60, **more: Any) -> GenerateRequest:
    return GenerateRequest(
        input_ids=ids, sampling=Sampling(max_new_tokens=tokens, temperature=0.0, **more), logprobs=True
    )


async def collect(client: SGLangClient, request: GenerateRequest) -> tuple[list[int], str, list[float], Any]:
    ids: list[int] = []
    logprobs: list[float] = []
    text, last = "", None
    async for update in client.generate(request):
        assert isinstance(update, GenerateUpdate)
        ids += update.ids
        logprobs += update.logprobs or []
        text = text[: len(text) - update.retracted] + update.text
        last = update
    assert last is not None
    return ids, text, logprobs, last


async def test_it_is_found_out(real: Any) -> None:
    info = real.client.info
    assert info.kind == "sglang"
    assert info.context_length == 512
    assert info.metrics
    # once in many times 0.4.3.post4 says 503 after its 20 seconds though it generates
    assert await real.client.works(120) or await real.client.works(120)
    wanted = os.environ.get("ATTS_REAL_SGLANG_RELEASE")
    assert wanted is None or info.release == wanted


async def test_a_stream_and_a_whole_answer_are_the_same(real: Any) -> None:
    for question in QUESTIONS:
        request = greedy(prompt(real, question))
        ids, text, logprobs, last = await collect(real.client, request)
        whole = await real.client.complete(request)
        assert (ids, text) == (whole.ids, whole.text)
        assert len(logprobs) == len(ids) == last.completion_tokens
        assert real.tokenizer.decode(ids) == text
        assert last.finish == whole.finish
        assert last.finish.type == "length" or last.finish.matched in real.tokenizer.eos_ids


async def test_a_score_is_what_greedy_sampling_saw(real: Any) -> None:
    for question in QUESTIONS:
        begin = prompt(real, question)
        whole = await real.client.complete(greedy(begin))
        score = await real.client.score(begin, whole.ids)
        assert len(score.logprobs) == len(whole.ids)
        assert max(abs(a - b) for a, b in zip(score.logprobs, whole.logprobs or [], strict=True)) < 1e-3


async def test_scores_do_not_depend_on_where_they_begin(real: Any) -> None:
    ids = (await real.client.complete(greedy(prompt(real), 30))).ids
    everything = prompt(real) + ids
    whole = (await real.client.score(everything[:1], everything[1:])).logprobs
    for at in range(1, len(everything)):
        part = (await real.client.score(everything[:at], everything[at:])).logprobs
        assert max(abs(a - b) for a, b in zip(part, whole[at - 1 :], strict=True)) < 1e-3


async def test_every_id_of_the_vocabulary_can_be_scored(real: Any) -> None:
    step = list(range(real.tokenizer.vocab_size))
    score = await real.client.score(prompt(real), step)  # the last id is reported as 0
    assert len(score.logprobs) == real.tokenizer.vocab_size


async def test_stop_strings_and_stop_tokens(real: Any) -> None:
    kept = greedy(prompt(real), stop=(" = ",), no_stop_trim=True)  # as the engine asks
    whole = await real.client.complete(kept)
    ids, text, _, last = await collect(real.client, kept)
    assert " = " in whole.text
    assert (ids, text, last.finish) == (whole.ids, whole.text, whole.finish)
    cut = greedy(prompt(real), stop=(" = ",))
    whole = await real.client.complete(cut)
    assert " = " not in whole.text
    ids, text, _, last = await collect(real.client, cut)
    assert (ids, last.finish) == (whole.ids, whole.finish)
    left = text.removeprefix(whole.text)
    assert left == (" =" if real.client.info.release.startswith("0.4.10") else "")
    first = (await real.client.complete(greedy(prompt(real), 1))).ids[0]
    by_id = await real.client.complete(greedy(prompt(real), stop_token_ids=(first,)))
    assert (by_id.ids, by_id.finish.matched) == ([first], first)


async def test_what_would_kill_it_does_not_reach_it(real: Any) -> None:
    size = real.tokenizer.vocab_size
    for ids in ([size], [-1], []):
        with pytest.raises(InvalidRequest):
            await real.client.complete(greedy(ids))
        with pytest.raises(InvalidRequest):
            await real.client.score(ids, [1])
    with pytest.raises(ContextFull):
        await real.client.complete(greedy([1] * 500, 12))
    room = real.client.info.room(500, 100)
    assert (
        await real.client.complete(greedy([1] * 500, room, ignore_eos=True))
    ).completion_tokens >= room - 1
    await real.client.one_token(120)


async def test_many_at_once_some_of_which_leave(real: Any) -> None:
    async def leave(question: str) -> None:
        request = GenerateRequest(
            input_ids=prompt(real, question), sampling=Sampling(max_new_tokens=400, ignore_eos=True)
        )
        async with contextlib.aclosing(real.client.generate(request)) as updates:
            async for _ in updates:
                return

    alone = [await collect(real.client, greedy(prompt(real, q))) for q in QUESTIONS]
    work = [collect(real.client, greedy(prompt(real, q))) for q in QUESTIONS * 3]
    found = await asyncio.gather(*work, *(leave(q) for q in QUESTIONS))
    texts = [answer[1] for answer in found if answer is not None]
    assert sum(a == b[1] for a, b in zip(texts, alone * 3, strict=True)) >= len(texts) - 1  # near ties
    await real.client.one_token(120)


async def test_metrics(real: Any) -> None:
    await real.client.complete(greedy(prompt(real)))
    reading = await ServerPoller(real.client.page).read()
    assert reading.unavailable == ""
    assert reading.running is not None
    assert reading.requests is not None
    assert reading.requests > 0
    assert reading.fresh is not real.client.info.release.startswith("0.4.3")  # which has no load to ask for


async def test_errors_of_its_own_are_typed(real: Any) -> None:
    bad = real.client._checker.generation(greedy(prompt(real)), stream=False, rid="bad").replace(
        b'"max_new_tokens":60', b'"max_new_tokens":-3'
    )
    with pytest.raises(ServerError, match="-3"):
        await real.client._post(bad, 30.0)


async def test_log_probabilities_agree_with_the_embedded_server(
    real: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    largest, compared, same = 0.0, 0, 0
    async with EmbeddedServers() as servers:
        url = servers.draft_url if real.role == "draft" else servers.target_url
        async with SGLangClient(url, role=real.role) as embedded:
            for question in QUESTIONS:
                begin = prompt(real, question)
                ours = await embedded.complete(greedy(begin))
                theirs = await real.client.complete(greedy(begin))
                same += ours.ids == theirs.ids
                a = (await embedded.score(begin, theirs.ids)).logprobs
                b = (await real.client.score(begin, theirs.ids)).logprobs
                largest = max(largest, *(abs(x - y) for x, y in zip(a, b, strict=True)))
                compared += len(a)
    with capsys.disabled():
        print(  # noqa: T201
            f"\n{real.role}, SGLang {real.client.info.release}: largest difference of {compared} "
            f"log-probabilities {largest:.1e}; {same} of {len(QUESTIONS)} greedy texts equal"
        )
    assert largest < 1e-3
