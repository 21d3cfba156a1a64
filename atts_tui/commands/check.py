"""`atts check`: is everything in order, and what to do where it is not."""

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from atts_core import __version__, config
from atts_core.conformal import load_calibration
from atts_core.conformal.identity import differences, unknowns
from atts_core.engine.collect import identity
from atts_core.engine.session import Session, open_session
from atts_core.errors import AttsError
from atts_core.problems.load import ProblemSet
from atts_core.serving.requests import GenerateRequest, Sampling
from atts_tui.commands.findings import Finding, disk, gpus, started_servers, terminal, wanted_servers
from atts_tui.commands.plan import said_settings
from atts_tui.commands.printing import print_json
from atts_tui.text import clean_line


def check(arguments: argparse.Namespace) -> int:
    """Print what is found; 0 if nothing is a problem, else 1."""
    return asyncio.run(_check(arguments))


async def _check(arguments: argparse.Namespace) -> int:
    findings: list[Finding] = []
    async for finding in _look(arguments):
        findings.append(finding)
        if not arguments.json:
            mark = {"ok": "ok     ", "note": "note   ", "problem": "PROBLEM"}[finding.level]
            sys.stdout.write(f"{mark}  {clean_line(f'{finding.what}: {finding.words}')}\n")
            if finding.do:
                sys.stdout.write(f"{'':<7}  → {clean_line(finding.do)}\n")
            sys.stdout.flush()
    bad = any(finding.level == "problem" for finding in findings)
    if arguments.json:
        print_json({"ok": not bad, "findings": findings})
    return 1 if bad else 0


async def _look(arguments: argparse.Namespace) -> AsyncIterator[Finding]:
    yield Finding("ok", "atts", f"{__version__} on Python {sys.version.split()[0]}")
    yield terminal()
    yield disk()
    try:
        layers = config.load(said_settings(arguments))
        layers.resolve(config.EMBEDDED if layers.given().draft is None else config.SERVERS)
        yield Finding("ok", "settings", "atts.toml, environment and options agree")
    except AttsError as error:
        yield Finding("problem", "settings", str(error))
        return
    for finding in [*await started_servers(), *wanted_servers(layers.given().servers)]:
        yield finding
    try:
        async with open_session(layers, os.environ) as session:
            async for finding in _servers(session):
                yield finding
            for finding in _calibration(session):
                yield finding
    except AttsError as error:
        yield Finding("problem", "servers", str(error))
        path = layers.given().calibration
        if path is not None:
            yield _calibration_file(Path(path))
    yield gpus()


async def _servers(session: Session) -> AsyncIterator[Finding]:
    for side in session.pair.sides:
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
                do = f"if it is about tokens, name the model's own tokenizer with --{side.role}-tokenizer"
                yield Finding("problem", f"{side.role} model", str(error), do)
    if not session.pair.same_tokenizer:
        words = "draft and target have different tokenizers: steps are tokenised again for the target"
        yield Finding("note", "pair", words)
    for warning in session.warnings:
        yield Finding("note", "pair", warning)


def _calibration(session: Session) -> list[Finding]:
    what = "calibration"
    before = len(session.warnings)
    try:
        calibration = session.load_calibration(ProblemSet("", "", ()))
    except AttsError as error:
        return [Finding("problem", what, str(error))]
    del session.warnings[before:]  # told here in our own way: no data set is at hand to be compared
    if calibration is None:
        mode = session.settings.conformal.mode
        how = "starts from nothing" if mode == "online" else "scores are collected before a run"
        return [Finding("note", what, f"no file; with mode {mode} it {how}")]
    words = f"{calibration.source}: {_size(len(calibration), len(calibration.problems))}"
    card = msgspec.structs.replace(calibration.identity, dataset=None, dataset_fingerprint=None)
    mine = identity(session.pair, session.settings, ProblemSet("", "", ()), first_turn_only=False)
    differing = differences(card, mine)
    if differing:
        do = "collect scores with `atts calibrate`, or use --mode online, which needs none"
        return [Finding("problem", what, f"{words}; not of this pair: {'; '.join(differing)}", do)]
    unknown = [name for name in unknowns(card) if "data set" not in name]
    if unknown:
        return [Finding("note", what, f"{words}; it does not say {', '.join(unknown)}")]
    return [Finding("ok", what, f"{words}; collected with this pair and these settings")]


def _calibration_file(path: Path) -> Finding:
    try:
        calibration = load_calibration(path)
    except AttsError as error:
        return Finding("problem", "calibration", str(error))
    return Finding("ok", "calibration", f"{path}: {_size(len(calibration), len(calibration.problems))}")


def _size(scores: int, problems: int) -> str:
    return f"{scores:,} scores of {problems:,} problems"
