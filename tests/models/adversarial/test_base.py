"""What the adversarial families share: normalised discriminators, penalties, and the collapse of a whole trial."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gentune.bench import registry
from gentune.bench.data import DataRef
from gentune.bench.runs.records import Record
from gentune.bench.runs.run_folder import RecordFolder
from gentune.bench.trial.execution import run_trial
from gentune.bench.trial.jobs import TrialJob
from gentune.models import Batch, DataSpec
from gentune.models.adversarial.base import Norm, gradient_penalty, normalise, squared_gradients
from gentune.models.adversarial.gan import GAN
from gentune.models.nets.layers import ConvEncoder, Perceptron
from gentune.search_spaces import FamilyCard

PLANE = DataSpec("plane", "vector", (2,))
IMAGE = DataSpec("image", "image", (1, 8, 8), levels=17)


def _random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _images(n: int = 6) -> Tensor:
    return torch.rand(n, 1, 8, 8, generator=_random()) * 2 - 1


def _convolutional(norm: Norm, depth: int = 2) -> ConvEncoder:
    torch.manual_seed(0)
    network = ConvEncoder((1, 8, 8), 1, width=4, depth=depth, activation=partial(nn.LeakyReLU, 0.2))
    normalise(network, norm)
    return network


class Linear(nn.Module):
    """x -> a.x, whose gradient is a everywhere."""

    def __init__(self, *slope: float) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))

    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.slope)[:, None]


def test_spectral_normalisation_gives_every_matrix_norm_one() -> None:
    network = _convolutional("spectral").train()
    for _ in range(100):  # a step of power iteration each
        network(_images())
    layers = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert len(layers) == 7
    for layer in layers:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1.0, abs=0.02)


def test_the_vectors_of_the_power_iteration_are_a_part_of_the_state() -> None:
    network = _convolutional("spectral")
    before = {name: t.clone() for name, t in network.state_dict().items()}
    network.train()(_images())
    moved = {name for name, t in network.state_dict().items() if not torch.equal(t, before[name])}
    assert moved
    assert all(name.endswith(("._u", "._v")) for name in moved)
    network.load_state_dict(before)
    again = _convolutional("spectral")
    again.load_state_dict(before)
    assert torch.equal(network.train()(_images()), again.train()(_images()))
    assert torch.equal(network.eval()(_images()), network(_images())), "no iteration in evaluation"


def test_layers_between_the_first_and_the_last_are_normalised() -> None:
    for norm, kind in (("batch", nn.BatchNorm2d), ("layer", nn.GroupNorm)):
        network = _convolutional(norm)  # type: ignore[arg-type]
        assert sum(isinstance(m, kind) for m in network.modules()) == 3  # the second strided one, a first in each block
        assert isinstance(network.body[0], nn.Conv2d)
        assert isinstance(network.body[-1], nn.Linear)
    vectors = Perceptron(2, 1, hidden=8, layers=3)
    normalise(vectors, "layer")
    assert sum(isinstance(m, nn.LayerNorm) for m in vectors.modules()) == 2


@pytest.mark.parametrize("norm", ["none", "layer", "spectral"])
def test_only_batch_normalisation_mixes_examples(norm: Norm) -> None:
    x = _images()
    network = _convolutional(norm).eval()
    assert torch.allclose(network(x), torch.cat([network(row[None]) for row in x]), atol=1e-5)
    mixing = _convolutional("batch").train()
    assert not torch.allclose(mixing(x)[:2], mixing(x[:2]), atol=1e-3)


def test_an_unknown_norm_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown discriminator_norm 'group'"):
        normalise(_convolutional("none"), "group")  # type: ignore[arg-type]


def test_squared_gradients_of_a_linear_and_a_quadratic_critic() -> None:
    x = torch.randn(7, 2, generator=_random())
    assert squared_gradients(Linear(3.0, 4.0), x).tolist() == pytest.approx([25.0] * 7)

    class Quadratic(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.square().sum(1, keepdim=True)

    assert torch.allclose(squared_gradients(Quadratic(), x), 4 * x.square().sum(1))


def test_the_gradient_penalty_of_a_linear_critic() -> None:
    x = torch.randn(7, 2, generator=_random())
    assert gradient_penalty(Linear(3.0, 4.0), x, -x, _random(1)).item() == pytest.approx(16.0, rel=1e-5)


def test_each_phase_trains_one_network() -> None:
    model = GAN(IMAGE, width=8, latent_dim=8, discriminator_steps=3)
    (stage,) = model.stages()
    discriminator, generator = stage.phases
    assert (discriminator.name, discriminator.steps) == ("discriminator", 3)
    assert (generator.name, generator.steps) == ("generator", 1)
    model.discriminator_loss(Batch(_images()), _random()).total.backward()
    assert all(p.grad is None for p in model.generator.parameters())
    assert {id(p) for p in generator.parameters} == {id(p) for p in model.generator.parameters()}


# --- collapse, in a whole trial ---------------------------------------------------------------------------------


def _record(family: str, folder: Path, data: str = "digits", fidelity: float = 0.25, seed: int = 0) -> Record:
    registry.load_plugin(Path(__file__).parents[2] / "plugins" / "collapsing.py")
    job = TrialJob(
        role="trial",
        family=registry.family(family).resolved(),
        number=0,
        seed=seed,
        split="validation",
        data=DataRef(data),
        params={},
        objective=("mmd",),
        fidelity=fidelity,
        cache=os.environ["GENTUNE_CACHE"],
    )
    return run_trial(job, RecordFolder(folder))


@pytest.mark.parametrize(
    ("family", "data", "said"),
    [
        pytest.param("still", "digits", "main directions", marks=pytest.mark.slow),
        pytest.param("deaf", "digits", "times as far apart", marks=pytest.mark.slow),
        ("deaf", "eight_gaussians", "times as far apart"),
        pytest.param("deafened", "digits", "samples of one class", marks=pytest.mark.slow),
    ],
)
def test_what_collapses_by_construction_fails_as_collapsed(
    family: str, data: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FamilyCard, "full_steps", lambda *_: 20)
    early = _record(family, tmp_path / "run", data, 0.5)
    assert early.state == "complete", "what has not been trained in full has its score"
    record = _record(family, tmp_path / "run", data, 1.0)
    assert record.state == "failed"
    assert record.reason is not None
    assert record.reason.startswith("collapsed: ")
    assert said in record.reason


@pytest.mark.slow
@pytest.mark.parametrize("family", ["gan", "lsgan", "wgan", "wgan_gp", "dcgan", "cgan", "stylegan", "progressive_gan"])
def test_half_of_the_default_steps_is_no_collapse(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = FamilyCard.full_steps
    monkeypatch.setattr(FamilyCard, "full_steps", lambda card, *of: whole(card, *of) // 2)
    record = _record(family, tmp_path / "0", fidelity=1.0)
    if family == "wgan" and record.state != "complete":  # one seed in six collapses, another on each processor
        again = [_record(family, tmp_path / str(seed), fidelity=1.0, seed=seed) for seed in (1, 2)]
        assert [r.state for r in again] == ["complete"] * 2, [record.reason, *(r.reason for r in again)]
    else:
        assert record.state == "complete", record.reason


@pytest.mark.slow
def test_modes_are_counted(tmp_path: Path) -> None:
    """Of one family: the others would only measure it again; `test_wgan_gp` trains one until it has all modes."""
    record = _record("gan", tmp_path / "run", "eight_gaussians", 0.6)
    assert record.state == "complete"
    assert (record.metrics["modes_covered"]["value"] or 0.0) in range(1, 9)
