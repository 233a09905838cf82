"""GAN: its losses at the best discriminator, and what saturates."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gentune.models import DataSpec
from gentune.models.adversarial.gan import GAN

PLANE = DataSpec("plane", "vector", (2,))
P = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)  # data and samples on three points
Q = torch.tensor([0.2, 0.2, 0.6], dtype=torch.float64)


def _model(**settings: str) -> GAN:
    return GAN(PLANE, width=8, latent_dim=8, **settings)  # type: ignore[arg-type]


def _spread(p: Tensor, scores: Tensor) -> Tensor:
    """Scores of 1,000 examples that fall on the points as often as p says."""
    return scores.repeat_interleave((1000 * p).round().long())


def _js(p: Tensor, q: Tensor) -> float:
    m = (p + q) / 2
    return float(0.5 * (p * (p / m).log()).sum() + 0.5 * (q * (q / m).log()).sum())


def test_the_best_discriminator_tells_the_jensen_shannon_divergence() -> None:
    best = (P / Q).log()  # sigma(D) = p / (p + q)
    loss = _model().discriminator_objective(_spread(P, best), _spread(Q, best))
    assert loss.item() == pytest.approx(2 * math.log(2) - 2 * _js(P, Q))


def test_no_other_discriminator_does_better() -> None:
    scores = (P / Q).log().requires_grad_()
    (gradient,) = torch.autograd.grad(_model().discriminator_objective(_spread(P, scores), _spread(Q, scores)), scores)
    assert gradient.abs().max() < 1e-12
    for move in torch.eye(3, dtype=torch.float64):
        for size in (-0.5, 0.5):
            moved = scores.detach() + size * move
            assert _model().discriminator_objective(
                _spread(P, moved), _spread(Q, moved)
            ) > _model().discriminator_objective(_spread(P, scores), _spread(Q, scores))


def _gradient(loss: str, score: float) -> float:
    fake = torch.tensor([score], requires_grad=True)
    return torch.autograd.grad(_model(loss=loss).generator_objective(fake), fake)[0].item()


@pytest.mark.parametrize("score", [-8.0, -1.0, 0.0, 2.0])
def test_gradients_of_both_losses(score: float) -> None:
    sure = 1 / (1 + math.exp(-score))
    assert _gradient("minimax", score) == pytest.approx(-sure, rel=1e-4)
    assert _gradient("non_saturating", score) == pytest.approx(sure - 1, rel=1e-4)


def test_minimax_saturates_where_the_discriminator_is_sure() -> None:
    assert abs(_gradient("minimax", -8.0)) < 1e-3
    assert _gradient("non_saturating", -8.0) == pytest.approx(-1.0, abs=1e-3)


def test_an_unknown_loss_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown loss 'hinge'"):
        _model(loss="hinge")
