"""PixelCNN++: mixtures whose levels sum to one, and the way through lower resolutions at a cursor."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from gentune.models.autoregressive.logistic_mixtures import LogisticMixture, mixture_outputs
from gentune.models.autoregressive.pixel_cnn_pp import PixelCNNpp, possible_halvings
from gentune.models.data_spec import ConditionSpec, DataSpec
from gentune.models.likelihoods import discretised_logistic_log_prob

EVEN = DataSpec("even", "image", (2, 8, 8), levels=5, condition=ConditionSpec("label", classes=2))


def mixture(channels: int) -> LogisticMixture:
    generator = torch.Generator().manual_seed(0)
    return LogisticMixture.of(3.0 * torch.randn(4, mixture_outputs(channels, 3), generator=generator), channels)


def test_levels_of_all_channels_sum_to_one() -> None:
    every = torch.cartesian_prod(*[torch.linspace(-1.0, 1.0, 3)] * 3)[:, None].expand(-1, 4, -1)  # (27, 4, 3)
    log_prob = torch.stack([mixture(3).log_prob(x, 3).sum(1) for x in every])
    assert torch.allclose(log_prob.exp().sum(0), torch.ones(4), atol=1e-5)


def test_a_channel_is_what_the_formula_says() -> None:
    """The second channel of two, with its mean moved by the first, and weights that the first has changed."""
    m, x = mixture(2), torch.tensor([[0.5, -1.0]]).expand(4, -1)
    k = torch.tensor([3, 0])
    of = [discretised_logistic_log_prob(k[0], m.means[:, :, 0], m.log_scales[:, :, 0], 5)]
    mean = m.means[:, :, 1] + 0.5 * m.coefficients[:, :, 0]
    of.append(discretised_logistic_log_prob(k[1], mean, m.log_scales[:, :, 1], 5))
    joint = (m.log_weights + of[0] + of[1]).logsumexp(1) - (m.log_weights + of[0]).logsumexp(1)
    assert torch.allclose(m.log_prob(x, 5)[:, 1], joint, atol=1e-5)
    assert torch.allclose(m.level_logits(x, 1, 5).log_softmax(1)[:, 0], joint, atol=1e-5)


@pytest.mark.parametrize(("size", "halvings"), [((8, 8), 2), ((7, 8), 0), ((4, 6), 1), ((2, 2), 0), ((12, 16), 2)])
def test_sides_are_halved_while_they_are_even(size: tuple[int, int], halvings: int) -> None:
    assert possible_halvings(size) == halvings


@pytest.fixture(scope="module")
def model() -> PixelCNNpp:
    """Three resolutions, with weights far from their start."""
    torch.manual_seed(0)
    made = PixelCNNpp(EVEN, channels=4, mixtures=2, scales=3)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made.eval()


@pytest.fixture(scope="module")
def x() -> Tensor:
    return EVEN.from_levels(torch.randint(5, (4, *EVEN.shape), generator=torch.Generator().manual_seed(1)))


def test_a_cursor_gives_the_logits_of_whole_images(model: PixelCNNpp, x: Tensor) -> None:
    labels, cursor = torch.tensor([0, 1, 0, 1]), model.cursor()
    drawn = torch.full_like(x, -1.0)
    with torch.no_grad():
        whole = model.logits(x, labels)
        for i, j, c in product(range(8), range(8), range(2)):
            cursor.row, cursor.column, cursor.channel = i, j, c
            at_cursor = model.logits_at(drawn, labels, cursor)
            assert torch.allclose(at_cursor, whole[:, c, :, i, j], rtol=0.0, atol=1e-5)
            drawn[:, c, i, j] = x[:, c, i, j]


def test_no_pixel_sees_a_later_one(model: PixelCNNpp, x: Tensor) -> None:
    x = x.clone().requires_grad_()
    log_prob = model.log_prob_by_place(x, torch.tensor([0, 1, 0, 1]))
    for i, j in product(range(8), range(8)):
        (gradient,) = torch.autograd.grad(log_prob[:, 0, i, j].sum(), x, retain_graph=True)
        assert gradient.flatten(2)[:, :, 8 * i + j :].abs().max() == 0.0


def test_what_a_mixture_says_is_what_its_levels_say(model: PixelCNNpp, x: Tensor) -> None:
    labels = torch.tensor([0, 1, 0, 1])
    with torch.no_grad():
        by_level = model.logits(x, labels).log_softmax(2).gather(2, EVEN.to_levels(x)[:, :, None]).squeeze(2)
        assert torch.allclose(model.log_prob_by_place(x, labels), by_level, atol=1e-4)
