"""VQ-VAE: codebook, straight-through gradients, prior, and the bound against the truth on enumerable toys."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from gentune.bench.data import load
from gentune.bench.training.loop import LoopSettings, train
from gentune.models import Batch, ConditionSpec, DataSpec
from gentune.models.autoencoders.vq_vae import VQVAE
from gentune.models.nets.causal_transformer import CausalTransformer
from gentune.models.nets.quantiser import Codebook

TINY = DataSpec("tiny", "image", (1, 4, 4), levels=2)
LABELLED = DataSpec("labelled", "image", (1, 4, 4), levels=3, condition=ConditionSpec("label", classes=3))
PLANE = DataSpec("plane", "vector", (2,))


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _model(spec: DataSpec, **settings: int | str | float) -> VQVAE:
    torch.manual_seed(0)
    small = {"width": 8, "codes": 3, "code_dim": 4, "prior_width": 8, "prior_layers": 1, "depth": 1, "downsampling": 2}
    return VQVAE(spec, **{**small, **settings}).eval()  # type: ignore[arg-type]


# --- the codebook ----------------------------------------------------------------------------------------------


def _step(codebook: Codebook, z: Tensor, seed: int = 0) -> None:
    codebook.note(z, codebook.nearest(z), _generator(seed))
    codebook.update()


def test_the_nearest_code_is_the_nearest() -> None:
    torch.manual_seed(0)
    codebook = Codebook(7, 3, decay=0.9)
    z = torch.randn(5, 4, 3)
    distances = (z[:, :, None] - codebook.vectors).square().sum(-1)
    assert torch.equal(codebook.nearest(z), distances.argmin(-1))
    assert torch.equal(codebook.look_up(codebook.nearest(codebook.vectors)), codebook.vectors)


def test_codes_do_not_depend_on_the_precision_of_training() -> None:
    torch.manual_seed(0)
    codebook = Codebook(500, 2, decay=0.9)
    z = torch.randn(2000, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        lower = codebook.nearest(z)
    assert torch.equal(lower, codebook.nearest(z))


def test_codes_follow_the_mean_of_their_vectors() -> None:
    """Two heaps: from anywhere, the codes go to their means at the rate of the decay."""
    codebook = Codebook(2, 1, decay=0.5)
    codebook.vectors.copy_(torch.tensor([[0.0], [9.0]]))
    codebook.counts.fill_(2.0)
    codebook.sums.copy_(2.0 * codebook.vectors)
    z = torch.tensor([[1.0], [3.0], [10.0], [12.0]])
    _step(codebook, z)
    assert torch.allclose(codebook.vectors, torch.tensor([[1.0], [10.0]]))  # half way from 0 to 2, from 9 to 11
    for _ in range(30):
        _step(codebook, z)
    assert torch.allclose(codebook.vectors, torch.tensor([[2.0], [11.0]]), atol=1e-4)


def test_dead_codes_start_again_from_the_batch_and_used_ones_do_not() -> None:
    codebook = Codebook(3, 1, decay=0.9)
    codebook.vectors.copy_(torch.tensor([[0.0], [5.0], [1000.0]]))
    codebook.counts.copy_(torch.tensor([10.0, 10.0, 0.01]))
    codebook.sums.copy_(codebook.counts[:, None] * codebook.vectors)
    z = torch.tensor([[0.0], [0.0], [5.0], [5.0], [5.0], [0.0]])
    _step(codebook, z)
    assert codebook.vectors[:2].flatten().tolist() == pytest.approx([0.0, 5.0])
    assert codebook.vectors[2].item() in (0.0, 5.0)
    assert codebook.counts[2].item() == pytest.approx(2.0)  # an equal share of six


def test_a_codebook_spreads_over_its_data_from_nothing() -> None:
    """Far fewer codes are used where none starts again."""
    z = 3.0 * torch.randn(2000, 2, generator=_generator()) + 40.0
    torch.manual_seed(0)
    codebook = Codebook(32, 2, decay=0.95)
    for step in range(60):
        _step(codebook, z[torch.randperm(2000, generator=_generator(step))[:256]], step)
    used = torch.bincount(codebook.nearest(z), minlength=32)
    assert (used > 0).sum() == 32
    error = (z - codebook.look_up(codebook.nearest(z))).square().sum(1).mean()
    assert error < 0.08 * 18  # the variance is 18; equal cells of a plane leave about 2/32 of it


def test_restarts_come_from_the_given_generator() -> None:
    z = torch.randn(50, 2, generator=_generator())
    ends: list[Tensor] = []
    for seed in (0, 0, 1):
        codebook = Codebook(8, 2, decay=0.9)
        codebook.vectors.zero_()
        torch.manual_seed(len(ends))
        _step(codebook, z, seed)
        ends.append(codebook.vectors.clone())
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


# --- the first stage -------------------------------------------------------------------------------------------


def test_gradients_pass_straight_through_the_codes() -> None:
    """Without commitment, the gradient in z is the decoder's gradient in q."""
    model = _model(PLANE, commitment=0.0)
    x = torch.randn(6, 2, generator=_generator())
    model.loss(Batch(x), _generator()).total.backward()
    through = [p.grad.clone() for p in model.encoder.parameters() if p.grad is not None]
    assert sum(g.abs().sum() for g in through) > 0
    with torch.no_grad():
        q = model.codebook.look_up(model._codes_of(x))
    q.requires_grad_()
    loss = -model.likelihood.log_prob(model.decoder(q), x).mean() / 2
    (upstream,) = torch.autograd.grad(loss, q)
    direct = torch.autograd.grad(model.encoder(x), list(model.encoder.parameters()), upstream)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(through, direct, strict=True))


def test_commitment_pulls_the_encoder_to_its_codes() -> None:
    model = _model(PLANE)
    x = torch.randn(6, 2, generator=_generator())
    with torch.no_grad():
        z = model.encoder(x)
        distance = (z - model.codebook.look_up(model.codebook.nearest(z))).square().mean()
    losses = [_model(PLANE, commitment=c).loss(Batch(x), _generator()) for c in (0.1, 1.1)]
    assert losses[0].parts["commitment"].item() == pytest.approx(distance.item(), rel=1e-5)
    assert (losses[1].total - losses[0].total).item() == pytest.approx(distance.item(), rel=1e-4)


def test_the_prior_changes_nothing_of_the_first_stage() -> None:
    data = Batch(TINY.from_levels(torch.randint(2, (64, *TINY.shape), generator=_generator())))
    ends: list[dict[str, Tensor]] = []
    for width, layers in ((8, 1), (16, 2)):
        model = _model(TINY, prior_width=width, prior_layers=layers)
        train(model, data, LoopSettings(batch_size=16), steps=10, seed=0)
        ends.append({n: t for n, t in model.state_dict().items() if not n.startswith("prior.")})
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_other_factors_are_refused() -> None:
    with pytest.raises(ValueError, match="downsampling is 3; wanted 2 or 4"):
        VQVAE(TINY, downsampling=3)


@pytest.mark.parametrize(("downsampling", "places"), [(2, 24), (4, 6)])
def test_images_become_maps_of_codes(downsampling: int, places: int) -> None:
    spec = DataSpec("wide", "image", (3, 8, 12), levels=256)
    model = _model(spec, downsampling=downsampling)
    x = spec.from_levels(torch.randint(256, (2, 3, 8, 12), generator=_generator()))
    assert model._codes_of(x).shape == (2, places)
    # A code of the map's last row says nothing of the image's first row.
    with torch.no_grad():
        z = model.encode(Batch(x))
        changed = z.clone()
        changed[:, -4:] += 1.0
        difference = (model.decode(changed) - model.decode(z)).abs().sum((0, 1))
    assert difference[-1, -1] > 0
    assert downsampling == 4 or difference[0, 0] == 0


# --- the prior and the bound ---------------------------------------------------------------------------------------


def _all_sequences(codes: int, length: int) -> Tensor:
    return torch.tensor(list(itertools.product(range(codes), repeat=length)))


@torch.no_grad()
def test_the_prior_sums_to_one_for_every_label_and_without() -> None:
    torch.manual_seed(0)
    prior = CausalTransformer(3, 4, classes=2, width=6, layers=2, dropout=0.0).eval()  # 6 is rounded up to 8
    everything = _all_sequences(3, 4)
    for label in range(2):
        log_p = prior.log_prob(everything, torch.full((81,), label))
        assert log_p.double().exp().sum().item() == pytest.approx(1.0, abs=1e-5)
    assert prior.marginal_log_prob(everything).double().exp().sum().item() == pytest.approx(1.0, abs=1e-5)
    different = prior.log_prob(everything, torch.zeros(81).long()) - prior.log_prob(everything, torch.ones(81).long())
    assert different.abs().max() > 1e-3


@torch.no_grad()
def test_draws_of_the_prior_are_as_frequent_as_probable() -> None:
    torch.manual_seed(0)
    prior = CausalTransformer(3, 2, classes=2, width=8, layers=1, dropout=0.0).eval()
    prior.head[1].weight.mul_(4)  # type: ignore[operator]  # away from uniform
    everything, n = _all_sequences(3, 2), 20_000
    for labels in (None, torch.ones(n, dtype=torch.int64)):
        drawn = prior.draw(n, labels, _generator())
        frequent = torch.bincount(drawn[:, 0] * 3 + drawn[:, 1], minlength=9) / n
        log_p = prior.marginal_log_prob(everything) if labels is None else prior.log_prob(everything, labels[:9])
        assert (frequent - log_p.exp()).abs().max() < 4.5 * math.sqrt(0.25 / n)


@torch.no_grad()
def test_a_cold_prior_draws_its_likeliest_code() -> None:
    torch.manual_seed(0)
    prior = CausalTransformer(5, 3, classes=0, width=8, layers=1, dropout=0.0).eval()
    first = prior.draw(50, None, _generator(), temperature=1e-3)[:, 0]
    assert (first == prior(torch.zeros(1, 0, dtype=torch.int64), None)[0, 0].argmax()).all()


@torch.no_grad()
def test_the_bound_lies_below_the_log_likelihood_and_sums_to_less_than_one() -> None:
    """The truth by summing over all 81 sequences of codes, and over all 65,536 binary images."""
    model = _model(TINY)
    codes = _all_sequences(3, 4)
    raw = model.decoder(model.codebook.look_up(codes))
    log_prior = model.prior.marginal_log_prob(codes)
    x = TINY.from_levels(torch.tensor(list(itertools.product((0, 1), repeat=16))).view(-1, *TINY.shape))
    bound = torch.cat([model.log_likelihood(Batch(part)).log_prob for part in x.split(8192)])
    some = torch.randperm(len(x), generator=_generator())[:20]
    for i in some:
        image = x[i].expand(len(codes), *TINY.shape)
        truth = (model.likelihood.log_prob(raw, image) + log_prior).logsumexp(0)
        assert bound[i] <= truth + 1e-4
    assert bound.double().exp().sum() < 1.0


@torch.no_grad()
def test_likelihood_without_labels_is_the_mean_over_labels() -> None:
    model = _model(LABELLED)
    x = LABELLED.from_levels(torch.randint(3, (5, *LABELLED.shape), generator=_generator()))
    given = [model.log_likelihood(Batch(x, torch.full((5,), y))).log_prob for y in range(3)]
    mean = torch.stack(given).logsumexp(0) - math.log(3)
    assert torch.allclose(model.log_likelihood(Batch(x)).log_prob, mean, atol=1e-4)


@pytest.mark.slow
def test_short_training_uses_its_codes_and_beats_independent_pixels() -> None:
    """An independent histogram of digits takes 2.44 bits/dim."""
    data = load("digits")
    torch.manual_seed(0)
    model = VQVAE(data.spec, codes=64, depth=1)
    train(model, data.splits["train"].all(), LoopSettings(batch_size=64), steps=300, seed=0)
    x = data.splits["validation"].x[:]
    with torch.no_grad():
        used = torch.bincount(model._codes_of(x).flatten(), minlength=64) / (4 * len(x))
    assert torch.exp(torch.special.entr(used).sum()) > 32
    assert -model.log_likelihood(Batch(x)).log_prob.mean().item() / 64 / math.log(2) < 2.44
