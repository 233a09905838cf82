"""Families of related tasks, and tasks on the same spaces that have nothing to do with them: what warm starts meet.

    python tests/performance/proposals/relatives.py

measures what regrets are normalised by, and writes relatives.json next to itself.

A case is a task with two sets of three earlier ones: relatives, and strangers on the same space. Strangers are
relatives with every parameter reflected and the parameters' roles exchanged, and a smooth random function.
"""

from __future__ import annotations

import json
import math
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain
from pathlib import Path

import numpy as np
from functions import hartmann6
from memo import Memo
from spaces import box, choice, draw, every_setting, integer, number, real, setting_at, vector, whole
from synthetic import exact, training_loss, training_space
from tables import table_task
from task import Task

from gentune.bench.proposal.encoding import Encoding
from gentune.search_spaces.space import SearchSpace, Setting, Value

FILE = Path(__file__).parent / "relatives.json"

Truth = Callable[[Setting], float]

_TABLES = ("australian", "blood_transfusion", "car", "credit_g", "kc1", "phoneme", "segment", "vehicle")
_REGRESSIONS = ("diabetes", "friedman1", "friedman2", "friedman3")


@dataclass(frozen=True)
class Case:
    """Names of tasks: one to be solved, those that were solved before it, and those of no use to it."""

    task: str
    relatives: tuple[str, ...]
    strangers: tuple[str, ...]


def _generator(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def hartmann6_variant(name: str) -> Task:
    """Hartmann's function moved by up to a tenth of each range, its four wells reweighted, in other units."""
    generator = _generator(name)
    shift, weight = generator.uniform(-0.1, 0.1, 6), generator.uniform(0.5, 2.0)
    return exact(name, "continuous", box([(0.0, 1.0)] * 6), lambda s: 10 + weight * hartmann6(vector(s) + shift))


def branin_variant(name: str) -> Task:
    """Branin's function with its six constants drawn from ranges around the usual ones."""
    a, b, c, r, s, t = _generator(name).uniform(*np.array([
        (0.5, 1.5), (0.1, 0.15), (1.0, 2.0), (5.0, 7.0), (8.0, 12.0), (0.03, 0.05),
    ]).T)  # fmt: skip

    def truth(setting: Setting) -> float:
        x, y = vector(setting)
        return float(a * (y - b * x**2 + c * x - r) ** 2 + s * (1 - t) * math.cos(x) + s)

    return exact(name, "continuous", box([(-5.0, 10.0), (0.0, 15.0)]), truth)


def training_variant(name: str) -> Task:
    """The made-up validation loss on other data: other best rates, widths and dropouts, and another floor."""
    generator = _generator(name)
    move = dict(zip(("learning_rate", "weight_decay", "width"), np.exp(generator.uniform(-1.0, 1.0, 3)), strict=True))
    more, scale, floor = generator.uniform(-0.1, 0.1), generator.uniform(0.5, 2.0), generator.uniform(0.0, 0.5)

    def truth(setting: Setting) -> float:
        moved: dict[str, Value] = dict(setting)
        for parameter, factor in move.items():
            moved[parameter] = number(setting, parameter) * float(factor)
        moved["dropout"] = number(setting, "dropout") + float(more)
        return floor + scale * training_loss(moved)

    return exact(name, "mixed", training_space(), truth)


def svr_task(name: str) -> Task:
    """A support vector machine's error on a regression problem, over the targets' variance; three folds."""
    data = name.removeprefix("svr_")
    memo = Memo(name, "1")

    def compute(setting: Setting) -> float:
        from sklearn.model_selection import KFold, cross_val_predict
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVR

        X, y = _regression(data)
        model = SVR(
            C=number(setting, "C"),
            epsilon=number(setting, "epsilon"),
            kernel=setting["kernel"],
            gamma=number(setting, "gamma") if "gamma" in setting else "scale",
            degree=whole(setting, "degree") if "degree" in setting else 3,
            coef0=number(setting, "coef0") if "coef0" in setting else 0.0,
            max_iter=20_000,
        )
        predicted = cross_val_predict(
            make_pipeline(StandardScaler(), model), X, y, cv=KFold(3, shuffle=True, random_state=0)
        )
        return min(float(np.mean((predicted - y) ** 2)), 10.0)

    def truth(setting: Setting) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loss = memo.loss(setting, 0, lambda: compute(setting))
        assert loss is not None
        return loss

    space = SearchSpace(
        (
            choice("kernel", "sigmoid", "poly", "rbf"),
            real("C", 1e-3, 1e3, log=True),
            real("epsilon", 1e-3, 1.0, log=True),
            real("gamma", 1e-4, 10.0, log=True),
            integer("degree", 2, 5, when={"kernel": ("poly",)}),
            real("coef0", 0.0, 2.0, when={"kernel": ("poly", "sigmoid")}),
        )
    )
    return exact(name, "conditional", space, truth)


@cache
def _regression(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (200, d) and targets (200,) at mean 0 and deviation 1."""
    from sklearn import datasets

    if name == "diabetes":
        X, y = datasets.load_diabetes(return_X_y=True)
        X, y = X[:200], y[:200]
    else:
        X, y = getattr(datasets, f"make_{name}")(200, noise=0.5 if name == "friedman1" else 0.0, random_state=0)
    return X, (y - y.mean()) / y.std()


def stranger(name: str) -> Task:
    """`reflected_NAME` or `random_NAME`, by a task's name: a function on that task's space that is of no use to it."""
    kind, _, base = name.partition("_")
    task = TASKS[base]
    encoding, generator = Encoding(task.space), _generator(name)
    if kind == "reflected":
        order = generator.permutation(len(encoding))

        def truth(setting: Setting) -> float:
            at = np.nan_to_num(encoding.positions([setting])[0], nan=0.5)
            return task.truth(setting_at(task.space, 1.0 - at[order]))
    else:
        waves = generator.normal(0.0, 2.5, (60, int(encoding.columns(encoding.positions([])).shape[1])))
        phases = generator.uniform(0.0, 2 * math.pi, 60)

        def truth(setting: Setting) -> float:
            columns = encoding.columns(encoding.positions([setting]))[0]
            return float(np.cos(waves @ columns + phases).sum())

    return exact(name, task.kind, task.space, truth)


def _case(family: str, names: tuple[str, ...], i: int) -> Case:
    """Task i of a family with the next three for relatives."""
    others = tuple(f"{family}_{names[(i + k) % len(names)]}" for k in (1, 2, 3))
    task = f"{family}_{names[i]}"
    return Case(task, others, (f"reflected_{others[0]}", f"reflected_{others[1]}", f"random_{task}"))


_LETTERS = ("a", "b", "c", "d")
CASES = {
    case.task: case
    for case in (
        *(_case("table", _TABLES, i) for i in (0, 3, 4, 6)),
        *(_case("hartmann6", _LETTERS, i) for i in (0, 1)),
        *(_case("branin", _LETTERS, i) for i in (0, 1)),
        *(_case("training", _LETTERS, i) for i in (0, 1)),
        *(_case("svr", _REGRESSIONS, i) for i in (0, 1, 2, 3)),
    )
}

_BUILDERS: dict[str, Callable[[], Task]] = {
    **{f"table_{name}": partial(table_task, name) for name in _TABLES},
    **{f"hartmann6_{x}": partial(hartmann6_variant, f"hartmann6_{x}") for x in _LETTERS},
    **{f"branin_{x}": partial(branin_variant, f"branin_{x}") for x in _LETTERS},
    **{f"training_{x}": partial(training_variant, f"training_{x}") for x in _LETTERS},
    **{f"svr_{x}": partial(svr_task, f"svr_{x}") for x in _REGRESSIONS},
}
_BUILDERS |= {name: partial(stranger, name) for name in chain(*(case.strangers for case in CASES.values()))}


class _Tasks(Mapping[str, Task]):
    def __init__(self) -> None:
        self._built: dict[str, Task] = {}

    def __getitem__(self, name: str) -> Task:
        if name not in self._built:
            self._built[name] = _BUILDERS[name]()
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_BUILDERS)

    def __len__(self) -> int:
        return len(_BUILDERS)


TASKS: Mapping[str, Task] = _Tasks()


@cache
def references() -> dict[str, tuple[float, float]]:
    """The best known value of each case's task, and that of a median random setting."""
    loaded = json.loads(FILE.read_text(encoding="utf-8"))
    return {name: (best, median) for name, (best, median) in loaded.items()}


def normalised_regret(name: str, value: float) -> float:
    """0 at the best known true value of a case's task, 1 at that of a median random setting."""
    best, median = references()[name]
    return (value - best) / (median - best)


def measure_reference(task: Task) -> tuple[float, float]:
    """The least of a whole table, or that of a search; and the median of random settings."""
    from scipy.optimize import differential_evolution

    slow = task.name.startswith("svr")
    rng = np.random.default_rng(1)
    values = [task.truth(draw(task.space, rng)) for _ in range(200 if slow else 1000)]
    if task.name.startswith("table"):
        best = min(task.truth(setting) for setting in every_setting(task.space))
    else:
        # One search alone often ends in a local minimum.
        best = min(
            differential_evolution(
                lambda point: task.truth(setting_at(task.space, point)),
                [(0.0, 1.0)] * len(task.space),
                maxiter=15 if slow else 200,
                popsize=6 if slow else 15,
                seed=seed,
                polish=False,
                tol=0.0,
            ).fun
            for seed in ((3,) if slow else (3, 4, 5))
        )
    return float(min(best, *values)), float(np.median(values))


def main() -> None:
    found: dict[str, tuple[float, float]] = {}
    for name in CASES:
        found[name] = measure_reference(TASKS[name])
        print(name, *found[name], flush=True)
    FILE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
