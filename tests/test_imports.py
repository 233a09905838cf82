"""The arrows between the rooms run one way, and nothing heavy is imported for light work."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("bench", "models", "reports", "search_spaces", "gentune", "tests")

# What each room may import; inside bench, each part.
ALLOWED: dict[str, set[str]] = {
    "search_spaces": {"search_spaces"},
    "models": {"models"},
    "reports": {
        "reports",
        "search_spaces",
        "bench.budget.kinds",
        "bench.runs.constraints",
        "bench.runs.looks",
        "bench.runs.records",
        "bench.runs.run_folder",
        "bench.runs.study_file",
        "bench.files",
        "bench.errors",
        "bench.metrics.catalogue",
        "bench.metrics.base",
        "bench.metrics.stability",
    },
    "bench.proposal": {"bench.proposal", "search_spaces"},
    "bench.metrics": {"bench.metrics", "bench._torchvision", "models"},
    "bench.data": {
        "bench.data",
        "bench._torchvision",
        "bench.errors",
        "bench.files",
        "models",
        "search_spaces",
    },
}
# The rooms of bench in levels: an arrow may only go down.
ORDER = (
    ("commands",),
    ("driver", "evaluate"),
    ("scheduling",),
    ("trial",),
    ("artifacts",),
    ("scoring",),
    ("evaluators", "budget"),
    ("training",),
    ("runs",),
    ("registry",),
    ("data", "metrics", "proposal"),
    ("protocol", "errors", "seeds", "files", "_torchvision"),
)


def imports_of(path: Path) -> set[str]:
    """Modules of ours that a file imports, as "room.part", with links to `gentune.` taken off."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    package = list(parts[:-1])
    if package[:1] == ["gentune"]:
        package = package[1:]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            if node.level:
                base = package[: len(package) - node.level + 1]
                target = ".".join([*base, *(node.module.split(".") if node.module else [])])
                names = [f"{target}.{alias.name}".strip(".") for alias in node.names]
                found |= {target} if node.module else set(names)
            elif node.module and node.module.split(".")[0] == "gentune":
                found.add(node.module.removeprefix("gentune").strip("."))
        elif isinstance(node, ast.Import):
            found |= {a.name.removeprefix("gentune.") for a in node.names if a.name.split(".")[0] == "gentune"}
    return {name for name in found if name}


def sources(room: str) -> list[Path]:
    return sorted(p for p in (ROOT / room).rglob("*.py") if not p.is_symlink())


def within(module: str, names: set[str]) -> bool:
    return any(module == name or module.startswith(name + ".") for name in names)


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    base = ROOT / Path(*room.split("."))
    files = sorted(base.rglob("*.py")) if base.is_dir() else [base.with_suffix(".py")]
    assert files
    for path in files:
        for module in imports_of(path):
            assert within(module, ALLOWED[room]), f"{path.relative_to(ROOT)} imports {module}"


def test_arrows_inside_bench_go_down() -> None:
    level = {name: i for i, names in enumerate(ORDER) for name in names}
    for path in sources("bench"):
        part = path.relative_to(ROOT / "bench").parts[0].removesuffix(".py")
        if part in ("__init__", "__main__"):
            continue
        assert part in level, f"bench/{part} has no place in the order of arrows"
        for module in imports_of(path):
            pieces = module.split(".")
            if pieces[0] != "bench" or len(pieces) < 2 or pieces[1] == part:
                continue
            assert level[part] < level[pieces[1]], f"{path.relative_to(ROOT)} imports {module}"


def test_only_the_command_line_imports_reports() -> None:
    for room in ("bench", "models", "search_spaces"):
        for path in sources(room):
            if ROOT / "bench" / "commands" not in path.parents:
                assert not any(within(m, {"reports"}) for m in imports_of(path)), path


def test_nothing_imports_tests() -> None:
    for room in ("bench", "models", "search_spaces", "reports"):
        for path in sources(room):
            assert not any(within(m, {"tests", "testing"}) for m in imports_of(path)), path


HEAVY = ("torch", "numpy", "pandas", "sklearn", "optuna", "botorch", "scipy")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["compare", "--help"], ["list", "families", "--json"], ["list", "metrics", "--json"]]
)
def test_light_commands_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from gentune.bench.commands.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


# Public entry points, whose keywords are their interface; so are families' constructors and the options of readers.
ENTRY_POINTS = {
    "bench/commands/evaluation.py:evaluate",
    "bench/commands/sampling.py:sample",
    "bench/evaluate/external_samples.py:evaluate",
    "bench/proposal/engine.py:propose",
    "bench/training/loop.py:train",
}


def test_bench_fits_into_the_mind() -> None:
    """At most 24 entries; no module over 400 lines, no function over 60 or with more than 8 parameters."""
    entries = [p for p in (ROOT / "bench").iterdir() if p.name != "__pycache__"]
    assert len(entries) <= 24
    too_large = []
    for path in sources("bench"):
        text, place = path.read_text(encoding="utf-8"), str(path.relative_to(ROOT))
        if len(text.splitlines()) > 400:
            too_large.append(f"{place}: {len(text.splitlines())} lines")
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.FunctionDef):
                continue
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            arguments = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            count = len([name for name in arguments if name not in ("self", "cls")])
            name = f"{place}:{node.name}"
            of_reader = place.startswith("bench/data/") and node.name in ("find", "describe", "read")
            if lines > 60 or (count > 8 and not of_reader and name not in ENTRY_POINTS):
                too_large.append(f"{name}: {lines} lines, {count} parameters")
    assert not too_large
