"""What a trial at a setting is worth, and the settings where it is worth most."""

from __future__ import annotations

import numpy as np
import scipy.optimize
import torch
from botorch.acquisition import LogExpectedImprovement
from torch import Tensor

from .candidates import Admission
from .encoding import Encoding, Floats
from .feasibility import Feasibility
from .surrogate import Surrogate


class Acquisition:
    """log EI(x) + log P(success | x), with EI over the incumbent's posterior mean (lower is better).

    Log expected improvement: S. Ament et al. (2023), arXiv 2310.20708.
    """

    def __init__(self, surrogate: Surrogate, incumbent: float, feasibility: Feasibility | None) -> None:
        self._improvement = LogExpectedImprovement(
            surrogate, best_f=torch.tensor(incumbent, dtype=torch.float64), maximize=False
        )
        self._feasibility = feasibility

    def __call__(self, x: Tensor) -> Tensor:
        """The acquisition (b,) at columns x (b, 1, c)."""
        value = self._improvement(x)
        return value if self._feasibility is None else value + self._feasibility.log_probability(x)

    def evaluate(self, columns: Floats) -> Floats:
        """The acquisition (n,) at columns (n, c)."""
        with torch.no_grad():
            return self(torch.from_numpy(columns)[:, None, :]).numpy()


def maximise(
    acquisition: Acquisition, encoding: Encoding, points: Floats, admission: Admission, *, starts: int = 6
) -> Floats:
    """The best position (1, p) found from admissible points (n, p): the best few of them are refined by gradients
    on their continuous part with the discrete part fixed, and snapped to valid settings."""
    order = np.argsort(-acquisition.evaluate(encoding.columns(points)), kind="stable")
    first = points[order[:starts]]
    refined = admission.filter(_refine(acquisition, encoding, first))
    final = np.concatenate([first, refined])
    values = acquisition.evaluate(encoding.columns(final))
    return final[[int(np.argmax(values))]]


def _refine(acquisition: Acquisition, encoding: Encoding, points: Floats) -> Floats:
    """Local maxima (n, p) uphill of positions (n, p), all climbed in one batch by L-BFGS."""
    columns = encoding.columns(points)
    free = encoding.smooth & ~np.isnan(points)[:, encoding.groups]  # (n, c)
    if not free.any():
        return points

    def loss(moved: Floats) -> tuple[float, Floats]:
        with torch.enable_grad():
            at = torch.from_numpy(moved).requires_grad_(True)
            X = torch.from_numpy(columns).clone()
            X[torch.from_numpy(free)] = at
            total = -acquisition(X.unsqueeze(1)).sum()
            (gradient,) = torch.autograd.grad(total, at)
        return total.item(), gradient.numpy()

    found = scipy.optimize.minimize(
        loss,
        columns[free],
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, 1.0)] * int(free.sum()),
        options={"maxiter": 40},
    )
    columns[free] = found.x
    return encoding.from_columns(columns, points)
