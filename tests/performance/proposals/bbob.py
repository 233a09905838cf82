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
_LEAST = {10: -54.94, 15: 1000.0, 21: 40.78}  # COCO draws them with two decimals
KNOWN = {f"bbob_f{function}": 0.0 for function in _LEAST}


def bbob_task(function: int) -> Task:
    """f10: a rotated ill-conditioned ellipsoid, as log(1 + f), for its median lies a million times above its
    interesting range. f15: Rastrigin's many minima on a funnel, rotated. f21: a hundred
    peaks without a global trend. All less their least values."""
    suite = _suite(function)
    problem = suite[0]

    def truth(setting: Setting, keep: Any = suite) -> float:  # a problem's memory is freed with its suite
        above = float(problem(vector(setting))) - _LEAST[function]
        return math.log1p(max(above, 0.0)) if function == 10 else above

    return exact(f"bbob_f{function}", "continuous", box([(-5.0, 5.0)] * _DIMENSION), truth)


def _suite(function: int) -> Any:
    try:
        import cocoex
    except ImportError as error:
        raise RuntimeError("the BBOB tasks need the package coco-experiment: pip install coco-experiment") from error
    return cocoex.Suite("bbob", "instances:1", f"dimensions:{_DIMENSION} function_indices:{function}")


BUILDERS = {f"bbob_f{function}": partial(bbob_task, function) for function in _LEAST}
