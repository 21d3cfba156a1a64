"""Continuous batching: same seed, same bits in any company; and how a completion ends."""

import itertools
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_llama import EOS, RAW, VOCABULARY, random_ids, small_config, small_model

from atts_core.embedded.batcher import Batcher, DuplicateIdError, QueueFullError
from atts_core.embedded.jobs import Finish, Job, LogprobOptions
from atts_core.embedded.sampling import SamplingParams

CONFIG = small_config()
MODELS = {rows: small_model(rows) for rows in (8, 16, 64)}


def new_batcher(rows=64, **options):
    return Batcher(MODELS[rows], VOCABULARY, **({"max_running": min(7, rows - 1)} | options))


def job(prompt, seed=1, *, rid="r", logprobs=None, **params):
    return Job(rid, rid, prompt, SamplingParams(**params), seed=seed, logprobs=logprobs)


def finish(batcher, *jobs, steps=10_000):
    """Runs the jobs to their ends, step by step, without the thread."""
    if jobs:
        batcher.submit(jobs)
    while batcher.running or batcher.waiting:
        batcher.step()
        steps -= 1
        assert steps
    return jobs[0] if len(jobs) == 1 else jobs


def alone(prompt, seed=1, **options):
    return finish(new_batcher(), job(prompt, seed, **options))


def facts(done):
    """Everything that a client can see of a job, bit for bit, but for times and the cache."""
    return (
        done.output_ids,
        np.array(done.output_logprobs).tobytes(),
        np.array(done.input_logprobs[1:], float).tobytes(),
        done.output_top,
        done.input_top,
        done.progress,
    )


PROMPT = random_ids(CONFIG, 30)


@st.composite
def requests(draw):
    """Prompts with common beginnings, as the pipeline's are, and parameters of all kinds."""
    found = []
    for i in range(draw(st.integers(2, 8))):
        stem = random_ids(CONFIG, 120, draw(st.integers(0, 2)))[: draw(st.integers(0, 120))]
        prompt = stem + random_ids(CONFIG, draw(st.integers(1, 20)), 100 + i)
        start = draw(st.none() | st.integers(0, len(prompt)))
        params = SamplingParams(
            max_new_tokens=draw(st.integers(0 if start is not None else 1, 25)),
            temperature=draw(st.sampled_from([0.0, 0.5, 0.8, 1.0])),
            top_p=draw(st.sampled_from([1.0, 0.9])),
            frequency_penalty=draw(st.sampled_from([0.0, 0.7])),
            ignore_eos=True,
        )
        options = None if start is None else LogprobOptions(start, top=draw(st.integers(0, 2)))
        found.append((prompt, params, draw(st.integers(0, 2**63 - 1)), options))
    return found


@given(
    wanted=requests(),
    rows=st.sampled_from([8, 16, 64]),
    max_running=st.integers(1, 7),
    spare=st.integers(1, 4),
    gaps=st.lists(st.integers(0, 12), min_size=8, max_size=8),
)
@settings(max_examples=50)
def test_same_seed_same_bits_whatever_else_is_running(wanted, rows, max_running, spare, gaps):
    """Random arrivals, chunk sizes, batch compositions, cache hits: nothing of it shows in any result."""
    expected = []
    for prompt, params, seed, options in wanted:
        done = finish(new_batcher(), Job("x", "x", prompt, params, seed=seed, logprobs=options))
        expected.append(facts(done))
    batcher = new_batcher(rows, max_running=max_running, spare_slots=spare)
    jobs = []
    for i, (prompt, params, seed, options) in enumerate(wanted):
        jobs.append(Job(f"{i}", "", prompt, params, seed=seed, logprobs=options))
        batcher.submit(jobs[-1:])
        for _ in range(gaps[i]):
            batcher.step()
    finish(batcher)
    assert [facts(done) for done in jobs] == expected
    again = [
        Job(f"a{i}", "", *wanted[i][:2], seed=wanted[i][2], logprobs=wanted[i][3]) for i in range(len(jobs))
    ]
    finish(batcher, *again)
    assert [facts(done) for done in again] == expected


def test_copies_of_one_request_differ_and_the_first_is_the_only_one_of_n_1():
    jobs = [Job(f"{i}", "g", PROMPT, SamplingParams(n=3), seed=5, copy=i) for i in range(3)]
    finish(new_batcher(), *jobs)
    assert len({tuple(done.output_ids) for done in jobs}) == 3
    assert jobs[0].output_ids == alone(PROMPT, 5).output_ids


def test_the_seed_decides():
    texts = {alone(PROMPT, seed, max_new_tokens=20).progress.text for seed in range(5)}
    assert len(texts) == 5


def test_a_prompt_does_not_stall_a_running_stream():
    batcher = new_batcher(16, max_running=2)
    stream = job(PROMPT, rid="stream", max_new_tokens=60, ignore_eos=True)
    batcher.submit([stream])
    while not stream.output_ids:
        batcher.step()
    long = job(random_ids(CONFIG, 150, 8), rid="long", max_new_tokens=1)
    batcher.submit([long])
    before, steps = len(stream.output_ids), 0
    while not long.output_ids:
        batcher.step()
        steps += 1
    assert steps == 10  # 150 tokens in the 15 rows that the stream leaves
    assert len(stream.output_ids) - before == steps


def test_requests_join_and_leave_at_any_token():
    batcher = new_batcher(max_running=2)
    jobs = [
        job(random_ids(CONFIG, 5, i), rid=f"{i}", max_new_tokens=n, ignore_eos=True)
        for i, n in enumerate((30, 3, 4))
    ]
    batcher.submit(jobs)
    for _ in range(3):
        batcher.step()
    assert [len(each.output_ids) for each in jobs] == [3, 3, 0]
    batcher.step()
    assert [len(each.output_ids) for each in jobs] == [4, 3, 1]
    finish(batcher)
    assert [len(each.output_ids) for each in jobs] == [30, 3, 4]


# ---------------------------------------------------------------------- the prefix cache


def test_a_growing_prefix_is_reused_and_a_start_of_log_probabilities_caps_it():
    batcher = new_batcher()
    first = finish(batcher, job(PROMPT, rid="1", max_new_tokens=10, ignore_eos=True))
    assert first.cached_tokens == 0
    longer = PROMPT + first.output_ids + [7, 8]
    assert finish(batcher, job(longer, rid="2", max_new_tokens=1)).cached_tokens == 39
    for start, cached in ((12, 12), (0, 0), (41, 41), (42, 41)):
        options = LogprobOptions(start)
        scored = finish(batcher, job(longer, rid="3", max_new_tokens=1, logprobs=options))
        assert scored.cached_tokens == cached
        assert len(scored.input_logprobs) == 42 - start
    batcher._slots.forget()
    assert finish(batcher, job(longer, rid="4", max_new_tokens=1)).cached_tokens == 0


def test_equal_prompts_that_come_together_are_computed_once():
    batcher = new_batcher(64, max_running=7)
    jobs = [job(PROMPT, seed=i, rid=f"{i}", max_new_tokens=3, ignore_eos=True) for i in range(7)]
    finish(batcher, *jobs)
    assert [each.cached_tokens for each in jobs] == [0] + [29] * 6


def test_a_branch_does_not_destroy_the_other():
    batcher = new_batcher(max_running=1, spare_slots=3)
    left, right = [*PROMPT, 10, 11, 12], [*PROMPT, 20, 21, 22]
    for prompt in (left, right, [*left, 13]):
        done = finish(batcher, job(prompt, rid="x", max_new_tokens=1))
    assert done.cached_tokens == 33


# ---------------------------------------------------------------------- ends


WRITTEN = alone(PROMPT, max_new_tokens=40, ignore_eos=True)


def test_length():
    done = alone(PROMPT, max_new_tokens=7, ignore_eos=True)
    assert done.progress.finish == Finish("length")
    assert done.output_ids == WRITTEN.output_ids[:7]
    assert done.progress.text == "".join(RAW[i] for i in done.output_ids)


def test_no_new_tokens():
    done = alone(PROMPT, max_new_tokens=0, logprobs=LogprobOptions(0))
    assert (done.output_ids, done.progress.text) == ([], "")
    assert done.input_logprobs == alone(PROMPT, max_new_tokens=1, logprobs=LogprobOptions(0)).input_logprobs
    assert done.progress.finish == Finish("length")


def test_the_context_ends_a_completion_as_in_sglang():
    done = alone(random_ids(CONFIG, 190), max_new_tokens=None, ignore_eos=True)
    assert len(done.output_ids) == 200 - 190 - 2
    assert alone(random_ids(CONFIG, 190), max_new_tokens=50, ignore_eos=True).output_ids == done.output_ids


def test_end_of_text_and_stop_tokens():
    chosen = WRITTEN.output_ids[12]
    first = WRITTEN.output_ids.index(chosen)
    done = alone(PROMPT, stop_token_ids=frozenset({chosen}))
    assert done.output_ids == WRITTEN.output_ids[: first + 1]
    assert done.progress.finish == Finish("stop", chosen)
    assert done.progress.text == "".join(RAW[i] for i in done.output_ids[:-1])
    kept = alone(PROMPT, stop_token_ids=frozenset({chosen}), no_stop_trim=True)
    assert kept.progress.text == done.progress.text + RAW[chosen]
    for seed in range(200):
        ended = alone(PROMPT, seed, max_new_tokens=150)
        if ended.progress.finish == Finish("stop", EOS):
            assert ended.output_ids[-1] == EOS
            assert "</s>" not in ended.progress.text
            shown = alone(PROMPT, seed, max_new_tokens=150, skip_special_tokens=False, no_stop_trim=True)
            assert shown.progress.text.endswith("</s>")
            return
    pytest.fail("no seed of 200 ended the text")


@pytest.mark.parametrize("extra", [(), ("never",), ("zz", "never")])
def test_a_stop_string_is_cut_from_the_text_but_not_from_the_tokens(extra):
    texts = [RAW[i] for i in WRITTEN.output_ids]
    stop = texts[9][1:] + texts[10][:1]
    whole = "".join(texts)
    place = whole.index(stop)
    tokens = next(n for n in range(len(texts)) if stop in "".join(texts[:n]))
    done = alone(PROMPT, stop=(*extra, stop), logprobs=LogprobOptions(30))
    assert done.progress == type(done.progress)(tokens, whole[:place], Finish("stop", stop))
    assert done.output_ids == WRITTEN.output_ids[:tokens]
    assert len(done.output_logprobs) == tokens
    kept = alone(PROMPT, stop=(stop,), no_stop_trim=True)
    assert kept.progress.text == "".join(texts[:tokens])


def test_what_may_become_a_stop_string_is_held_back_so_that_no_shown_text_is_ever_taken_back():
    texts = [RAW[i] for i in WRITTEN.output_ids]
    stop = "".join(texts[9:14])
    batcher = new_batcher()
    done = job(PROMPT, max_new_tokens=40, ignore_eos=True, stop=(stop, texts[20] + "never"))
    batcher.submit([done])
    shown = [""]
    while done.progress.finish is None:
        batcher.step()
        shown.append(done.progress.text)
    assert all(after.startswith(before) for before, after in itertools.pairwise(shown))
    assert shown[-1] == "".join(texts).split(stop)[0]
    assert shown[11] == shown[12]


def test_abort_keeps_what_was_written_and_frees_the_slot_within_a_step():
    batcher = new_batcher(max_running=1)
    running, waiting = job(PROMPT, rid="a", max_new_tokens=100), job(PROMPT, rid="b", max_new_tokens=100)
    other = job(PROMPT, rid="c", max_new_tokens=2)
    batcher.submit([running, waiting, other])
    for _ in range(5):
        batcher.step()
    batcher.abort([running, waiting])
    batcher.step()
    assert running.progress.finish == waiting.progress.finish == Finish("abort", "Aborted")
    assert (len(running.output_ids), len(waiting.output_ids)) == (5, 0)
    finish(batcher)
    assert len(other.output_ids) == 2
    assert (batcher.running, batcher.waiting, batcher.used_tokens) == (0, 0, 0)
    batcher.abort([running])
    finish(batcher, job(PROMPT, rid="a", max_new_tokens=1))


def test_abort_by_name_group_and_all():
    batcher = new_batcher()
    jobs = [Job(f"g-{i}", "g", PROMPT, SamplingParams(max_new_tokens=90), seed=i) for i in range(2)]
    jobs += [job(PROMPT, rid="h", max_new_tokens=90), job(PROMPT, rid="i", max_new_tokens=90)]
    batcher.submit(jobs)
    for name, left in (("g-1", 3), ("nobody", 3), ("g", 2), (None, 0)):
        batcher.abort_named(name)
        batcher.step()
        assert batcher.running + batcher.waiting == left


def test_a_full_queue_and_a_duplicate_name_are_refused_whole():
    batcher = new_batcher(max_running=1, max_waiting=2)
    with pytest.raises(QueueFullError):
        batcher.submit([job(PROMPT, rid=f"{i}") for i in range(3)])
    assert batcher.waiting == 0
    batcher.submit([job(PROMPT, rid="a", max_new_tokens=2)])
    with pytest.raises(DuplicateIdError):
        batcher.submit([job(PROMPT, rid="a")])
    with pytest.raises(DuplicateIdError):
        new_batcher().submit([job(PROMPT, rid="b"), job(PROMPT, rid="b")])
    finish(batcher)
    finish(batcher, job(PROMPT, rid="a", max_new_tokens=1))


# ---------------------------------------------------------------------- the thread


class Waiter:
    """Waits for jobs of a running batcher to end."""

    def __init__(self):
        self.ended = threading.Semaphore(0)

    def __call__(self, jobs):
        for each in jobs:
            if each.progress.finish:
                self.ended.release()

    def wait(self, count):
        for _ in range(count):
            assert self.ended.acquire(timeout=30)


def test_the_loop_serves_many_threads_at_once_and_gives_each_what_it_would_get_alone():
    waiter = Waiter()
    batcher = new_batcher(notify=waiter)
    batcher.start()
    jobs = [
        job(random_ids(CONFIG, 10 + i, i), i, rid=f"{i}", max_new_tokens=20, ignore_eos=True)
        for i in range(24)
    ]
    threads = [threading.Thread(target=batcher.submit, args=([each],)) for each in jobs]
    for thread in threads:
        thread.start()
    waiter.wait(24)
    batcher.stop()
    for i, each in enumerate(jobs):
        expected = alone(random_ids(CONFIG, 10 + i, i), i, max_new_tokens=20, ignore_eos=True)
        assert facts(each) == facts(expected)


def test_flush_works_when_idle_and_is_refused_when_busy():
    waiter = Waiter()
    batcher = new_batcher(notify=waiter)
    assert not batcher.flush()
    batcher.start()
    batcher.submit([job(PROMPT, rid="1", max_new_tokens=1)])
    waiter.wait(1)
    assert batcher.flush()
    again = job(PROMPT, rid="2", max_new_tokens=150, ignore_eos=True)
    batcher.submit([again])
    assert not batcher.flush()
    waiter.wait(1)
    assert again.cached_tokens == 0
    batcher.stop()
    assert not batcher.alive


def test_a_failing_step_ends_its_requests_and_not_the_loop(monkeypatch, caplog):
    waiter = Waiter()
    batcher = new_batcher(notify=waiter)

    def explode(cache, chunks):
        raise ZeroDivisionError

    monkeypatch.setattr(batcher.model, "forward", explode)
    batcher.start()
    broken = job(PROMPT, rid="1")
    batcher.submit([broken])
    waiter.wait(1)
    assert broken.progress.finish.failed
    assert "ZeroDivisionError" in caplog.text
    monkeypatch.undo()
    fine = job(PROMPT, rid="1", max_new_tokens=7, ignore_eos=True)
    batcher.submit([fine])
    waiter.wait(1)
    assert fine.output_ids == WRITTEN.output_ids[:7]
    batcher.stop()


def test_stopping_ends_what_runs():
    waiter = Waiter()
    batcher = new_batcher(notify=waiter)
    batcher.start()
    jobs = [job(PROMPT, rid=f"{i}", max_new_tokens=150, ignore_eos=True) for i in range(12)]
    batcher.submit(jobs)
    batcher.stop()
    assert all(each.progress.finish for each in jobs)


def test_metrics_add_up():
    batcher = new_batcher()
    finish(batcher, job(PROMPT, rid="1", max_new_tokens=10, ignore_eos=True))
    finish(batcher, job(PROMPT, rid="2", max_new_tokens=1))
    page = batcher.metrics.render("tiny", 0, 0, 0, 100)
    values = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    labels = '{engine_type="unified",model_name="tiny"}'
    assert values["sglang:prompt_tokens_total" + labels] == "60.0"
    assert values["sglang:cached_tokens_total" + labels] == "29.0"
    assert values["sglang:generation_tokens_total" + labels] == "11.0"
    assert values["sglang:num_requests_total" + labels] == "2.0"
    assert values["sglang:inter_token_latency_seconds_count" + labels] == "9.0"
    assert values["sglang:time_to_first_token_seconds_count" + labels] == "2.0"


def test_a_pace_waits_after_every_step_and_changes_no_text(monkeypatch):
    waits = []
    monkeypatch.setattr("atts_core.embedded.batcher.time.sleep", waits.append)
    over = threading.Event()
    batcher = new_batcher(
        pace=0.001, notify=lambda jobs: any(each.progress.finish for each in jobs) and over.set()
    )
    paced = job(PROMPT, max_new_tokens=9, ignore_eos=True)
    batcher.start()
    batcher.submit([paced])
    assert over.wait(60)
    batcher.stop()
    assert len(waits) >= 9
    assert all(990 < wait <= 1000 for wait in waits)
    assert paced.output_ids == alone(PROMPT, max_new_tokens=9, ignore_eos=True).output_ids
