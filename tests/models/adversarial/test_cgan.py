"""CGAN: what the label does in either network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gentune.bench.training.loop import LoopSettings, train
from gentune.models import Batch, ConditionSpec, DataSpec
from gentune.models.adversarial.cgan import CGAN

POINTS = DataSpec("points", "vector", (2,), condition=ConditionSpec("label", classes=3))
PLAIN = DataSpec("plain", "vector", (2,))


def _model(spec: DataSpec = POINTS, **settings: float) -> CGAN:
    torch.manual_seed(0)
    return CGAN(spec, **{"width": 8, "latent_dim": 8, **settings})  # type: ignore[arg-type]


def _random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_samples_change_with_the_label() -> None:
    model = _model()
    draws = [model.sample(5, condition=torch.full((5,), y), generator=_random()) for y in range(3)]
    assert not torch.allclose(draws[0], draws[1])
    assert not torch.allclose(draws[1], draws[2])


def test_scores_change_with_the_label_along_a_direction_of_features() -> None:
    model = _model().eval()
    x = torch.randn(5, 2, generator=_random())
    scores = torch.stack([model._score(x, torch.full((5,), y)) for y in range(3)])
    rows = model.discriminator(x)
    assert torch.allclose(scores, rows[:, :1].T + rows[:, 1:].T)
    assert not torch.allclose(scores[0], scores[1])


@pytest.mark.slow
def test_a_trained_model_makes_what_it_is_told() -> None:
    centres = torch.tensor([[-1.5, 0.0], [0.0, 1.5], [1.5, 0.0]])
    labels = torch.arange(600) % 3
    x = centres[labels] + 0.2 * torch.randn(600, 2, generator=_random())
    model = _model(width=16, learning_rate_generator=5e-3)
    train(model, Batch(x, labels), LoopSettings(batch_size=64), steps=300, seed=0)
    asked = torch.arange(300) % 3
    made = model.sample(300, condition=asked, generator=_random())
    right = torch.cdist(made, centres).argmin(1) == asked
    assert right.float().mean() > 0.9


def test_classes_without_a_label_are_as_frequent_as_in_the_data() -> None:
    model = _model()
    labels = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    fit = model.stages()[0].fit
    assert fit is not None
    fit(Batch(torch.zeros(100, 2), labels), _random())
    assert model.frequencies.tolist() == pytest.approx([0.6, 0.3, 0.1])
    seen: list[Tensor] = []
    inner = model.generator.forward
    model.generator.forward = lambda z: (seen.append(z[:, 8:].argmax(1)), inner(z))[1]  # type: ignore[func-returns-value]
    model.sample(4000, generator=_random())
    assert (seen[0].bincount(minlength=3) / 4000).tolist() == pytest.approx([0.6, 0.3, 0.1], abs=0.03)


def test_without_labels_it_is_a_gan() -> None:
    model = _model(PLAIN)
    assert len(model.stages()) == 1
    assert model.discriminator(torch.zeros(4, 2)).shape == (4, 1)
    assert model.sample(4, generator=_random()).shape == (4, 2)


def test_labels_of_another_count_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one label an example, shape \(5,\), got \(4,\)"):
        _model().sample(5, condition=torch.zeros(4, dtype=torch.int64), generator=_random())
