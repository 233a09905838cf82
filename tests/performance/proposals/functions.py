"""Test functions of numeric vectors, each to be minimised.

Sources: Surjanovic and Bingham, Virtual Library of Simulation Experiments (2013); Dixon and Szegő (1978).
"""

from __future__ import annotations

import math

import numpy as np

Vector = np.ndarray

HARTMANN6_BEST = -3.32236801
BRANIN_BEST = 0.39788736

_WEIGHTS = np.array([1.0, 1.2, 3.0, 3.2])
_A6 = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
_P6 = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)
_A3 = np.array([[3, 10, 30], [0.1, 10, 35], [3, 10, 30], [0.1, 10, 35]])
_P3 = 1e-4 * np.array([[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]])


def hartmann6(x: Vector) -> float:
    """Six bounded dimensions in [0, 1], six local minima, least −3.32237."""
    return float(-_WEIGHTS @ np.exp(-(_A6 * (x - _P6) ** 2).sum(axis=1)))


def hartmann3(x: Vector) -> float:
    """Three dimensions in [0, 1], least −3.86278."""
    return float(-_WEIGHTS @ np.exp(-(_A3 * (x - _P3) ** 2).sum(axis=1)))


def branin(x: Vector) -> float:
    """x1 in [−5, 10], x2 in [0, 15]; three equal minima of 0.39789."""
    bend = x[1] - 5.1 / (4 * math.pi**2) * x[0] ** 2 + 5 / math.pi * x[0] - 6
    return float(bend**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x[0]) + 10)


def ackley(x: Vector) -> float:
    """Least 0 at the origin, ripples of about one unit on a funnel."""
    return float(
        -20 * math.exp(-0.2 * math.sqrt(float(np.mean(x**2))))
        - math.exp(float(np.mean(np.cos(2 * math.pi * x))))
        + 20
        + math.e
    )


def levy(x: Vector) -> float:
    """Least 0 where every x is 1."""
    w = 1 + (x - 1) / 4
    middle = (w[:-1] - 1) ** 2 * (1 + 10 * np.sin(math.pi * w[:-1] + 1) ** 2)
    last = (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2)
    return float(math.sin(math.pi * w[0]) ** 2 + middle.sum() + last)


def rosenbrock(x: Vector) -> float:
    """A curved valley, least 0 where every x is 1."""
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())
