"""Synthetic tasks whose trials are noisy; the truth is the mean.

Standard deviations are about a tenth of the spread from the best to the median setting.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from functions import BRANIN_BEST, HARTMANN6_BEST, branin, hartmann6
from spaces import box, vector
from synthetic import training_loss, training_space
from task import Task

from gentune.search_spaces.space import SearchSpace, Setting

KNOWN = {"noisy_hartmann6": HARTMANN6_BEST, "noisy_branin": BRANIN_BEST}


def gaussian(
    name: str, space: SearchSpace, truth: Callable[[Setting], float], deviation: Callable[[float], float]
) -> Task:
    """A task measured with Gaussian noise; `deviation` maps the true value to the noise's standard deviation."""

    def measure(setting: Setting, generator: np.random.Generator) -> float:
        value = truth(setting)
        return value + deviation(value) * float(generator.standard_normal())

    return Task(name, "noisy", space, measure, truth)


def noisy_hartmann6_task() -> Task:
    """Constant noise, 0.3: a tenth of the spread."""
    return gaussian("noisy_hartmann6", box([(0.0, 1.0)] * 6), lambda s: hartmann6(vector(s)), lambda value: 0.3)


def noisy_branin_task() -> Task:
    """Noise that grows with the value, as that of a loss does: 2 at the best, 9 at the median."""
    space = box([(-5.0, 10.0), (0.0, 15.0)])
    return gaussian("noisy_branin", space, lambda s: branin(vector(s)), lambda value: 2.0 + 0.2 * value)


def noisy_training_task() -> Task:
    """The mixed training loss with noise that grows with it."""
    return gaussian("noisy_training", training_space(), training_loss, lambda value: 0.12 * value)


BUILDERS = {
    "noisy_hartmann6": noisy_hartmann6_task,
    "noisy_branin": noisy_branin_task,
    "noisy_training": noisy_training_task,
}
