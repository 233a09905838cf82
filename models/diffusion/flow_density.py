"""What families share whose flow carries data to noise: continuous images, and likelihoods along the flow."""

from __future__ import annotations

import math

from torch import Generator, Tensor

from ..base import Likelihood, LikelihoodKind
from ..data_spec import DataSpec
from ..likelihoods import dequantise, dequantised_log_prob, quantise, standard_normal_log_prob
from . import ode

_EXACT_UP_TO = 4  # dimensions in which the divergence is computed rather than estimated
_PROBES = 2  # of the estimate; two are the fewest that tell its error
_STEPS = 20  # of the Runge-Kutta method of order 4 for vectors; images get half as many midpoint steps


def continuous(x: Tensor, data: DataSpec, generator: Generator) -> Tensor:
    """Vectors as they are; dequantised images, scaled to [-1, 1]."""
    return 2.0 * dequantise(x, data, generator) - 1.0 if data.kind == "image" else x


def as_data(x: Tensor, data: DataSpec) -> Tensor:
    """Vectors as they are; images at the level whose bin they lie in: undoes `continuous`."""
    return quantise((x + 1.0) / 2.0, data) if data.kind == "image" else x


def solver_of(data: DataSpec) -> tuple[ode.Solver, int]:
    """How flows of exact codes and likelihoods are solved, and in how many steps."""
    return ("midpoint", _STEPS // 2) if data.kind == "image" else ("rk4", _STEPS)


def flow_likelihood(
    field: ode.Field, x: Tensor, data: DataSpec, times: list[float], generator: Generator
) -> Likelihood:
    """log p(x) = log N(z) + the integral of div f over the path on which the field carries x to z, in nats.

    x: what `continuous` made of examples. times: from data to noise, rising or falling. In few dimensions the
    divergence is exact, in more it is estimated with random probes, whose standard error is told. Images: of a draw of
    dequantisation noise.

    References: Song et al., arXiv:2011.13456, section 4.3 and equation 39; Lipman et al., arXiv:2210.02747, appendix C.
    """
    exact = data.dimensions <= _EXACT_UP_TO
    probes = ode.unit_probes(x) if exact else ode.random_probes(x, _PROBES, generator)
    z, integrals = ode.solve_with_divergence(field, x, times, solver_of(data)[0], probes)
    change = integrals.sum(0) if exact else integrals.mean(0)
    error = None if exact else integrals.std(0) / _PROBES**0.5
    log_prob = standard_normal_log_prob(z) + change
    if data.kind == "image":  # of x in [-1, 1], twice as wide as u
        log_prob = dequantised_log_prob(log_prob + data.dimensions * math.log(2.0), data)
    return Likelihood(log_prob, LikelihoodKind.ODE_ESTIMATE, standard_error=error)
