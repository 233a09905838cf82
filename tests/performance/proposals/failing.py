"""Synthetic tasks of which 30 to 60% of the space fails, the best setting near or on the border."""

from __future__ import annotations

import math

import numpy as np
from functions import branin, hartmann6, levy
from spaces import box, integer, number, real, vector
from synthetic import exact
from task import FailedTrial, Task

from gentune.search_spaces.space import SearchSpace, Setting

KNOWN: dict[str, float] = {}

_BALL = np.array([0.59, 0.605, 0.5, 0.57, 0.56, 0.45])
_HARTMANN6_AT = np.array([0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573])
_RADIUS = 0.97 * float(np.linalg.norm(_BALL - _HARTMANN6_AT))
_LEVY_SHIFT = np.array([-1.3, 2.1, 0.6, -2.4])


def failing_branin_task() -> Task:
    """A half plane fails, and with it two of the three minima; the third lies close to the border."""

    space = SearchSpace((real("x1", -5.0, 10.0, default=6.0), real("x2", 0.0, 15.0, default=11.0)))

    def truth(setting: Setting) -> float:
        x = vector(setting)
        if x[1] < 11.2 - 0.66 * (x[0] + 5):
            raise FailedTrial("below the line")
        return branin(x)

    return exact("failing_branin", "failing", space, truth)


def failing_hartmann6_task() -> Task:
    """A ball fails; the best setting lies just outside its surface."""

    def truth(setting: Setting) -> float:
        x = vector(setting)
        if np.linalg.norm(x - _BALL) < _RADIUS:
            raise FailedTrial("within the ball")
        return hartmann6(x)

    return exact("failing_hartmann6", "failing", box([(0.0, 1.0)] * 6), truth)


def failing_levy4_task() -> Task:
    """Two half spaces fail, the unconstrained optimum with them: the best setting left lies on the border."""

    def truth(setting: Setting) -> float:
        x = vector(setting)
        if x[0] + 0.8 * x[1] > 1.9 or x[2] - 0.5 * x[3] > 4.6:
            raise FailedTrial("beyond a plane")
        return levy(x - _LEVY_SHIFT)

    return exact("failing_levy4", "failing", box([(-8.0, 9.0)] * 4), truth)


def failing_memory_task() -> Task:
    """A made-up loss that falls with width, depth and batch until they no longer fit into the memory."""
    space = SearchSpace(
        (
            integer("width", 16, 2048, log=True),
            integer("depth", 1, 12),
            integer("batch_size", 8, 512, log=True),
            real("learning_rate", 1e-5, 1e-1, log=True),
        )
    )

    def truth(setting: Setting) -> float:
        width, depth, batch = (number(setting, name) for name in ("width", "depth", "batch_size"))
        if depth * width * (width / 12 + 1.6 * batch) > 2.2e5:
            raise FailedTrial("out of memory")
        rate_off = math.log10(number(setting, "learning_rate")) + 2.7 - 0.35 * math.log10(batch / 64) + 0.06 * depth
        return (
            1.9 * width**-0.24
            + 0.7 * math.exp(-depth / 3.0)
            + 0.05 * max(depth - 7, 0)
            + 2.2 * batch**-0.9
            + 0.45 * rate_off**2
        )

    return exact("failing_memory", "failing", space, truth)


def failing_descent_task() -> Task:
    """Least squares by 80 steps of gradient descent with momentum, really run: the held-out loss is best near the
    largest stable step, explodes beyond it, and the trial fails once it is above 10⁴ times the start."""
    generator = np.random.default_rng(7)
    stretch = np.logspace(0, -1.4, 12)  # of the features: an ill-conditioned problem
    features, held_out = generator.standard_normal((2, 60, 12)) * stretch
    weights = generator.standard_normal(12) / np.sqrt(stretch)
    targets = features @ weights + 0.3 * generator.standard_normal(60)
    wanted = held_out @ weights
    start = float(np.mean(wanted**2))
    space = SearchSpace(
        (
            real("learning_rate", 1e-2, 100.0, log=True),
            real("scale", 0.1, 10.0, log=True),
            real("momentum", 0.0, 0.98),
            real("weight_decay", 1e-5, 1.0, log=True),
        )
    )

    def truth(setting: Setting) -> float:
        rate, scale, momentum, decay = (number(setting, name) for name in space.names)
        x, w, velocity = scale * features, np.zeros(12), np.zeros(12)
        for _ in range(80):
            gradient = x.T @ (x @ w - targets) / len(x) + decay * w
            velocity = momentum * velocity - rate * gradient
            w = w + velocity
            if not np.abs(w).max() < 1e12:
                raise FailedTrial("diverged")
        loss = float(np.mean((scale * held_out @ w - wanted) ** 2))
        if not loss < 1e4 * start:
            raise FailedTrial("diverged")
        return loss

    return exact("failing_descent", "failing", space, truth)


BUILDERS = {
    "failing_branin": failing_branin_task,
    "failing_hartmann6": failing_hartmann6_task,
    "failing_levy4": failing_levy4_task,
    "failing_memory": failing_memory_task,
    "failing_descent": failing_descent_task,
}
