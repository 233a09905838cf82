"""What families keep that model levels one after another: one distribution, in order, at a cursor as on images."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import product

import pytest
import torch
from torch import Tensor

from gentune.models.autoregressive.gated_pixel_cnn import GatedPixelCNN
from gentune.models.autoregressive.pixel_cnn import PixelCNN
from gentune.models.autoregressive.pixel_cnn_pp import PixelCNNpp
from gentune.models.autoregressive.pixel_rnn import PixelRNN
from gentune.models.autoregressive.pixels import PixelModel
from gentune.models.base import Batch
from gentune.models.data_spec import ConditionSpec, DataSpec
from gentune.models.nets.categorical import draw

Make = Callable[[DataSpec], PixelModel]

FAMILIES: dict[str, Make] = {
    "gated_pixel_cnn": partial(GatedPixelCNN, channels=8, blocks=2),
    "gated_pixel_cnn-wide": partial(GatedPixelCNN, channels=8, blocks=1, kernel=5),
    "pixel_cnn": partial(PixelCNN, channels=6, blocks=2),
    "pixel_cnn_pp": partial(PixelCNNpp, channels=6, mixtures=2, scales=1),
    "pixel_rnn-row": partial(PixelRNN, hidden=6, layers=2, recurrence="row"),
    "pixel_rnn-diagonal": partial(PixelRNN, hidden=6, layers=2, recurrence="diagonal"),
}
GREY = DataSpec("grey", "image", (1, 4, 3), levels=3, condition=ConditionSpec("label", classes=2))
COLOUR = DataSpec("colour", "image", (3, 2, 3), levels=4)
TOYS = (
    DataSpec("toy", "image", (1, 2, 2), levels=3, condition=ConditionSpec("label", classes=2)),
    DataSpec("colour-toy", "image", (3, 1, 2), levels=3),
)


@pytest.fixture(params=list(FAMILIES.values()), ids=list(FAMILIES))
def make(request: pytest.FixtureRequest) -> Make:
    """A family with weights far from its start, in evaluation mode."""

    def model(spec: DataSpec) -> PixelModel:
        torch.manual_seed(0)
        made: PixelModel = request.param(spec)
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
        return made.eval()

    return model


def images(spec: DataSpec, n: int) -> Tensor:
    assert spec.levels is not None
    return spec.from_levels(torch.randint(spec.levels, (n, *spec.shape), generator=torch.Generator().manual_seed(1)))


def labels_like(spec: DataSpec, n: int) -> Tensor | None:
    return torch.arange(n) % spec.classes if spec.classes else None


def places(spec: DataSpec) -> list[tuple[int, int, int]]:
    """Channel, row and column of each number, in the order of the model."""
    channels, height, width = spec.shape
    return [(c, i, j) for i, j, c in product(range(height), range(width), range(channels))]


@pytest.mark.parametrize("spec", TOYS, ids=lambda spec: spec.name)
def test_all_images_of_a_toy_sum_to_one(make: Make, spec: DataSpec) -> None:
    every = torch.cartesian_prod(*[torch.arange(3)] * spec.dimensions).view(-1, *spec.shape)
    x, model = spec.from_levels(every), make(spec)
    asked = [torch.full((len(x),), y) for y in range(spec.classes)]
    for labels in (*asked, None):
        total = model.log_likelihood(Batch(x, labels)).log_prob.double().exp().sum()
        assert total.item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("spec", [GREY, COLOUR], ids=lambda spec: spec.name)
def test_logits_depend_on_earlier_numbers_alone(make: Make, spec: DataSpec) -> None:
    model, x = make(spec), images(spec, 8).requires_grad_()
    log_prob = model.log_prob_by_place(x, labels_like(spec, 8))
    order = places(spec)
    for number, (c, i, j) in enumerate(order):
        (gradient,) = torch.autograd.grad(log_prob[:, c, i, j].sum(), x, retain_graph=True)
        later = [gradient[(slice(None), *place)].abs().max().item() for place in order[number:]]
        assert max(later) == 0.0, f"number {number} depends on a later one"
        assert number == 0 or gradient.abs().max() > 0.0, f"number {number} depends on none"


@pytest.mark.parametrize("spec", [GREY, COLOUR], ids=lambda spec: spec.name)
def test_a_cursor_gives_the_logits_of_whole_images(make: Make, spec: DataSpec) -> None:
    model, x, labels = make(spec), images(spec, 3), labels_like(spec, 3)
    cursor = model.cursor()
    drawn = torch.full_like(x, -1.0)
    with torch.no_grad():
        whole = model.logits(x, labels)
        for c, i, j in places(spec):
            cursor.row, cursor.column, cursor.channel = i, j, c
            at_cursor = model.logits_at(drawn, labels, cursor)
            assert torch.allclose(at_cursor, whole[:, c, :, i, j], rtol=0.0, atol=1e-5)
            drawn[:, c, i, j] = x[:, c, i, j]


@pytest.mark.parametrize("spec", [GREY, COLOUR], ids=lambda spec: spec.name)
def test_samples_are_those_of_whole_passes(make: Make, spec: DataSpec) -> None:
    model, labels = make(spec), labels_like(spec, 4)
    cut = {"temperature": 0.9, "top_k": 3, "top_p": 0.9}
    sampled = model.sample(4, condition=labels, generator=torch.Generator().manual_seed(2), **cut)  # type: ignore[arg-type]
    uniforms = torch.rand(4, *spec.shape, generator=torch.Generator().manual_seed(2))
    x = torch.full((4, *spec.shape), -1.0)
    with torch.no_grad():
        for c, i, j in places(spec):
            logits = model.logits(x, labels)[:, c, :, i, j]
            x[:, c, i, j] = spec.from_levels(draw(logits, uniforms[:, c, i, j], **cut))  # type: ignore[arg-type]
    assert torch.equal(sampled, x)


def test_completions_keep_what_is_there_and_follow_it(make: Make) -> None:
    """Two pixels, of which the second is missing: drawn as often as p(x_2 | x_1) says, labels given x_1 included."""
    spec = DataSpec("pair", "image", (1, 1, 2), levels=3, condition=ConditionSpec("label", classes=2))
    model, n = make(spec), 4000
    x = torch.tensor([1.0, -1.0]).view(1, 1, 1, 2)
    missing = torch.tensor([False, True]).view(1, 1, 1, 2).expand(n, -1, -1, -1)
    generator = torch.Generator().manual_seed(3)
    completed = model.complete(Batch(x.expand(n, -1, -1, -1)), missing, generator=generator)
    assert (completed[..., 0] == 1.0).all()
    every = torch.tensor([[1.0, v] for v in (-1.0, 0.0, 1.0)]).view(3, 1, 1, 2)
    expected = model.log_likelihood(Batch(every)).log_prob.softmax(0)
    shares = torch.bincount(spec.to_levels(completed[..., 1]).flatten(), minlength=3) / n
    assert torch.allclose(shares, expected, atol=0.03)  # four standard errors


def test_greedy_samples_have_the_likeliest_levels(make: Make) -> None:
    model = make(GREY)
    x = model.sample(2, condition=torch.tensor([0, 1]), generator=torch.Generator(), temperature=1e-4)
    with torch.no_grad():
        log_prob = model.logits(x, torch.tensor([0, 1])).log_softmax(2)
    drawn = log_prob.gather(2, GREY.to_levels(x)[:, :, None]).squeeze(2)
    assert torch.allclose(drawn, log_prob.amax(2), rtol=0.0, atol=2e-3)  # several levels may be as likely


def test_other_data_are_refused(make: Make) -> None:
    with pytest.raises(ValueError, match="takes image data, data 'plane' is vector"):
        make(DataSpec("plane", "vector", (2,)))


def test_labels_must_be_one_an_example(make: Make) -> None:
    model = make(GREY)
    if not model.classes:
        pytest.skip("not conditional")
    with pytest.raises(ValueError, match=r"shape \(2,\), got \(3,\)"):
        model.sample(2, condition=torch.zeros(3, dtype=torch.int64), generator=torch.Generator())


WIDE = DataSpec("wide", "image", (1, 3, 15), levels=3)


@pytest.mark.parametrize(
    ("make", "furthest"),
    [
        (partial(GatedPixelCNN, channels=6, blocks=6), (7, 7)),
        (partial(PixelRNN, hidden=6, layers=1, recurrence="diagonal"), (7, 6)),  # mask A hides the last
        (partial(PixelRNN, hidden=6, layers=1, recurrence="row"), (5, 3)),
        (partial(PixelCNN, channels=6, blocks=6), (7, 3)),  # a blind spot, whatever the number of blocks
    ],
    ids=["gated_pixel_cnn", "pixel_rnn-diagonal", "pixel_rnn-row", "pixel_cnn"],
    indirect=["make"],
)
def test_how_far_the_row_above_is_seen(make: Make, furthest: tuple[int, int]) -> None:
    """Columns on the left and on the right, from the middle of the last row; there are seven on either side."""
    x = images(WIDE, 16).requires_grad_()
    (gradient,) = torch.autograd.grad(make(WIDE).log_prob_by_place(x, None)[:, 0, -1, 7].sum(), x)
    seen = (gradient[:, 0, -2].abs().amax(0) > 0.0).nonzero().flatten()
    assert (7 - int(seen.min()), int(seen.max()) - 7) == furthest


@pytest.mark.parametrize(
    "name", ["gated_pixel_cnn", "pixel_cnn", "pixel_cnn_pp", "pixel_rnn-row", "pixel_rnn-diagonal"]
)
def test_training_learns_what_follows_from_earlier_pixels(name: str) -> None:
    """All pixels are equal: log 3 nats an image, where four pixels by themselves would cost four times as much."""
    spec = DataSpec("equal", "image", (1, 2, 2), levels=3)
    k = torch.arange(12) % 3
    batch = Batch(spec.from_levels(k.view(-1, 1, 1, 1).expand(-1, *spec.shape)))
    torch.manual_seed(0)
    model = FAMILIES[name](spec)
    optimiser = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(90):
        loss = model.loss(batch, torch.Generator()).total
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()
    nats = -model.log_likelihood(batch).log_prob.mean()
    assert math.log(3.0) < nats < 1.2 * math.log(3.0)
