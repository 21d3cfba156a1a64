"""The walls between the packages, and what may not be imported to print a help text."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN_IN_CORE = {"textual", "rich", "atts_tui"}
NEVER_IMPORTED = {"torch", "sglang", "transformers", "datasets"}
ONLY_WHERE = {
    "torch": "atts_core/embedded/training",
    "transformers": "atts_core/serving/tokenizers.py",
    "datasets": "atts_core/problems/rows.py",
}
EXTRAS = {*NEVER_IMPORTED, "pyarrow", "huggingface_hub"}
"""What an installation without extras does not have."""


def imported(path: Path, *, late: bool = True) -> set[str]:
    """Packages that a file imports; not `late`: as soon as it is imported itself."""
    names: set[str] = set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if late else at_once(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def at_once(node: ast.AST) -> Iterator[ast.AST]:
    """Everything but the bodies of functions."""
    yield node
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        for child in ast.iter_child_nodes(node):
            yield from at_once(child)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "atts_core").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT))
)
def test_core_imports_no_screen(path: Path) -> None:
    assert not imported(path) & FORBIDDEN_IN_CORE


@pytest.mark.parametrize("package", ["atts_core", "atts_tui"])
def test_gpu_programs_are_never_imported(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        for name in imported(path) & NEVER_IMPORTED:
            place = str(path.relative_to(ROOT))
            assert place.startswith(ONLY_WHERE.get(name, "nowhere")), f"{place} imports {name}"


@pytest.mark.parametrize("package", ["atts_core", "atts_tui"])
def test_extras_are_imported_where_they_are_used(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        place = str(path.relative_to(ROOT))
        if not place.startswith(ONLY_WHERE["torch"]):  # a program of its own
            assert not imported(path, late=False) & EXTRAS, place


def modules_after(code: str) -> set[str]:
    printed = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return set(printed.splitlines()[-1].split())


def test_help_imports_no_screen_and_no_numpy() -> None:
    modules = modules_after(
        "from atts_tui.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit: pass"
    )
    assert not modules & {"textual", "rich", "numpy", "httpx2", "atts_tui.app"}


def test_headless_commands_import_no_screen() -> None:
    modules = modules_after("import atts_tui.commands.runs")
    assert not modules & {"textual", "torch", "transformers", "starlette", "uvicorn", "httpx2"}


def test_files_stay_readable() -> None:
    """No file outgrows what one sitting can read."""
    long = {
        str(path.relative_to(ROOT)): lines
        for package in ("atts_core", "atts_tui")
        for path in (ROOT / package).rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 520
    }
    assert not long
