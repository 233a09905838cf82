"""The Python interface: what the command line does, with tables and models as answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .bench.driver.run_setup import describe, drive
from .bench.driver.warm_start import make_folder
from .bench.errors import UsageError
from .bench.runs.export import export
from .bench.runs.run_folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd

    from .models.base import GenerativeModel


class Run:
    """A run folder as tables and models."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    @property
    def path(self) -> Path:
        return self.folder.path

    @property
    def trials(self) -> pd.DataFrame:
        """One row a trial; parameters and metrics in columns `params.NAME` and `metrics.NAME`."""
        return _table(export(self.folder)["trials"])

    @property
    def finalists(self) -> pd.DataFrame:
        """One row for each incumbent and seed, scored on the test split."""
        return _table(export(self.folder)["finalists"])

    @property
    def leaderboard(self) -> dict[str, Any]:
        """The leaderboard's JSON document."""
        path = self.folder.report_path / "leaderboard.json"
        if not path.is_file():
            raise UsageError(f"{self.path} has no leaderboard yet; `gentune report {self.path}` writes one")
        return json.loads(path.read_text(encoding="utf-8"))

    def model(self, family: str, *, seed: int = 0, repeat: int = 0, incumbent: int = 0) -> GenerativeModel:
        """A finalist as it was trained: repetition `seed` of the family's incumbent."""
        from .bench.training.checkpoints import load_model

        name = f"final-{family}-{repeat}-{incumbent}-{seed:03d}"
        try:
            return load_model(self.folder.artifact("models", name))[0]
        except FileNotFoundError:
            saved = sorted(p.name for p in self.folder.artifact("models").glob("*"))
            raise UsageError(f"{self.path} has no model {name}; it has {', '.join(saved) or 'none'}") from None


class _Silent:
    def say(self, line: str) -> None:
        """Nobody listens."""

    def update(self) -> None:
        """Nobody looks."""


def compare(
    *,
    data: str,
    families: str | Sequence[str],
    out: str | Path,
    trainings: float | None = None,
    flops: float | None = None,
    seconds: float | None = None,
    objective: str | Sequence[str] | None = None,
    seeds: int | None = None,
    repeats: int | None = None,
    workers: int | None = None,
    devices: str | Sequence[str] | None = None,
    sampler: str | None = None,
    seed: int | None = None,
    plugins: Sequence[str | Path] | None = None,
    warm_start: Sequence[str | Path] | None = None,
    two_speeds: bool | None = None,
    stopping: str | None = None,
    store: str | None = None,
) -> Run:
    """`gentune compare`: runs or resumes a comparison and returns it. Raises UsageError for wrong input."""
    options = {
        "data": data,
        "families": _list(families),
        "trainings": trainings,
        "flops": flops,
        "seconds": seconds,
        "objective": _list(objective),
        "seeds": seeds,
        "repeats": repeats,
        "workers": workers,
        "devices": _list(devices),
        "sampler": sampler,
        "seed": seed,
        "plugins": None if plugins is None else [str(Path(p).resolve()) for p in plugins],
        "warm_start": None if warm_start is None else [str(Path(p).resolve()) for p in warm_start],
        "two_speeds": two_speeds,
        "stopping": stopping,
        "store": store,
    }
    config = describe(None, options)
    folder = make_folder(out, config)
    drive(folder, {"workers": config.workers, "devices": config.devices}, _Silent())
    from .reports import current_report, write_report

    if current_report(folder) is None:
        write_report(folder)
    return Run(folder)


def tune(family: str, **options: Any) -> Run:
    """`gentune tune`: `compare` with one family."""
    return compare(families=[family], **options)


def load(path: str | Path) -> Run:
    """An existing run, whether or not it has ended."""
    return Run(RunFolder.open(path))


def _list(value: str | Sequence[str] | None) -> list[str] | None:
    return [value] if isinstance(value, str) else None if value is None else list(value)


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    flat = []
    for row in rows:
        plain = {key: value for key, value in row.items() if not isinstance(value, dict)}
        plain |= {f"params.{name}": value for name, value in row["params"].items()}
        for group in ("metrics", "second_metrics"):
            for name, figure in row.get(group, {}).items():
                plain[f"{group}.{name}"] = figure["value"]
        flat.append(plain)
    return pd.DataFrame(flat)
