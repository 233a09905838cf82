"""Families on data sets: their cards as a study of tuning takes them, and one setting carried out for real."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

from gentune.bench import registry  # noqa: E402 - after the threads are set
from gentune.bench.data import DataRef, describe_data  # noqa: E402
from gentune.bench.registry import ResolvedFamily  # noqa: E402
from gentune.bench.runs.run_folder import RecordFolder  # noqa: E402
from gentune.search_spaces import FamilyCard, Parameter, SearchSpace  # noqa: E402

OBJECTIVES = {"image": "fid", "vector": "sliced_wasserstein"}  # distances: ratios of them mean something


@dataclass(frozen=True)
class Pair:
    """A family on a data set. share: of the card's steps that its full training has here, to be quick."""

    family: str
    data: str
    share: float = 1.0

    @property
    def name(self) -> str:
        return f"{self.family}-{self.data}"

    @property
    def objective(self) -> str:
        return OBJECTIVES[describe_data(DataRef(self.data)).kind]

    def resolved(self, change: Mapping[str, Any] | None = None) -> ResolvedFamily:
        """The family with this pair's steps; `change` replaces fields of its card."""
        card = registry.cards_of([self.family], describe_data(DataRef(self.data)))[self.family].card
        fields: dict[str, Any] = {"scale": self.share, **(change or {})}
        return registry.family(self.family).resolved(card=replace(card, **fields))


def parse_pair(text: str, known: Mapping[str, Pair]) -> Pair:
    """The pair of a name. Raises ValueError for an unknown one."""
    if text not in known:
        raise ValueError(f"no pair {text!r}; known: {', '.join(known)}")
    return known[text]


def by_name(*pairs: Pair) -> dict[str, Pair]:
    return {pair.name: pair for pair in pairs}


def neutral(card: FamilyCard) -> FamilyCard:
    """The card with every number's default in the middle of its range, on the range's own scale.

    Choices have no middle and keep their defaults. What a card expects of good values goes: nothing is known.
    """
    searched = {p.name: replace(p, default=_middle(p), likely=()) for p in card.space}
    loop = SearchSpace(tuple(searched.get(p.name, p) for p in card.loop))
    return replace(card, space=SearchSpace(tuple(searched.values())), loop=loop, noise={})


def _middle(parameter: Parameter) -> Any:
    if parameter.kind == "categorical":
        return parameter.default
    low, high = parameter.low, parameter.high
    assert low is not None
    assert high is not None
    middle = math.sqrt(low * high) if parameter.log else (low + high) / 2
    return round(middle) if parameter.kind == "int" else middle


@dataclass(frozen=True)
class Measured:
    """One setting trained and scored on validation: the objective, or None and a reason, and the seconds it took."""

    value: float | None
    reason: str | None
    seconds: float


def measure(pair: Pair, setting: Mapping[str, Any], seed: int, folder: Path, cache: Path) -> Measured:
    """Carries out one trial of the setting; `folder` takes what it leaves."""
    import torch

    from gentune.bench.trial.execution import run_trial
    from gentune.bench.trial.jobs import TrialJob

    torch.set_num_threads(1)
    job = TrialJob(
        role="trial",
        family=pair.resolved(),
        number=0,
        seed=seed,
        split="validation",
        data=DataRef(pair.data),
        params=setting,
        objective=(pair.objective,),
        lean=True,
        cache=str(cache),
    )
    record = run_trial(job, RecordFolder(folder))
    value = None if record.objectives is None else float(record.objectives[0])
    return Measured(value, record.reason, record.seconds_spent)
