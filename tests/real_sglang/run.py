"""`make test-sglang`: installs the real SGLang for a CPU, serves the embedded pair by it, and tries it.

    python tests/real_sglang/run.py                              both releases
    python tests/real_sglang/run.py --release 0.5.23 --faults    one, and what happens when its parts die
    python tests/real_sglang/run.py --brief --limit 600          what continuous integration does

Each release gets a virtual environment of its own in the user's cache folder, kept between runs: 1.3 GB
(0.4.3.post4) and 1.9 GB (0.5.23). PyTorch must be a CPU build: where pip's indexes have none, name PyTorch's
own CPU index with PIP_EXTRA_INDEX_URL.
"""

# ruff: noqa: T201  # a program that talks

import argparse
import contextlib
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

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
TORCH = "torch==2.13.0+cpu"
COMMON = ("vllm", "triton", "sgl_kernel", "torchao")
RELEASES = {
    "0.4.3.post4": {"stand_ins": COMMON, "grammar": "outlines"},
    "0.5.23": {
        "stand_ins": (
            *COMMON,
            *("flashinfer", "cuda", "tilelang", "cutlass", "quack", "deep_gemm", "deep_ep", "flash_mla"),
            *("kernels", "humming", "nvshmem", "flash_attn", "sgl_flash_attn", "torchvision", "torchaudio"),
        ),
        "grammar": "none",
    },
}


class NotPossible(Exception):  # noqa: N818
    """This machine cannot do it; says why in a line."""


def main() -> int:
    options = parser().parse_args()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "atts" / "real-sglang"
    limit = time.monotonic() + options.limit
    status = 0
    for release in options.release or RELEASES:
        try:
            python = install(release, cache, min(options.install_limit, limit - time.monotonic()))
            status = max(status, try_release(release, python, options, limit))
        except NotPossible as reason:
            print(f"real SGLang {release}: SKIPPED, {reason}", flush=True)
            status = max(status, 0 if options.skip else 1)
    return status


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--release", action="append", choices=list(RELEASES), help="default: all")
    parser.add_argument("--brief", action="store_true", help="a smaller evaluation")
    parser.add_argument("--faults", action="store_true", help="kill parts of the servers as well")
    parser.add_argument("--skip", action="store_true", help="it is no failure to have no package or no time")
    parser.add_argument("--install-limit", type=float, default=900.0, metavar="S")
    parser.add_argument("--limit", type=float, default=3600.0, metavar="S", help="seconds for everything")
    return parser


def install(release: str, cache: Path, seconds: float) -> Path:
    """The Python that has this release, installed where it is not yet. Raises NotPossible."""
    wanted = HERE / f"requirements-{release}.txt"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    key = hashlib.sha256(f"{TORCH}{version}{wanted.read_text()}".encode()).hexdigest()[:10]
    home = cache / f"{release}-{key}"
    python, stamp = home / "bin" / "python", home / "installed"
    if stamp.exists():
        return python
    print(f"real SGLang {release}: installing into {home} (at most {seconds:.0f} s) …", flush=True)
    began, limit = time.monotonic(), time.monotonic() + seconds
    shutil.rmtree(home, ignore_errors=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-deps"]
    for command, failure in (
        ([sys.executable, "-m", "venv", str(home)], "no virtual environment can be made"),
        ([*pip, TORCH], f"pip finds no {TORCH}: name PyTorch's CPU index with PIP_EXTRA_INDEX_URL"),
        ([*pip, "-r", str(wanted)], "its packages cannot be installed"),
    ):
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=max(1.0, limit - time.monotonic()),
                check=False,
            )
        except subprocess.TimeoutExpired:
            shutil.rmtree(home, ignore_errors=True)
            raise NotPossible(f"it could not be installed within {seconds:.0f} s") from None
        if done.returncode:
            shutil.rmtree(home, ignore_errors=True)
            words = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise NotPossible(f"{failure} ({words})")
    stamp.touch()
    print(f"real SGLang {release}: installed within {time.monotonic() - began:.0f} s", flush=True)
    return python


def try_release(release: str, python: Path, options: argparse.Namespace, limit: float) -> int:
    """Serve the pair by this release and run the tests against it; returns pytest's status."""
    with tempfile.TemporaryDirectory(prefix="atts-sglang-") as folder, contextlib.ExitStack() as stack:
        work = Path(folder)
        subprocess.run(
            [sys.executable, "-m", "atts_core.embedded.export", str(work / "pair")],
            cwd=ROOT,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        config = work / "atts.toml"
        draft, target = free_ports()
        patience = max(1.0, min(300.0, limit - time.monotonic()))
        config.write_text(settings(release, python, work / "pair", draft, target, patience))
        environment = {**os.environ, "ATTS_HOME": str(work / "home"), "ATTS_CONFIG": str(config)}
        stack.enter_context(servers(environment, release, "--restart" if options.faults else ""))
        environment |= {
            "ATTS_REAL_SGLANG_DRAFT": f"http://127.0.0.1:{draft}",
            "ATTS_REAL_SGLANG_TARGET": f"http://127.0.0.1:{target}",
            "ATTS_REAL_SGLANG_RELEASE": release,
            "ATTS_REAL_SGLANG_PROBLEMS": "8" if options.brief else "20",
            "ATTS_REAL_SGLANG_FAULTS": "1" if options.faults else "",
            "ATTS_REAL_SGLANG_HOME": str(work / "home"),
        }
        try:
            return subprocess.run(
                [sys.executable, "-m", "pytest", "-q", "-m", "real_sglang", str(HERE), "--durations=5"],
                cwd=ROOT,
                env=environment,
                timeout=max(1.0, limit - time.monotonic()),
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            raise NotPossible(
                f"it was not done within {options.limit:.0f} s; nothing had failed by then"
            ) from None


def settings(release: str, python: Path, pair: Path, draft: int, target: int, patience: float) -> str:
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
    for role, port in (("draft", draft), ("target", target)):
        told[f"servers.{role}"] = {
            "model": str(pair / role),
            "port": port,
            "context_length": 512,
            "args": ["--served-model-name", role],  # as the calibration that comes with the pair names it
        }
    return "".join(  # strings, numbers and lists are written in TOML as in JSON
        f"[{table}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
        for table, values in told.items()
    )


@contextlib.contextmanager
def servers(environment: dict[str, str], release: str, option: str) -> Iterator[None]:
    """`atts servers up`, and down in the end whatever happens."""
    atts = [sys.executable, "-m", "atts_tui.cli", "servers"]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    try:
        up = subprocess.run(
            [*atts, "up", "--name", "real", *filter(None, [option])],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if "did not answer within" in up.stderr:
            raise NotPossible("this machine is too busy to start it: " + up.stderr.strip().splitlines()[-1])
        if up.returncode:
            print(up.stdout, up.stderr, flush=True)
            sys.exit(1)
        print(f"real SGLang {release}: serves the pair after {time.monotonic() - began:.0f} s", flush=True)
        yield
    finally:
        down = subprocess.run(
            [*atts, "down", "--all"], env=environment, capture_output=True, text=True, check=False
        )
        if down.returncode:
            print(f"real SGLang {release}: NOT STOPPED: {down.stderr}", flush=True)


def free_ports() -> tuple[int, int]:
    """Two free ones, below those that outgoing connections take."""
    found: list[int] = []
    while len(found) < 2:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            if port not in found and probe.connect_ex(("127.0.0.1", port)):
                found.append(port)
    return found[0], found[1]


if __name__ == "__main__":
    sys.exit(main())
