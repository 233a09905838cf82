"""Imputation: which entries are hidden, and the three ways to complete them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Generator, Tensor

from gentune.bench.artifacts.finalist import write_completions
from gentune.bench.data import DataSet, load
from gentune.bench.data import examples as examples_module
from gentune.bench.metrics import UndefinedError
from gentune.bench.metrics.completion import imputation_error
from gentune.bench.runs.run_folder import RunFolder
from gentune.bench.scoring.imputation import complete_held_out, hidden_entries, impute, train_mean
from gentune.models import Batch, DataSpec, GenerativeModel
from gentune.models.classical.pca import ProbabilisticPCA
from gentune.search_spaces import load_card

SPACES = Path(__file__).parents[3] / "search_spaces"
SPACE = DataSpec("space", "vector", (3,))
COLOUR = DataSpec("colour", "image", (3, 4, 5), levels=256)


def _generator(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


class Silent(GenerativeModel):
    """Samples, and says nothing else."""

    def sample(self, n: int, *, condition: Tensor | None = None, generator: Generator) -> Tensor:
        return torch.zeros(n, *self.data.shape)


class Projecting(Silent):
    """Reconstructs by setting every entry to the mean of the example's entries."""

    def reconstruct(self, batch: Batch) -> Tensor:
        x = batch.x
        return x.flatten(1).mean(1).view(-1, *[1] * (x.ndim - 1)).expand_as(x)


def _fitted(model: GenerativeModel, data: DataSet) -> GenerativeModel:
    model.stages()[0].fit(data.splits["train"].all(), _generator())  # type: ignore[misc]
    return model.eval()


def test_the_train_mean_of_a_large_set_is_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    data = load("digits")
    whole = data.splits["train"].x[:]
    assert torch.equal(train_mean(data), whole.mean(0))
    monkeypatch.setattr(examples_module, "_CHUNK_NUMBERS", 100 * 64)  # eleven parts, the last one shorter
    assert torch.allclose(train_mean(data), whole.double().mean(0).float(), rtol=0.0, atol=1e-6)


def test_half_of_the_entries_are_hidden_by_pixels() -> None:
    missing = hidden_entries(COLOUR, 40, seed=0)
    assert missing.shape == (40, 3, 4, 5)
    assert torch.equal(missing[:, 0], missing[:, 2])
    assert (missing[:, 0].flatten(1).sum(1) == 10).all()
    assert not torch.equal(missing[0], missing[1])
    assert torch.equal(missing, hidden_entries(COLOUR, 40, seed=0))
    plane = hidden_entries(DataSpec("plane", "vector", (2,)), 100, seed=0)
    assert (plane.sum(1) == 1).all()
    assert 30 < int(plane[:, 0].sum()) < 70
    assert (hidden_entries(SPACE, 9, seed=0).sum(1) == 2).all()


def test_reconstruction_is_repeated_until_it_settles() -> None:
    x = torch.tensor([[1.0, 2.0, 99.0]])
    missing = torch.tensor([[False, False, True]])
    start = torch.tensor([[1.0, 2.0, 0.0]])
    filled = impute(Projecting(SPACE), x, missing, start=start, samples=start, generator=_generator())
    assert filled[0, :2].tolist() == [1.0, 2.0]
    assert float(filled[0, 2]) == pytest.approx(1.5, abs=1e-3)  # the only value that the map leaves as it is


def test_samples_lend_the_entries_of_those_that_look_alike() -> None:
    x = torch.tensor([[0.0, 0.0, 99.0], [5.0, 5.0, 99.0]])
    missing = torch.tensor([[False, False, True]]).repeat(2, 1)
    groups = torch.tensor([[0.0, 0.1, 3.0], [5.1, 5.0, -4.0]]).repeat(8, 1)
    filled = impute(Silent(SPACE), x, missing, start=x, samples=groups, generator=_generator())
    assert filled.tolist() == [[0.0, 0.0, 3.0], [5.0, 5.0, -4.0]]


def test_own_imputation_comes_first() -> None:
    data = load("digits")
    model = _fitted(ProbabilisticPCA(data.spec), data)
    found = complete_held_out(model, data, data.splits["test"].all(), data.splits["test"].x[:], seed=0)
    assert found is not None
    own = model.impute(Batch(found.x), found.missing, _generator())  # type: ignore[operator]
    assert torch.equal(found.completed, own)
    assert torch.equal(found.completed[~found.missing], found.x[~found.missing])
    assert torch.equal(found.by_mean[0][found.missing[0]], data.splits["train"].x[:].mean(0)[found.missing[0]])


def test_imputation_error_is_relative_to_the_mean() -> None:
    x = torch.randn(2_000, 3, generator=_generator())
    missing = hidden_entries(SPACE, 2_000, seed=0)
    mean = torch.where(missing, 0.0, x)
    assert imputation_error(x, missing, x, mean).value == 0.0
    same = imputation_error(x, missing, mean, mean)
    assert same.value == pytest.approx(1.0)
    half = imputation_error(x, missing, torch.where(missing, 0.5 * x, x), mean)
    assert half.value == pytest.approx(0.5)
    noise = torch.where(missing, x + torch.randn(2_000, 3, generator=_generator(1)) / math.sqrt(2), x)
    found = imputation_error(x, missing, noise, mean)
    assert found.low is not None and found.high is not None
    assert found.low < math.sqrt(0.5) < found.high
    # What was not hidden does not count.
    assert imputation_error(x, missing, torch.where(missing, 0.5 * x, 7.0), mean).value == half.value
    with pytest.raises(UndefinedError, match="never wrong"):
        imputation_error(x, missing, noise, x)


def test_interval_of_the_imputation_error_holds() -> None:
    held = 0
    for seed in range(200):
        noise = torch.randn(2, 60, 4, generator=_generator(seed)).double()
        scale = torch.rand(60, 1, generator=_generator(seed + 1_000)).double() + 0.5  # hard examples are hard for both
        x, all_missing = torch.zeros(60, 4).double(), torch.ones(60, 4, dtype=torch.bool)
        found = imputation_error(x, all_missing, 0.6 * scale * noise[0], scale * noise[1])
        assert found.low is not None and found.high is not None
        held += found.low < 0.6 < found.high
    assert 0.9 < held / 200 <= 0.99


def test_completed_images_are_drawn_below_what_they_were(tmp_path: Path) -> None:
    data, folder = load("digits"), RunFolder(tmp_path)
    model, card = _fitted(ProbabilisticPCA(data.spec), data), load_card(SPACES / "classical" / "pca.toml")
    write_completions(folder, "final", card, data, model, data.splits["validation"].all())
    picture = np.asarray(Image.open(folder.artifact("completions", "final.png"))).astype(float)
    truth, hidden, completed = np.split(picture[1:], 3)  # rows of images, each with a line below
    grey = np.abs(hidden - 127.5) < 8  # level 8 of 0...16
    changed = hidden != truth
    assert grey[changed].all()
    assert 0.3 < changed.mean() < 0.6
    error, mean_error = (np.abs(guess - truth)[changed].mean() for guess in (completed, np.full_like(truth, 127.5)))
    assert error < 0.6 * mean_error
    write_completions(folder, "points", card, load("two_moons"), model, data.splits["validation"].all())
    assert not folder.artifact("completions", "points.png").exists()
