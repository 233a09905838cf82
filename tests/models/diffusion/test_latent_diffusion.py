"""Latent diffusion: its codes' scale, what the bound is made of, and the first stage that trainings share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gentune.bench.data import DataSet
from gentune.bench.data.examples import Examples
from gentune.models import Batch, ConditionSpec, DataSpec, Likelihood, LikelihoodKind
from gentune.models.autoencoders.regularised import Regularisation
from gentune.models.diffusion.latent_diffusion import LatentDiffusion, _OnMaps
from gentune.models.likelihoods import standard_normal_log_prob
from gentune.search_spaces import load_card, shipped_cards
from gentune.testing.continuation import train_kept

IMAGES = DataSpec("toy", "image", (1, 8, 8), levels=5, condition=ConditionSpec("label", classes=3))
WIDE = DataSpec("wide", "image", (3, 8, 12), levels=256)
LINE = DataSpec("line", "vector", (1,))
BOTH = pytest.mark.parametrize("regularisation", ["kl", "vq"])


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _images(spec: DataSpec, n: int) -> Tensor:
    return spec.from_levels(torch.randint(spec.levels or 0, (n, *spec.shape), generator=_generator()))


def _model(spec: DataSpec, regularisation: Regularisation = "kl", **settings: object) -> LatentDiffusion:
    """One whose diffusion depends on everything, with the scale of random codes."""
    torch.manual_seed(0)
    small = {"width": 4, "depth": 1, "diffusion_width": 8, "latent_channels": 2, "codes": 16} | settings
    model = LatentDiffusion(spec, regularisation=regularisation, **small)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.diffusion.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    x = _images(spec, 200) if spec.kind == "image" else torch.randn(200, *spec.shape, generator=_generator())
    model.fit_scale(Batch(x), _generator())
    return model.eval()


@BOTH
@pytest.mark.parametrize("spec", [WIDE, LINE], ids=["image", "vector"])
def test_codes_of_the_train_split_get_mean_0_and_deviation_1(spec: DataSpec, regularisation: Regularisation) -> None:
    model = _model(spec, regularisation)
    x = _images(spec, 200) if spec.kind == "image" else torch.randn(200, *spec.shape, generator=_generator())
    with torch.no_grad():
        u = model._drawn(x, _generator(1))[0].unflatten(1, (-1, 2))
    together = (0, 1) if spec.kind == "image" else (0,)
    assert u.mean(together).abs().max() < 0.2
    assert (u.std(together) - 1.0).abs().max() < 0.1
    assert model.latent_dim == (48 if spec.kind == "image" else 8)


def test_the_diffusion_sees_the_map_as_it_lies() -> None:
    """Numbers go to their place and channel, and come back; places next to one another stay so."""
    seen: list[Tensor] = []

    class _Seen(nn.Module):
        def forward(self, maps: Tensor, t: Tensor, condition: Tensor) -> Tensor:
            seen.append(maps)
            return maps

    z = torch.arange(24.0).view(1, 6, 4)  # 2 x 3 places of 4 channels
    again = _OnMaps((4, 2, 3), _Seen())(z.flatten(1), torch.zeros(1), torch.zeros(1))
    assert torch.equal(again, z.flatten(1))
    assert seen[0].shape == (1, 4, 2, 3)
    assert torch.equal(seen[0][0, :, 1, 0], z[0, 3])  # the first place of the second row


def test_a_code_is_of_its_place_in_the_image() -> None:
    model = _model(IMAGES)
    u = torch.zeros(1, model.latent_dim)
    changed = u.clone()
    changed[0, -2:] = 5.0  # the last place's channels
    with torch.no_grad():
        difference = (model.decode(changed) - model.decode(u)).abs()[0, 0]
    assert difference[-1, -1] > 0
    assert difference[0, 0] == 0


def test_a_codebook_decodes_the_nearest_code() -> None:
    model = _model(IMAGES, "vq")
    codebook = model.autoencoder.codebook
    assert codebook is not None
    z = torch.randn(3, 16, 2, generator=_generator())
    snapped = codebook.look_up(codebook.nearest(z))
    with torch.no_grad():
        assert torch.equal(model.autoencoder.raw(z), model.autoencoder.raw(snapped))
        assert torch.equal(model.autoencoder.raw(snapped), model.autoencoder.decoder(snapped))


@BOTH
def test_with_a_standard_normal_prior_the_bound_is_that_of_a_vae(
    regularisation: Regularisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its mean over draws: E log p(x|u) - KL(q(u|x) || N(0, I)), the second term in closed form."""
    model = _model(IMAGES, regularisation)

    def standard(batch: Batch) -> Likelihood:
        return Likelihood(standard_normal_log_prob(batch.x), LikelihoodKind.ELBO)

    monkeypatch.setattr(model.diffusion, "log_likelihood", standard)
    monkeypatch.setattr(model.autoencoder.likelihood, "log_prob", lambda raw, x: torch.zeros(len(x)))
    x, draws = _images(IMAGES, 3), 4_000
    with torch.no_grad():
        mean = model.encode(Batch(x))
        deviation = model._drawn(x, _generator())[1].exp()
    kl = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, deviation), torch.distributions.Normal(0.0, 1.0)
    ).sum(1)
    bound = model.log_likelihood(Batch(x.repeat_interleave(draws, dim=0))).log_prob.view(3, draws)
    error = bound.std(1) / draws**0.5
    assert ((bound.mean(1) + kl).abs() < 4 * error + 1e-3).all()


def test_the_bound_has_at_most_the_mass_of_a_distribution() -> None:
    for regularisation in ("kl", "vq"):
        model = _model(LINE, regularisation)
        grid, repeats = torch.linspace(-8.0, 8.0, 201), 40
        bound = model.log_likelihood(Batch(grid.repeat(repeats)[:, None])).log_prob.double().view(repeats, -1)
        # Averaging before the exponential matters: only the mean of the estimate is a bound.
        mass = torch.trapezoid(bound.mean(0).exp(), grid.double()).item()
        assert 0.0 < mass <= 1.0


def test_guidance_scale_0_is_unconditional_and_labels_matter() -> None:
    model = _model(IMAGES)

    def sample(scale: float, labels: Tensor | None) -> Tensor:
        return model.sample(4, condition=labels, generator=_generator(), steps=5, guidance_scale=scale, output="mean")

    labels, others = torch.tensor([0, 1, 2, 0]), torch.tensor([1, 2, 0, 1])
    assert torch.equal(sample(0.0, labels), sample(1.0, None))
    u = [model.diffusion.sample(4, condition=c, generator=_generator(), steps=5) for c in (labels, others)]
    assert not torch.equal(u[0], u[1])


def test_trainings_that_agree_on_the_autoencoder_share_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second training, of another diffusion, finds the kept first stage: it could not train one."""
    (path,) = (path for path in shipped_cards() if path.stem == "latent_diffusion")
    card, data = load_card(path), DataSet(IMAGES, {"train": Examples.of(Batch(_images(IMAGES, 48)), IMAGES)})
    settings = {"width": 4, "depth": 1, "diffusion_width": 8, "latent_channels": 2}
    first = train_kept(card, LatentDiffusion, settings, data, tmp_path, steps=2)

    def refuse(*args: object) -> None:
        raise AssertionError("the first stage is trained again")

    monkeypatch.setattr(LatentDiffusion, "loss", refuse)
    other = settings | {"diffusion_width": 16, "schedule": "linear", "dropout": 0.1, "diffusion_learning_rate": 1e-3}
    second = train_kept(card, LatentDiffusion, other, data, tmp_path, steps=2)
    assert first.stages[:2] == second.stages[:2] and first.stages[2] != second.stages[2]
    ends = [run.model.get_submodule("autoencoder").state_dict() for run in (first, second)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    with pytest.raises(AssertionError, match="trained again"):
        train_kept(card, LatentDiffusion, settings | {"kl_weight": 0.5}, data, tmp_path, steps=2)


def test_other_choices_are_refused() -> None:
    with pytest.raises(ValueError, match="regularisation is 'none'; wanted kl or vq"):
        LatentDiffusion(IMAGES, regularisation="none")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="output is 'mode'; wanted mean or sample"):
        _model(IMAGES).sample(1, generator=_generator(), output="mode")
