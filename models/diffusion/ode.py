"""Ordinary differential equations dx/dt = f(x, t): solvers with fixed steps, and what a flow does to a density.

Glossary:
    f       field: (x (n, ...), t (n,)) -> like x; rows do not influence one another
    times   t_0, t_1, ..., t_K, rising or falling, at whose K steps a solver stops
    div f   sum over i of df_i / dx_i, the rate at which log-density falls along a path
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from ..likelihoods import sum_per_example

Field = Callable[[Tensor, Tensor], Tensor]
Solver = Literal["euler", "midpoint", "heun", "rk4"]

EVALUATIONS: dict[Solver, int] = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4}  # of f in a step; the order, too


def even_times(start: float, end: float, evaluations: int, solver: Solver) -> list[float]:
    """Times from start to end in as many equal steps as `evaluations` of the field pay for, at least one."""
    steps = max(1, evaluations // EVALUATIONS[solver])
    return [start + (end - start) * i / steps for i in range(steps + 1)]


def solve(field: Field, x: Tensor, times: Sequence[float], solver: Solver) -> Tensor:
    """x (n, ...) carried from the first time to the last.

    References: Hairer, Norsett and Wanner, "Solving Ordinary Differential Equations I", section II.1.
    """
    for start, end in pairwise(times):
        x = _step(field, x, start, end - start, solver)
    return x


def solve_with_divergence(
    field: Field, x: Tensor, times: Sequence[float], solver: Solver, probes: Tensor
) -> tuple[Tensor, Tensor]:
    """x (n, ...) carried from the first time to the last, and for each probe the integral of e . (df/dx) e, (k, n).

    probes: e (k, n, ...), fixed along the path. Where E[e e'] = I, each integral is an unbiased estimate of that of
    div f; with the D unit vectors as probes their sum is exact up to the solver's error.

    References: Chen et al., "Neural ODEs", arXiv:1806.07366, theorem 1; Grathwohl et al., "FFJORD", arXiv:1810.01367,
    equation 7.
    """
    k, n = probes.shape[:2]
    shape = x.shape

    def joint(state: Tensor, t: Tensor) -> Tensor:
        at = state[:, k:].reshape(shape)
        slope, quadratic = _slope_and_quadratic_forms(field, at, t, probes)
        return torch.cat((quadratic.T, slope.flatten(1)), dim=1)

    state = torch.cat((x.new_zeros(n, k), x.flatten(1)), dim=1)
    state = solve(joint, state, times, solver)
    return state[:, k:].reshape(shape), state[:, :k].T


def unit_probes(x: Tensor) -> Tensor:
    """The D unit vectors for each row of x (n, ...): probes (D, n, ...)."""
    d = x[0].numel()
    return torch.eye(d, dtype=x.dtype, device=x.device).reshape(d, 1, *x.shape[1:]).expand(d, *x.shape)


def random_probes(x: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` independent vectors of random signs for each row of x (n, ...): the estimator of least variance.

    References: Hutchinson, "A stochastic estimator of the trace of the influence matrix" (1990), Commun. Stat. Simul.
    Comput. 19(2).
    """
    signs = torch.randint(0, 2, (count, *x.shape), generator=generator, device=x.device)
    return (2 * signs - 1).to(x.dtype)


def _slope_and_quadratic_forms(field: Field, x: Tensor, t: Tensor, probes: Tensor) -> tuple[Tensor, Tensor]:
    """f (n, ...), and e . (df/dx) e (k, n) for probes e (k, n, ...)."""
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        slope = field(x, t)
        forms = []
        for i, probe in enumerate(probes):
            product = torch.autograd.grad(slope, x, probe, retain_graph=i + 1 < len(probes))[0]
            forms.append(sum_per_example(product * probe))
    return slope.detach(), torch.stack(forms)


def _step(field: Field, x: Tensor, start: float, length: float, solver: Solver) -> Tensor:
    def slope(at: Tensor, share: float) -> Tensor:
        return field(at, torch.full((at.shape[0],), start + share * length, dtype=at.dtype, device=at.device))

    first = slope(x, 0.0)
    if solver == "euler":
        return x + length * first
    if solver == "midpoint":
        return x + length * slope(x + 0.5 * length * first, 0.5)
    if solver == "heun":
        return x + 0.5 * length * (first + slope(x + length * first, 1.0))
    second = slope(x + 0.5 * length * first, 0.5)
    third = slope(x + 0.5 * length * second, 0.5)
    fourth = slope(x + length * third, 1.0)
    return x + length / 6.0 * (first + 2.0 * second + 2.0 * third + fourth)
