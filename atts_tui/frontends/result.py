"""What a run came to: the JSON object of `--json` and the text for people, both from RunState."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from atts_core.conformal.intervals import number_interval, percent_interval
from atts_core.conformal.live import realised
from atts_core.percent import percent
from atts_core.problems.agreement import Agreement, agreements
from atts_core.problems.metrics import Metrics, ProblemRow, measure
from atts_core.runs.saved import METHOD, Saved, saved_by
from atts_core.state import ProblemState, RunState, SampleState
from atts_core.telemetry.history import Machines
from atts_tui.text import clean

DIFFERENCES = 10
"""Samples named on which a judge and we differ."""
LETTERS = {"accept": "A", "take-over": "T", "unverifiable": "U"}


def as_json(state: RunState, path: Path | None) -> dict[str, Any]:
    """The result with the keys of the command line's contract; `path` is the run's file.

    Only `run` and `seconds`, of the run and of each problem, differ between equal runs.
    """
    run = state.run
    result: dict[str, Any] = {
        "run": None if path is None else str(path),
        "command": run.command if run else None,
        "end": state.finished.end if state.finished else "interrupted",
        "message": state.finished.message if state.finished else "",
        "strategy": run.strategy if run else None,
        "takeover_variant": run.takeover if run else None,
        "seed": run.seed if run else None,
        "models": [{"role": m.role, "name": m.name, "release": m.release} for m in run.models] if run else [],
    }
    if run and run.command == "solve" and state.problems:
        result["answer"] = state.problems[0].answer
    measured = measure(state)
    reached = measured.accuracy
    if reached.problems:
        result["accuracy"] = {
            "problems": reached.problems,
            "sample": msgspec.to_builtins(reached.sample),
            "majority": msgspec.to_builtins(reached.majority),
            "best_of_m": msgspec.to_builtins(measured.best_of_m),
            "pass_at_k": msgspec.to_builtins(reached.pass_at_k),
            "ties": measured.ties,
            "graded_by_spelling_only": measured.fallback,
            "right_per_1000_target_tokens": msgspec.to_builtins(measured.right_per_1000_target_tokens),
        }
    judges = agreements(state)
    if judges:
        result["judges"] = msgspec.to_builtins(judges)
    rows = zip(state.problems, measured.problems, strict=True)
    return result | {
        "problems": [_problem(problem, row) for problem, row in rows],
        "takeover": {
            "nominal": run.calibration.nominal if run and run.calibration else None,
            "realised": state.overall.realised,
            "interval": msgspec.to_builtins(realised(state).overall),
            "decisions": state.overall.decisions,
            "unverifiable": state.unverifiable,
        },
        "tokens": {
            "draft": state.draft_tokens,
            "target": state.target_tokens,
            "verified": state.verified_tokens,
            "target_share": msgspec.to_builtins(measured.target_share),
        },
        "seconds": round(state.now, 3),
        "decided": _saved(state),
        "samples": {"finished": state.samples_ended - state.samples_failed, "failed": state.samples_failed},
        "calibration": {
            "mode": run.calibration.mode,
            "rule": run.calibration.rule,
            "alpha": run.calibration.alpha,
            "size": run.calibration.size,
            "problems": run.calibration.problems,
            "fingerprint": run.calibration.fingerprint,
            "source": run.calibration.source,
        }
        if run and run.calibration
        else None,
        "warnings": list(state.warnings),
    }


def saved(state: RunState) -> Saved | None:
    """What stopping decided problems early saved; None where none was."""
    found = sum((saved_by(problem) for problem in state.problems if problem.finished), Saved())
    return found if found.problems else None


def _saved(state: RunState) -> dict[str, Any] | None:
    found = saved(state)
    if found is None:
        return None
    tokens = {"draft": found.draft_tokens, "target": found.target_tokens}
    return {"problems": found.problems, "samples": found.samples, "tokens_saved": tokens, "method": METHOD}


def _problem(problem: ProblemState, row: ProblemRow) -> dict[str, Any]:
    return {
        "id": problem.id,
        "question": problem.question,
        "gold": problem.gold,
        "answer": problem.answer,
        "tied": problem.tied,
        "correct": problem.correct,
        "votes": [{"answer": answer, "samples": count} for answer, count in problem.tally],
        "best": {"answer": row.best_answer, "correct": row.best_correct},
        "repeats": problem.repeats or None,
        "decisions": row.decisions,
        "taken_over": row.taken_over,
        "draft_tokens": row.draft_tokens,
        "target_tokens": row.target_tokens,
        "seconds": None if row.seconds is None else round(row.seconds, 3),
        "samples": [_sample(sample) for sample in problem.samples],
    }


def _sample(sample: SampleState) -> dict[str, Any]:
    verdicts = list(sample.judged())
    return {
        "sample": sample.index,
        "end": sample.end,
        "answer": sample.answer,
        "correct": sample.correct,
        "graded": sample.graded or None,
        "judgements": [
            {
                "judge": said.judge,
                "sees": said.sees,
                "verdict": said.verdict,
                "answer": said.extracted,
                "message": said.message,
            }
            for said in sample.judgements
        ],
        "verdicts": "".join(LETTERS[v.verdict] for v in verdicts),
        "ppl": [v.ppl for v in verdicts],
        "p": [v.p for v in verdicts],
        "draft_tokens": sample.draft_tokens,
        "target_tokens": sample.target_tokens,
        "message": sample.message,
    }


def as_text(state: RunState) -> str:
    """A few lines for a person, with nothing in them that a terminal would obey."""
    lines = [line for problem in state.problems for line in _problem_lines(problem)]
    lines += _accuracy_lines(measure(state))
    lines += [line for judged in agreements(state) for line in judge_lines(judged)]
    run = state.run
    nominal = f" (nominal {percent(run.calibration.nominal)})" if run and run.calibration else ""
    share = percent(state.target_share)
    if state.overall.decisions or nominal:
        share_of = f"{percent_interval(realised(state).overall)}{nominal}"
        lines.append(f"take-over: {share_of} of {state.overall.decisions:,} steps")
    lines += [
        (
            f"tokens: draft {state.draft_tokens:,}, target {state.target_tokens:,} ({share} of what was "
            f"written), verified {state.verified_tokens:,}; {state.now:.1f} s"
        ),
    ]
    early = saved(state)
    if early is not None:
        lines.append(
            f"decided early: {early.problems} of {len(state.problems)} problems, {early.samples} samples "
            f"stopped; saved about {early.draft_tokens:,} tokens of the draft and {early.target_tokens:,} of "
            f"the target ({METHOD})"
        )
    if state.samples_failed:
        why = next((s.message for p in state.problems for s in p.samples if s.end == "failed"), "")
        lines.append(f"failed: {state.samples_failed} of {state.samples_total} samples, such as: {why}")
    return clean("\n".join(lines))


def peak_lines(machines: Machines) -> Iterator[str]:
    """The most memory that each model took, as far as anybody told."""
    for role, peak in machines.peaks.items():
        said = []
        if peak.memory is not None:
            whose = "of its processes" if peak.basis == "processes" else "used on its GPUs by anybody"
            said.append(f"{peak.memory / 1e9:.1f} GB of GPU memory ({whose})")
        if peak.tokens is not None:
            share = f", {percent(peak.usage)} of the fullest cache" if peak.usage is not None else ""
            said.append(f"{peak.tokens:,} tokens in the KV cache{share}")
        if said:
            yield f"{role} at its peak: {'; '.join(said)}"


def _accuracy_lines(measured: Metrics) -> Iterator[str]:
    reached = measured.accuracy
    if reached.problems < 2:
        return
    yield (
        f"accuracy: by vote {percent_interval(reached.majority)}, per sample"
        f" {percent_interval(reached.sample)} ({reached.problems} problems, 95 % intervals over problems)"
    )
    others = [("of lowest PPL", measured.best_of_m)]
    if len(reached.pass_at_k) > 1:
        others.append((f"pass@{len(reached.pass_at_k)}", reached.pass_at_k[-1]))
    shown = ", ".join(
        f"{name} {percent_interval(value)}" for name, value in others if value.value is not None
    )
    if shown:
        yield f"  sample {shown}" if measured.best_of_m.value is not None else f"  {shown}"
    rate = measured.right_per_1000_target_tokens
    if rate.value is not None:
        yield f"  right samples for 1,000 tokens of the target: {number_interval(rate)}"
    notes = [f"{measured.ties} tied votes (each counts as the answer of its lowest sample)"] * bool(
        measured.ties
    )
    notes += [f"{measured.fallback} answers graded by spelling alone"] * bool(measured.fallback)
    if notes:
        yield f"  {'; '.join(notes)}"


def judge_lines(judged: Agreement) -> Iterator[str]:
    """What a judge says beside our own verdicts, and where it differs."""
    agreed = f"agrees with us on {judged.agree:,} of {judged.agree + len(judged.differ):,} samples"
    notes = [f"unclear on {judged.unclear:,}"] * bool(judged.unclear)
    notes += [f"no usable reply on {judged.unanswered:,}"] * bool(judged.unanswered)
    yield f"judge {judged.judge} (sees {judged.seen}): {'; '.join([agreed, *notes])}"
    if judged.right_by_us.value is not None:
        ours, theirs = (percent_interval(share) for share in (judged.right_by_us, judged.right_by_judge))
        yield f"  of these samples are right: by us {ours}, by the judge {theirs}"
    for each in judged.differ[:DIFFERENCES]:
        ours, theirs = ("right", "wrong") if each.ours else ("wrong", "right")
        read = f", read as {each.extracted}" if each.extracted is not None else ""
        yield (
            f"  problem {each.problem}, sample {each.sample + 1}: {ours} by us ({each.graded or 'graded'}), "
            f"{theirs} by the judge: {each.answer or 'no answer'}{read}"
        )
    if len(judged.differ) > DIFFERENCES:
        yield f"  and {len(judged.differ) - DIFFERENCES:,} more samples: --json names them all"


def _problem_lines(problem: ProblemState) -> Iterator[str]:
    yield problem.question
    mark = {True: " ✓", False: f" ✗ (gold {problem.gold})", None: ""}[problem.correct]
    if not problem.finished:
        yield f"  unfinished: {problem.ended} of {len(problem.samples)} samples ended"
    elif problem.answer is None:
        yield f"  no answer: none of the {len(problem.samples)} samples found one{mark}"
    else:
        votes = ", ".join(f"{answer} × {count}" for answer, count in problem.tally[:5])
        more = f" and {len(problem.tally) - 5} more" if len(problem.tally) > 5 else ""
        tied = ", tied" if problem.tied else ""
        yield f"  answer: {problem.answer}{mark}   (votes: {votes}{more}{tied})"
