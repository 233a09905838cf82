"""What is installed is what is here, and the README's own examples work."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
BRIEF = ("--seeds", "1", "--choice-seeds", "1", "--final-samples", "500")


def test_the_package_list_names_every_folder_with_python_in_it() -> None:
    homes = SETTINGS["tool"]["setuptools"]["package-dir"]
    packages = set(SETTINGS["tool"]["setuptools"]["packages"])
    expected = {"gentune"}
    for package, folder in homes.items():
        expected.add(package)
        for init in (ROOT / folder).rglob("__init__.py"):
            parts = init.parent.relative_to(ROOT / folder).parts
            expected.add(".".join([package, *parts]))
    assert packages == expected


def test_the_package_data_names_every_file_that_is_read() -> None:
    """Every TOML file and every template, at whatever depth, by some pattern of its package or of all packages."""
    homes = SETTINGS["tool"]["setuptools"]["package-dir"]
    patterns = SETTINGS["tool"]["setuptools"]["package-data"]
    packages = SETTINGS["tool"]["setuptools"]["packages"]
    files = [p for folder in homes.values() for kind in ("*.toml", "*.html") for p in (ROOT / folder).rglob(kind)]
    assert len(files) > 30
    covered: set[Path] = set()
    for package in packages:
        folder = ROOT / package.replace(".", "/")
        for pattern in (*patterns["*"], *patterns.get(package, ())):
            covered |= {p.resolve() for p in folder.glob(pattern.replace("templates/**", "templates/**/*"))}
    assert not [p for p in files if p.resolve() not in covered]


def test_the_links_for_type_checkers_point_home() -> None:
    for package, folder in SETTINGS["tool"]["setuptools"]["package-dir"].items():
        link = ROOT / Path(*package.split("."))
        assert link.is_symlink()
        assert link.resolve() == (ROOT / folder).resolve()


def test_every_dependency_is_pinned() -> None:
    pins = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, _, version = line.partition("==")
            pins[name.lower().replace("_", "-")] = version
    assert all(pins.values())
    project = SETTINGS["project"]
    for requirement in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        name = re.split(r"[><=\[]", requirement)[0].lower()
        assert name in pins, f"{name} has no pin"


def test_the_version_stands_once() -> None:
    import gentune

    assert gentune.__version__ == SETTINGS["project"]["version"]


def plugin_of_readme() -> str:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    return next(block for block in blocks if block.startswith("# my_family.py"))


@pytest.mark.slow
def test_the_readmes_plugin_keeps_the_contract(tmp_path: Path) -> None:
    plugin = tmp_path / "my_family.py"
    plugin.write_text(plugin_of_readme())
    test = tmp_path / "test_mine.py"
    test.write_text(
        "from gentune.bench import registry\n"
        "from gentune.testing import FamilyContract\n"
        f"registry.load_plugin({str(plugin)!r})\n"
        "entry = registry.family('shifted')\n"
        "class TestShifted(FamilyContract):\n"
        "    card = entry.card\n"
        "    family = entry.load()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"[1-9]\d* passed", done.stdout)


@pytest.mark.slow
def test_the_readmes_plugin_runs(tmp_path: Path) -> None:
    (tmp_path / "my_family.py").write_text(plugin_of_readme())
    command = "compare --plugin my_family.py --data two_moons --families shifted,gaussian_mixture --trainings 2"
    done = subprocess.run(
        [sys.executable, "-m", "gentune.bench", *command.split(), *BRIEF, "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = {row["family"]: row for row in json.loads(done.stdout)["rows"]}
    assert rows["gaussian_mixture"]["metrics"]["mmd"]["value"] < rows["shifted"]["metrics"]["mmd"]["value"]
    assert rows["shifted"]["metrics"]["nll"].keys() == {"undefined"}


@pytest.mark.slow
def test_the_wheel_works_in_a_fresh_environment(tmp_path: Path) -> None:
    """Builds the wheel, installs it with its pins and nothing else, and runs a study of two trials far from here."""
    # From a copy: left-overs of earlier builds would hide a file that the package list misses.
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, symlinks=True, ignore=ignored)
    shutil.rmtree(source / "runs", ignore_errors=True)  # results of the user's; bench/runs stays
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    home = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    pins = str(ROOT / "constraints.txt")
    subprocess.run(
        [home / "bin" / "pip", "install", "-q", "--no-compile", "-c", pins, str(wheel)], check=True, capture_output=True
    )
    # A user's own `models` folder next to the run must not get in the way.
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("raise ImportError('the wrong models')\n")
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    command = "tune gaussian_mixture --data two_moons --trainings 2 --workers 1 --json"
    done = subprocess.run(
        [home / "bin" / "gentune", *command.split(), *BRIEF],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=environment | {"GENTUNE_CACHE": str(tmp_path / "cache")},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"][0]["trials"] == 2
    assert (tmp_path / "runs" / "two_moons-gaussian_mixture" / "report" / "index.html").is_file()
