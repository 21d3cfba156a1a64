"""A report on runs as one HTML file: no script, no network, all text escaped, for light and dark."""

from collections.abc import Iterable, Sequence
from html import escape

import msgspec

from atts_core import __version__
from atts_core.conformal.intervals import number_interval, percent_interval
from atts_core.conformal.live import signal_so_far
from atts_core.percent import percent
from atts_core.problems.agreement import Agreement, agreements
from atts_core.problems.metrics import Metrics, ProblemRow, measure
from atts_core.reports import plots
from atts_core.reports.compare import Named, RunFacts, compare, facts
from atts_core.reports.difference_words import HEADINGS, difference_words, settings_words
from atts_core.reports.timeline import DOING, StageTally

STYLE = """
:root { color-scheme: light dark; --text: #22272e; --muted: #68707c; --faint: #b3ab9c; --line: #cfc8ba;
  --page: #faf8f4; --panel: #f1ede5; --draft: #1a62c5; --target: #b85c00; --threshold: #0f7a70;
  --bad: #c0263a; }
@media (prefers-color-scheme: dark) { :root { --text: #d6dce6; --muted: #8693a6; --faint: #465262;
  --line: #2c3644; --page: #0e1217; --panel: #1a212b; --draft: #4f9cf9; --target: #f2a93b;
  --threshold: #7fd1c7; --bad: #f4626f; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page); margin: 2rem auto;
  max-width: 60rem; padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; border-top: 1px solid var(--line);
  padding-top: 1rem; } h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .2rem .8rem .2rem 0;
  border-bottom: 1px solid var(--line); vertical-align: top; } th { font-weight: 600; }
td.name { color: var(--muted); white-space: nowrap; } p.note { color: var(--muted); margin: .2rem 0; }
p.warning { border-left: 3px solid var(--bad); padding-left: .6rem; margin: .4rem 0; }
svg { width: 100%; height: auto; font: 12px system-ui, sans-serif; }
.grid { stroke: var(--line); fill: none; }
.axis { stroke: var(--muted); fill: none; } .c-text { fill: var(--text); } .c-muted { fill: var(--muted); }
.c-faint { fill: var(--faint); } .c-draft { fill: var(--draft); } .c-target { fill: var(--target); }
.c-threshold { fill: var(--threshold); } .c-verify { fill: var(--muted); } .c-wait { fill: var(--faint); }
[class^="l-"] { fill: none; stroke-width: 1.5; } .l-draft { stroke: var(--draft); }
.l-target { stroke: var(--target); } .l-threshold { stroke: var(--threshold); }
.key span { margin-right: 1.2rem; } .key i { display: inline-block; width: .8rem; height: .8rem;
  margin-right: .35rem; border-radius: 2px; }
"""
WHO = (("draft", "draft"), ("target", "target"))
DECIDED = (("draft", "accepted"), ("target", "taken over"), ("threshold", "threshold"))
STAGES = (
    ("draft", "draft writes"),
    ("muted", "target checks"),
    ("target", "target writes"),
    ("faint", "waits"),
)


MOST_PROBLEMS = 500
"""Rows of a run's table of problems: more make a page heavy."""


def report(runs: Sequence[Named]) -> str:
    """The whole page over one run, or over several, which are then compared with the first.

    Raises:
        SettingsError: a run has no beginning.
    """
    found = [facts(run) for run in runs]
    title = "atts: " + ", ".join(run.name for run in runs)
    parts = [f"<h1>{escape(title)}</h1>", _table(*_overview(found))]
    accuracy = plots.accuracy_plot(runs)
    parts += _plot(
        "Accuracy against target tokens", accuracy, "Faint dots are problems; intervals are 95 %, by problem."
    )
    if len(runs) > 1:
        parts += _comparison(runs)
    for run in runs:
        parts += _run(run)
    parts.append(f'<p class="note">Made by atts {escape(__version__)}.</p>')
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _overview(found: Sequence[RunFacts]) -> tuple[list[str], list[list[str]]]:
    columns = [_facts(run) for run in found]
    rows = [[lines[0][0], *(value for _, value in lines)] for lines in zip(*columns, strict=True)]
    return ["", *(run.run for run in found)], rows


def _facts(run: RunFacts) -> list[tuple[str, str]]:
    return [
        ("ended", run.end),
        ("data set", run.dataset or "–"),
        ("models", f"{run.draft} → {run.target}"),
        ("strategy", f"{run.strategy}, {run.takeover}"),
        ("problems", f"{run.problems_finished:,} of {run.problems:,}, {run.samples} samples each"),
        ("accuracy per sample", percent_interval(run.accuracy)),
        ("accuracy by vote", percent_interval(run.majority)),
        ("taken over", percent_interval(run.realised)),
        ("nominal", percent(run.nominal, 1)),
        ("tokens, draft", f"{run.draft_tokens:,}"),
        ("tokens, target", f"{run.target_tokens:,}"),
        ("tokens, verified", f"{run.verified_tokens:,}"),
        ("seconds", f"{run.seconds:,.1f}"),
    ]


def _comparison(runs: Sequence[Named]) -> list[str]:
    parts = ["<h2>Against the first</h2>"]
    for pair in compare(runs).pairs:
        parts.append(f"<h3>{escape(pair.second)}: {pair.common:,} problems in both</h3>")
        parts.append(_table(HEADINGS, [difference_words(found) for found in pair.differences]))
        parts.append(f'<p class="note">{escape(settings_words(pair))}</p>')
        parts += _warnings(pair.cautions)
    return parts


def _run(run: Named) -> list[str]:
    state, began = run.state, run.state.run
    assert began is not None  # noqa: S101  # `facts` refused a run without
    parts = [f"<h2>{escape(run.name)}</h2>"]
    parts += _warnings([*state.warnings, *([state.drift.message] if state.drift is not None else [])])
    ppl, how_many = plots.ppl_plot(state)
    parts += _plot("PPL against the threshold", ppl, how_many, DECIDED)
    parts += _plot("Taken over by turn", plots.turns_plot(state), "Intervals are 95 %, by problem.")
    signal, judged_by = signal_so_far(state)
    if signal is not None:
        over, within = number_interval(signal.auroc), number_interval(signal.auroc_within)
        auroc = f"AUROC {over} over all, {within} within problems"
        parts.append(f'<p class="note">{escape(f"{signal.verdict} {auroc}, judged by {judged_by}.")}</p>')
    lanes, names = plots.lanes_plot(state)
    parts += _plot("What every sample did when", lanes, f"First problems: {names}" if names else "", STAGES)
    tally = StageTally()
    times = tally.update(state)
    while tally.behind:
        times = tally.update(state)
    if times.total:
        shares = ", ".join(
            f"{words} {percent(times.share(doing) or 0.0)}" for doing, words in zip(DOING, _DOES, strict=True)
        )
        parts.append(f'<p class="note">Of the time of all samples: {escape(shares)}.</p>')
    parts += _plot("Throughput", plots.throughput_plot(state), "", WHO)
    parts += _measured(measure(state))
    parts += _judged(agreements(state))
    card = began.calibration
    if card is not None:
        rows = [[name, str(value)] for name, value in msgspec.to_builtins(card).items() if name not in _LONG]
        rows += [[name.replace("_", " "), str(value)] for name, value in card.identity.items()]
        parts += ["<h3>Calibration</h3>", _table(["", ""], rows)]
    settings = sorted((name, value) for name, value in began.settings.items() if value is not None)
    about = [["command", began.command], ["seed", str(began.seed)], ["atts", began.version]]
    about += [
        [f"{model.role} model", f"{model.name}, {model.release}, tokenizer {model.tokenizer[:16]}"]
        for model in began.models
    ]
    parts += [
        "<h3>Settings</h3>",
        _table(["", ""], [*about, *([name, str(value)] for name, value in settings)]),
    ]
    return parts


def _measured(found: Metrics) -> list[str]:
    """What a run came to besides the overview's numbers, and every problem."""
    reached, rate = found.accuracy, found.right_per_1000_target_tokens
    rows = [["the target's share of the text", percent_interval(found.target_share)]]
    if reached.problems:
        rows += [
            ["right, sample of lowest mean PPL", percent_interval(found.best_of_m)],
            *([f"pass@{k}", percent_interval(value)] for k, value in enumerate(reached.pass_at_k, start=1)),
            ["right samples for 1,000 tokens of the target", number_interval(rate)],
            ["tied votes, each as its lowest sample's answer", f"{found.ties:,}"],
            ["answers graded by spelling alone", f"{found.fallback:,}"],
        ]
    note = f"{reached.problems:,} problems with a verdict; intervals are 95 %, by problem (copies as one)."
    parts = ["<h3>Measures</h3>", _table(["", ""], rows), f'<p class="note">{escape(note)}</p>']
    head = ["problem", "gold", "vote", "", "right", "mean PPL", "taken over", "draft", "target", "seconds"]
    shown = found.problems[:MOST_PROBLEMS]
    parts += ["<h3>Problems</h3>", _table(head, [_problem(row) for row in shown])]
    note = "Right: of all samples. Draft, target: tokens written."
    if len(shown) < len(found.problems):
        note = f"The first {len(shown):,} of {len(found.problems):,} problems. {note}"
    return [*parts, f'<p class="note">{escape(note)}</p>'] if shown else parts[:3]


def _judged(found: Sequence[Agreement]) -> list[str]:
    """What language models said of the same samples."""
    if not found:
        return []
    head = ["judge", "sees", "agrees with us", "unclear", "no reply", "right by us", "right by the judge"]
    rows = [
        [
            each.judge,
            each.seen,
            f"{each.agree:,} of {each.agree + len(each.differ):,}",
            f"{each.unclear:,}",
            f"{each.unanswered:,}",
            percent_interval(each.right_by_us),
            percent_interval(each.right_by_judge),
        ]
        for each in found
    ]
    return ["<h3>Judges</h3>", _table(head, rows)]


def _problem(row: ProblemRow) -> list[str]:
    votes = f"{row.answer} ({row.votes} of {row.ended}{', tied' if row.tied else ''})"
    return [
        row.id,
        "–" if row.gold is None else row.gold,
        "–" if row.answer is None else votes,
        {True: "✓", False: "✗", None: ""}[row.correct],
        "–" if row.right is None else f"{row.right} of {row.samples}",
        "–" if row.mean_ppl is None else f"{row.mean_ppl:.3f}",
        f"{row.taken_over} of {row.decisions}" if row.decisions else "–",
        f"{row.draft_tokens:,}",
        f"{row.target_tokens:,}",
        "–" if row.seconds is None else f"{row.seconds:,.1f}",
    ]


_LONG = ("histogram", "identity")
_DOES = ("draft writes", "target checks", "target writes", "waiting")


def _plot(title: str, svg: str, note: str = "", key: Iterable[tuple[str, str]] = ()) -> list[str]:
    if not svg:
        return []
    parts = [f"<h3>{escape(title)}</h3>", svg]
    shown = "".join(
        f'<span><i style="background: var(--{name})"></i>{escape(said)}</span>' for name, said in key
    )
    if shown:
        parts.append(f'<p class="note key">{shown}</p>')
    if note:
        parts.append(f'<p class="note">{escape(note)}</p>')
    return parts


def _warnings(said: Iterable[str]) -> list[str]:
    return [f'<p class="warning">{escape(message)}</p>' for message in said]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        f'<tr><td class="name">{escape(first)}</td>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    )
    return f"<table>{f'<tr>{top}</tr>' if any(head) else ''}{body}</table>"
