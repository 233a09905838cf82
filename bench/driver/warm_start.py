"""Trials of earlier runs that proposals learn from.

They are copied into the run's folder when it is made: a resumed run makes the same proposals, even if
the earlier ones change or go.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import registry
from ..errors import UsageError
from ..proposal import Observation
from ..runs.constraints import excesses
from ..runs.records import Record
from ..runs.run_folder import RunFolder
from ..runs.study_file import StudyFile

ARTIFACT = "warm_start.json"


def collect(config: StudyFile) -> list[dict[str, Any]]:
    """Trials of the study's families in the runs that `config.warm_start` names, one object a run.

    It holds the run's path, data and objective, and by family a list of studies, each a list of trials with `params`,
    `values` (all to be minimised, or None) and by how much they exceed the bounds of this study (`constraints`, by
    name), where limits that rest on data are those of the earlier run's data.

    Raises UsageError for a path that is no run folder, a run with another number of objectives, and one that has no
    trial of any of the families.
    """
    return [_collect(RunFolder.open(path), path, config) for path in config.warm_start]


def _collect(folder: RunFolder, path: str, config: StudyFile) -> dict[str, Any]:
    study = folder.study
    if len(study.objective) != len(config.objective):
        raise UsageError(
            f"warm start from {path}: it has {_count(study.objective)}, this study {_count(config.objective)}; "
            f"wanted as many"
        )
    signs = [1.0 if registry.metric(name).direction == "lower" else -1.0 for name in study.objective]
    # Scores of partial trainings are of another function.
    trials = [r for r in folder.records("trial") if r.family in config.families and r.fidelity == 1.0]
    if not trials:
        raise UsageError(
            f"warm start from {path}: it has no trial of {', '.join(config.families)}; "
            f"its families: {', '.join(study.families)}"
        )
    bounds = folder.bounds(config.constraints, folder.records("reference"))
    families: dict[str, dict[int, list[dict[str, Any]]]] = {}
    for record in trials:
        entry = {
            "params": dict(record.params),
            "values": _values(record, signs),
            "constraints": excesses(bounds, [record]),
        }
        families.setdefault(record.family, {}).setdefault(record.repeat, []).append(entry)
    return {
        "path": path,
        "data": str(study.data),
        "objective": list(study.objective),
        "families": {name: list(repeats.values()) for name, repeats in families.items()},
    }


def _values(record: Record, signs: Sequence[float]) -> list[float] | None:
    if record.state != "complete" or record.objectives is None:
        return None
    return [sign * value for sign, value in zip(signs, record.objectives, strict=True)]


def earlier_studies(folder: RunFolder) -> dict[str, list[list[Observation]]]:
    """The earlier studies of each family, as the engine takes them; empty without a warm start."""
    studies: dict[str, list[list[Observation]]] = {}
    for run in folder.read_json(ARTIFACT) or ():
        for family, repeats in run["families"].items():
            studies.setdefault(family, []).extend([_observation(entry) for entry in trials] for trials in repeats)
    return studies


def _observation(entry: dict[str, Any]) -> Observation:
    values = None if entry["values"] is None else tuple(entry["values"])
    return Observation(entry["params"], values, constraints=entry.get("constraints", {}))


def make_folder(out: Path | str, config: StudyFile) -> RunFolder:
    """The run's folder, new or of the same study (`RunFolder.create_or_match`), with the trials of its warm start."""
    there = RunFolder(out)
    found = None
    if config.warm_start and not (there.artifacts_path / ARTIFACT).is_file():
        found = collect(config)  # before anything is made
    folder = RunFolder.create_or_match(out, config)
    if found is not None:
        folder.write_json(ARTIFACT, found)
    return folder


def _count(objectives: Sequence[str]) -> str:
    return f"{len(objectives)} objective{'s' if len(objectives) > 1 else ''}"
