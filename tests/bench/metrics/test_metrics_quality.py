"""The metrics on features: closed forms, agreement with reference implementations, orientation, edges."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from prdc import compute_prdc
from torch import Tensor

from gentune.bench._torchvision import make_importable
from gentune.bench.data import load
from gentune.bench.metrics import METRICS, MetricValue, UndefinedError, measure
from gentune.bench.metrics.features import equal_counts, subset
from gentune.bench.metrics.fidelity import fid, inception_score, kid, precision, recall
from gentune.bench.metrics.frechet import frechet
from gentune.bench.metrics.manifold import coverage, density, density_and_coverage
from gentune.bench.metrics.mmd import median_distance, mmd, squared_mmd
from gentune.bench.metrics.support import support

ON_FEATURES = ("fid", "kid", "mmd", "precision", "recall", "density", "coverage")


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def whitened(n: int, d: int, seed: int) -> Tensor:
    """A sample whose mean is exactly 0 and whose covariance is exactly the identity."""
    x = normal(n, d, seed)
    x = x - x.mean(0)
    return x @ torch.linalg.inv(torch.linalg.cholesky(x.T @ x / (n - 1))).T


def clusters(n: int, seed: int, *, modes: int = 10, d: int = 8) -> Tensor:
    """Points around the first `modes` of ten centres, in turn."""
    centres = 10 * normal(10, d, 999)
    return centres[torch.arange(n) % modes] + normal(n, d, seed)


def score(name: str, generated: Tensor, real: Tensor) -> float:
    result = measure([name], {"generated_features": generated, "real_features": real, "seed": 0})
    assert not result.undefined
    return result.values[name].value


# Orientation

REAL = clusters(300, 1)
CASES = {
    "equal law": clusters(300, 2),
    "collapse": clusters(300, 3, modes=1),
    "noise": REAL[torch.randperm(300, generator=torch.Generator().manual_seed(0))] + 30 * normal(300, 8, 4),
}


@pytest.mark.parametrize(
    ("name", "case"),
    [(name, case) for name in ("fid", "kid", "mmd", "coverage") for case in ("collapse", "noise")]
    # The balls of far-flung samples hold every real example: noise has full recall, and lacks precision.
    + [("recall", "collapse"), ("precision", "noise"), ("density", "noise")],
)
def test_defects_are_worse_than_the_equal_law(name: str, case: str) -> None:
    good, bad = score(name, CASES["equal law"], REAL), score(name, CASES[case], REAL)
    assert (good < bad) if METRICS[name].direction == "lower" else (good > bad)


def test_a_collapse_is_precise_and_lacks_recall() -> None:
    collapse = CASES["collapse"]
    assert score("precision", collapse, REAL) > 0.6
    assert score("recall", collapse, REAL) < 0.11  # one of ten modes
    assert score("density", collapse, REAL) > 0.6
    assert score("coverage", collapse, REAL) < 0.11


def test_noise_lacks_precision() -> None:
    assert score("precision", CASES["noise"], REAL) < 0.05
    assert score("density", CASES["noise"], REAL) < 0.05
    assert score("precision", CASES["equal law"], REAL) > 0.6


def test_inception_score_falls_with_collapse_and_with_doubt() -> None:
    sure = torch.eye(5, dtype=torch.float64).repeat(40, 1)
    assert inception_score(sure, 0).value == pytest.approx(5.0)
    assert inception_score(sure[:1].repeat(200, 1), 0).value == pytest.approx(1.0)
    assert inception_score(torch.full((200, 5), 0.2), 0).value == pytest.approx(1.0)
    assert 1.0 < inception_score(0.5 * sure + 0.1, 0).value < 5.0
    assert METRICS["inception_score"].direction == "higher"


# FID


def test_fid_of_known_gaussians() -> None:
    """|Δμ|² + tr(A + B - 2 (A^½ B A^½)^½), by a symmetric square root, for covariances that do not commute."""
    a, b = normal(5, 5, 1), normal(5, 5, 2)
    shift = torch.arange(5.0, dtype=torch.float64)
    x, y = whitened(400, 5, 3) @ a.T, whitened(300, 5, 4) @ b.T + shift
    values, vectors = torch.linalg.eigh(a @ a.T)
    root = vectors @ values.clamp_min(0).sqrt().diag() @ vectors.T
    across = torch.linalg.eigvalsh(root @ b @ b.T @ root).clamp_min(0).sqrt().sum()
    expected = shift.square().sum() + a.square().sum() + b.square().sum() - 2 * across
    assert fid(x, y).value == pytest.approx(float(expected), rel=1e-9)


def test_fid_in_one_dimension() -> None:
    x, y = 3 * whitened(50, 1, 1), 5 * whitened(60, 1, 2) + 2
    assert fid(x, y).value == pytest.approx(4 + (3 - 5) ** 2)


def test_fid_bias_between_equal_laws() -> None:
    """(d² + d)/2n from the covariances and 2d/n from the means, for n much larger than d."""
    d, n = 16, 1_000
    scores = [fid(normal(n, d, 2 * i), normal(n, d, 2 * i + 1)).value for i in range(100)]
    expected = (d**2 + d) / (2 * n) + 2 * d / n
    assert abs(np.mean(scores) - expected) < 3 * np.std(scores) / math.sqrt(100)


@pytest.mark.parametrize(("n", "d", "rank"), [(20, 32, 32), (200, 32, 5)])
def test_fid_of_low_rank_features(n: int, d: int, rank: int) -> None:
    """Fewer samples than dimensions, or features on a subspace: turning the space must not change the score."""
    basis, turn = normal(rank, d, 1), torch.linalg.qr(normal(d, d, 2))[0]
    x, y = normal(n, rank, 3) @ basis, 2 * normal(n, rank, 4) @ basis
    assert fid(x @ turn, y @ turn).value == pytest.approx(fid(x, y).value, rel=1e-6)
    total = float(x.var(0).sum())
    assert 0.0 <= fid(x, x).value < 1e-6 * total


def test_fid_is_computed_in_float64() -> None:
    """Far from the origin, where float32 sums lose the covariance."""
    x, y = (whitened(200, 3, i) + 4096 for i in (1, 2))
    assert fid(x, y).value == pytest.approx(0.0, abs=1e-6)


def test_agreement_with_torch_fidelity() -> None:
    make_importable()
    from torch_fidelity import metric_fid, metric_isc, metric_kid, metric_prc

    x, y = clusters(250, 5), clusters(250, 6)
    statistics = [metric_fid.fid_features_to_statistics(z) for z in (x, y)]
    expected = metric_fid.fid_statistics_to_metric(*statistics, verbose=False)
    assert fid(x, y).value == pytest.approx(expected["frechet_inception_distance"], rel=1e-12)
    expected = metric_kid.kid_features_to_metric(x, y, kid_subset_size=250, kid_subsets=3, verbose=False)
    assert kid(x, y, 0).value == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-9)
    expected = metric_prc.prc_features_to_metric(x, y, verbose=False)
    assert precision(x, y).value == pytest.approx(expected["precision"], abs=1e-6)
    assert recall(x, y).value == pytest.approx(expected["recall"], abs=1e-6)
    logits = normal(1_500, 6, 7)
    expected = metric_isc.isc_features_to_metric(logits, splits=3, rng_seed=4)
    assert inception_score(logits.softmax(1), 4).value == pytest.approx(expected["inception_score_mean"], rel=1e-12)


def test_agreement_on_real_features(capsys: pytest.CaptureFixture[str]) -> None:
    """The digits' pixels: on a lattice, so that distances tie, and of deficient rank."""
    make_importable()
    from torch_fidelity import metric_fid, metric_kid, metric_prc

    digits = load("digits")
    x, y = (digits.splits[split].x[:].flatten(1).double() for split in ("validation", "test"))
    x, y = equal_counts(x, y, seed=0)
    statistics = [metric_fid.fid_features_to_statistics(z) for z in (x, y)]
    expected = metric_fid.fid_statistics_to_metric(*statistics, verbose=False)
    assert fid(x, y).value == pytest.approx(expected["frechet_inception_distance"], rel=1e-9)
    assert frechet(x, y).value == pytest.approx(expected["frechet_inception_distance"], rel=1e-6)
    expected = metric_kid.kid_features_to_metric(x, y, kid_subset_size=len(x), kid_subsets=1, verbose=False)
    assert kid(x, y, 0).value == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-9)
    expected = metric_prc.prc_features_to_metric(x, y, verbose=False)
    assert precision(x, y).value == pytest.approx(expected["precision"], abs=1e-6)
    assert recall(x, y).value == pytest.approx(expected["recall"], abs=1e-6)
    expected = compute_prdc(y.numpy(), x.numpy(), nearest_k=5)
    capsys.readouterr()
    assert density(x, y).value == pytest.approx(expected["density"], abs=1e-6)
    assert coverage(x, y).value == pytest.approx(expected["coverage"], abs=1e-6)


# KID


def test_kid_by_its_definition() -> None:
    x, y = normal(30, 4, 1), normal(30, 4, 2) + 0.5
    within = [_off_diagonal_mean((z @ z.T / 4 + 1) ** 3) for z in (x, y)]
    across = ((x @ y.T / 4 + 1) ** 3).mean()
    assert kid(x, y, 0).value == pytest.approx(float(sum(within) - 2 * across), rel=1e-9)


def test_kid_is_unbiased() -> None:
    scores = [kid(normal(60, 4, 2 * i), normal(60, 4, 2 * i + 1), 0).value for i in range(200)]
    assert abs(np.mean(scores)) < 3 * np.std(scores) / math.sqrt(200)
    assert min(scores) < 0


def test_kid_of_unequal_counts_by_its_definition() -> None:
    x, y = normal(50, 4, 1), normal(20, 4, 2) + 0.5
    within = [_off_diagonal_mean((z @ z.T / 4 + 1) ** 3) for z in (x, y)]
    found = kid(x, y, 0)
    assert found.value == pytest.approx(float(sum(within) - 2 * ((x @ y.T / 4 + 1) ** 3).mean()), rel=1e-9)
    assert found.low is not None and found.generated_error is not None


def test_kid_of_more_than_all_pairs_allow_depends_on_the_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gentune.bench.metrics.fidelity._KID_FROM_ALL", 60)
    x, y = normal(40, 3, 1), normal(70, 3, 2)
    assert kid(x, y, 2**47).value == kid(x, y, 2**47).value
    assert kid(x, y, 1).value != kid(x, y, 2).value


# Density and coverage, precision and recall


@pytest.mark.parametrize("k", [3, 5])
def test_agreement_with_prdc(k: int, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = clusters(211, 7, d=6), clusters(211, 8, d=6) + 0.3
    expected = compute_prdc(y.numpy(), x.numpy(), nearest_k=k)
    capsys.readouterr()
    result = density_and_coverage(x, y, k=k)
    assert result.density.value == pytest.approx(expected["density"], abs=1e-6)
    assert result.coverage.value == pytest.approx(expected["coverage"], abs=1e-6)
    if k == 3:
        assert precision(x, y).value == pytest.approx(expected["precision"], abs=1e-6)
        assert recall(x, y).value == pytest.approx(expected["recall"], abs=1e-6)


def test_a_copy_of_the_real_set_scores_one() -> None:
    y = normal(100, 4, 1)
    assert density(y, y).value == 1.0
    assert coverage(y, y).value == 1.0
    assert precision(y, y).value == 1.0
    assert recall(y, y).value == 1.0


def test_repeated_examples_count_where_they_are_hit() -> None:
    """Balls of radius zero: more than k equal examples, which a plain `<` would never find covered."""
    y = torch.tensor([0.0, 1.0, 2.0, 3.0]).repeat_interleave(10)[:, None]
    assert coverage(y, y).value == 1.0
    assert coverage(torch.zeros(40, 1), y).value == 0.25
    assert coverage(torch.full((40, 1), 0.5), y).value == 0.0


def test_expectations_between_equal_laws() -> None:
    results = [density_and_coverage(normal(300, 3, 2 * i), normal(300, 3, 2 * i + 1)) for i in range(20)]
    assert np.mean([r.density.value for r in results]) == pytest.approx(1.0, abs=0.02)
    assert np.mean([r.coverage.value for r in results]) == pytest.approx(1 - 0.5**5, abs=0.01)


def test_unequal_counts_are_refused() -> None:
    for metric in (density, coverage):
        with pytest.raises(ValueError, match="40 generated and 30 real"):
            metric(normal(40, 2, 1), normal(30, 2, 2))


def test_results_do_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = clusters(101, 9), clusters(101, 10)
    small, large = (density_and_coverage(x, y, chunk=chunk) for chunk in (7, 1_000))
    for a, b in ((small.density, large.density), (small.coverage, large.coverage)):
        assert a.value == b.value
        assert torch.equal(a.without_generated, b.without_generated)
        assert torch.equal(a.without_real, b.without_real)
    cut, whole = (support(x, y, 3, chunk=chunk) for chunk in (30, 1_000))
    assert cut.share == whole.share
    assert torch.equal(cut.without_ball, whole.without_ball)
    assert torch.equal(cut.without_point, whole.without_point)
    expected = squared_mmd(x, y).value
    monkeypatch.setattr("gentune.bench.metrics.kernel_sums._BLOCK", 300)
    assert squared_mmd(x, y).value == pytest.approx(expected, rel=1e-12)


# MMD


def test_mmd_by_its_definition() -> None:
    x, y = normal(25, 3, 1), normal(40, 3, 2) + 0.4
    scale = median_distance(y)
    assert scale == pytest.approx(float(torch.pdist(y).median()))

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        square = (a[:, None] - b[None]).square().sum(-1)
        return torch.stack([torch.exp(-square / (2 * (2.0**p * scale) ** 2)) for p in range(-4, 2)]).mean(0)

    expected = sum(_off_diagonal_mean(kernel(z, z)) for z in (x, y)) - 2 * kernel(x, y).mean()
    assert mmd(x, y).value == pytest.approx(float(expected), abs=1e-12)


def test_mmd_is_unbiased_up_to_its_bandwidth() -> None:
    scores = [mmd(normal(60, 2, 2 * i), normal(60, 2, 2 * i + 1)).value for i in range(200)]
    assert abs(np.mean(scores)) < 3 * np.std(scores) / math.sqrt(200)
    assert min(scores) < 0


def test_mmd_sees_detail_finer_than_the_cloud() -> None:
    """Eight narrow clusters against the ring through them, which the median distance alone does not tell apart."""
    n, generator = 500, torch.Generator().manual_seed(0)

    def circle(turns: Tensor) -> Tensor:
        angle = 2 * math.pi * turns.double()
        noise = torch.randn(n, 2, generator=generator, dtype=torch.float64)
        return torch.stack([angle.cos(), angle.sin()], dim=1) + 0.05 * noise

    def eight() -> Tensor:
        return circle(torch.randint(8, (n,), generator=generator) / 8)

    real = eight()
    between_equal_laws = [mmd(eight(), real).value for _ in range(20)]
    assert mmd(circle(torch.rand(n, generator=generator)), real).value > 3 * max(between_equal_laws)


def test_mmd_bandwidth_comes_from_the_real_side_alone() -> None:
    """Two far-off sets score the same, however far: all their kernels across are zero."""
    y = normal(50, 2, 1)
    tight = torch.zeros(50, 2, dtype=torch.float64)
    assert mmd(tight + 1e4, y).value == pytest.approx(mmd(tight + 1e6, y).value, rel=1e-12)


# What all of them share


@pytest.mark.parametrize("name", ON_FEATURES)
def test_float32_and_float64_features_agree(name: str) -> None:
    x, y = clusters(80, 11).float(), clusters(80, 12).float()
    assert score(name, x, y) == score(name, x.double(), y.double())


@pytest.mark.parametrize("name", ON_FEATURES)
def test_what_cannot_be_measured_is_undefined(name: str) -> None:
    x, y = clusters(60, 13), clusters(60, 14)

    def reason(generated: Tensor, real: Tensor) -> str:
        result = measure([name], {"generated_features": generated, "real_features": real, "seed": 0})
        assert not result.values
        return result.undefined[name]

    assert "at least" in reason(x[:1], y[:1])
    assert "got 0" in reason(x[:0], y)
    spoilt = x.clone()
    spoilt[3, 2] = math.nan
    assert reason(spoilt, y) == "features are not finite"
    assert reason(x, y / 0) == "features are not finite"
    assert reason(x, torch.ones_like(y)) == "all real features are equal"
    with pytest.raises(ValueError, match="wanted"):
        score(name, x[:, :3], y)


@pytest.mark.parametrize("name", ON_FEATURES)
def test_a_collapse_to_one_point_has_a_score(name: str) -> None:
    y = clusters(60, 14)
    value = score(name, y[:1].repeat(60, 1), y)
    ideal = {"precision": 1.0}.get(name)
    assert ideal is None or value == ideal
    assert math.isfinite(value)


@pytest.mark.parametrize(
    ("metric", "least"), [(fid, 2), (precision, 4), (recall, 4), (density, 6), (coverage, 6), (mmd, 2)]
)
def test_the_stated_minimum_is_enough(metric: Callable[[Tensor, Tensor], MetricValue], least: int) -> None:
    x, y = normal(least, 3, 1), normal(least, 3, 2)
    assert math.isfinite(metric(x, y).value)
    with pytest.raises(UndefinedError, match=f"at least {least} samples"):
        metric(x[:-1], y[:-1])


def test_inception_score_edges() -> None:
    with pytest.raises(UndefinedError, match="2 classes"):
        inception_score(torch.ones(10, 1), 0)
    with pytest.raises(UndefinedError, match="at least 2"):
        inception_score(torch.eye(3)[:1], 0)
    with pytest.raises(UndefinedError, match="not finite"):
        inception_score(torch.full((10, 3), math.nan), 0)


def test_subsampling_is_seeded_and_keeps_the_order() -> None:
    a, b = torch.arange(50)[:, None], torch.arange(20)[:, None]
    first, second = equal_counts(a, b, seed=3)
    assert len(first) == len(second) == 20
    assert torch.equal(second, b)
    assert torch.equal(first, first.sort(dim=0).values) and len(first.unique()) == 20
    assert torch.equal(first, equal_counts(a, b, seed=3)[0])
    assert not torch.equal(first, equal_counts(a, b, seed=4)[0])
    assert torch.equal(equal_counts(b, a, seed=3)[1], first)
    with pytest.raises(ValueError, match="of 5 was asked for, of 4"):
        subset(4, 5, 0)


def test_torchvision_is_importable() -> None:
    make_importable()
    from torchvision import transforms

    assert transforms.CenterCrop(2)(torch.zeros(1, 4, 4)).shape == (1, 2, 2)


def _off_diagonal_mean(kernel: Tensor) -> Tensor:
    n = len(kernel)
    return (kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1))
