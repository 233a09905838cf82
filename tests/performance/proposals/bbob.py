"""Functions of BBOB, the black-box optimisation benchmark of COCO, in five dimensions.

Needs the optional package coco-experiment. Definitions: Hansen et al., Real-Parameter Black-Box Optimization
Benchmarking 2009: Noiseless Functions Definitions (INRIA RR-6829). The first instance of each.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from spaces import box, vector
from synthetic import exact
from task import Task

from gentune.search_spaces.space import Setting

_DIMENSION = 5
# COCO draws them with two decimals.
_LEAST = {3: -462.09, 9: 123.83, 10: -54.94, 15: 1000.0, 17: -16.94, 21: 40.78, 24: 102.61}
_LOGARITHMIC = (9, 10)
KNOWN = {f"bbob_f{function}": 0.0 for function in _LEAST}


def bbob_task(function: int) -> Task:
    """f3: Rastrigin's many minima, separable. f9: Rosenbrock's valley, rotated, and f10: an ill-conditioned
    ellipsoid, rotated, both as log(1 + f), for their medians lie far above their interesting range. f15: Rastrigin
    on a funnel, rotated. f17: Schaffer's ripples, finer towards the best. f21: a hundred peaks without a global
    trend. f24: two funnels, the wider of which is the worse. All less their least values."""
    suite = _suite(function)
    problem = suite[0]

    def truth(setting: Setting, keep: Any = suite) -> float:  # a problem's memory is freed with its suite
        above = float(problem(vector(setting))) - _LEAST[function]
        return math.log1p(max(above, 0.0)) if function in _LOGARITHMIC else above

    return exact(f"bbob_f{function}", "continuous", box([(-5.0, 5.0)] * _DIMENSION), truth)


def _suite(function: int) -> Any:
    try:
        import cocoex
    except ImportError as error:
        raise RuntimeError("the BBOB tasks need the package coco-experiment: pip install coco-experiment") from error
    return cocoex.Suite("bbob", "instances:1", f"dimensions:{_DIMENSION} function_indices:{function}")


BUILDERS = {f"bbob_f{function}": partial(bbob_task, function) for function in _LEAST}
