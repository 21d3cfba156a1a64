"""Built-in problems that the embedded pair can read: drawn, worked out and checked exactly."""

from atts_core.problems.builtin.arithmetic import check_step
from atts_core.problems.builtin.families import FAMILIES, LEVELS
from atts_core.problems.builtin.readable import Readability, readable
from atts_core.problems.builtin.solver import solve
from atts_core.problems.builtin.streams import Problem, Stream, endless, problems

__all__ = [
    "FAMILIES",
    "LEVELS",
    "Problem",
    "Readability",
    "Stream",
    "check_step",
    "endless",
    "problems",
    "readable",
    "solve",
]
