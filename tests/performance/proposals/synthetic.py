"""Synthetic tasks that every trial measures exactly: numeric ones, and mixed ones with rounding and categories.

Optima lie off the centre, the corners and any grid. Known least values stand in `KNOWN`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from functions import HARTMANN6_BEST, ackley, hartmann6, rosenbrock
from spaces import box, choice, integer, number, real, vector
from task import Kind, Task

from gentune.search_spaces.space import SearchSpace, Setting

KNOWN = {"hartmann6": HARTMANN6_BEST, "ackley5": 0.0, "rosenbrock4": 0.0, "mixed_ackley": 0.0}

_ACKLEY_SHIFT = np.array([1.71, -2.34, 4.13, 0.58, -0.77])
_ROSENBROCK_SHIFT = np.array([0.13, -0.21, 0.34, -0.08])


def exact(name: str, kind: Kind, space: SearchSpace, truth: Callable[[Setting], float]) -> Task:
    """A task without noise."""
    return Task(name, kind, space, lambda setting, generator: truth(setting), truth)


def hartmann6_task() -> Task:
    """Six dimensions, six local minima."""
    return exact("hartmann6", "continuous", box([(0.0, 1.0)] * 6), lambda s: hartmann6(vector(s)))


def ackley5_task() -> Task:
    """Five dimensions, ripples on a funnel, shifted."""
    return exact("ackley5", "continuous", box([(-5.0, 10.0)] * 5), lambda s: ackley(vector(s) - _ACKLEY_SHIFT))


def rosenbrock4_task() -> Task:
    """Four dimensions, shifted. log(1 + f): the median of f itself lies a thousand times above its valley, so every
    method would have a regret of nearly none."""
    return exact(
        "rosenbrock4",
        "continuous",
        box([(-2.0, 2.5)] * 4),
        lambda s: math.log1p(rosenbrock(vector(s) - _ROSENBROCK_SHIFT)),
    )


def mixed_ackley_task() -> Task:
    """Ackley over two floats, a float of a log scale, two integers and a category whose choices have no order."""
    space = SearchSpace(
        (
            real("x1", -3.0, 4.0),
            real("x2", -4.0, 3.0),
            real("scale", 1e-4, 1.0, log=True),
            integer("n", 0, 9),
            integer("m", 0, 6),
            choice("kind", "a", "b", "c", "d", "e"),
        )
    )
    kinds = {"a": 1.4, "b": -2.2, "c": 2.7, "d": 0.0, "e": -0.8}

    def truth(setting: Setting) -> float:
        x = np.array(
            [
                number(setting, "x1") - 1.23,
                number(setting, "x2") + 0.87,
                math.log10(number(setting, "scale")) + 2.62,
                0.6 * (number(setting, "n") - 7),
                0.8 * (number(setting, "m") - 2),
                kinds[str(setting["kind"])],
            ]
        )
        return ackley(x)

    return exact("mixed_ackley", "mixed", space, truth)


def training_loss(setting: Setting) -> float:
    """A made-up validation loss: the best learning rate grows with the batch and falls with the depth, dropout helps
    wide networks, and the activation and the schedule move both the level and the best learning rate."""
    activations = {"relu": (0.10, 0.0), "tanh": (0.32, 0.5), "gelu": (0.0, -0.2), "sigmoid": (0.75, 0.9)}
    schedules = {"constant": (0.22, -0.5), "cosine": (0.0, 0.2), "step": (0.11, 0.0)}
    level, shift = (
        sum(pair)
        for pair in zip(activations[str(setting["activation"])], schedules[str(setting["schedule"])], strict=True)
    )
    rate, batch = math.log10(number(setting, "learning_rate")), math.log2(number(setting, "batch_size"))
    width, depth = math.log2(number(setting, "width")), number(setting, "depth")
    rate_off = rate - (-3.15 + shift + 0.18 * (batch - 6) - 0.17 * (depth - 3))
    too_high = math.log1p(math.exp(4 * (rate_off - 0.6))) / 2
    capacity = 0.5 * (width + 1.4 * depth - 11.7)
    dropout_off = number(setting, "dropout") - min(max(0.11 * (width - 4.7), 0.05), 0.55)
    decay_off = math.log10(number(setting, "weight_decay")) + 3.7 - 0.4 * rate_off
    return (
        0.35
        + level
        + 0.28 * rate_off**2
        + too_high
        + 0.16 * capacity**2
        + 1.1 * dropout_off**2
        + 0.05 * decay_off**2
        + 0.03 * (batch - 5.1) ** 2
        + 0.04 * math.sin(5 * rate_off + depth)
    )


def training_space() -> SearchSpace:
    """The space of `training_loss`."""
    return SearchSpace(
        (
            real("learning_rate", 1e-5, 1e-1, log=True),
            real("weight_decay", 1e-6, 1e-1, log=True),
            integer("batch_size", 8, 512, log=True),
            integer("width", 16, 1024, log=True),
            integer("depth", 1, 8),
            real("dropout", 0.0, 0.7),
            choice("activation", "relu", "tanh", "gelu", "sigmoid"),
            choice("schedule", "constant", "cosine", "step"),
        )
    )


def mixed_training_task() -> Task:
    """`training_loss` over eight parameters."""
    return exact("mixed_training", "mixed", training_space(), training_loss)


BUILDERS = {
    "hartmann6": hartmann6_task,
    "ackley5": ackley5_task,
    "rosenbrock4": rosenbrock4_task,
    "mixed_ackley": mixed_ackley_task,
    "mixed_training": mixed_training_task,
}
