"""How good trained evaluators are said to be, and how long they are trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gentune.bench.data import DataSet
from gentune.bench.data.examples import Examples
from gentune.bench.evaluators import library, load_or_train
from gentune.bench.evaluators.quality import Quality, of_classes, of_reconstruction
from gentune.models.data_spec import DataSpec

from .test_evaluators import picture_set


def test_accuracy_stands_next_to_the_most_frequent_class() -> None:
    labels = torch.tensor([0] * 70 + [1] * 30)
    found = of_classes(torch.where(torch.arange(100) < 90, labels, 1 - labels), labels)
    assert (found.value, found.chance, found.examples) == (0.9, 0.7, 100)
    assert found.low == pytest.approx(0.8256, abs=1e-4)  # Wilson's interval of 90 in 100
    assert str(found) == "accuracy 90.0% (chance 70.0%) on 100 validation examples"
    assert not found.poor


@pytest.mark.parametrize(
    ("right", "of", "classes", "poor"),
    [
        (500, 1_000, 2, True),  # chance
        (590, 1_000, 2, True),  # above chance beyond doubt, but less than a fifth of the way
        (700, 1_000, 2, False),
        (8, 12, 2, True),  # too few examples to tell
        (250, 1_000, 10, True),
        (350, 1_000, 10, False),
        (20, 20, 1, True),  # there is nothing to tell apart
    ],
)
def test_what_is_near_chance_is_poor(right: int, of: int, classes: int, poor: bool) -> None:
    labels = torch.arange(of) % classes
    found = of_classes(torch.where(torch.arange(of) < right, labels, classes), labels)
    assert found.poor is poor
    assert ("near chance" in str(found)) is poor


def test_a_guess_is_rarely_taken_for_knowledge() -> None:
    """Of evaluators that guess among two classes, nearly all are poor, on however few examples."""
    generator = torch.Generator().manual_seed(0)
    for examples in (10, 50, 400):
        labels = torch.arange(examples) % 2
        poor = [of_classes(torch.randint(2, (examples,), generator=generator), labels).poor for _ in range(300)]
        assert sum(poor) >= 0.975 * 300


def test_reconstruction_is_a_share_of_the_variance() -> None:
    x = torch.randn(4_000, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise = torch.randn(4_000, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = of_reconstruction(x + 0.5 * noise, x)
    assert found.low < 0.75 < found.high  # 1 - 0.25 / 1
    assert found.high - found.low < 0.03
    by_the_mean = of_reconstruction(x.mean(0).expand_as(x), x)
    assert by_the_mean.value == pytest.approx(0.0, abs=1e-12)
    assert by_the_mean.poor
    constant = of_reconstruction(torch.ones(4, 2), torch.ones(4, 2))
    assert (constant.value, constant.poor) == (0.0, True)


def test_the_interval_of_reconstruction_covers() -> None:
    """The interval of a ratio of means holds the true share in about 95% of data sets."""
    generator, hits = torch.Generator().manual_seed(3), 0
    for _ in range(400):
        x = torch.randn(200, 3, generator=generator, dtype=torch.float64)
        found = of_reconstruction(x + 0.6 * torch.randn(200, 3, generator=generator, dtype=torch.float64), x)
        hits += found.low <= 0.64 <= found.high
    assert 0.91 * 400 <= hits <= 0.985 * 400


def test_quality_survives_its_card() -> None:
    found = of_classes(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0]))
    assert Quality.from_json(found.as_json()) == found
    with pytest.raises(KeyError):
        Quality.from_json({"task": "classes"})


def test_labels_that_mean_nothing_make_a_poor_evaluator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_FEWEST_STEPS", 30)
    told, shuffled = picture_set(), {}
    for number, (name, split) in enumerate(told.splits.items()):
        batch = split.all()
        order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(number))
        assert batch.condition is not None
        shuffled[name] = Examples.of(replace(batch, condition=batch.condition[order]), told.spec)
    good, poor = (load_or_train(d, "convolutional", cache=tmp_path) for d in (told, DataSet(told.spec, shuffled)))
    assert good.quality is not None and poor.quality is not None
    assert not good.quality.poor
    assert poor.quality.poor
    unlabelled = load_or_train(picture_set(labels=False), "convolutional", cache=tmp_path)
    assert unlabelled.quality is not None
    assert unlabelled.quality.task == "views"
    assert unlabelled.quality.examples == 40


# How long they are trained


def _steps(examples: int, shape: tuple[int, int, int]) -> int:
    return library._steps(DataSpec("x", "image", shape, levels=256), examples)


def test_steps_follow_examples_and_are_bounded_by_size() -> None:
    assert _steps(100, (1, 8, 8)) == 4 * 300, "without labels"
    assert library._steps(picture_set().spec, 100) == 300
    assert _steps(10_000, (1, 28, 28)) == 8 * 10_000 // 64
    assert _steps(50_000, (3, 32, 32)) == 3_000
    assert _steps(200_000, (3, 64, 64)) == library._MOST_NUMBERS // (64 * 3 * 64 * 64)
    assert _steps(200_000, (3, 512, 512)) == 300


def test_a_training_ends_at_its_limit_of_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_FEWEST_STEPS", 100_000)
    monkeypatch.setattr(library, "_MOST_SECONDS", 0.2)
    network, told = library._train(picture_set(), "convolutional", 100_000)
    assert told["ended_early"] is True
    assert not network.training
    evaluator = load_or_train(picture_set(), "convolutional", cache=tmp_path)
    assert evaluator.quality is not None
