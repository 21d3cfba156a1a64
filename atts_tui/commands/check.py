"""`atts check`: is everything in order, and what to do where it is not."""

import argparse
import asyncio
import locale
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import msgspec

from atts_core import __version__, config
from atts_core.conformal import load_calibration
from atts_core.engine.session import Session, open_session
from atts_core.errors import AttsError
from atts_core.problems.load import ProblemSet
from atts_core.serving.requests import GenerateRequest, Sampling
from atts_core.telemetry.nvml import read_gpus
from atts_tui.commands.plan import said_settings

Level = Literal["ok", "note", "problem"]


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at."""

    level: Level
    what: str
    words: str


def check(arguments: argparse.Namespace) -> int:
    """Print what is found; 0 if nothing is a problem, else 1."""
    return asyncio.run(_check(arguments))


async def _check(arguments: argparse.Namespace) -> int:
    findings: list[Finding] = []
    async for finding in _look(arguments):
        findings.append(finding)
        if not arguments.json:
            mark = {"ok": "ok     ", "note": "note   ", "problem": "PROBLEM"}[finding.level]
            sys.stdout.write(f"{mark}  {finding.what}: {finding.words}\n")
            sys.stdout.flush()
    bad = any(finding.level == "problem" for finding in findings)
    if arguments.json:
        sys.stdout.write(msgspec.json.encode({"ok": not bad, "findings": findings}).decode() + "\n")
    return 1 if bad else 0


async def _look(arguments: argparse.Namespace) -> AsyncIterator[Finding]:
    yield Finding("ok", "atts", f"{__version__} on Python {sys.version.split()[0]}")
    yield _terminal()
    try:
        layers = config.load(said_settings(arguments))
        layers.resolve(config.EMBEDDED if layers.given().draft is None else config.SERVERS)
        yield Finding("ok", "settings", "atts.toml, environment and options agree")
    except AttsError as error:
        yield Finding("problem", "settings", str(error))
        return
    try:
        async with open_session(layers, os.environ) as session:
            async for finding in _servers(session):
                yield finding
            yield _calibration(session)
    except AttsError as error:
        yield Finding("problem", "servers", str(error))
        path = layers.given().calibration
        if path is not None:
            yield _calibration_file(Path(path))
    yield _gpus()


def _terminal() -> Finding:
    size = shutil.get_terminal_size()
    encoding = locale.getpreferredencoding(False)
    if not sys.stdout.isatty():
        return Finding("note", "terminal", "standard output is not a terminal: commands run headless")
    if size.columns < 80 or size.lines < 24:
        return Finding("note", "terminal", f"{size.columns}x{size.lines} is small: 80x24 shows everything")
    if "utf" not in encoding.lower():
        return Finding(
            "note", "terminal", f"its encoding is {encoding}: use --ascii, or set LANG to a UTF-8 locale"
        )
    colour = (
        "true colour" if os.environ.get("COLORTERM") in ("truecolor", "24bit") else "256 colours or fewer"
    )
    return Finding("ok", "terminal", f"{size.columns}x{size.lines}, {encoding}, {colour}")


async def _servers(session: Session) -> AsyncIterator[Finding]:
    for side in (session.pair.draft, session.pair.target):
        prompt = side.tokenizer.render([{"role": "user", "content": "1 + 1"}])
        for client in (worker.client for worker in side.workers):
            info = client.info
            yield Finding(
                "ok",
                f"{side.role} server",
                f"{info.model} at {client.url}, release {info.release or 'unknown'}, "
                f"context {info.context_length or 'unknown'}",
            )
            try:
                sampling = Sampling(max_new_tokens=1, temperature=0.0)
                await client.complete(GenerateRequest(input_ids=prompt, sampling=sampling))
                scored = await client.score(prompt[:1], prompt[1:])
                yield Finding("ok", f"{side.role} model", f"writes, and scores {len(scored.logprobs)} tokens")
            except AttsError as error:
                yield Finding("problem", f"{side.role} model", str(error))
    for warning in session.warnings:
        yield Finding("note", "pair", warning)


def _calibration(session: Session) -> Finding:
    try:
        calibration = session.load_calibration(ProblemSet("", "", ()))
    except AttsError as error:
        return Finding("problem", "calibration", str(error))
    if calibration is None:
        mode = session.settings.conformal.mode
        how = "starts from nothing" if mode == "online" else "scores are collected before a run"
        return Finding("note", "calibration", f"no file; with mode {mode} it {how}")
    return Finding(
        "ok", "calibration", f"{calibration.source}: {_size(len(calibration), len(calibration.problems))}"
    )


def _calibration_file(path: Path) -> Finding:
    try:
        calibration = load_calibration(path)
    except AttsError as error:
        return Finding("problem", "calibration", str(error))
    return Finding("ok", "calibration", f"{path}: {_size(len(calibration), len(calibration.problems))}")


def _size(scores: int, problems: int) -> str:
    return f"{scores:,} scores of {problems:,} problems"


def _gpus() -> Finding:
    gpus, unavailable = read_gpus()
    if not gpus:
        return Finding("note", "GPU", unavailable)
    return Finding("ok", "GPU", ", ".join(f"{gpu.index} {gpu.name}" for gpu in gpus))
