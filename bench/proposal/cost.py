"""Predicts the cost of settings from those whose cost has been counted."""

from __future__ import annotations

import numpy as np

from .encoding import Encoding, Floats
from .records import Costs


class CostModel:
    """Regression of log cost on the columns: a linear trend and a smooth remainder.

    A Gaussian process with fixed hyperparameters, in closed form: operations grow as powers of widths and depths, so
    a line in log cost carries beyond the settings seen, which a stationary kernel alone would not. A setting that has
    been counted costs what was counted.
    """

    def __init__(self, encoding: Encoding, costs: Costs) -> None:
        self._encoding, self._remaining, self._budget = encoding, costs.remaining, costs.budget
        counted = [(setting, cost) for setting, cost in costs.counted if np.isfinite(cost)]
        self._counted = np.array([cost for _, cost in counted], dtype=float)  # (n,)
        self._positions = encoding.positions([setting for setting, _ in counted])  # (n, p)
        self._columns = encoding.columns(self._positions)
        self._known = dict(zip(encoding.keys(self._positions), self._counted.tolist(), strict=True))
        # Free settings have no logarithm: a billionth of the highest cost stands for zero.
        floor = 1e-9 * self._counted.max(initial=0.0)
        logs = np.log(np.maximum(self._counted, max(floor, 1e-300)))
        self._mean = float(logs.mean()) if len(logs) else 0.0
        K = self._kernel(self._columns, self._columns) + 1e-3 * np.eye(len(logs))
        self._alpha = np.linalg.solve(K, logs - self._mean)

    def predict(self, positions: Floats) -> Floats:
        """The cost (n,) at positions (n, p); zero everywhere while nothing has been counted."""
        if not self._known:
            return np.zeros(len(positions))
        logs = self._mean + self._kernel(self._encoding.columns(positions), self._columns) @ self._alpha
        predicted = np.exp(np.clip(logs, -700.0, 700.0))
        return np.array(
            [
                self._known.get(key, cost)
                for key, cost in zip(self._encoding.keys(positions), predicted.tolist(), strict=True)
            ]
        )

    def affordable(self, positions: Floats) -> np.ndarray:
        """Which of the positions (n, p) are predicted to cost no more than what remains."""
        if np.isinf(self._remaining):
            return np.ones(len(positions), dtype=bool)
        return self.predict(positions) <= self._remaining

    def cheapest(self, n: int) -> Floats:
        """Positions (≤ n, p) of the cheapest settings counted, where a small remainder is best spent."""
        return self._positions[np.argsort(self._counted, kind="stable")[:n]]

    def cheapness(self, spent: float) -> Cheapness | None:
        """The term by which an expensive setting is worth less, `spent` being what finished trials took; None
        where costs are not known or not limited."""
        left = 1.0 - spent / self._budget
        return (
            Cheapness(self._columns, self._alpha, left)
            if self._known and np.isfinite(self._budget) and left > 0
            else None
        )

    @staticmethod
    def _kernel(a: Floats, b: Floats) -> Floats:
        squared = np.square(a[:, None, :] - b[None, :, :]).sum(-1)
        return 4.0 * (a - 0.5) @ (b - 0.5).T + 0.25 * np.exp(-squared / 0.5)


class Cheapness:
    """−α log cost(x) at columns, a term of the acquisition function; α falls from 1 to 0 as the budget is spent.

    Early on, gain per cost decides; at the end nothing is left to save for. EI-cool: E. H. Lee et al. (2020),
    arXiv 2003.10870, section 3.2.
    """

    def __init__(self, counted: Floats, weights: Floats, power: float) -> None:
        self._counted, self._weights, self._power = counted, weights, power

    def evaluate(self, columns: Floats) -> Floats:
        """The term (b,) at columns (b, c), up to a constant."""
        return -self._power * (CostModel._kernel(columns, self._counted) @ self._weights)

    def slope(self, columns: Floats) -> tuple[Floats, Floats]:
        """The term (b,) at columns (b, c), up to a constant, and its gradient (b, c)."""
        apart = columns[:, None, :] - self._counted[None, :, :]
        near = np.exp(-np.square(apart).sum(-1) / 0.5) * self._weights  # (b, n)
        trend = 4.0 * self._weights @ (self._counted - 0.5)  # (c,)
        gradient = trend - np.einsum("bn,bnc->bc", near, apart)
        return self.evaluate(columns), -self._power * gradient
