"""Networks over tokens: exact sums, causality, and sampling with a cache, which must equal sampling without."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from gentune.models import Batch, ConditionSpec, DataSpec
from gentune.models.autoregressive.lstm import LSTM
from gentune.models.autoregressive.ngram import Ngram
from gentune.models.autoregressive.tokens import TokenModel, TokenNetwork
from gentune.models.autoregressive.transformer import Transformer
from gentune.models.nets.categorical import draw
from gentune.testing.examples import all_sequences, seeded

TEXT = DataSpec("text", "sequence", (6,), vocabulary=4, padding=3)
LABELLED = replace(TEXT, condition=ConditionSpec("label", classes=3))
COLOUR = DataSpec("colour", "image", (3, 2, 2), levels=3, condition=ConditionSpec("label", classes=3))


def transformer(spec: DataSpec, positions: str = "learned") -> Transformer:
    return Transformer(spec, width=16, layers=2, heads=2, positions=positions, dropout=0.0)


def lstm(spec: DataSpec) -> LSTM:
    return LSTM(spec, width=12, layers=2, dropout=0.0)


CASES: list[tuple[Any, DataSpec]] = [(lstm, LABELLED), (transformer, TEXT), (transformer, COLOUR)]


def built(family: Any, spec: DataSpec, **settings: Any) -> TokenNetwork:
    """With weights so large that tokens and labels matter."""
    torch.manual_seed(0)
    model = family(spec, **settings).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
    assert isinstance(model, TokenNetwork)
    return model


def labels_of(spec: DataSpec, n: int) -> Tensor | None:
    return torch.arange(n) % spec.classes if spec.classes else None


@pytest.mark.parametrize(("family", "spec"), CASES)
def test_no_logit_depends_on_its_own_or_a_later_token(family: Any, spec: DataSpec) -> None:
    model = built(family, spec)
    length = spec.dimensions
    k = torch.randint(model.tokens, (2, length), generator=seeded(1))
    embedded: list[Tensor] = []
    embedding = next(m for name, m in model.named_modules() if name.endswith("embedding"))
    embedding.register_forward_hook(lambda module, inputs, out: embedded.append(out))
    logits = model.logits(k, labels_of(spec, 2))
    assert logits.shape == (2, length, model.tokens)
    for t in range(length):
        (gradient,) = torch.autograd.grad(
            logits[:, t].square().sum(), embedded[-1], retain_graph=True, allow_unused=True
        )
        seen = torch.zeros(length - 1) if gradient is None else gradient.abs().sum((0, 2))
        assert seen[t:].sum() == 0.0
        assert (seen[:t] > 0).all(), "what comes before is seen"


@pytest.mark.parametrize(("family", "spec"), CASES)
def test_logits_with_a_cache_are_those_of_a_full_pass(family: Any, spec: DataSpec) -> None:
    model, labels = built(family, spec), labels_of(spec, 5)
    k = torch.randint(model.tokens, (5, spec.dimensions), generator=seeded(1))
    with torch.no_grad():
        whole = model.logits(k, labels)
        read = model.reading(5, labels)
        steps = torch.stack([read(k[:, t - 1] if t else None) for t in range(spec.dimensions)], dim=1)
    assert (whole - steps).abs().max() < 1e-5


@pytest.mark.parametrize(("family", "spec"), CASES)
def test_samples_are_those_of_the_plain_loop(family: Any, spec: DataSpec) -> None:
    """A full pass for every token, with the same uniforms."""
    model, labels = built(family, spec), labels_of(spec, 40)
    cut: dict[str, Any] = {"temperature": 0.9, "top_k": 3, "top_p": 0.9}
    x = model.sample(40, condition=labels, generator=seeded(3), **cut)
    uniforms = torch.rand(40, *spec.shape, generator=seeded(3))
    if spec.kind == "image":
        uniforms = uniforms.permute(0, 2, 3, 1).flatten(1)
    k = torch.zeros(40, spec.dimensions, dtype=torch.int64)
    for t in range(spec.dimensions):
        with torch.no_grad():
            k[:, t] = draw(model.logits(k, labels)[:, t], uniforms[:, t], **cut)
    if spec.padding is not None:
        k = torch.where(spec.with_end_of(k), k, spec.padding)
    assert torch.equal(x, model.from_tokens(k))


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_probabilities_of_all_images_sum_to_one(positions: str) -> None:
    """Two pixels of two channels with three levels."""
    spec = replace(COLOUR, shape=(2, 1, 2))
    model = built(transformer, spec, positions=positions)
    k = torch.cartesian_prod(*[torch.arange(3)] * 4)
    x = model.from_tokens(k)
    assert torch.equal(model.to_tokens(x), k)
    for condition in (None, torch.ones(len(x), dtype=torch.int64)):
        log_prob = model.log_likelihood(Batch(x, condition)).log_prob
        assert log_prob.double().exp().sum().item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("family", [lstm, transformer])
def test_probabilities_of_all_sequences_sum_to_one(family: Any) -> None:
    x = all_sequences(replace(LABELLED, shape=(4,)))
    model = built(family, replace(LABELLED, shape=(4,)))
    log_prob = model.log_likelihood(Batch(x)).log_prob
    assert log_prob.double().exp().sum().item() == pytest.approx(1.0, abs=1e-5)
    padded_at_once = log_prob[(x == 3).all(1)]
    assert padded_at_once.isfinite().all(), "the empty sequence, too"


def test_the_loss_is_the_mean_of_what_counts() -> None:
    model = built(lstm, TEXT)
    x = torch.tensor([[0, 1, 3, 3, 3, 3], [2, 2, 2, 1, 1, 0]])
    nats = -model.log_likelihood(Batch(x)).log_prob.sum() / (3 + 6)  # two tokens and their end; six tokens
    assert model.loss(Batch(x), seeded(0)).total.item() == pytest.approx(nats.item(), rel=1e-5)


def test_levels_of_a_pixel_come_channel_by_channel() -> None:
    spec = DataSpec("colour", "image", (3, 1, 2), levels=7)
    k = transformer(spec).to_tokens(spec.from_levels(torch.arange(6).reshape(1, 3, 1, 2)))
    assert k.tolist() == [[0, 2, 4, 1, 3, 5]]


@pytest.mark.parametrize(
    ("family", "spec"), [(transformer, COLOUR), (transformer, TEXT), (lstm, LABELLED), (Ngram, LABELLED)]
)
def test_completion_keeps_what_is_known_and_draws_the_rest_given_it(family: Any, spec: DataSpec) -> None:
    torch.manual_seed(0)
    model: TokenModel = family(spec).eval()
    if spec.kind == "image":
        x = spec.from_levels(torch.randint(3, (300, *spec.shape), generator=seeded(2)))
        missing = torch.zeros_like(x, dtype=torch.bool)
        missing[:, :, 1:] = True
    else:
        x = torch.randint(3, (300, *spec.shape), generator=seeded(2))
        missing = torch.zeros_like(x, dtype=torch.bool)
        missing[:, 3:] = True
    for stage in model.stages():
        if stage.fit is not None:
            stage.fit(Batch(x, labels_of(spec, 300)), seeded(0))
    found = model.complete(Batch(x, labels_of(spec, 300)), missing, generator=seeded(1))
    assert torch.equal(found[~missing], x[~missing])
    assert not torch.equal(found, x)
    assert torch.equal(found, model.complete(Batch(x, labels_of(spec, 300)), missing, generator=seeded(1)))
    without_labels = model.complete(Batch(x), missing, generator=seeded(1))
    assert torch.equal(without_labels[~missing], x[~missing])


def test_completions_have_the_conditional_law() -> None:
    """Of the last two of three tokens, by their joint probabilities."""
    spec = DataSpec("three", "sequence", (3,), vocabulary=3)
    model = built(lstm, spec)
    x = torch.tensor([[1, 0, 0]]).expand(4000, -1)
    missing = torch.tensor([[False, True, True]]).expand(4000, -1)
    found = model.complete(Batch(x), missing, generator=seeded(0))
    shares = torch.bincount(found[:, 1] * 3 + found[:, 2], minlength=9) / 4000
    every = torch.cat([torch.ones(9, 1, dtype=torch.int64), torch.cartesian_prod(torch.arange(3), torch.arange(3))], 1)
    p = model.log_likelihood(Batch(every)).log_prob.exp()
    assert (shares - p / p.sum()).abs().max() < 0.025
