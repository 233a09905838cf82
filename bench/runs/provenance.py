"""What is needed to reproduce a record: versions, revision, local edits, machine."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "optuna", "gpytorch", "botorch", "torch-fidelity", "zuko")


@cache
def provenance() -> dict[str, Any]:
    """Versions of Gentune, Python and libraries; revision and a hash of local edits; the machine."""
    revision, edits = _revision()
    return {
        "gentune": _version("gentune"),
        "revision": revision,
        "local_edits": edits,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "machine": {"system": platform.platform(), "processor": _processor()},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _revision() -> tuple[str | None, str | None]:
    """The commit that runs and a hash of what differs from it; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None, None

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout if done.returncode == 0 else None

    revision = git("rev-parse", "HEAD")
    if revision is None:
        return None, None
    edits = git("diff", "HEAD", "--", "*.py", "*.toml") or ""
    untracked = git("ls-files", "--others", "--exclude-standard", "--", "*.py", "*.toml") or ""
    for name in untracked.split():
        edits += name + (root / name).read_text(encoding="utf-8", errors="replace")
    return revision.strip(), hashlib.sha256(edits.encode()).hexdigest()[:16] if edits else None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
