"""What a finished study has learned, as an artifact for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..search_spaces import SearchSpace
from .proposal import Observation, explain
from .records import Record
from .storage import RunFolder


def write_explanation(
    folder: RunFolder,
    study: str,
    space: SearchSpace,
    records: Mapping[int, Record],
    objectives: Sequence[str],
    directions: Sequence[str],
    incumbents: Sequence[Record],
) -> None:
    """Writes explanations/STUDY.json: importances and slices around the study's first incumbent (`explain`)."""
    signs = [1.0 if direction == "lower" else -1.0 for direction in directions]
    observations = []
    for number in sorted(records):
        record = records[number]
        values = None
        if record.state == "complete" and record.objectives is not None:
            values = tuple(sign * value for sign, value in zip(signs, record.objectives, strict=True))
        observations.append(Observation(dict(record.params), values))
    around = None
    if incumbents:
        # A plug-in's space may have changed since the trial.
        params = incumbents[0].params
        around = space.activate({k: v for k, v in params.items() if k in space and space[k].contains(v)})
    content = explain(space, observations, objectives, directions=directions, around=around)
    folder.write_json(f"explanations/{study}.json", content)
