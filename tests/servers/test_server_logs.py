"""What logs of real starts tell: how far, why not, and never a key."""

from pathlib import Path

import pytest

from atts_core.servers.logs import HEADER, hide_keys, last_error, last_line, progress, tail

OUT_OF_MEMORY = """\
[2026-11-20 10:00:00] server_args=ServerArgs(model_path='Qwen/QwQ-32B', api_key='s3cret', port=30000)
[2026-11-20 10:00:09 TP0] Load weight begin. avail mem=78.65 GB
[2026-11-20 10:00:19 TP0] Scheduler hit an exception: Traceback (most recent call last):
  File "scheduler.py", line 1787, in run_scheduler_process
    scheduler = Scheduler(server_args, port_args, gpu_id, tp_rank, dp_rank)
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 270.00 MiB. GPU 0 has 79.15 GiB.
[2026-11-20 10:00:20] Received sigquit from a child process. It usually means the child failed.
Traceback (most recent call last):
    data = scheduler_pipe_readers[i].recv()
EOFError
"""
NO_MODEL = """\
Traceback (most recent call last):
  File "hub.py", line 470, in cached_files
OSError: no-such/model is not a local folder and is not a valid model identifier listed on 'the hub'
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "draft.log"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "starting"),
        ("/x/y.py:12: FutureWarning: import pynvml\n", "starting"),
        ("[2026-11-20 14:08:41 TP0] Load weight begin. avail mem=21.13 GB\n", "loading weights"),
        (
            "Loading safetensors checkpoint shards:  21% 3/14\rLoading safetensors checkpoint shards:  50%\n",
            "loading weights 50%",
        ),
        ("[2026-11-20 14:08:50 TP0] Capture cuda graph begin.\n 0%| | 0/23\n", "capturing graphs"),
        ("Capturing batches (bs=8 avail_mem=12 GB):  45%|████ | 9/20\n", "capturing graphs 45%"),
        ("[2026-11-20 14:08:51 TP0] KV Cache is allocated. #tokens: 65536\n", "KV cache allocated"),
        ("[2026-11-20 14:08:52] The server is fired up and ready to roll!\n", "answering"),
        ("[2026-11-20 14:08:52] \x1b[1;33mSomething \x1b]0;x\x07new\x1b[0m\n", "Something ]0;x new"),
    ],
)
def test_how_far_a_start_is(log: Path, text: str, words: str) -> None:
    log.write_text(f"{HEADER}started\n{text}")
    assert progress(log) == words


def test_the_cause_is_quoted_and_not_what_came_of_it(log: Path) -> None:
    log.write_text(OUT_OF_MEMORY)
    assert last_error(log).startswith("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate")
    log.write_text(NO_MODEL)
    assert "no-such/model is not a local folder" in last_error(log)


def test_only_the_newest_start_counts(log: Path) -> None:
    log.write_text(f"{HEADER}first\n{OUT_OF_MEMORY}{HEADER}again\nall is well\n")
    assert last_error(log) == ""
    assert last_line(log) == "all is well"


def test_no_log_is_no_error(log: Path) -> None:
    assert (tail(log), last_error(log), last_line(log), progress(log)) == ([], "", "", "starting")


def test_a_key_is_hidden_and_nothing_else(log: Path) -> None:
    log.write_text(OUT_OF_MEMORY)
    text = "\n".join(tail(log))
    assert "s3cret" not in text
    assert "port=30000" in text
    assert hide_keys("api_key=None, x='y'") == "api_key=None, x='y'"
    assert "abc" not in hide_keys("launch --api-key abc --port 1")
    assert "abc" not in hide_keys('{"api_key": "abc"}')
    assert "abc" not in hide_keys("Authorization: Bearer abc")


def test_the_last_lines(log: Path) -> None:
    log.write_bytes(b"one\ntwo \xff\nthree")
    assert tail(log, 2) == ["two \ufffd", "three"]
    assert tail(log, 0) == []
