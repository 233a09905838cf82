"""What a finished study has learned, as an artifact for the report."""

from __future__ import annotations

from collections.abc import Sequence

from ...search_spaces import SearchSpace
from ..proposal import Observation, explain
from ..runs.records import Record
from ..runs.run_folder import RunFolder


def write_explanation(
    folder: RunFolder,
    study: str,
    space: SearchSpace,
    observations: Sequence[Observation],
    objectives: Sequence[str],
    directions: Sequence[str],
    incumbents: Sequence[Record],
) -> None:
    """Writes explanations/STUDY.json: importances and slices around the study's first incumbent (`explain`)."""
    around = None
    if incumbents:
        # A plug-in's space may have changed since the trial.
        params = incumbents[0].params
        around = space.activate({k: v for k, v in params.items() if k in space and space[k].contains(v)})
    content = explain(space, observations, objectives, directions=directions, around=around)
    folder.write_json(f"explanations/{study}.json", content)
