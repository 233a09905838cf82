"""LSGAN: the divergence that it descends."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gentune.models import DataSpec
from gentune.models.adversarial.lsgan import LSGAN

PLANE = DataSpec("plane", "vector", (2,))
P = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)  # data and samples on three points
Q = torch.tensor([0.2, 0.2, 0.6], dtype=torch.float64)


def _model(targets: str) -> LSGAN:
    return LSGAN(PLANE, targets=targets, width=8, latent_dim=8)  # type: ignore[arg-type]


def _spread(p: Tensor, scores: Tensor) -> Tensor:
    """Scores of 1,000 examples that fall on the points as often as p says."""
    return scores.repeat_interleave((1000 * p).round().long())


@pytest.mark.parametrize(
    ("targets", "best"), [("pearson", (P - Q) / (P + Q)), ("binary", P / (P + Q))], ids=["pearson", "binary"]
)
def test_the_best_discriminator(targets: str, best: Tensor) -> None:
    """(b p + a q) / (p + q), equation 5."""
    scores = best.clone().requires_grad_()
    loss = _model(targets).discriminator_objective(_spread(P, scores), _spread(Q, scores))
    (gradient,) = torch.autograd.grad(loss, scores)
    assert gradient.abs().max() < 1e-12


def test_the_generator_descends_pearsons_divergence() -> None:
    """With c(p) the generator's objective over both data and samples, 2 C = chi^2(p + q || 2q), equation 7."""
    model, best = _model("pearson"), (P - Q) / (P + Q)
    both = model.generator_objective(_spread(P, best)) + model.generator_objective(_spread(Q, best))
    chi_square = ((2 * Q - (P + Q)).square() / (P + Q)).sum()
    assert 2 * both.item() == pytest.approx(chi_square.item())


def test_samples_far_on_the_right_side_are_pulled_back() -> None:
    fake = torch.tensor([5.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(_model("binary").generator_objective(fake), fake)
    assert gradient.item() == pytest.approx(4.0)


def test_unknown_targets_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown targets 'x'; wanted binary or pearson"):
        _model("x")
