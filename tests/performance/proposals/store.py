"""Results on disk: one small JSON file for each method, task and seed."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from methods import DISTRIBUTIONS, SERVED, split
from pipe import installed_version


@dataclass(frozen=True)
class Job:
    """One run that is wanted. label: the method as it was written; version: what its results are kept under."""

    label: str
    method: str
    version: str
    task: str
    seed: int
    trials: int

    def path(self, results: Path) -> Path:
        folder = f"{self.method.replace(':', ',')}@{self.version}"
        return results / folder / self.task / f"{self.trials}_trials_seed_{self.seed}.json"


def job(method: str, task: str, seed: int, trials: int) -> Job:
    """A run of `method`, or of `method@version` where other than the present version is meant."""
    name, _, wanted = method.partition("@")
    return Job(method, name, wanted or version(name), task, seed, trials)


@functools.cache
def version(method: str) -> str:
    """A rival's package version; of Gentune a fingerprint of the engine's sources."""
    name, _ = split(method)
    if name == "gentune":
        return engine_fingerprint()
    if name in SERVED:
        return f"{DISTRIBUTIONS[name]}-{installed_version(name, DISTRIBUTIONS[name])}"
    return f"{DISTRIBUTIONS[name]}-{importlib.metadata.version(DISTRIBUTIONS[name])}"


def engine_fingerprint() -> str:
    """Twelve hexadecimal digits of the SHA-256 of bench/proposal/*.py."""
    digest = hashlib.sha256()
    for path in engine_files():
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def engine_files() -> list[Path]:
    spec = importlib.util.find_spec("gentune.bench.proposal")
    assert spec is not None and spec.origin is not None
    return sorted(Path(spec.origin).parent.glob("*.py"))


def write(path: Path, content: dict[str, Any]) -> None:
    """Writes a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    partial.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")
    partial.replace(path)


def read(path: Path) -> Any:
    """A result, or None where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
