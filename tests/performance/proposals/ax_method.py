"""Ax's `Client` as it comes, on a Gentune search space."""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal

import torch
from ax.api.client import Client
from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

from gentune.search_spaces.space import Parameter, SearchSpace, Setting, Value


class AxMethod:
    """Conditions are told to Ax where it has words for them (a tree of choices), else the space is flattened: Ax then
    proposes values for all parameters, and those that are not active are passed over."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        torch.manual_seed(seed)
        warnings.filterwarnings("ignore")  # Ax's own, a dozen a trial
        self._space = space
        self._client = Client(random_seed=seed)
        dependents = _tree(space)
        self._client.configure_experiment([_config(p, dependents.get(p.name)) for p in space])
        self._client.configure_optimization(objective="-value")
        self._index = -1

    def ask(self) -> Setting:
        ((self._index, raw),) = self._client.get_next_trials(max_trials=1).items()
        return self._space.activate({p.name: _value(p, raw[p.name]) for p in self._space if p.name in raw})

    def tell(self, value: float | None) -> None:
        if value is None:
            self._client.mark_trial_failed(self._index)
        else:
            self._client.complete_trial(self._index, {"value": value})

    def name(self) -> int | None:
        return None

    def close(self) -> None:
        pass


def _config(p: Parameter, dependents: dict[Any, list[str]] | None) -> RangeParameterConfig | ChoiceParameterConfig:
    if p.kind == "categorical":
        # Labels, as Ax takes neither None nor values of several types.
        labels = [str(i) for i in range(len(p.choices))]
        return ChoiceParameterConfig(p.name, labels, "str", is_ordered=False, dependent_parameters=dependents)
    assert p.low is not None and p.high is not None
    if p.step is not None:
        count = math.floor((p.high - p.low) / p.step + 1e-9) + 1
        grid = [p.low + i * p.step for i in range(count)]
        if p.kind == "int":
            return ChoiceParameterConfig(p.name, [int(v) for v in grid], "int", is_ordered=True)
        return ChoiceParameterConfig(p.name, grid, "float", is_ordered=True)
    scaling: Literal["log", "linear"] = "log" if p.log else "linear"
    if p.kind == "int":
        return RangeParameterConfig(p.name, (p.low, p.high), "int", scaling=scaling)
    return RangeParameterConfig(p.name, (p.low, p.high), "float", scaling=scaling)


def _value(p: Parameter, raw: Any) -> Value:
    if p.kind == "categorical":
        return p.choices[int(raw)]
    return int(raw) if p.kind == "int" else float(raw)


def _tree(space: SearchSpace) -> dict[str, dict[Any, list[str]]]:
    """For each parent the parameters that hang on each of its labels; empty where the conditions are no such tree.

    Ax wants each parameter under one value of one choice at most.
    """
    tree: dict[str, dict[Any, list[str]]] = {}
    for p in space:
        if not p.when:
            continue
        if len(p.when) > 1:
            return {}
        ((parent, values),) = p.when.items()
        if len(values) > 1 or space[parent].kind != "categorical":
            return {}
        tree.setdefault(parent, {}).setdefault(str(space[parent].choices.index(values[0])), []).append(p.name)
    return tree
