"""`atts runs judge`: ask a language model about a run's answers, once the user knows what is sent to whom."""

import argparse
import asyncio
import contextlib
import math
import os
import sys
from pathlib import Path

from atts_core.engine.open_files import require_requests
from atts_core.errors import SettingsError
from atts_core.problems.agreement import Agreement, agreements
from atts_core.runs.file import RunFile
from atts_core.runs.folder import find_run, runs_folder
from atts_core.runs.judging import Judge, Judged, Plan, judge_run, plan_judging
from atts_core.serving.chat import ChatClient
from atts_core.state_parts import judge_key
from atts_tui.commands.printing import print_json
from atts_tui.frontends.result import judge_lines
from atts_tui.text import clean, clean_line

KEY = "ATTS_JUDGE_API_KEY"
CHARACTERS = 4000


def judge(arguments: argparse.Namespace) -> int:
    """The whole command; returns the exit status."""
    _check(arguments)
    require_requests(arguments.judge_concurrency, 1, "--judge-concurrency")
    path = find_run(arguments.run, runs_folder(arguments.runs_dir))
    client = ChatClient(
        arguments.judge,
        arguments.judge_model,
        api_key=os.environ.get(KEY) or None,
        connections=arguments.judge_concurrency,
        timeout=arguments.judge_timeout,
    )
    who = Judge(
        name=arguments.judge_model,
        url=client.url,
        sees=arguments.judge_sees,
        characters=arguments.judge_characters or CHARACTERS,
    )
    plan = plan_judging(path, who)
    if not plan.questions:
        sys.stderr.write(f"nothing is left to judge: {plan.judged:,} samples are judged\n")
        _print(path, who, as_json=arguments.json)
        return 0
    sys.stderr.write(clean_line(in_words(plan)) + "\n")
    if not arguments.yes and not _agreed():
        sys.stderr.write("nothing was sent\n")
        return 0
    done = Judged()
    try:
        asyncio.run(_judge(plan, client, arguments.judge_concurrency, done))
    except KeyboardInterrupt:
        sys.stderr.write(f"interrupted; {done.samples:,} of {plan.samples:,} samples were judged\n")
        return 130
    _print(path, who, as_json=arguments.json)
    left = []
    if done.samples < plan.samples:
        left.append(f"ended before {plan.samples - done.samples:,} samples were asked about")
    if done.unanswered:
        left.append(f"no usable reply about {done.unanswered:,} samples, such as: {done.why}")
    if left:
        sys.stderr.write(clean_line(f"{'; '.join(left)}; say it again to ask about these") + "\n")
    return int(bool(left))


def in_words(plan: Plan) -> str:
    """What will be sent, to whom, in how many requests."""
    who = plan.judge
    what = "question, gold answer and extracted answer, no chains"
    if who.sees == "chain":
        what = (
            f"question, gold answer, extracted answer and the last {who.characters:,} characters of a chain"
        )
    already = f" ({plan.judged:,} are judged already)" if plan.judged else ""
    return (
        f"sends {len(plan.questions):,} requests about {plan.samples:,} samples{already} to {who.url}, model "
        f"{who.name}: each holds {what}"
    )


def _check(arguments: argparse.Namespace) -> None:
    if not arguments.judge_model.strip():
        raise SettingsError("--judge-model is empty: name the model as its server does.")
    if arguments.judge_characters is not None and arguments.judge_sees != "chain":
        raise SettingsError("--judge-characters goes with --judge-sees chain.")
    if arguments.judge_characters is not None and not 1 <= arguments.judge_characters <= 1_000_000:
        raise SettingsError("--judge-characters must lie between 1 and 1,000,000.")
    if not 1 <= arguments.judge_concurrency <= 1000:
        raise SettingsError("--judge-concurrency must lie between 1 and 1000: requests under way at a time.")
    if not 0 < arguments.judge_timeout < math.inf:
        raise SettingsError("--judge-timeout must be a number of seconds above 0.")


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise SettingsError("Judging asks before it sends, and there is no terminal to ask on: say --yes.")
    sys.stderr.write("send it? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


async def _judge(plan: Plan, client: ChatClient, at_once: int, done: Judged) -> None:
    def told() -> None:
        sys.stderr.write(f"\rjudged {done.samples:,} of {plan.samples:,} samples")
        sys.stderr.flush()

    async with client:
        try:
            if sys.stderr.isatty():
                await judge_run(plan, client, at_once=at_once, done=done, told=told)
            else:
                await judge_run(plan, client, at_once=at_once, done=done)
        finally:
            if done.samples and sys.stderr.isatty():
                sys.stderr.write("\n")


def _print(path: Path, who: Judge, *, as_json: bool) -> None:
    """What this judge says beside us."""
    with contextlib.closing(RunFile.open(path)) as file:
        found: list[Agreement] = [
            each
            for each in agreements(file.state(file.last()))
            if judge_key(each.judge, each.url, each.sees) == who.by
        ]
    if as_json:
        print_json(found)
    else:
        lines = [line for each in found for line in judge_lines(each)]
        sys.stdout.write(clean("\n".join(lines)) + "\n")
