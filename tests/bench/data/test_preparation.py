"""From what a source holds to splits: subset, shares, groups, duplicates, and what is said about them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gentune.bench.data import DataSet, Found, Split
from gentune.bench.data.common_options import CommonOptions
from gentune.bench.data.duplicates import find_duplicates, joined
from gentune.bench.data.preparation import prepare
from gentune.bench.data.splitting import draw_splits, draw_subset
from gentune.bench.errors import UsageError
from gentune.models import DataSpec
from gentune.models.data_spec import ConditionSpec

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def images(n: int, *, classes: int = 0, seed: int = 0, **more: Any) -> Found:
    """Random images of 6×6 with 16 levels, and random labels."""
    random = np.random.default_rng(seed)
    condition = ConditionSpec("label", classes=classes) if classes else ConditionSpec()
    spec = DataSpec("noise", "image", (1, 6, 6), levels=16, condition=condition)
    labels = random.integers(classes, size=n) if classes else None
    return Found(spec, random.integers(16, size=(n, 1, 6, 6)).astype(np.uint8), labels, **more)


def vectors(x: np.ndarray, **more: Any) -> Found:
    return Found(DataSpec("points", "vector", x.shape[1:]), x.astype(float), **more)


def sizes(data: DataSet) -> tuple[int, ...]:
    return tuple(len(data.splits[name]) for name in SPLITS)


def rows_of(data: DataSet, name: Split) -> set[bytes]:
    return {row.numpy().tobytes() for row in data.splits[name].x[:]}


def test_shares_and_seed_decide_the_splits() -> None:
    found = images(1_000)
    data = prepare(found, CommonOptions(split=(0.5, 0.3, 0.2)))
    assert sizes(data) == (500, 300, 200)
    again, other = (prepare(found, CommonOptions(split=(0.5, 0.3, 0.2), split_seed=s)) for s in (0, 1))
    assert again.fingerprint == data.fingerprint != other.fingerprint
    together = set().union(*(rows_of(data, name) for name in SPLITS))
    assert together == {row.tobytes() for row in (found.values.astype(np.float32) * np.float32(2 / 15) - 1)}


def test_every_label_has_its_share_of_every_split() -> None:
    data = prepare(images(3_000, classes=5), CommonOptions())
    counts = np.array([np.bincount(data.splits[name].labels.numpy(), minlength=5) for name in SPLITS])  # type: ignore[union-attr]
    shares = counts / counts.sum(0)
    assert np.abs(shares - np.array([[0.6], [0.2], [0.2]])).max() < 0.005


def test_groups_are_never_cut_and_rare_labels_are_trained_on() -> None:
    random = np.random.default_rng(1)
    groups = random.integers(60, size=600)
    split = draw_splits((0.6, 0.2, 0.2), random, groups, None)
    assert all(len(set(split[groups == g])) == 1 for g in range(60))
    assert np.abs(np.bincount(split) / 600 - (0.6, 0.2, 0.2)).max() < 0.05
    labels = np.repeat(np.arange(100), 2)
    split = draw_splits((0.6, 0.2, 0.2), random, np.arange(200), labels)
    assert all((split[labels == label] == 0).any() for label in range(100))
    assert min(np.bincount(split)) > 15


def test_a_subset_keeps_the_shares_of_labels() -> None:
    labels = np.repeat([0, 1, 2], [700, 200, 100])
    chosen = draw_subset(100, np.random.default_rng(0), labels)
    assert len(np.unique(chosen)) == 100
    assert np.abs(np.bincount(labels[chosen]) - (70, 20, 10)).max() <= 1
    assert sum(sizes(prepare(images(500, classes=3), CommonOptions(subset=200)))) == 200


def test_splits_of_the_source_stay_and_missing_ones_are_drawn_from_train() -> None:
    own = np.repeat(["train", "validation", "test"], [300, 60, 40])
    assert sizes(prepare(images(400, split=own), CommonOptions())) == (300, 60, 40)
    own = np.repeat(["train", "test"], [300, 100])
    data = prepare(images(400, split=own), CommonOptions())
    assert sizes(data) == (225, 75, 100)
    assert "validation are drawn" in data.notes[0] or "validation is drawn" in data.notes[0]
    with pytest.raises(UsageError, match="no train split"):
        prepare(images(400, split=np.repeat(["validation", "test"], 200)), CommonOptions())


def test_exact_and_near_copies_stay_in_one_split() -> None:
    found = images(400)
    found.values[100:150] = found.values[:50]
    found.values[150:200] = found.values[50:100]
    found.values[150:200, 0, 0, 0] ^= 1  # one pixel by one level
    data = prepare(found, CommonOptions())
    assert any("copies of other examples: 50 of 400" in note for note in data.notes)
    assert any("50 pairs of images are nearly the same" in note for note in data.notes)
    for i in range(100):
        pair = [(found.values[j].astype(np.float32) * np.float32(2 / 15) - 1).tobytes() for j in (i, i + 100)]
        assert len({name for name in SPLITS for row in pair if row in rows_of(data, name)}) == 1


def test_near_means_two_percent_of_the_highest_level() -> None:
    spec = DataSpec("grey", "image", (3, 8, 8), levels=256)
    random = np.random.default_rng(3)
    x = random.integers(20, 230, size=(40, 3, 8, 8)).astype(np.uint8)
    x[10:20] = x[:10] + 5  # a root mean square of 5 of 255: 1.96%
    x[20:30] = x[:10] + 6  # 2.35%; but 1 from the ones before
    found = find_duplicates(spec, x)
    assert {tuple(pair) for pair in found.near} == {(i, i + 10) for i in range(10)} | {
        (i + 10, i + 20) for i in range(10)
    }
    assert joined(np.arange(40), found.near).max() == 19


def test_copies_across_splits_of_the_source_are_left_out_of_the_earlier_split() -> None:
    found = images(400, split=np.repeat(["train", "validation", "test"], [200, 100, 100]))
    x = found.values
    x[:10], x[200:205] = x[300:310], x[310:315]
    data = prepare(found, CommonOptions())
    assert sizes(data) == (190, 95, 100)
    assert any("15 examples are left out" in note for note in data.notes)


def test_where_most_examples_repeat_repeats_are_how_the_data_are() -> None:
    x = np.random.default_rng(0).integers(2, size=(300, 3))
    data = prepare(vectors(x), CommonOptions())
    assert sum(sizes(data)) == 300
    assert "they may stand in several splits" in data.notes[0]


def test_mirrored_images_are_more_examples_of_train_alone() -> None:
    found = images(100, classes=2)
    plain = prepare(found, CommonOptions()).splits["train"]
    data = prepare(Found(found.spec, found.x, found.condition, mirrored=True), CommonOptions())
    train = data.splits["train"]
    n = len(plain)
    assert (len(train), len(data.splits["test"])) == (2 * n, 20)
    assert (train.x[:n] == plain.x[:]).all()
    assert (train.x[n:] == plain.x[:].flip(-1)).all()
    some = torch.tensor([n, 3])
    assert (train[some].x == train.x[:][some]).all()
    assert (train.select(some).x[:] == train.x[:][some]).all()
    assert plain.labels is not None and train.labels is not None
    assert (train.labels == plain.labels.repeat(2)).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"split": (0.6, 0.4)}, "option split is .* wanted the shares of train, validation, test"),
        ({"split": (0.9, 0.2, 0.2)}, "option split is"),
        ({"split": (0.9, 0.1, 0.0)}, "option split is"),
        ({"split": ("a", "b", "c")}, "option split is"),
        ({"subset": -1}, "option subset is -1"),
        ({"subset": 401}, "option subset is 401; data 'noise' has 400 examples"),
        ({"split_seed": -1}, "option split_seed is -1"),
        ({"subset": 12}, "wanted at least 5 in each split"),
    ],
)
def test_options_that_make_no_splits_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        prepare(images(400), CommonOptions(**options))


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.empty((0, 2)), "has no examples"),
        (np.full((50, 2), 3.0), "all 50 examples are the same"),
        (np.where(np.eye(50, 2), np.nan, 1.0), "2 of 50 examples hold NaN or infinite values"),
        (np.stack([np.arange(50.0), np.ones(50)], 1), "a column is constant in the train split"),
        (np.arange(100.0).reshape(50, 2) * 1e306, "values too large"),
    ],
)
def test_values_that_nothing_can_be_learned_from_are_refused(x: np.ndarray, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        prepare(vectors(x), CommonOptions())
