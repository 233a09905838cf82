"""Solvers of ordinary differential equations, and the change of a density along them, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gentune.models.diffusion import ode

MATRIX = torch.tensor([[-0.3, 1.0, 0.2], [-0.8, 0.1, 0.0], [0.4, -0.5, 0.6]], dtype=torch.float64)


def linear(x: Tensor, t: Tensor) -> Tensor:
    """dx/dt = (1 + t) M x, solved by expm(3/2 M) from t = 0 to 1."""
    return (1.0 + t)[:, None] * (x @ MATRIX.T)


def start(n: int = 4) -> Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2), ("rk4", 4)])
def test_errors_fall_with_the_order_of_the_solver(solver: ode.Solver, order: int) -> None:
    x = start()
    wanted = x @ torch.matrix_exp(1.5 * MATRIX).T
    errors = []
    for steps in (20, 40):
        times = ode.even_times(0.0, 1.0, steps * ode.EVALUATIONS[solver], solver)
        assert len(times) == steps + 1
        errors.append(float((ode.solve(linear, x, times, solver) - wanted).abs().max()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)


def test_an_evaluation_budget_is_kept() -> None:
    for solver, each in ode.EVALUATIONS.items():
        calls = 0

        def field(x: Tensor, t: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            return x

        ode.solve(field, start(), ode.even_times(0.0, 1.0, 10, solver), solver)
        assert 10 - each < calls <= 10
    assert ode.even_times(0.0, 1.0, 1, "rk4") == [0.0, 1.0]


def test_there_and_back() -> None:
    x = start()
    times = ode.even_times(0.0, 1.0, 400, "rk4")
    there = ode.solve(linear, x, times, "rk4")
    assert torch.allclose(ode.solve(linear, there, times[::-1], "rk4"), x, rtol=1e-8)


def test_the_divergence_of_a_linear_field_is_its_trace() -> None:
    x = start()
    times = ode.even_times(0.0, 1.0, 8, "rk4")
    end, integrals = ode.solve_with_divergence(linear, x, times, "rk4", ode.unit_probes(x))
    assert integrals.shape == (3, 4)
    assert torch.allclose(integrals.sum(0), (1.5 * MATRIX.trace()).expand(4))
    assert torch.equal(end, ode.solve(linear, x, times, "rk4"))


def test_random_probes_estimate_the_divergence_of_images_without_bias() -> None:
    """A field whose Jacobian has large parts off the diagonal, which single probes see."""
    mixing = torch.randn(8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def field(x: Tensor, t: Tensor) -> Tensor:
        return torch.sin(x.flatten(1) @ mixing.T).reshape(x.shape)

    x = torch.randn(3, 2, 2, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    times = [1.0, 0.99]
    exact = ode.solve_with_divergence(field, x, times, "euler", ode.unit_probes(x))[1].sum(0)
    probes = ode.random_probes(x, 4_000, torch.Generator().manual_seed(3))
    assert set(probes.unique().tolist()) == {-1.0, 1.0}
    estimates = ode.solve_with_divergence(field, x, times, "euler", probes)[1]
    error = estimates.std(0) / 4_000**0.5
    assert ((estimates.mean(0) - exact).abs() < 4 * error).all()
    assert (error > 0).all()


def test_solvers_keep_no_graph() -> None:
    x = start()
    end, integrals = ode.solve_with_divergence(linear, x, [0.0, 1.0], "heun", ode.unit_probes(x))
    assert not end.requires_grad
    assert not integrals.requires_grad
