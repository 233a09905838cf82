"""Utility, outliers and texts: oracles, orientation, intervals, edges."""

from __future__ import annotations

import inspect
import math
import re

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import Tensor

from gentune.bench.data import load
from gentune.bench.metrics import MetricCard, MetricValue, UndefinedError, utility
from gentune.bench.metrics.alignment import wilson_interval
from gentune.bench.metrics.cards_utility import CARDS
from gentune.bench.metrics.means import crossed_interval, mean_interval, paired_ratio_interval
from gentune.bench.metrics.outliers import outlier_auroc
from gentune.bench.metrics.utility import (
    augmentation_gain,
    bayes_accuracy,
    linear_probe,
    task_accuracy,
    task_accuracy_ratio,
    transfer_accuracy,
)
from gentune.models import Batch


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


CENTRES = 2.0 * torch.randn(4, 6, generator=generator(99))


def blobs(n: int, seed: int, *, noise: float = 1.5) -> Batch:
    """Four classes of 6-dimensional points around centres of their own, in turn."""
    labels = torch.arange(n) % 4
    return Batch(CENTRES[labels] + noise * torch.randn(n, 6, generator=generator(seed)), labels)


def permuted(batch: Batch, seed: int = 0) -> Batch:
    """The same examples under labels that mean nothing."""
    assert batch.condition is not None
    return Batch(batch.x, batch.condition[torch.randperm(len(batch), generator=generator(seed))])


def bounds(result: MetricValue) -> tuple[float, float]:
    assert result.low is not None
    assert result.high is not None
    assert result.low < result.value < result.high
    return result.low, result.high


TRAIN, TEST, GOOD = blobs(400, 1), blobs(400, 2), blobs(400, 3)


# The cards


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_card_and_function_agree(card: MetricCard) -> None:
    function = card.load()
    assert tuple(inspect.signature(function).parameters) == card.needs
    assert card.summary.endswith(".")
    assert re.search(r"arXiv:\d{4}\.\d{4,5}|doi:", function.__doc__ or "")
    assert ("higher" if card.direction == "higher" else "lower") in (function.__doc__ or "").lower()


# Training on synthetic examples, testing on real ones


def test_task_accuracy_is_that_of_the_stated_classifier() -> None:
    x, y = GOOD.x.double().numpy(), GOOD.condition
    scale = np.sqrt(np.mean((x - x.mean(0)) ** 2))
    oracle = LogisticRegression(C=0.1, max_iter=500).fit((x - x.mean(0)) / scale, y)
    right = (oracle.predict((TEST.x.double().numpy() - x.mean(0)) / scale) == TEST.condition.numpy()).sum()  # type: ignore[union-attr]
    result = task_accuracy(GOOD, TEST)
    assert result.value == pytest.approx(right / 400, rel=1e-12)
    assert (result.low, result.high) == pytest.approx(wilson_interval(int(right), 400), rel=1e-12)


def test_real_digits_teach_the_digits_and_labels_that_mean_nothing_do_not() -> None:
    digits = {name: examples.all() for name, examples in load("digits").splits.items()}
    assert task_accuracy(digits["train"], digits["test"]).value > 0.95
    assert task_accuracy(permuted(digits["train"]), digits["test"]).value < 0.3


@pytest.mark.parametrize("metric", [task_accuracy_ratio, augmentation_gain])
def test_good_synthetic_examples_beat_mislabelled_ones(metric: object) -> None:
    assert callable(metric)
    good, bad = (metric(synthetic, TRAIN, TEST, 0) for synthetic in (GOOD, permuted(GOOD)))
    assert bounds(good)[0] > bounds(bad)[1]


def test_task_accuracy_of_mislabelled_examples_is_lower() -> None:
    assert bounds(task_accuracy(GOOD, TEST))[0] > bounds(task_accuracy(permuted(GOOD), TEST))[1]


def test_a_class_that_is_never_made_is_never_found() -> None:
    assert GOOD.condition is not None
    lacking = GOOD[GOOD.condition != 3]
    assert task_accuracy(lacking, TEST).value < 0.76
    assert 0.0 < transfer_accuracy(lacking, TRAIN, TEST, 0).value < 1.0  # the few real ones do show it


def test_one_class_alone_is_always_the_answer() -> None:
    assert GOOD.condition is not None
    assert task_accuracy(GOOD[GOOD.condition == 2], TEST).value == 0.25


def test_equal_examples_teach_nothing_but_are_no_error() -> None:
    assert task_accuracy(Batch(torch.zeros(8, 6), torch.arange(8) % 4), TEST).value == 0.25


def test_a_constant_pixel_changes_nothing() -> None:
    def wider(batch: Batch) -> Batch:
        return Batch(torch.cat([batch.x * 2**0.5, torch.full((len(batch), 6), -1.0)], dim=1), batch.condition)

    # Half of the coordinates being dead, the deviation over all is 1/√2 of that of the live ones.
    assert task_accuracy(wider(GOOD), wider(TEST)).value == pytest.approx(task_accuracy(GOOD, TEST).value, abs=0.006)


def test_the_ratio_of_a_set_to_itself_is_one() -> None:
    result = task_accuracy_ratio(TRAIN, TRAIN, TEST, 0)
    assert result == MetricValue(1.0)  # the two classifiers are the same, so nothing is left to chance


def test_the_ratio_compares_equal_counts() -> None:
    """A tenth of the examples is compared with a tenth of the real ones, though all are better."""
    result = task_accuracy_ratio(GOOD[:40], TRAIN, TEST, 0)
    low, high = bounds(result)
    assert low < 1.0 < high
    assert task_accuracy_ratio(GOOD, TRAIN[:40], TEST, 0).value == pytest.approx(1.0, abs=0.1)


def test_augmentation_gain_is_in_points_and_may_be_negative() -> None:
    assert augmentation_gain(permuted(GOOD), TRAIN, TEST, 0).value < -5.0
    assert augmentation_gain(blobs(4, 3), TRAIN, TEST, 0).value == pytest.approx(0.0, abs=3.0)


@pytest.mark.slow
def test_pretraining_is_what_transfers() -> None:
    digits = {name: examples.all() for name, examples in load("digits").splits.items()}
    good, bad = (
        transfer_accuracy(synthetic, digits["train"], digits["test"], 0)
        for synthetic in (digits["validation"], permuted(digits["validation"]))
    )
    assert bounds(good)[0] > bad.value + 0.03


@pytest.mark.parametrize(
    "metric",
    [task_accuracy_ratio, augmentation_gain, pytest.param(transfer_accuracy, marks=pytest.mark.slow)],
)
def test_the_seed_settles_it(metric: object) -> None:
    assert callable(metric)
    small = blobs(60, 3)
    first = metric(small, TRAIN, TEST, 7)
    np.random.seed(1)  # noqa: NPY002 - a state that must not matter
    assert metric(small, TRAIN, TEST, 7) == first
    assert metric(small, TRAIN, TEST, 8) != first


@pytest.mark.parametrize(
    ("synthetic", "reason"),
    [
        (Batch(GOOD.x), "no class labels"),
        (Batch(GOOD.x, torch.zeros(400, 1, 2, 2)), "no class labels"),
        (Batch(GOOD.x * math.nan, GOOD.condition), "not finite"),
        (GOOD[:0], "there are no"),
    ],
)
def test_what_cannot_be_trained_on_is_undefined(synthetic: Batch, reason: str) -> None:
    for figure in (
        lambda: task_accuracy(synthetic, TEST),
        lambda: augmentation_gain(synthetic, TRAIN, TEST, 0),
        lambda: transfer_accuracy(synthetic, TRAIN, TEST, 0),
        lambda: task_accuracy_ratio(synthetic, TRAIN, TEST, 0),
    ):
        with pytest.raises(UndefinedError, match=reason):
            figure()


def test_one_test_class_and_too_few_real_examples_are_undefined() -> None:
    assert TEST.condition is not None
    with pytest.raises(UndefinedError, match="at least 2 classes"):
        task_accuracy(GOOD, TEST[TEST.condition == 0])
    with pytest.raises(UndefinedError, match="at least 10 real training examples a class, got 9"):
        augmentation_gain(GOOD, TRAIN[:39], TEST, 0)
    with pytest.raises(ValueError, match="6 values"):
        task_accuracy(GOOD, Batch(TEST.x[:, :5], TEST.condition))


# The Bayes classifier


def test_bayes_accuracy_counts_the_most_likely_class() -> None:
    scores = torch.tensor([[-1.0, -2.0], [-3.0, -1.0], [-1.0, -5.0], [-2.0, -math.inf]])
    result = bayes_accuracy(scores, torch.tensor([0, 1, 1, 0]))
    assert result.value == 0.75
    assert (result.low, result.high) == pytest.approx(wilson_interval(3, 4))


def test_bayes_accuracy_of_a_model_that_ignores_the_class_is_chance() -> None:
    labels = torch.arange(30) % 3
    assert bayes_accuracy(torch.zeros(30, 3), labels).value == pytest.approx(1 / 3, rel=1e-12)
    assert bayes_accuracy(torch.full((30, 3), -math.inf), torch.zeros(30).long()).value == pytest.approx(1 / 3)


def test_bayes_accuracy_prefers_the_true_density() -> None:
    def log_density(scale: float) -> Tensor:
        return -(TEST.x[:, None] - scale * CENTRES).square().sum(-1)

    assert TEST.condition is not None
    good, bad = (bayes_accuracy(log_density(scale), TEST.condition) for scale in (1.0, -1.0))
    assert bounds(good)[0] > bounds(bad)[1]


def test_bayes_accuracy_is_undefined_without_classes_examples_or_numbers() -> None:
    for scores, reason in (
        (torch.zeros(3, 1), "2 classes"),
        (torch.zeros(0, 3), "1 example"),
        (torch.full((3, 3), math.nan), "not finite"),
        (torch.full((3, 3), math.inf), "not finite"),
    ):
        with pytest.raises(UndefinedError, match=reason):
            bayes_accuracy(scores, torch.zeros(len(scores)).long())
    with pytest.raises(ValueError, match="wanted 0 to 2"):
        bayes_accuracy(torch.zeros(1, 3), torch.tensor([3]))
    with pytest.raises(ValueError, match="wanted"):
        bayes_accuracy(torch.zeros(2, 3), torch.tensor([0]))


# The linear probe


def probe(train_codes: Tensor, test_codes: Tensor, seed: int = 0) -> MetricValue:
    assert TRAIN.condition is not None
    assert TEST.condition is not None
    return linear_probe(train_codes, TRAIN.condition, test_codes, TEST.condition, seed)


def test_the_probe_prefers_codes_that_tell_the_class() -> None:
    noise = torch.randn(2, 400, 6, generator=generator(8))
    assert bounds(probe(TRAIN.x, TEST.x))[0] > bounds(probe(noise[0], noise[1]))[1]


def test_the_probe_does_not_depend_on_units_nor_on_dead_codes() -> None:
    units = torch.tensor([1e-3, 1.0, 1e3, 10.0, 0.1, 7.0], dtype=torch.float64)
    plain = probe(TRAIN.x.double(), TEST.x.double())
    scaled = probe(TRAIN.x.double() * units + 5.0, TEST.x.double() * units + 5.0)
    assert scaled.value == pytest.approx(plain.value, rel=1e-6)
    assert probe(TRAIN.x, TEST.x, 1) == probe(TRAIN.x, TEST.x, 1)


def test_the_probe_is_undefined_for_equal_codes_and_bad_shapes() -> None:
    with pytest.raises(UndefinedError, match="equal"):
        probe(torch.ones(400, 3), torch.ones(400, 3))
    with pytest.raises(ValueError, match="coordinates"):
        probe(TRAIN.x, TEST.x[:, :3])


# Outliers


@pytest.mark.parametrize("decimals", [0, 1, 8])  # with many ties, some, and none
def test_auroc_and_delong_variance(decimals: int) -> None:
    inliers = torch.randn(70, generator=generator(1), dtype=torch.float64).add(0.7).round(decimals=decimals)
    outliers = torch.randn(50, generator=generator(2), dtype=torch.float64).round(decimals=decimals)
    result = outlier_auroc(inliers, outliers)
    oracle = roc_auc_score([1] * 70 + [0] * 50, torch.cat([inliers, outliers]).numpy())
    assert result.value == pytest.approx(oracle, rel=1e-12)
    wins = (inliers[:, None] > outliers).double() + 0.5 * (inliers[:, None] == outliers).double()  # (70, 50)
    deviation = math.sqrt(wins.mean(1).var() / 70 + wins.mean(0).var() / 50)
    low, high = bounds(result)
    for bound, sign in ((low, -1), (high, 1)):
        logit = math.log(bound / (1 - bound)) - math.log(oracle / (1 - oracle))
        assert logit == pytest.approx(sign * 1.959963985 * deviation / (oracle * (1 - oracle)), rel=1e-6)


def test_auroc_orientation_and_ends() -> None:
    typical, strange = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([-math.inf, -1.0, 0.0])
    assert outlier_auroc(typical, strange) == MetricValue(1.0)
    assert outlier_auroc(strange, typical) == MetricValue(0.0)
    assert outlier_auroc(torch.ones(5), torch.ones(5)) == MetricValue(0.5)


def test_auroc_interval_holds_the_truth_as_often_as_it_says() -> None:
    truth, draws = 0.5 * (1 + math.erf(1.0 / 2)), torch.Generator().manual_seed(0)
    held = 0
    for _ in range(400):
        low, high = bounds(outlier_auroc(torch.randn(60, generator=draws) + 1.0, torch.randn(40, generator=draws)))
        held += low < truth < high
    assert 0.92 < held / 400 < 0.98


def test_auroc_is_undefined_for_missing_scores_and_nan() -> None:
    with pytest.raises(UndefinedError, match="got 0 and 3"):
        outlier_auroc(torch.zeros(0), torch.zeros(3))
    with pytest.raises(UndefinedError, match="not numbers"):
        outlier_auroc(torch.tensor([math.nan]), torch.zeros(3))
    with pytest.raises(ValueError, match="wanted"):
        outlier_auroc(torch.zeros(3, 1), torch.zeros(3))


def test_paired_ratio_interval_holds_the_truth_as_often_as_it_says() -> None:
    draws = torch.Generator().manual_seed(1)
    held = 0
    for _ in range(500):
        easy = torch.rand(150, generator=draws)  # shared between the two, so that hits go together
        first, second = (easy + 0.4 * torch.rand(150, generator=draws) < limit for limit in (0.7, 0.9))
        low, high = bounds(paired_ratio_interval(first, second))
        held += low < 0.5 / 0.7 < high
    assert 0.92 < held / 500 < 0.98


def test_crossed_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Draws and examples both vary; the interval over examples alone would hold far too rarely."""
    draws = torch.Generator().manual_seed(2)
    held = 0
    for _ in range(400):
        table = (
            torch.randn(5, 1, generator=draws)
            + torch.randn(1, 50, generator=draws)
            + torch.randn(5, 50, generator=draws)
        )
        low, high = bounds(crossed_interval(table))
        held += low < 0.0 < high
    assert 0.92 < held / 400 < 0.985


def test_an_interval_without_width_is_none() -> None:
    assert mean_interval(torch.ones(4)) == MetricValue(1.0)
    assert mean_interval(torch.ones(1)) == MetricValue(1.0)
    assert crossed_interval(torch.ones(3, 4)) == MetricValue(1.0)
    assert crossed_interval(torch.tensor([[0.0, 1.0], [1.0, 1.0]]), highest=1.0).high == 1.0


# Large sets


class _Mapped:
    """Examples of which some at a time are in memory; the most that were asked for at once."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self.most = 0

    @property
    def labels(self) -> Tensor | None:
        return self._batch.labels

    def __len__(self) -> int:
        return len(self._batch)

    def __getitem__(self, index: Tensor | slice, /) -> Batch:
        some = self._batch[index]
        self.most = max(self.most, len(some))
        return some


def test_real_examples_are_read_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """By index for few of each class, in parts to be tested on; the figures are those of examples in memory."""
    few = GOOD[:80]
    known = [
        task_accuracy(few, TEST),
        augmentation_gain(few, TRAIN, TEST, 0),
        transfer_accuracy(few, TRAIN, TEST, 0),
        task_accuracy_ratio(few, TRAIN, TEST, 0),
    ]
    monkeypatch.setattr(utility, "_AT_A_TIME", 70)
    train, test = _Mapped(TRAIN), _Mapped(TEST)
    found = [
        task_accuracy(few, test),
        augmentation_gain(few, train, test, 0),
        transfer_accuracy(few, train, test, 0),
        task_accuracy_ratio(few, train, test, 0),
    ]
    assert found == known
    assert test.most == 70
    assert train.most == 80  # as many as there are synthetic ones
