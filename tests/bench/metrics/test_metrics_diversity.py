"""F-score, Vendi score, covered modes, and metrics class by class."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from gentune.bench.data import load
from gentune.bench.metrics import UndefinedError
from gentune.bench.metrics.diversity import f_score, modes_covered, vendi
from gentune.bench.metrics.fidelity import fid, precision, recall
from gentune.bench.metrics.manifold import coverage
from gentune.bench.metrics.per_class import per_class


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# F-score


def test_f_score_is_the_harmonic_mean() -> None:
    x, y = 0.7 * normal(200, 6, 1), normal(200, 6, 2)
    p, r = precision(x, y).value, recall(x, y).value
    assert 0 < r < p < 1
    assert f_score(x, y).value == pytest.approx(2 / (1 / p + 1 / r))


def test_f_score_of_a_collapse_and_of_noise() -> None:
    """Collapse has precision without recall, and far noise recall without precision: both score low."""
    y = normal(200, 6, 3)
    equal = f_score(normal(200, 6, 4), y).value
    collapse = f_score(y[:1] + 0.01 * normal(200, 6, 5), y).value
    noise = f_score(30 * normal(200, 6, 6), y).value
    assert collapse < 0.1 < equal
    assert noise < 0.1
    assert f_score(y + 1e6, y).value == 0.0


def test_f_score_has_the_interval_of_both() -> None:
    x, y = 0.7 * normal(300, 6, 7), normal(300, 6, 8)
    result = f_score(x, y)
    assert result.low is not None and result.high is not None
    assert 0 < result.low < result.value < result.high < 1


def test_f_score_edges() -> None:
    y = normal(10, 2, 1)
    with pytest.raises(UndefinedError, match="at least 4"):
        f_score(y[:3], y[:3])
    with pytest.raises(UndefinedError, match="not finite"):
        f_score(y * math.nan, y)
    with pytest.raises(UndefinedError, match="all real features are equal"):
        f_score(y, torch.ones_like(y))


# Vendi


def test_vendi_closed_forms() -> None:
    assert vendi(torch.eye(7)).value == pytest.approx(7.0)  # all at right angles
    assert vendi(torch.ones(9, 3)).value == pytest.approx(1.0)  # all equal
    assert vendi(torch.eye(4).repeat(5, 1)).value == pytest.approx(4.0)  # four kinds, five of each
    uneven = torch.eye(2)[[0, 0, 0, 1]]  # the entropy of (3/4, 1/4)
    assert vendi(uneven).value == pytest.approx(math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)))


def test_vendi_of_two_directions_at_an_angle() -> None:
    """K/2 of two samples has the eigenvalues (1 ± cos)/2."""
    angle = 0.7
    x = torch.tensor([[1.0, 0.0], [3 * math.cos(angle), 3 * math.sin(angle)]], dtype=torch.float64)
    eigenvalues = [(1 + math.cos(angle)) / 2, (1 - math.cos(angle)) / 2]
    assert vendi(x).value == pytest.approx(math.exp(-sum(v * math.log(v) for v in eigenvalues)))


@pytest.mark.parametrize(("n", "d"), [(60, 5), (5, 60)])
def test_vendi_by_its_definition(n: int, d: int) -> None:
    x = normal(n, d, 1)
    unit = x / x.norm(dim=1, keepdim=True)
    eigenvalues = torch.linalg.eigvalsh(unit @ unit.T / n)
    eigenvalues = eigenvalues[eigenvalues > 1e-14]
    expected = math.exp(-float((eigenvalues * eigenvalues.log()).sum()))
    assert vendi(x).value == pytest.approx(expected, rel=1e-9)


def test_vendi_of_samples_without_length() -> None:
    """Rectified features can all be zero: such samples are one kind of their own."""
    x = torch.cat([torch.eye(3), torch.zeros(1, 3)])
    assert vendi(x).value == pytest.approx(4.0)
    assert vendi(torch.zeros(5, 3)).value == pytest.approx(1.0)


def test_vendi_falls_with_collapse() -> None:
    x = normal(200, 8, 2)
    assert vendi(x[:3].repeat(70, 1)).value < vendi(x).value
    assert vendi(x + 10).value < vendi(x).value


def test_vendi_interval_is_the_delete_one_jackknifes() -> None:
    """The influence function against the metric computed without each sample."""
    x = normal(150, 4, 3) + torch.tensor([1.0, 0.0, 0.0, 0.0])
    result = vendi(x)
    without = torch.tensor([math.log(vendi(torch.cat([x[:i], x[i + 1 :]])).value) for i in range(150)])
    deviation = math.sqrt(149 / 150 * float((without.double() - without.double().mean()).square().sum()))
    assert result.high is not None
    assert math.log(result.high / result.value) / 1.959964 == pytest.approx(deviation, rel=0.03)


def test_vendi_edges() -> None:
    with pytest.raises(UndefinedError, match="at least 2"):
        vendi(torch.ones(1, 3))
    with pytest.raises(UndefinedError, match="not finite"):
        vendi(torch.full((3, 3), math.inf))
    with pytest.raises(ValueError, match="wanted"):
        vendi(torch.ones(3))


# Modes


@dataclass(frozen=True)
class Square:
    centres: Tensor
    deviation: Tensor


SQUARE = Square(
    torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]]), torch.tensor([1.0, 0.1])
)  # narrower in the second coordinate


def around(mode: int, count: int, offset: tuple[float, float] = (0.0, 0.0)) -> Tensor:
    return (SQUARE.centres[mode] + torch.tensor(offset)).repeat(count, 1)


def test_modes_need_a_fifth_of_their_share() -> None:
    """Of 100 samples four modes would get 25 each: 5 are enough, 4 are not."""
    x = torch.cat([around(0, 66), around(1, 25), around(2, 5), around(3, 4)])
    assert modes_covered(x, SQUARE).value == 3.0
    assert modes_covered(around(0, 100), SQUARE).value == 1.0


def test_samples_beyond_three_deviations_belong_to_no_mode() -> None:
    assert modes_covered(around(0, 40, (2.9, 0.0)), SQUARE).value == 1.0
    assert modes_covered(around(0, 40, (3.1, 0.0)), SQUARE).value == 0.0
    assert modes_covered(around(0, 40, (0.0, 0.29)), SQUARE).value == 1.0
    assert modes_covered(around(0, 40, (0.0, 0.31)), SQUARE).value == 0.0
    assert modes_covered(around(0, 40, (2.5, 0.25)), SQUARE).value == 0.0


def test_eight_gaussians_know_their_modes() -> None:
    data = load("eight_gaussians")
    assert data.modes is not None
    x = data.splits["validation"].x[:1_000]
    assert modes_covered(x, data.modes).value == 8.0
    gap, _ = torch.cdist(x.double() / data.modes.deviation, data.modes.centres / data.modes.deviation).min(dim=1)
    # Within 3 deviations in two dimensions: 1 - exp(-9/2) = .989, ± 4 deviations of 1,000 draws.
    assert float((gap <= 3).double().mean()) == pytest.approx(1 - math.exp(-4.5), abs=4 * math.sqrt(0.011 / 1_000))
    assert modes_covered(x[x[:, 0] > 0], data.modes).value < 8.0
    assert load("two_moons").modes is None


def test_modes_edges() -> None:
    with pytest.raises(UndefinedError, match="at least 20 samples for 4 modes, got 19"):
        modes_covered(around(0, 19), SQUARE)
    with pytest.raises(UndefinedError, match="not finite"):
        modes_covered(around(0, 20) * math.nan, SQUARE)
    with pytest.raises(ValueError, match="wanted"):
        modes_covered(torch.zeros(30, 3), SQUARE)


# Class by class


def test_a_collapsed_class_is_found() -> None:
    labels = torch.arange(300) % 3
    centres = 20 * torch.eye(3, dtype=torch.float64).repeat(1, 2)
    real, generated = centres[labels] + normal(300, 6, 1), centres[labels] + normal(300, 6, 2)
    generated[labels == 1] = generated[1].clone()
    found = per_class(recall, generated, real, labels, labels, seed=0)
    assert not found.undefined
    assert found.values[1].value < 0.1 < min(found.values[0].value, found.values[2].value)
    rows = labels == 2
    assert found.values[2] == recall(generated[rows], real[rows])


def test_counts_within_a_class_are_made_equal() -> None:
    """Coverage refuses unequal counts; here one class was sampled half as often."""
    labels, conditions = torch.arange(120) % 2, torch.arange(90) % 3 // 2
    found = per_class(coverage, normal(90, 3, 1), normal(120, 3, 2), conditions, labels, seed=0)
    assert set(found.values) == {0, 1}


def test_classes_with_too_few_samples_are_undefined() -> None:
    labels = torch.tensor([0] * 10 + [1] * 10 + [2] * 10)
    conditions = torch.tensor([0] * 10 + [1] * 1 + [3] * 19)
    found = per_class(fid, normal(30, 2, 1), normal(30, 2, 2), conditions, labels, seed=0)
    assert set(found.values) == {0}
    assert found.undefined == {
        1: "needs at least 2 samples of either side, got 1",
        2: "needs at least 2 samples of either side, got 0",
    }
    with pytest.raises(ValueError, match="30 generated features and labels"):
        per_class(fid, normal(30, 2, 1), normal(30, 2, 2), conditions[:5], labels, seed=0)
