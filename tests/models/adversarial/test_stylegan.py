"""StyleGAN: modulated convolutions, style mixing, noise, truncation and R1 against what they should be."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from gentune.models import Batch, DataSpec
from gentune.models.adversarial.stylegan import ModulatedConv, StyledConv, StyleGAN, demodulation, mix

IMAGE = DataSpec("image", "image", (1, 16, 16), levels=17)  # three resolutions


def _random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _model(**settings: float) -> StyleGAN:
    torch.manual_seed(0)
    return StyleGAN(IMAGE, **{"width": 8, "latent_dim": 8, **settings})  # type: ignore[arg-type]


def test_demodulated_weights_have_norm_one() -> None:
    weight = torch.randn(5, 4, 3, 3, generator=_random())
    s = torch.randn(7, 4, generator=_random(1))
    modulated = weight * s[:, None, :, None, None] * demodulation(weight, s)[:, :, None, None, None]
    assert torch.allclose(modulated.flatten(2).norm(dim=2), torch.ones(7, 5), atol=1e-5)


@pytest.mark.parametrize("demodulate", [True, False])
def test_a_modulated_convolution_is_one_with_weights_for_each_example(demodulate: bool) -> None:
    torch.manual_seed(0)
    layer = ModulatedConv(4, 5, 3, 6, demodulate=demodulate)
    x, w = torch.randn(7, 4, 8, 8, generator=_random()), torch.randn(7, 6, generator=_random(1))
    s = layer.style(w)
    for i in range(7):
        weight = layer.weight * layer.scale * s[i, :, None, None]
        if demodulate:
            weight = weight / weight.flatten(1).norm(dim=1)[:, None, None, None]
        expected = F.conv2d(x[i : i + 1], weight, layer.bias, padding=1)
        assert torch.allclose(layer(x, w)[i : i + 1], expected, atol=1e-4)


def test_demodulation_gives_outputs_of_variance_one() -> None:
    torch.manual_seed(0)
    layer = ModulatedConv(32, 64, 3, 6)
    x = torch.randn(16, 32, 16, 16, generator=_random())
    y = layer.convolve(x, 5 * torch.randn(16, 6, generator=_random(1)))[:, :, 1:-1, 1:-1]
    assert y.var().item() == pytest.approx(1.0, abs=0.05)


def test_mixing_takes_coarse_styles_from_one_code_and_fine_ones_from_the_other() -> None:
    styles, other = torch.zeros(4, 3, 2), torch.ones(4, 2)
    mixed = mix(styles, other, torch.tensor([1, 2, 3, 1]))
    assert mixed[:, :, 0].tolist() == [[0, 1, 1], [0, 0, 1], [0, 0, 0], [0, 1, 1]]


def test_fine_styles_leave_coarse_features_as_they_are() -> None:
    model = _model()
    network = model.generator
    a, b = network.mapping(torch.randn(2, 3, 8, generator=_random()))
    seen: list[torch.Tensor] = []
    layers = [m for m in network.modules() if isinstance(m, StyledConv)]
    for layer in layers:
        layer.register_forward_hook(lambda module, inputs, output: seen.append(output))
    for styles in (network.everywhere(a), mix(network.everywhere(a), b, torch.full((3,), 1))):
        network.synthesise(styles, None)
    of_one, of_mixed = seen[: len(layers)], seen[len(layers) :]
    assert torch.equal(of_one[0], of_mixed[0])
    assert all(not torch.allclose(x, y) for x, y in zip(of_one[1:], of_mixed[1:], strict=True))


def test_noise_comes_from_the_generator_alone() -> None:
    model = _model()
    for module in model.modules():
        if isinstance(module, StyledConv):
            torch.nn.init.constant_(module.strength, 1.0)
    z = torch.randn(3, 8, generator=_random())
    styles = model.generator.everywhere(model.generator.mapping(z))
    draws: list[torch.Tensor] = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(draws))
        draws.append(model.generator.synthesise(styles, _random(seed)))
    assert torch.equal(draws[0], draws[1])
    assert not torch.allclose(draws[0], draws[2])
    assert torch.equal(model.decode(z), model.decode(z)), "without noise"


def test_truncation_draws_styles_to_their_mean() -> None:
    model = _model().eval()
    seen: list[torch.Tensor] = []
    model.generator.levels[0][0].style.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))  # type: ignore[index]
    for psi in (1.0, 0.5):
        model.sample(6, generator=_random(), truncation=psi)
    mean = model._mean_style()
    assert torch.allclose(seen[1] - mean, 0.5 * (seen[0] - mean), atol=1e-6)
    every = model.generator.mapping(torch.randn(4000, 8, generator=_random(1)))
    assert torch.allclose(mean, every.mean(0), atol=4 * (every.std(0) / 16).max().item())


def test_r1_of_a_linear_critic() -> None:
    class Linear(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 3.0 * x.flatten(1)[:, :1] + 4.0 * x.flatten(1)[:, 1:2]

    model = _model(r1=2.0)
    model.discriminator = Linear()
    losses = model.discriminator_loss(Batch(torch.rand(4, 1, 16, 16, generator=_random()) * 2 - 1), _random())
    assert losses.parts["r1"].item() == pytest.approx(25.0)
    plain = _model(r1=0.0)
    plain.discriminator = Linear()
    without = plain.discriminator_loss(Batch(torch.rand(4, 1, 16, 16, generator=_random()) * 2 - 1), _random())
    assert (losses.total - without.total).item() == pytest.approx(0.5 * 2.0 * 25.0, rel=1e-4)


def test_the_mapping_knows_only_a_codes_direction() -> None:
    model = _model()
    z = torch.randn(3, 8, generator=_random())
    assert torch.allclose(model.generator.mapping(z), model.generator.mapping(7 * z), atol=1e-5)


def test_one_layer_has_no_styles_to_mix() -> None:
    small = DataSpec("small", "image", (1, 5, 6), levels=17)  # its half would be too small a start
    model = StyleGAN(small, style_mixing=1.0, width=4, latent_dim=8).train()
    batch = Batch(torch.zeros(4, 1, 5, 6))
    assert torch.isfinite(model.generator_loss(batch, _random()).total)
