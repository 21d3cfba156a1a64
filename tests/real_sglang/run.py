"""`make test-sglang`: installs the real SGLang for a CPU, serves the embedded pair by it, and tries it.

    python tests/real_sglang/run.py                              all releases, and the router
    python tests/real_sglang/run.py --release 0.5.23 --faults    one, and what happens when its parts die
    python tests/real_sglang/run.py --release router-0.3.2       embedded servers behind a router, killed
    python tests/real_sglang/run.py --brief --limit 600          what continuous integration does

Each release gets a virtual environment of its own in the user's cache folder, kept between runs: 1.3 GB
(0.4.3.post4, 0.4.10.post2), 1.9 GB (0.5.23), 0.15 GB (the router, which needs no PyTorch). PyTorch must be a
CPU build: where pip's indexes have none, name PyTorch's own CPU index with PIP_EXTRA_INDEX_URL.

With --skip a machine that is offline, full, slow or short of memory is no failure: it says why it skips, and
ends with 0. Whatever ends this program, the servers and all else that it started end with it.
"""

# ruff: noqa: T201  # a program that talks

import argparse
import contextlib
import errno
import fcntl
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
TORCH = "torch==2.13.0+cpu"
COMMON = ("vllm", "triton", "sgl_kernel", "torchao")
RELEASES = {
    "0.4.3.post4": {"stand_ins": COMMON, "grammar": "outlines"},
    "0.4.10.post2": {"stand_ins": COMMON, "grammar": "none"},
    "0.5.23": {
        "stand_ins": (
            *COMMON,
            *("flashinfer", "cuda", "tilelang", "cutlass", "quack", "deep_gemm", "deep_ep", "flash_mla"),
            *("kernels", "humming", "nvshmem", "flash_attn", "sgl_flash_attn", "torchvision", "torchaudio"),
        ),
        "grammar": "none",
    },
}
ROUTER = "router-0.3.2"
PACE = "20"
"""Tokens a second and stream of the embedded servers behind the router: long enough to kill and come back."""

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE = 30.0
"""Seconds that a program gets to end what it started."""
ROOM = {"cache": 4 << 30, "temporary": 1 << 29, "memory": 4 << 30}
"""Bytes: what an installation and its downloads take, the exported pair and the runs, two servers."""
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOMEM, errno.EAGAIN}
NOT_OURS = (
    "did not answer within",
    "did not say within",
    "is in use",
    "Address already in use",
    "was ended by SIGKILL",  # by the system, for want of memory
    "No space left on device",
    "Disk quota exceeded",
    "Cannot allocate memory",
    "can't start new thread",
    "Resource temporarily unavailable",
)
"""What a start says that fails for reasons of the machine."""


class NotPossible(Exception):  # noqa: N818
    """This machine cannot do it; says why in a line."""


def main() -> int:
    options = parser().parse_args()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "atts" / "real-sglang"
    limit = time.monotonic() + options.limit
    end_on_signals()
    status = 0
    for release in options.release or [*RELEASES, ROUTER]:
        try:
            python = install(release, cache, min(options.install_limit, limit - time.monotonic()))
            status = max(status, try_release(release, python, options, limit))
        except (NotPossible, OSError) as reason:
            if isinstance(reason, OSError) and reason.errno not in FULL:
                raise
            print(f"real SGLang {release}: SKIPPED, {reason}", flush=True)
            status = max(status, 0 if options.skip else 1)
    return status


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--release", action="append", choices=[*RELEASES, ROUTER], help="default: all")
    parser.add_argument("--brief", action="store_true", help="a smaller evaluation")
    parser.add_argument("--problems", type=int, metavar="N", help="of the evaluation (default: 20; brief: 8)")
    parser.add_argument("--faults", action="store_true", help="kill parts of the servers as well")
    parser.add_argument("--skip", action="store_true", help="it is no failure to have no package or no time")
    parser.add_argument("--install-limit", type=float, default=900.0, metavar="S")
    parser.add_argument("--limit", type=float, default=3600.0, metavar="S", help="seconds for everything")
    return parser


def end_on_signals() -> None:
    """A signal ends this program as an error would: everything is cleaned up."""
    for number in ENDING:
        signal.signal(number, lambda number, _: sys.exit(128 + number))


def finish(command: list[str], seconds: float, **more: Any) -> "subprocess.CompletedProcess[str]":
    """Runs a program to its end. If it takes longer, or if we are ended, it ends with all that it started.

    Raises:
        subprocess.TimeoutExpired: it took longer.
    """
    with subprocess.Popen(
        command, text=True, stdin=subprocess.DEVNULL, start_new_session=True, **more
    ) as process:
        try:
            out, err = process.communicate(timeout=max(1.0, seconds))
        except BaseException:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE)
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def require(what: str, free: int) -> None:
    """Raises NotPossible where there is less than is needed."""
    if free < ROOM[what]:
        raise NotPossible(
            f"it needs {ROOM[what] / 2**30:.1f} GB ({what}), and {free / 2**30:.1f} GB are free"
        )


def free_memory() -> int:
    """Bytes that can be had; as much as is needed where the system does not tell."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return ROOM["memory"]


@contextlib.contextmanager
def alone(file: Path, limit: float) -> Iterator[None]:
    """One run at a time installs a release. Raises NotPossible where another one does until the limit."""
    with file.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > limit:
                    raise NotPossible("another run was installing it all the time") from None
                time.sleep(1)
            else:
                break
        yield


def install(release: str, cache: Path, seconds: float) -> Path:
    """The Python that has this release, installed where it is not yet. Raises NotPossible."""
    wanted = HERE / f"requirements-{release}.txt"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    key = hashlib.sha256(f"{TORCH}{version}{wanted.read_text()}".encode()).hexdigest()[:10]
    home = cache / f"{release}-{key}"
    python = home / "bin" / "python"
    began, limit = time.monotonic(), time.monotonic() + seconds
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotPossible(f"the folder {cache} cannot be made ({error.strerror})") from None
    with alone(cache / f"{release}.lock", limit):
        if is_installed(release, python):
            return python
        shutil.rmtree(home, ignore_errors=True)
        require("cache", shutil.disk_usage(cache).free)
        print(f"real SGLang {release}: installing into {home} (at most {seconds:.0f} s) …", flush=True)
        try:
            _install(release, wanted, home, python, limit)
        except BaseException:
            shutil.rmtree(home, ignore_errors=True)
            raise
        stamp_of(python).touch()
    print(f"real SGLang {release}: installed within {time.monotonic() - began:.0f} s", flush=True)
    return python


def stamp_of(python: Path) -> Path:
    """What lies in a virtual environment that was installed to its end."""
    return python.parent.parent / "installed"


def is_installed(release: str, python: Path) -> bool:
    """Whether it is there, whole, and its Python still runs: the one that it was made of may be gone."""
    if not stamp_of(python).exists():
        return False
    package = "sglang-router" if release == ROUTER else "sglang"
    question = [str(python), "-c", f"import importlib.metadata as m; m.version('{package}')"]
    try:
        return not finish(question, 60, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
    except FileNotFoundError:
        return False
    except subprocess.TimeoutExpired:
        raise NotPossible("this machine is too busy: its Python did not start within 60 s") from None


def _install(release: str, wanted: Path, home: Path, python: Path, limit: float) -> None:
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-input"]
    torch = ([*pip, TORCH], f"pip finds no {TORCH}: name PyTorch's CPU index with PIP_EXTRA_INDEX_URL")
    for command, failure in (
        ([sys.executable, "-m", "venv", str(home)], "no virtual environment can be made"),
        *([] if release == ROUTER else [torch]),
        ([*pip, "-r", str(wanted)], "its packages cannot be installed"),
    ):
        try:
            done = finish(
                command, limit - time.monotonic(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
        except subprocess.TimeoutExpired:
            raise NotPossible("it could not be installed in time") from None
        if done.returncode:
            words = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise NotPossible(f"{failure} ({words})")


def try_release(release: str, python: Path, options: argparse.Namespace, limit: float) -> int:
    """Serve the pair by this release, or behind the router, and run its tests; returns pytest's status."""
    require("temporary", shutil.disk_usage(tempfile.gettempdir()).free)
    require("memory", free_memory())
    with (
        tempfile.TemporaryDirectory(prefix="atts-sglang-", ignore_cleanup_errors=True) as folder,
        contextlib.ExitStack() as stack,
    ):
        work = Path(folder)
        config = work / "atts.toml"
        environment = {**os.environ, "ATTS_HOME": str(work / "home"), "ATTS_CONFIG": str(config)}
        ports = draft, target = free_ports()
        patience = max(1.0, min(300.0, limit - time.monotonic()))
        told = {"ATTS_REAL_SGLANG_HOME": str(work / "home"), "ATTS_REAL_SGLANG_RELEASE": release}
        if release == ROUTER:
            config.write_text(behind_router(python, ports, patience))
        else:
            try:
                export(work / "pair", limit - time.monotonic())
            except subprocess.TimeoutExpired:
                raise NotPossible("no time was left to export the pair") from None
            config.write_text(settings(release, python, work / "pair", ports, patience))
            told |= {
                "ATTS_REAL_SGLANG_DRAFT": f"http://127.0.0.1:{draft}",
                "ATTS_REAL_SGLANG_TARGET": f"http://127.0.0.1:{target}",
                "ATTS_REAL_SGLANG_PROBLEMS": str(options.problems or (8 if options.brief else 20)),
                "ATTS_REAL_SGLANG_FAULTS": "1" if options.faults else "",
            }
        restart = "--restart" if options.faults or release == ROUTER else ""
        stack.enter_context(servers(environment, release, patience, restart))
        environment |= told
        tests = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "real_sglang", str(HERE), "--durations=5"]
        try:
            status = finish(tests, limit - time.monotonic(), cwd=ROOT, env=environment).returncode
            if status and options.skip:
                print(f"real SGLang {release}: failed; once more, for a defect fails twice", flush=True)
                status = finish(tests, limit - time.monotonic(), cwd=ROOT, env=environment).returncode
            return status
        except subprocess.TimeoutExpired:
            raise NotPossible(  # -x: the first failure would have ended it
                f"it was not done within {options.limit:.0f} s; nothing had failed twice by then"
            ) from None


def export(folder: Path, seconds: float) -> None:
    """The pair as folders that SGLang loads."""
    command = [sys.executable, "-m", "atts_core.embedded.export", str(folder)]
    done = finish(command, seconds, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode:
        give_up("the pair cannot be exported", done.stderr)


def give_up(what: str, said: str) -> NoReturn:
    """Raises NotPossible where the words tell of the machine; else this is a failure, shown whole."""
    lines = said.strip().splitlines() or [""]
    if any(words in said for words in NOT_OURS):
        raise NotPossible(f"{what}: {lines[-1]}")
    print(said, flush=True)
    sys.exit(1)


def settings(release: str, python: Path, pair: Path, ports: tuple[int, int], patience: float) -> str:
    """`atts.toml`: how to serve the embedded pair on a CPU."""
    about = RELEASES[release]
    arguments = {
        "--device": "cpu",
        "--dtype": "float32",
        "--attention-backend": "torch_native",
        "--sampling-backend": "pytorch",
        "--grammar-backend": about["grammar"],
        "--max-total-tokens": "65536",
        "--mem-fraction-static": "0.5",
        "--random-seed": "1",
    }
    switches = ("--disable-cuda-graph", "--disable-overlap-schedule")
    environment = {
        "PYTHONPATH": str(HERE / "stand_ins"),
        "STAND_INS": ",".join(about["stand_ins"]),
        "TORCHDYNAMO_DISABLE": "1",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "SGLANG_USE_CPU_ENGINE": "" if release.startswith("0.4.3") else "1",
    }
    told = {
        "servers": {
            "python": str(python),
            "args": [word for words in arguments.items() for word in words] + list(switches),
            "patience": patience,
        },
        "servers.env": {name: value for name, value in environment.items() if value},
    }
    for role, port in zip(("draft", "target"), ports, strict=True):
        told[f"servers.{role}"] = {
            "model": str(pair / role),
            "port": port,
            "context_length": 512,
            "args": ["--served-model-name", role],  # as the calibration that comes with the pair names it
        }
    return toml(told)


def behind_router(python: Path, ports: tuple[int, int], patience: float) -> str:
    """`atts.toml`: two embedded servers of each role behind the router that this Python has."""
    about = {"preset": "embedded", "python": str(python), "workers": 2, "router": True, "patience": patience}
    roles = {
        f"servers.{role}": {"port": port, "args": ["--pace", PACE]}
        for role, port in zip(("draft", "target"), ports, strict=True)
    }
    return toml({"servers": about, **roles})


def toml(tables: dict[str, dict[str, Any]]) -> str:
    """Strings, numbers, truths and lists are written in TOML as in JSON."""
    return "".join(
        f"[{table}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
        for table, values in tables.items()
    )


@contextlib.contextmanager
def servers(environment: dict[str, str], release: str, patience: float, option: str) -> Iterator[None]:
    """`atts servers up`, and down in the end whatever happens."""
    atts = [sys.executable, "-m", "atts_tui.cli", "servers"]
    heard = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment, "cwd": ROOT}
    began = time.monotonic()
    try:
        up = finish([*atts, "up", "--name", "real", *filter(None, [option])], patience + 120, **heard)
        if up.returncode:
            give_up("this machine cannot start it", up.stdout + up.stderr)
        print(f"real SGLang {release}: serves the pair after {time.monotonic() - began:.0f} s", flush=True)
        yield
    except subprocess.TimeoutExpired:
        raise NotPossible("this machine is too busy to start it") from None
    finally:
        for number in ENDING:  # a second ctrl-C leaves nothing behind either
            signal.signal(number, lambda *_: None)
        try:
            down = finish([*atts, "down", "--all"], 180, **heard)
            said = down.stderr if down.returncode else ""
        except subprocess.TimeoutExpired:
            said = "`atts servers down` did not end within 180 s"
        if said:
            print(f"real SGLang {release}: NOT STOPPED: {said}", flush=True)
        end_on_signals()


def free_ports() -> tuple[int, int]:
    """One for each role, below those that outgoing connections take.

    The three after it are free as well: a router takes one more than it has workers.
    """

    def free(port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) != 0

    while True:
        draft, target = random.randrange(20000, 26000), random.randrange(26010, 32000)
        if all(free(first + more) for first in (draft, target) for more in range(4)):
            return draft, target


if __name__ == "__main__":
    sys.exit(main())
