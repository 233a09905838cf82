"""A noisy autoregressive time series on few levels, whose law is a finite Markov chain; docs/data.md states it.

Glossary:
    x_t  level at time t, 0 ... V - 1;  V  levels;  T  length
    mean_t = c + a_1 (x_(t-1) - c) + a_2 (x_(t-2) - c), c = (V - 1) / 2: a damped oscillation around the middle
    P    (V, V, V): probability of x_t given x_(t-2), x_(t-1), a normal around mean_t rounded to levels
    pi   (V, V): stationary law of two levels in a row
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.special import log_ndtr
from torch import Tensor

from ....models.data_spec import DataSpec
from ..base import DataSet, Split
from ..examples import Examples

PERIOD, DAMPING, DEVIATION = 10.0, 0.95, 0.9  # of the oscillation, in steps and for each; of the noise, in levels
SIZES: dict[Split, int] = {"train": 5_000, "validation": 2_000, "test": 5_000}
_SEED = 33_871


def load(spec: DataSpec) -> DataSet:
    """Independent stretches of the stationary series, drawn by a fixed seed."""
    assert spec.vocabulary is not None
    log_p = log_transitions(spec.vocabulary)
    log_pi = np.log(stationary(log_p))
    random = np.random.default_rng(_SEED)
    splits: dict[Split, Examples] = {
        name: Examples.of_arrays(spec, _draw(count, spec.shape[0], log_p, log_pi, random).astype(np.uint8))
        for name, count in SIZES.items()
    }

    def log_probability(x: Tensor) -> Tensor:
        k = x.detach().cpu().numpy()
        return torch.from_numpy(log_pi[k[:, 0], k[:, 1]] + log_p[k[:, :-2], k[:, 1:-1], k[:, 2:]].sum(1))

    return DataSet(spec, splits, log_density=log_probability)


def log_transitions(levels: int) -> np.ndarray:
    """log P (V, V, V), by [x_(t-2), x_(t-1), x_t]. The first and the last level take the tails."""
    a_1 = 2 * DAMPING * math.cos(2 * math.pi / PERIOD)
    a_2 = -(DAMPING**2)
    away = np.arange(levels) - (levels - 1) / 2
    mean = (levels - 1) / 2 + a_1 * away[None, :] + a_2 * away[:, None]  # (V, V)
    edges = (np.arange(levels + 1) - 0.5 - mean[..., None]) / DEVIATION
    edges[..., 0], edges[..., -1] = -np.inf, np.inf
    lower, upper = edges[..., :-1], edges[..., 1:]
    # Both edges on the side below the mean, where the normal's distribution function loses no digits.
    lower, upper = np.where(lower > 0, -upper, lower), np.where(lower > 0, -lower, upper)
    log_p: np.ndarray = log_ndtr(upper) + np.log1p(-np.exp(log_ndtr(lower) - log_ndtr(upper)))
    return log_p


def stationary(log_p: np.ndarray) -> np.ndarray:
    """pi (V, V), by [x_(t-1), x_t]: pi[b, c] = sum_a pi[a, b] P[a, b, c]. Iterated to machine precision."""
    p = np.exp(log_p)
    pi = np.full(p.shape[:2], 1.0 / p.shape[0] ** 2)
    for _ in range(10_000):
        after = np.einsum("ab,abc->bc", pi, p)
        after /= after.sum()
        if np.abs(after - pi).max() < 1e-15:
            return after
        pi = after
    raise RuntimeError("the chain has not come to its stationary law")


def entropy(levels: int, length: int) -> float:
    """Nats of `length` levels in a row: H(pi) + (length - 2) sum_ab pi[a, b] H(P[a, b])."""
    log_p = log_transitions(levels)
    pi = stationary(log_p)
    of_two = -(pi * np.log(pi)).sum()
    rate = -(pi[..., None] * np.exp(log_p) * log_p).sum()
    return float(of_two + (length - 2) * rate)


def _draw(n: int, length: int, log_p: np.ndarray, log_pi: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """n sequences (n, length)."""
    levels = len(log_p)
    x = np.empty((n, length), dtype=np.int64)
    first = random.choice(levels**2, size=n, p=np.exp(log_pi).ravel())
    x[:, 0], x[:, 1] = first // levels, first % levels
    below = np.exp(log_p).cumsum(-1)[..., :-1]
    for t in range(2, length):
        x[:, t] = (random.random((n, 1)) > below[x[:, t - 2], x[:, t - 1]]).sum(1)
    return x
