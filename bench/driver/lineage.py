"""Which training each trial of a study sampled, and which trainings are kept for further trials."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from ..proposal import Curve, Kept, Point, Proposal
from ..runs.records import Record


class Lineage:
    """The trainings behind a study's trials: a trial trains its own model, or continues from an earlier trial's.

    records: of the study's trials by number, as they come in.
    """

    def __init__(self, records: Mapping[int, Record]) -> None:
        self._records = records

    def root(self, record: Record) -> Record:
        """The trial that began the training that a trial sampled."""
        while record.parent is not None:
            record = self._records[record.parent]
        return record

    def parent_of(self, proposal: Proposal) -> Record | None:
        """The trial whose training a proposal starts from; None where it begins one."""
        return None if proposal.parent is None else self._records[proposal.parent]

    def begun(self, proposal: Proposal) -> float:
        """The share of a full training that the proposal's parent has already had."""
        parent = self.parent_of(proposal)
        return 0.0 if parent is None else parent.fidelity

    def kept(self, records: Iterable[Record]) -> list[Kept]:
        """The trainings of these trials that a proposal may start from, each as its furthest trial left it."""
        furthest: dict[int, Record] = {}
        failed_at: dict[int, float] = {}
        for record in records:
            root = self.root(record).number
            if record.objectives is None and record.move == "continue":
                failed_at[root] = min(record.fidelity, failed_at.get(root, math.inf))
            if record.objectives is not None and (root not in furthest or record.fidelity >= furthest[root].fidelity):
                furthest[root] = record
        return [
            Kept(record.params, root, record.number, record.fidelity, failed_at.get(root, math.inf))
            for root, record in furthest.items()
        ]

    def curve(self, record: Record) -> Curve:
        """A trial's intermediate scores as a stopping rule takes them."""
        points = tuple(Point(p["fidelity"], p["objectives"]) for p in record.curve)
        return Curve(dict(record.params), self.root(record).number, points)


def training_seconds(record: Record) -> float:
    """Seconds of the whole training that a trial sampled, including parts that earlier trials were charged for."""
    return record.seconds.get("train", 0.0) + record.seconds.get("kept", 0.0)
