"""What suits vectors, tables and sequences: a network on coordinates, and frequencies of n-grams."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gentune.bench.data import DataSet
from gentune.bench.data.base import Split
from gentune.bench.data.examples import Examples
from gentune.bench.evaluators import library, load_evaluator
from gentune.bench.evaluators.ngrams import Ngrams
from gentune.bench.metrics import measure
from gentune.models.base import Batch
from gentune.models.data_spec import ConditionSpec, DataSpec

FEW = DataSpec("few", "sequence", (6,), vocabulary=3, padding=2)
MANY = DataSpec("many", "sequence", (40,), vocabulary=30)
NAMES: tuple[Split, ...] = ("train", "validation", "test")


def test_single_tokens_are_counted_exactly_and_padding_is_not() -> None:
    x = torch.tensor([[0, 1, 1, 1, 2, 2], [1, 0, 0, 0, 0, 0]])
    seen = Ngrams(FEW).features(x.double())
    assert seen.dtype == torch.float64
    assert seen.shape == (2, 3 + 9 + 27 + 1)
    assert torch.allclose(seen[0, :3], torch.tensor([0.25, 0.75, 0.0]).double() * 3**0.5)
    pairs = torch.zeros(9).double()
    pairs[0 * 3 + 1], pairs[1 * 3 + 1] = 1 / 3, 2 / 3  # 01, 11, 11; those with padding do not count
    assert torch.allclose(seen[0, 3:12], pairs * 3)
    assert seen[:, -1].tolist() == [pytest.approx(4 / 6), 1.0]


def test_all_padding_has_no_ngrams() -> None:
    assert not Ngrams(FEW).features(torch.full((1, 6), 2)).any()


def _spectrum(x: Tensor, order: int) -> Tensor:
    """Inner products of relative frequencies of all n-grams, without hashing."""
    grams = x.unfold(1, order, 1)
    numbers = (grams * 30 ** torch.arange(order)).sum(2)
    _, columns = numbers.unique(return_inverse=True)
    counts = torch.zeros(len(x), int(columns.max()) + 1).double()
    counts.scatter_add_(1, columns, torch.ones_like(columns).double())
    shares = counts / grams.shape[1]
    return shares @ shares.T


def test_hashed_ngrams_keep_the_spectrum_kernel() -> None:
    """Inner products of hashed features are those of the exact ones, without bias, within the noise of 64 columns."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(30, (60, 40), generator=generator)
    x[30:, 20:] = x[:30, 20:]  # pairs that share a half
    seen = Ngrams(MANY).features(x)
    start = 30
    for order in (2, 3):
        part = seen[:, start : start + 64] / 8  # without the root of the columns' number
        start += 64
        hashed, exact = part @ part.T, _spectrum(x, order)
        above = torch.ones_like(exact).triu(1).bool()
        error = (hashed - exact)[above]
        assert abs(float(error.mean())) < 0.2 * float(error.std())  # one hash for all pairs: their errors go together
        shared = hashed[torch.arange(30), torch.arange(30) + 30]
        assert float(shared.mean()) == pytest.approx(float(exact[:30, 30:].diagonal().mean()), rel=0.2)
        used = part.abs().mean(0)
        assert float(used.min()) > 0.3 * float(used.mean()), "every column has its n-grams"


def test_what_follows_what_is_told_from_the_same_tokens_in_any_order() -> None:
    """Tokens that rise by one against the same tokens shuffled: only n-grams of two and more see the difference."""
    generator = torch.Generator().manual_seed(1)
    starts = torch.randint(30, (3, 200, 1), generator=generator)
    rising = (starts + torch.arange(40)) % 30
    shuffled = rising[0].gather(1, torch.rand(200, 40, generator=generator).argsort(1))
    seen = Ngrams(MANY)
    real, same, other = (seen.features(x) for x in (rising[1], rising[2], shuffled))

    def mmd(x: Tensor) -> float:
        found = measure(["mmd"], {"generated_features": x, "real_features": real, "seed": 0})
        return found.values["mmd"].value

    assert mmd(other) > 20 * abs(mmd(same))
    assert float((real[:, :30].mean(0) - other[:, :30].mean(0)).abs().max()) < 0.1


def _table(*, labels: bool) -> DataSet:
    """Ten coordinates, of which the second tells the class."""
    condition = ConditionSpec("label", classes=2) if labels else ConditionSpec()
    spec = DataSpec("rows", "vector", (10,), condition=condition)
    splits = {}
    for number, name in enumerate(NAMES):
        x = torch.randn(300, 10, generator=torch.Generator().manual_seed(number))
        splits[name] = Examples.of(Batch(x, (x[:, 1] > 0).long() if labels else None), spec)
    return DataSet(spec, splits)


def test_a_perceptron_learns_what_tells_rows_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_FEWEST_STEPS", 100)
    data = _table(labels=True)
    evaluator = load_evaluator(data, "perceptron", cache=tmp_path)
    assert evaluator.quality is not None and evaluator.quality.value > 0.9 and not evaluator.quality.poor
    x = data.splits["test"].x[:]
    telling, other = x.clone(), x.clone()
    telling[:, 1] *= -1
    other[:, 2] *= -1
    seen = evaluator.features(x)
    moved = [float((evaluator.features(each) - seen).norm(dim=1).mean()) for each in (telling, other)]
    assert moved[0] > 2 * moved[1]
    again = load_evaluator(data, "perceptron", cache=tmp_path)
    assert again.fingerprint == evaluator.fingerprint


def test_without_labels_it_learns_to_rebuild(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_FEWEST_STEPS", 100)
    evaluator = load_evaluator(_table(labels=False), "perceptron", cache=tmp_path)
    assert evaluator.quality is not None
    assert evaluator.quality.task == "reconstruction"
    assert evaluator.quality.value > 0.6
    assert evaluator.probabilities(torch.zeros(2, 10)) is None


def test_other_vocabularies_have_other_evaluators(tmp_path: Path) -> None:
    seen = [
        load_evaluator(DataSet(spec, {}), "ngrams", cache=tmp_path).fingerprint
        for spec in (FEW, MANY, DataSpec("few", "sequence", (6,), vocabulary=3))
    ]
    assert len(set(seen)) == 3
    with pytest.raises(ValueError, match="looks at vectors"):
        load_evaluator(
            DataSet(MANY, {"train": Examples.of(Batch(torch.zeros(4, 40).long()), MANY)}), "perceptron", cache=tmp_path
        )
