"""Guidance by a classifier on noisy examples, against classes that are Gaussian, whose classifier is known."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gentune.bench.data import DataSet
from gentune.bench.data.examples import Examples
from gentune.bench.training.loop import LoopSettings, train
from gentune.models.base import Batch
from gentune.models.data_spec import ConditionSpec, DataSpec
from gentune.models.diffusion import gaussian_diffusion as diffusion
from gentune.models.diffusion.ddpm import DDPM
from gentune.models.diffusion.dit import DiT
from gentune.models.diffusion.label_guidance import LabelledNetwork
from gentune.models.diffusion.noisy_classifier import NoisyClassifier
from gentune.search_spaces import load_card, shipped_cards
from gentune.testing.continuation import train_kept

CENTRES = torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64)  # of equally frequent classes
DEVIATION = 0.6
PLANE = DataSpec("toy", "vector", (2,), condition=ConditionSpec("label", classes=3))
IMAGES = DataSpec("toy", "image", (1, 8, 8), levels=17, condition=ConditionSpec("label", classes=3))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Classes:
    """What is known of x_t (n, 1) at levels t (n,) when x_0 is Gaussian in each class."""

    def __init__(self, abar: Tensor, timesteps: int) -> None:
        self.abar, self.timesteps = abar, timesteps

    def log_posterior(self, x_t: Tensor, t: Tensor) -> Tensor:
        """log p(y | x_t), (n, classes)."""
        share = self.abar[t].view(-1, 1)
        variance = share * DEVIATION**2 + 1.0 - share
        return (-0.5 * (x_t - share.sqrt() * CENTRES) ** 2 / variance).log_softmax(-1)

    def estimates(self, x_t: Tensor, t: Tensor) -> Tensor:
        """E[x_0 | x_t, y], (n, classes)."""
        share = self.abar[t].view(-1, 1)
        gain = share.sqrt() * DEVIATION**2 / (share * DEVIATION**2 + 1.0 - share)
        return CENTRES + gain * (x_t - share.sqrt() * CENTRES)

    def mixed(self, x_t: Tensor, t: Tensor) -> Tensor:
        """E[x_0 | x_t], (n, 1)."""
        return (self.log_posterior(x_t, t).exp() * self.estimates(x_t, t)).sum(1, keepdim=True)


@pytest.mark.parametrize("t", [1, 20, 60, 100])
def test_the_classifiers_gradient_turns_the_mixed_estimate_into_the_classs(t: int) -> None:
    abar = diffusion.linear_schedule(100)
    known = Classes(abar, 100)
    x = torch.linspace(-3.0, 3.0, 12, dtype=torch.float64)[:, None].requires_grad_(True)
    levels = torch.full((12,), t)
    for label in range(3):
        gradient = torch.autograd.grad(known.log_posterior(x, levels)[:, label].sum(), x)[0]
        guided = known.mixed(x, levels) + diffusion.x0_shift(gradient, abar, levels)
        assert torch.allclose(guided[:, 0], known.estimates(x, levels)[:, label], atol=1e-9)


class KnownNetwork(nn.Module):
    """Estimates of x_0 without a label; asked for one, it fails."""

    def __init__(self, known: Classes) -> None:
        super().__init__()
        self.known = known

    def labels(self, n: int, condition: Tensor | None) -> Tensor:
        return torch.zeros(n, dtype=torch.int64) if condition is None else condition

    def guided(self, x: Tensor, time: Tensor, labels: Tensor, scale: float) -> Tensor:
        assert scale == 0.0
        return self.known.mixed(x.double(), (time * self.known.timesteps).round().long()).to(x.dtype)


class KnownClassifier(NoisyClassifier):
    known: Classes

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return self.known.log_posterior(x.double(), (time * self.known.timesteps).round().long()).to(x.dtype)


@pytest.mark.parametrize(("scale", "mean", "deviation"), [(0.0, 0.5, 1.37), (1.0, 2.0, 0.6)])
def test_scale_0_gives_all_classes_and_1_the_class_that_is_asked_for(
    scale: float, mean: float, deviation: float
) -> None:
    spec = DataSpec("line", "vector", (1,), condition=ConditionSpec("label", classes=3))
    model = DDPM(spec, guidance="classifier", timesteps=200, target="x0", width=8, classifier_width=8)
    known = Classes(model.abar, 200)
    network: Any = KnownNetwork(known)
    model.network, model.classifier = network, KnownClassifier(spec, width=8, family="ddpm")
    model.classifier.known = known
    x = model.sample(
        4_000, condition=torch.full((4_000,), 2), generator=generator(), sampler="heun", steps=99, guidance_scale=scale
    )
    assert x.mean().item() == pytest.approx(mean, abs=0.06)
    assert x.std().item() == pytest.approx(deviation, rel=0.04)


@pytest.mark.parametrize("spec", [PLANE, IMAGES])
def test_gradients_are_those_of_each_row_alone(spec: DataSpec) -> None:
    torch.manual_seed(0)
    classifier = NoisyClassifier(spec, width=8, family="ddpm")
    x, time, labels = torch.randn(3, *spec.shape, generator=generator()), torch.rand(3), torch.tensor([0, 1, 2])
    found = classifier.gradient(x, time, labels)
    step, at = 1e-2, [(i, *where) for i, where in product(range(3), [(0,) * len(spec.shape), (-1,) * len(spec.shape)])]
    for place in at:
        moved = torch.zeros_like(x)
        moved[place] = step
        with torch.no_grad():
            ends = [classifier(x + sign * moved, time).log_softmax(-1)[place[0], labels[place[0]]] for sign in (1, -1)]
        assert found[place].item() == pytest.approx(float(ends[0] - ends[1]) / (2 * step), abs=2e-3)


def test_the_diffusion_is_trained_once_for_all_classifiers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = load_card(next(path for path in shipped_cards() if path.stem == "ddpm"))
    x = torch.randn(48, 2, generator=generator())
    data = DataSet(PLANE, {"train": Examples.of(Batch(x, torch.arange(48) % 3), PLANE)})
    settings = {"guidance": "classifier", "width": 8, "timesteps": 20}
    first = train_kept(card, DDPM, settings | {"classifier_width": 8}, data, tmp_path, steps=8)

    def untrained(self: DDPM, batch: Batch, generator: torch.Generator) -> None:
        raise AssertionError("the diffusion is trained again")

    monkeypatch.setattr(DDPM, "loss", untrained)
    other = {"classifier_width": 12, "classifier_learning_rate": 1e-3}
    second = train_kept(card, DDPM, settings | other, data, tmp_path, steps=8)
    training = [stage.name for stage in second.model.stages()].index("training")
    assert second.stages[training] == first.stages[training]
    assert second.stages[training + 1] != first.stages[training + 1]


def test_the_network_never_sees_a_label() -> None:
    torch.manual_seed(0)
    model = DDPM(PLANE, guidance="classifier", width=8, timesteps=20)
    seen: list[Tensor] = []
    assert isinstance(model.network, LabelledNetwork)
    model.network.label_embedding.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    batch = Batch(torch.randn(12, 2, generator=generator()), torch.arange(12) % 3)
    model.loss(batch, generator())
    model.log_likelihood(batch)
    model.sample(12, condition=batch.condition, generator=generator(), steps=5, guidance_scale=2.0)
    assert len(seen) > 5 and set(torch.cat(seen).tolist()) == {3}


@pytest.mark.parametrize("family", [DDPM, DiT])
def test_images_are_guided_too(family: type[DDPM] | type[DiT]) -> None:
    torch.manual_seed(0)
    model = family(IMAGES, guidance="classifier", width=8, timesteps=20)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    x = IMAGES.from_levels(torch.randint(0, 17, (6, 1, 8, 8), generator=generator()))
    assert model.classifier is not None
    model.classifier_loss(Batch(x, torch.arange(6) % 3), generator()).total.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.classifier.parameters())
    labels = torch.tensor([0, 1, 2])

    def drawn(scale: float) -> Tensor:
        return model.sample(3, condition=labels, generator=generator(), steps=4, guidance_scale=scale)

    assert torch.equal(drawn(2.0), IMAGES.to_lattice(drawn(2.0)))
    assert not torch.equal(drawn(8.0), drawn(0.0))
    unconditional = model.sample(3, generator=generator(), steps=4, guidance_scale=2.0)
    assert torch.equal(drawn(0.0), unconditional)


def test_without_labels_there_is_no_classifier() -> None:
    model = DDPM(DataSpec("toy", "vector", (2,)), guidance="classifier", width=8)
    assert model.classifier is None
    assert [stage.name for stage in model.stages()] == ["range", "training"]


@pytest.mark.slow
def test_a_trained_classifier_leads_samples_to_their_class() -> None:
    n = 3_000
    labels = torch.randint(0, 3, (n,), generator=generator())
    angle = 2.0944 * labels
    x = torch.stack((angle.cos(), angle.sin()), dim=1) + 0.15 * torch.randn(n, 2, generator=generator(1))
    torch.manual_seed(0)
    model = DDPM(PLANE, guidance="classifier", width=16, timesteps=100)
    train(model, Batch(x, labels), LoopSettings(batch_size=128), steps=500, seed=0)
    centres = torch.stack([x[labels == k].mean(0) for k in range(3)])
    asked = torch.arange(300) % 3
    rates = []
    for scale in (0.0, 1.0, 2.0):
        drawn = model.sample(300, condition=asked, generator=generator(), guidance_scale=scale)
        rates.append((torch.cdist(drawn, centres).argmin(1) == asked).float().mean().item())
    assert rates[0] < 0.5 and rates[1] > 0.85 and rates[2] > 0.95
