"""Continuous batching: requests join and leave the forward pass at any token.

Each step carries the next token of every running request and, in the rows that are left, pieces of the
prompts of those that have just come, so that a long prompt never holds up a stream. The loop has a thread of
its own; callers submit jobs and read their progress from any thread.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np

from atts_core.embedded import sampling
from atts_core.embedded.jobs import Finish, Job, LogprobOptions, Progress, Ranked, Vocabulary
from atts_core.embedded.llama import Cache, Chunk, Floats, Llama
from atts_core.embedded.metrics import Metrics
from atts_core.embedded.slots import Slots

log = logging.getLogger(__name__)

# SGLang keeps so many positions of the context free: a prompt must leave 6, a completion 2.
PROMPT_RESERVE: Final = 6
COMPLETION_RESERVE: Final = 2


class QueueFullError(Exception):
    """More jobs wait than the server holds."""


class DuplicateIdError(Exception):
    """A job of this name is still in flight."""


class Batcher:
    """Runs jobs on one model. `start` and `stop` bound the life of its thread."""

    def __init__(
        self,
        model: Llama,
        vocabulary: Vocabulary,
        *,
        max_running: int = 32,
        spare_slots: int = 16,
        max_waiting: int = 1024,
        pace: float | None = None,
        notify: Callable[[list[Job]], None] | None = None,
    ) -> None:
        """`pace` holds every stream to so many tokens a second. `notify` is called from the batcher's thread,
        once a step, with the jobs that have got on."""
        if model.max_rows <= max_running:
            raise ValueError("the model's passes are too small to prefill beside so many running requests")
        self.model = model
        self.vocabulary = vocabulary
        self.max_running = max_running
        self.metrics = Metrics()
        self.context = model.config.max_position_embeddings
        self.capacity = (max_running + spare_slots) * self.context
        self._cache = Cache(model.config, max_running + spare_slots)
        self._slots = Slots(self._cache, self.context)
        self._max_waiting = max_waiting
        self._step_seconds = 1 / pace if pace else 0.0
        self._notify = notify or (lambda _: None)
        self._changed = threading.Condition()
        self._jobs: dict[str, Job] = {}
        self._waiting: deque[Job] = deque()
        self._running: list[Job] = []
        self._aborting = False
        self._flushes: list[threading.Event] = []
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)

    # ------------------------------------------------------------------ called from any thread

    def start(self) -> None:
        """Starts the loop."""
        self._thread.start()

    def stop(self) -> None:
        """Aborts everything and ends the loop."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether the loop runs."""
        return self._thread.is_alive() and not self._stopping

    @property
    def running(self) -> int:
        """Requests in the batch."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    @property
    def used_tokens(self) -> int:
        """Tokens of the requests in the batch, as the cache holds them."""
        return self._slots.used_tokens

    def submit(self, jobs: Sequence[Job]) -> None:
        """Queues all of `jobs` or none.

        Raises:
            QueueFullError, DuplicateIdError: as they say.
        """
        with self._changed:
            if len(self._waiting) + len(jobs) > self._max_waiting:
                raise QueueFullError
            names = [job.rid for job in jobs]
            for name in names:
                if name in self._jobs or names.count(name) > 1:
                    raise DuplicateIdError(name)
            for job in jobs:
                room = self.context - len(job.prompt) - COMPLETION_RESERVE
                wish = job.params.max_new_tokens
                job.limit = room if wish is None else min(wish, room)
                self._jobs[job.rid] = job
                self._waiting.append(job)
            self._changed.notify()

    def abort(self, jobs: Iterable[Job], reason: str = "Aborted") -> None:
        """Ends jobs within a step; what they have written stays theirs. Finished ones are left alone."""
        with self._changed:
            for job in jobs:
                if self._jobs.get(job.rid) is job and job.abort is None:
                    job.abort = Finish("abort", reason)
                    self._aborting = True
            self._changed.notify()

    def abort_named(self, name: str | None) -> None:
        """Ends the job of this rid and those of this group, or (None) all."""
        with self._changed:
            jobs = [job for job in self._jobs.values() if name is None or name in (job.rid, job.group)]
        self.abort(jobs)

    def flush(self) -> bool:
        """Empties the prefix cache; False where requests run or wait, and nothing was done."""
        with self._changed:
            if self._jobs or not self.alive:
                return False
            done = threading.Event()
            self._flushes.append(done)
            self._changed.notify()
        return done.wait(5.0)

    # ------------------------------------------------------------------ the loop

    def _run(self) -> None:
        while self._await_work():
            began = time.monotonic()
            try:
                self.step()
            except Exception:
                # A defect of ours must not end the server: the requests end, the loop goes on afresh.
                log.exception("A step of the batch failed; the requests in flight are ended.")
                self._end_all(Finish("abort", "The server failed while it ran this request.", failed=True))
                self._slots = Slots(self._cache, self.context)
            if self._step_seconds:
                # A step gives every stream one token, so the time between steps is the pace of all.
                time.sleep(max(0.0, began + self._step_seconds - time.monotonic()))
        self._end_all(Finish("abort", "The server is shutting down."))

    def _await_work(self) -> bool:
        with self._changed:
            while not (self._stopping or self._jobs or self._flushes):
                self.metrics.idle()
                self._changed.wait()
            for done in self._flushes:
                self._slots.forget()
                done.set()
            self._flushes.clear()
            return not self._stopping

    def _end_all(self, finish: Finish) -> None:
        with self._changed:
            jobs = list(self._jobs.values())
        self._end(jobs, finish)

    def _end(self, jobs: Sequence[Job], finish: Finish) -> None:
        for job in jobs:
            self._finish(job, finish)
        self._leave(jobs)
        self._notify(list(jobs))

    def _leave(self, finished: Sequence[Job]) -> None:
        with self._changed:
            for job in finished:
                del self._jobs[job.rid]
                if job.slot < 0:
                    self._waiting.remove(job)
        for job in finished:
            if job.slot >= 0:
                self._running.remove(job)
                self._slots.release(job.slot)

    def step(self) -> None:
        """One pass of the model over what is running and waiting; the loop does nothing else."""
        if self._aborting:
            with self._changed:
                self._aborting = False
                aborted = [job for job in self._jobs.values() if job.abort]
            for job in aborted:
                if job.abort:
                    self._end([job], job.abort)
        self._admit()
        chunks, jobs = self._compose()
        if not chunks:
            return
        logits = self.model.forward(self._cache, chunks)
        sampled, rows = self._take_in(chunks, jobs, logits)
        if sampled:
            self._sample(sampled, logits[rows])
        scored = [job for job in jobs if job.computed == len(job.prompt) and not job.limit]
        for job in scored:
            self._finish(job, Finish("length"))
        changed = [*sampled, *scored]
        finished = [job for job in changed if job.progress.finish]
        if finished:
            self._leave(finished)
        self.metrics.step(len(sampled))
        if changed:
            self._notify(changed)

    def _admit(self) -> None:
        if not self._waiting or len(self._running) >= self.max_running:
            return
        with self._changed:
            candidates = list(self._waiting)
        for job in candidates:
            if len(self._running) >= self.max_running:
                break
            reusable = len(job.prompt) - 1
            if job.logprobs:
                reusable = min(reusable, job.logprobs.start)
            place = self._slots.acquire(job.prompt, reusable)
            if place is None:
                continue
            job.slot, job.cached_tokens = place
            job.computed = job.cached_tokens
            if job.params.penalised:
                job.counts = np.zeros(self.model.config.vocab_size, np.int32)
            if job.logprobs and job.logprobs.start < len(job.prompt):
                job.input_logprobs.append(None)
                job.input_top.append(None)
                job.input_chosen.append(None)
            with self._changed:
                self._waiting.remove(job)
            self._running.append(job)
            self.metrics.admitted(len(job.prompt), job.cached_tokens)

    def _compose(self) -> tuple[list[Chunk], list[Job]]:
        chunks: list[Chunk] = []
        jobs: list[Job] = []
        prefills: list[Job] = []
        for job in self._running:
            if job.computed < len(job.prompt):
                prefills.append(job)
                continue
            chunks.append(Chunk(job.slot, job.computed, job.output_ids[-1:], 0))
            jobs.append(job)
        room = self.model.max_rows - len(chunks)
        for job in prefills:
            if not room:
                break
            ids = job.prompt[job.computed : job.computed + room]
            chunks.append(Chunk(job.slot, job.computed, ids, max(0, _first_logits(job) - job.computed)))
            jobs.append(job)
            room -= len(ids)
        return chunks, jobs

    def _take_in(
        self, chunks: Sequence[Chunk], jobs: Sequence[Job], logits: Floats
    ) -> tuple[list[Job], list[int]]:
        """Keeps what the prompts' rows tell; returns the jobs whose next token is due and the rows for it."""
        sampled: list[Job] = []
        rows: list[int] = []
        row = 0
        for chunk, job in zip(chunks, jobs, strict=True):
            count = max(0, len(chunk.ids) - chunk.logits_from)
            stop = chunk.start + len(chunk.ids)
            self._slots.advance(chunk.slot, chunk.start, chunk.ids)
            job.computed = stop
            if chunk.start < len(job.prompt):
                scored = count - (stop == len(job.prompt))
                if job.logprobs and scored > 0:
                    _score(job, job.logprobs, stop - count + 1, logits[row : row + scored].copy())
            if stop >= len(job.prompt) and job.limit:
                sampled.append(job)
                rows.append(row + count - 1)
            row += count
        return sampled, rows

    def _sample(self, jobs: Sequence[Job], logits: Floats) -> None:
        """Writes one token of each job; `logits` (jobs, vocabulary) is overwritten."""
        for row, job in enumerate(jobs):
            if job.counts is not None:
                sampling.penalise(logits[row], job.counts, job.params)
        params = [job.params for job in jobs]
        log_probs = sampling.log_softmax(sampling.temper(logits, params))
        draws = [
            0.0 if job.params.greedy else sampling.uniform(job.seed, job.copy, len(job.output_ids))
            for job in jobs
        ]
        tokens = sampling.choose(log_probs, params, draws)
        chosen = log_probs[np.arange(len(jobs)), tokens].tolist()
        now = time.monotonic()
        for row, job in enumerate(jobs):
            job.output_ids.append(tokens[row])
            if job.logprobs:
                job.output_logprobs.append(chosen[row])
                if job.logprobs.top:
                    job.output_top.append(sampling.top(log_probs[row], job.logprobs.top))
                if job.logprobs.token_ids:
                    job.output_chosen.append(_pick(log_probs[row], job.logprobs.token_ids))
            if job.counts is not None:
                job.counts[tokens[row]] += 1
            if job.first_token is None:
                job.first_token = now
                self.metrics.first_token(now - job.created)
            else:
                self.metrics.next_token(now - job.last_token)
            job.last_token = now
            self._read_token(job, tokens[row])

    def _read_token(self, job: Job, token: int) -> None:
        """Adds the token's text and ends the job where its parameters say so; reasons in SGLang's order."""
        params = job.params
        piece = (self.vocabulary.visible if params.skip_special_tokens else self.vocabulary.raw)[token]
        job.text += piece
        if len(job.output_ids) >= job.limit:
            self._finish(job, Finish("length"))
            return
        ends = token in self.vocabulary.eos_ids or token in params.stop_token_ids
        if ends and not params.ignore_eos:
            if not params.no_stop_trim:
                job.text = job.text.removesuffix(piece)
            self._finish(job, Finish("stop", token))
            return
        for stop in params.stop:
            place = job.text.find(stop, max(0, len(job.text) - len(piece) - len(stop) + 1))
            if place >= 0:
                if not params.no_stop_trim:
                    job.text = job.text[:place]
                self._finish(job, Finish("stop", stop))
                return
        shown = len(job.text) - _held_back(job.text, params.stop)
        job.progress = Progress(len(job.output_ids), job.text[:shown])

    def _finish(self, job: Job, finish: Finish) -> None:
        job.finished = time.monotonic()
        self.metrics.finished(job.finished - job.created, finish.type == "abort")
        job.progress = Progress(len(job.output_ids), job.text, finish)


def _first_logits(job: Job) -> int:
    """The first position of the prompt whose logits are needed; its length where none are."""
    last = len(job.prompt) - 1
    if job.logprobs and job.logprobs.start < last:
        return job.logprobs.start
    return last if job.limit else len(job.prompt)


def _score(job: Job, options: LogprobOptions, position: int, logits: Floats) -> None:
    """Keeps the log-probabilities of the prompt's tokens from `position` on, which `logits` predict."""
    log_probs = sampling.log_softmax(logits)
    ids = job.prompt[position : position + len(logits)]
    job.input_logprobs += log_probs[np.arange(len(ids)), ids].tolist()
    if options.top:
        job.input_top += [sampling.top(row, options.top) for row in log_probs]
    if options.token_ids:
        job.input_chosen += [_pick(row, options.token_ids) for row in log_probs]


def _pick(log_probs: Floats, ids: Sequence[int]) -> Ranked:
    return list(zip(log_probs[list(ids)].tolist(), ids, strict=True))


def _held_back(text: str, stops: Sequence[str]) -> int:
    """Length of the end of `text` that may turn out to be the beginning of a stop string."""
    longest = 0
    for stop in stops:
        for size in range(min(len(stop) - 1, len(text)), longest, -1):
            if text.endswith(stop[:size]):
                longest = size
                break
    return longest
