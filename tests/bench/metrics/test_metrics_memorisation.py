"""Memorisation and fairness: oracles, planted copiers and planted bias, edges; the nearest-neighbour grid."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial import cKDTree
from scipy.stats import binomtest, mannwhitneyu, norm
from sklearn.cluster import KMeans
from torch import Tensor

from gentune.bench.artifacts.neighbours import nearest_neighbours, write_neighbours
from gentune.bench.metrics import UndefinedError
from gentune.bench.metrics.cards_trust import CARDS
from gentune.bench.metrics.fairness import class_frequency_gap, class_recall_gap, recall_by_class
from gentune.bench.metrics.fidelity import fid
from gentune.bench.metrics.manifold import coverage
from gentune.bench.metrics.memorisation import (
    authenticity,
    data_copying,
    fid_gap,
    nearest,
    nearest_train_distance,
    rank_score,
)
from gentune.models.base import Batch
from gentune.models.data_spec import DataSpec

N, D = 400, 6


def normal(n: int, seed: int, d: int = D) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mixture(n: int, seed: int) -> Tensor:
    """Five well separated normal clouds in turn."""
    return 8 * normal(5, 99)[torch.arange(n) % 5] + normal(n, seed)


TRAIN, HELD_OUT, FRESH = mixture(2 * N, 1), mixture(N, 2), mixture(N, 3)
COPIES = TRAIN[:N] + 1e-3 * normal(N, 4)
FAR = mixture(N, 3) + 20


def memorisation(x: Tensor) -> dict[str, float]:
    return {
        "authenticity": authenticity(x, TRAIN).value,
        "nearest_train_distance": nearest_train_distance(x, TRAIN, HELD_OUT).value,
        "fid_gap": fid_gap(x, HELD_OUT, TRAIN[:N], 0).value,
        "data_copying": data_copying(x, TRAIN, HELD_OUT, 0).value,
    }


# Orientation


def test_cards_say_which_way_is_better() -> None:
    directions = {card.name: card.direction for card in CARDS}
    honest, copier = memorisation(FRESH), memorisation(COPIES)
    for name, value in honest.items():
        assert (copier[name] < value) if directions[name] == "higher" else (copier[name] > value), name


def test_a_copier_is_found_by_every_measure() -> None:
    scores = memorisation(COPIES)
    assert scores["authenticity"] < 0.02
    assert scores["nearest_train_distance"] < 0.01
    assert scores["data_copying"] < -5
    assert scores["fid_gap"] > 0.9 * fid(TRAIN[:N], HELD_OUT).value


def test_an_honest_model_is_not_accused() -> None:
    scores = memorisation(FRESH)
    assert 0.35 < scores["authenticity"] < 0.65  # one half, and half of the train set lies between the samples
    assert scores["nearest_train_distance"] == pytest.approx(1.0, abs=0.1)
    assert abs(scores["data_copying"]) < 2


def test_fid_gap_of_an_honest_model_is_centred_on_0() -> None:
    gaps = [fid_gap(normal(100, 3 * i), normal(100, 3 * i + 1), normal(100, 3 * i + 2), 0).value for i in range(60)]
    assert abs(np.mean(gaps)) < 3 * np.std(gaps) / math.sqrt(60)
    assert fid_gap(normal(100, 2), normal(100, 1), normal(100, 2), 0).value > 3 * np.std(gaps)  # a copier


def test_a_model_far_from_the_data_is_no_copier() -> None:
    scores = memorisation(FAR)
    assert scores["authenticity"] == 1.0
    assert scores["nearest_train_distance"] > 5
    assert scores["data_copying"] > 5


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_share_of_copies_shows_in_the_figures(share: float) -> None:
    some = torch.cat([COPIES[: int(share * N)], FRESH[int(share * N) :]])
    expected = (1 - share) * authenticity(FRESH[int(share * N) :], TRAIN).value if share < 1 else 0.0
    assert authenticity(some, TRAIN).value == pytest.approx(expected, abs=0.02)
    assert nearest_train_distance(some, TRAIN, HELD_OUT).value == pytest.approx(1 - share, abs=0.06)


def test_local_copying_is_not_averaged_away_by_samples_far_out() -> None:
    """Three of five clouds are copied, two spread too wide: within its cells the rank test sees both."""
    cloud = torch.arange(N) % 5
    mixed = torch.where((cloud < 3)[:, None], TRAIN[:N], FRESH + 0.8 * normal(N, 5))
    assert data_copying(mixed[cloud < 3], TRAIN, HELD_OUT, 0).value < -5
    assert data_copying(mixed, TRAIN, HELD_OUT, 0).value < -2


# Oracles


def test_authenticity_agrees_with_its_definition() -> None:
    x, t = FRESH.numpy(), TRAIN.numpy()
    gap, index = cKDTree(t).query(x)
    own = cKDTree(t).query(t, k=2)[0][:, 1]
    hits = int((gap > own[index]).sum())
    interval = binomtest(hits, N).proportion_ci(0.95, method="wilson")
    result = authenticity(FRESH, TRAIN)
    assert result.value == hits / N
    assert (result.low, result.high) == pytest.approx((interval.low, interval.high), rel=1e-12)


def test_a_copy_of_a_repeated_train_example_is_a_copy() -> None:
    twice = torch.cat([TRAIN[:50], TRAIN[:50]])
    assert authenticity(TRAIN[:50], twice).value == 0.0
    assert authenticity(TRAIN[:50] + 1e-9, twice).value == 1.0  # farther from the example than its twin is


def test_nearest_train_distance_agrees_with_its_definition() -> None:
    tree = cKDTree(TRAIN.numpy())
    a, b = (tree.query(z.numpy())[0] for z in (COPIES + 0.3, HELD_OUT))
    result = nearest_train_distance(COPIES + 0.3, TRAIN, HELD_OUT)
    assert result.value == pytest.approx(a.mean() / b.mean(), rel=1e-12)


def test_the_interval_of_nearest_train_distance_covers() -> None:
    """Of 200 pairs of samples from one law, at one train set, 95% hold 1: 180 at least with a chance above 99.8%."""
    hits = 0
    for seed in range(200):
        result = nearest_train_distance(normal(80, 2 * seed, 2), TRAIN[:, :2], normal(80, 2 * seed + 1, 2))
        assert result.low is not None and result.high is not None
        hits += result.low < 1 < result.high
    assert hits >= 180


def test_fid_gap_is_a_difference_at_equal_counts() -> None:
    same = fid_gap(FRESH, HELD_OUT, TRAIN[:N], 0).value
    assert same == pytest.approx(fid(FRESH, HELD_OUT).value - fid(FRESH, TRAIN[:N]).value, rel=1e-12)
    values = [fid_gap(FRESH, HELD_OUT, TRAIN, seed).value for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]


@pytest.mark.parametrize("grid", [None, 0.5])  # rounded to a grid there are ties
def test_rank_score_agrees_with_scipy(grid: float | None) -> None:
    a, b = normal(40, 1, 1).flatten(), normal(55, 2, 1).flatten() + 0.3
    if grid:
        a, b = ((v / grid).round() * grid for v in (a, b))
    oracle = mannwhitneyu(a.numpy(), b.numpy(), alternative="less", method="asymptotic", use_continuity=False)
    assert norm.cdf(rank_score(a, b)) == pytest.approx(oracle.pvalue, rel=1e-10)
    assert rank_score(a, b) == pytest.approx(-rank_score(b, a), rel=1e-10)
    assert rank_score(torch.zeros(5), torch.zeros(4)) == 0.0


def test_data_copying_agrees_with_its_definition() -> None:
    x, t, y = (z.numpy() for z in (COPIES + 0.2 * normal(N, 7), TRAIN, HELD_OUT))
    k = KMeans(8, n_init=4, random_state=5).fit(t)
    cells = [k.predict(z) for z in (x, t, y)]
    weighted = total = 0.0
    for cell in range(8):
        x_in, t_in, y_in = (z[c == cell] for z, c in zip((x, t, y), cells, strict=True))
        if min(len(x_in), len(y_in)) < 5:
            continue
        tree = cKDTree(t_in)
        u = mannwhitneyu(tree.query(x_in)[0], tree.query(y_in)[0]).statistic
        n, m = len(x_in), len(y_in)
        weighted += len(y_in) / N * (u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)
        total += len(y_in) / N
    found = data_copying(torch.from_numpy(x), torch.from_numpy(t), torch.from_numpy(y), seed=5).value
    assert found == pytest.approx(weighted / total, rel=1e-9)


def test_data_copying_without_copying_is_centred_on_0() -> None:
    scores = [
        data_copying(normal(150, 3 * i, 3), normal(300, 3 * i + 1, 3), normal(150, 3 * i + 2, 3), i).value
        for i in range(60)
    ]
    assert abs(np.mean(scores)) < 3 * np.std(scores) / math.sqrt(60)
    assert np.std(scores) < 1.5


def test_distances_do_not_depend_on_chunks() -> None:
    whole, parts = nearest(FRESH, TRAIN, chunk=10_000), nearest(FRESH, TRAIN, chunk=7)
    assert torch.equal(whole.distance, parts.distance)
    assert torch.equal(whole.index, parts.index)
    itself = torch.arange(N)
    alone = nearest(TRAIN[:N], TRAIN, exclude=itself, chunk=9)
    assert torch.equal(alone.distance, nearest(TRAIN[:N], TRAIN, exclude=itself).distance)
    assert not (alone.index == itself).any()


# Fairness


def one_hot(labels: Tensor, classes: int) -> Tensor:
    return torch.eye(classes, dtype=torch.float64)[labels]


def test_class_frequency_gap_is_total_variation() -> None:
    real = torch.arange(100) % 4
    assert class_frequency_gap(one_hot(real, 4), real).value == 0.0
    assert class_frequency_gap(one_hot(torch.zeros(30, dtype=torch.int64), 4), real).value == pytest.approx(0.75)
    dropped = real[real > 0]
    assert class_frequency_gap(one_hot(dropped, 4), real).value == pytest.approx(0.25)
    doubled = torch.cat([real, real[real == 0]])
    assert class_frequency_gap(one_hot(doubled, 4), real).value == pytest.approx(50 / 125 - 0.25)
    assert class_frequency_gap(0.6 * one_hot(real, 4) + 0.1, real).value == 0.0  # by the most probable class


def test_class_recall_gap_finds_the_class_that_is_left_out() -> None:
    labels = torch.arange(N) % 5
    even = class_recall_gap(FRESH, HELD_OUT, labels).value
    dropped = torch.where((labels == 3)[:, None], FRESH.roll(1, 0), FRESH)
    recalls = recall_by_class(dropped, HELD_OUT, labels)
    assert min(recalls, key=recalls.__getitem__) == 3
    assert recalls[3] < 0.05
    assert class_recall_gap(dropped, HELD_OUT, labels).value > 0.85 > 4 * even


@pytest.mark.parametrize("repeats", [1, 20])  # repeated samples leave their own neighbourhoods empty
def test_class_recall_gap_finds_a_collapse(repeats: int) -> None:
    one = mixture(5 * N, 8)[::5][: N // repeats].repeat(repeats, 1)
    assert class_recall_gap(one, HELD_OUT, torch.arange(N) % 5).value > 0.6


def test_coverage_is_the_weighted_mean_of_the_classes() -> None:
    labels = torch.arange(N) % 5
    generated = torch.cat([FRESH[:200], FRESH[:200] + 3])
    recalls = recall_by_class(generated, HELD_OUT, labels)
    assert sum(recalls.values()) / 5 == pytest.approx(coverage(generated, HELD_OUT).value, rel=1e-12)
    assert recalls == recall_by_class(generated, HELD_OUT, labels, chunk=7)


# Edges


def test_what_has_no_value_says_why() -> None:
    one, constant = TRAIN[:1], torch.ones(20, D)
    broken = FRESH.clone()
    broken[0, 0] = math.nan
    labels = torch.arange(N) % 5
    with pytest.raises(UndefinedError, match="all real features are equal"):
        authenticity(FRESH, one)
    with pytest.raises(UndefinedError, match="all real features are equal"):
        authenticity(FRESH, constant)
    with pytest.raises(UndefinedError, match="not finite"):
        authenticity(broken, TRAIN)
    with pytest.raises(UndefinedError, match="equals a train example"):
        nearest_train_distance(FRESH, TRAIN, TRAIN[:9])
    with pytest.raises(UndefinedError, match="at least 2"):
        nearest_train_distance(one, TRAIN, HELD_OUT)
    with pytest.raises(UndefinedError, match="at least 2"):
        fid_gap(one, HELD_OUT, TRAIN, 0)
    with pytest.raises(UndefinedError, match="no cell holds"):
        data_copying(FRESH[:4], TRAIN, HELD_OUT, 0)
    with pytest.raises(UndefinedError, match="one class"):
        class_frequency_gap(one_hot(labels, 5), torch.zeros(9, dtype=torch.int64))
    with pytest.raises(UndefinedError, match="one class"):
        class_recall_gap(FRESH, HELD_OUT, torch.zeros(N, dtype=torch.int64))
    with pytest.raises(UndefinedError, match="2 classes with 5"):
        class_recall_gap(FRESH, HELD_OUT, torch.arange(N))
    with pytest.raises(UndefinedError, match="not finite"):
        class_frequency_gap(torch.full((3, 2), math.nan), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="wanted 0 to 1"):
        class_frequency_gap(torch.eye(2), torch.tensor([0, 2]))
    with pytest.raises(ValueError, match="wanted"):
        authenticity(FRESH, TRAIN[:, :3])
    with pytest.raises(ValueError, match="labels of shape"):
        class_recall_gap(FRESH, HELD_OUT, labels[:5])
    with pytest.raises(ValueError, match="equal counts"):
        class_recall_gap(FRESH[:50], HELD_OUT, labels)


# The grid


def test_nearest_neighbours_are_ordered_and_show_the_copies() -> None:
    generated = FRESH.clone()
    generated[[5, 17]] = TRAIN[[700, 30]]
    found = nearest_neighbours(generated, TRAIN, samples=4, neighbours=3)
    assert sorted(found.samples[:2].tolist()) == [5, 17]
    assert {int(found.train[i, 0]) for i in (0, 1)} == {700, 30}
    gap, index = cKDTree(TRAIN.numpy()).query(generated[found.samples].numpy(), k=3)
    assert np.array_equal(found.train.numpy(), index)
    assert np.allclose(found.distance.numpy(), gap, rtol=1e-12)
    drawn = nearest_neighbours(generated, TRAIN, samples=4, seed=1)
    assert drawn.train.shape == (4, 5)
    assert torch.equal(drawn.samples, nearest_neighbours(generated, TRAIN, samples=4, seed=1).samples)


@pytest.mark.parametrize("count", [3, 12])
def test_the_grid_shows_samples_above_their_neighbours(tmp_path: Path, count: int) -> None:
    spec = DataSpec("pictures", "image", (1, 4, 4), levels=3)
    levels = torch.randint(3, (60, 1, 4, 4), generator=torch.Generator().manual_seed(0))
    train, generated = Batch(spec.from_levels(levels[:40])), Batch(spec.from_levels(levels[40:]))
    features = [batch.x.flatten(1).double() for batch in (generated, train)]
    found = nearest_neighbours(*features, samples=count, neighbours=2)
    path = write_neighbours(tmp_path, "copies", generated, train, found, spec, maker="gan")
    assert path is not None
    with Image.open(path) as picture:
        assert picture.info["Synthetic"] == "yes" and picture.info["Made by"] == "gan"
        pixels = np.asarray(picture)
    cell = 33
    assert pixels.shape == (3 * cell + 1, 10 * cell + 1)
    for row, source in ((0, generated.x[found.samples]), (1, train.x[found.train[:, 0]])):
        for column in range(min(count, 10)):
            shown = pixels[1 + row * cell : (row + 1) * cell : 8, 1 + column * cell : (column + 1) * cell : 8]
            assert np.array_equal(shown, np.round((source[column, 0].numpy() + 1) * 127.5).astype(np.uint8))
    written = json.loads((tmp_path / "copies.json").read_text())
    assert written["synthetic"] is True and len(written["neighbours"]) == count
    assert written["neighbours"][0]["train"] == found.train[0].tolist()


def test_points_have_no_picture_but_their_distances(tmp_path: Path) -> None:
    spec = DataSpec("points", "vector", (D,))
    generated, train = Batch(FRESH[:20].float()), Batch(TRAIN[:20].float())
    found = nearest_neighbours(FRESH[:20], TRAIN[:20])
    assert write_neighbours(tmp_path, "copies", generated, train, found, spec, maker="vae") is None
    assert len(json.loads((tmp_path / "copies.json").read_text())["neighbours"]) == 10
