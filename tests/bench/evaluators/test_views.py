"""What evaluators of unlabelled images learn to tell."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gentune.bench.data import DataSet, Split
from gentune.bench.data.examples import Examples
from gentune.bench.evaluators import load_or_train, views
from gentune.bench.metrics.frechet import frechet
from gentune.models.base import Batch
from gentune.models.data_spec import DataSpec

KINDS = range(len(views.KINDS))


def _random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 10)])
def test_each_image_is_changed_in_the_way_that_is_told(shape: tuple[int, int, int]) -> None:
    x = torch.rand(400, *shape, generator=_random()) * 1.8 - 0.9
    seen, kinds = views.changed(x, _random(1))
    assert seen.shape == x.shape and seen.abs().max() <= 1.0
    assert kinds.bincount(minlength=len(KINDS)).min() > 30
    of = {name: kinds == kind for kind, name in enumerate(views.KINDS)}
    assert torch.equal(seen[of["as it is"]], x[of["as it is"]])
    assert torch.equal(seen[of["upside down"]].flip(2), x[of["upside down"]])
    shuffled = of["quarters shuffled"]
    assert torch.equal(seen[shuffled].flatten(1).sort().values, x[shuffled].flatten(1).sort().values)
    assert not torch.equal(seen[shuffled], x[shuffled])
    inner = (..., slice(1, -1), slice(1, -1))
    means = x.unfold(2, 3, 1).unfold(3, 3, 1).mean((-1, -2))
    assert torch.allclose(seen[of["blurred"]][inner], means[of["blurred"]], atol=1e-6)
    noise = (seen - x)[of["noisy"]].flatten(1).std(1) / x.std()
    assert 0.03 < noise.min() < 0.1 and 0.3 < noise.max() < 0.6
    half = shape[2] // 2
    left, right = seen[of["two halves"]][..., :half], seen[of["two halves"]][..., half:]
    assert torch.equal(left, x[of["two halves"]][..., :half])
    assert all(any(torch.equal(part, own) for own in x[..., half:]) for part in right)
    laid = 2 * seen[of["two laid over each other"]] - x[of["two laid over each other"]]
    assert all((part - x).abs().flatten(1).max(1).values.min() < 1e-5 for part in laid)


def test_the_same_generator_changes_images_the_same_way() -> None:
    x = torch.rand(20, 1, 8, 8, generator=_random())
    first, again, other = (views.changed(x, _random(seed)) for seed in (3, 3, 4))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])


def _bars(n: int, seed: int) -> torch.Tensor:
    """Images of one bright row or column: a Gaussian of their covariance has no bars."""
    generator = _random(seed)
    place = torch.randint(8, (n,), generator=generator)
    x = torch.full((n, 1, 8, 8), -0.5)
    x[torch.arange(n), 0, place] = 0.5
    upright = torch.rand(n, generator=generator) < 0.5
    x[upright] = x[upright].transpose(2, 3)
    return x


@pytest.mark.slow
def test_features_tell_a_gaussian_of_the_same_covariance_from_data(tmp_path: Path) -> None:
    spec = DataSpec("bars", "image", (1, 8, 8), levels=256)
    sizes: dict[Split, int] = {"train": 600, "validation": 300, "test": 300}
    splits = {
        name: Examples.of(Batch(spec.to_lattice(_bars(n, seed))), spec) for seed, (name, n) in enumerate(sizes.items())
    }
    evaluator = load_or_train(DataSet(spec, splits), "convolutional", cache=tmp_path)
    assert evaluator.quality is not None and evaluator.quality.task == "views"
    assert not evaluator.quality.poor
    train = splits["train"].all().x
    mean, covariance = train.flatten(1).double().mean(0), train.flatten(1).double().T.cov()
    root = torch.linalg.eigh(covariance)
    draws = torch.randn(600, 64, generator=_random(9), dtype=torch.float64) * root.eigenvalues.clamp(min=0).sqrt()
    gaussian = (mean + draws @ root.eigenvectors.T).clamp(-1, 1).float().view(-1, 1, 8, 8)
    real = evaluator.features(splits["validation"].all().x)
    near, far = (frechet(evaluator.features(x), real).value for x in (train, gaussian))
    assert far > 10 * near
