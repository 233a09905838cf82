"""Scores of more samples than real examples: labels, blocks, all samples, and what a perfect model would score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gentune.bench.data import DataSet, load
from gentune.bench.data.examples import Examples
from gentune.bench.metrics.fidelity import fid, recall
from gentune.bench.scoring.conditions import apportioned, asked_conditions
from gentune.bench.scoring.context import ScoringContext
from gentune.bench.scoring.perfect_model import perfect_model
from gentune.bench.scoring.references import evaluators_by_role, reference_batch
from gentune.bench.scoring.scorer import score
from gentune.models import Batch, ConditionSpec, DataSpec


def test_items_are_shared_out_by_largest_remainders() -> None:
    assert apportioned(torch.tensor([1, 1, 1]), 10).tolist() == [4, 3, 3]  # equal remainders: the first
    assert apportioned(torch.tensor([5, 3, 0, 2]), 7).tolist() == [4, 2, 0, 1]  # 3.5, 2.1, 0, 1.4
    assert apportioned(torch.tensor([2, 6]), 4).tolist() == [1, 3]


def test_labels_are_as_frequent_as_in_the_train_split() -> None:
    data = load("digits")
    labels = data.splits["train"].labels
    assert labels is not None
    shares = labels.bincount(minlength=10).double() / len(labels)
    fixed = asked_conditions(data, "test", 360)
    again = asked_conditions(data, "validation", 360)
    assert fixed is not None and again is not None and torch.equal(fixed, again)
    assert (fixed.bincount(minlength=10) - 360 * shares).abs().max() < 1
    assert len(fixed[:100].unique()) == 10  # in no order of classes
    drawn = asked_conditions(data, "test", 20_000, seed=1)
    assert drawn is not None and drawn.dtype == torch.int64
    error = drawn.bincount(minlength=10) / 20_000 - shares
    assert error.abs().max() < 4 * np.sqrt(0.1 * 0.9 / 20_000)
    other = asked_conditions(data, "test", 20_000, seed=2)
    assert other is not None and not torch.equal(drawn, other)
    assert asked_conditions(load("two_moons"), "test", 5) is None


def test_other_conditions_are_those_of_held_out_examples_over_again() -> None:
    spec = DataSpec("pairs", "vector", (2,), condition=ConditionSpec("text", shape=(3,), vocabulary=9))
    words = torch.arange(15).remainder(9).view(5, 3)
    examples = Examples.of_arrays(spec, torch.zeros(5, 2), words)
    data = DataSet(spec, {"train": examples, "validation": examples, "test": examples})
    for seed in (None, 4):
        found = asked_conditions(data, "test", 12, seed=seed)
        assert found is not None
        assert torch.equal(found, torch.cat([words, words, words[:2]]))


def test_distributions_see_all_samples_and_neighbours_see_blocks(own_cache: Path) -> None:
    data = load("eight_gaussians")
    evaluator = evaluators_by_role(data, own_cache)["primary"]
    n = 300
    samples = Batch(1.1 * torch.randn(2 * n + 7, 2, generator=torch.Generator().manual_seed(0)))
    context = ScoringContext(data, "test", samples, evaluator, own_cache, n)
    assert [len(block.generated) for block in context.blocks] == [n, n]
    found = score(context, ["recall", "fid", "c2st", "precision"])
    assert [*found.values] == ["recall", "fid", "c2st", "precision"]
    drawn, real = evaluator.features(samples.x), evaluator.features(reference_batch(data, "test", n).x)
    assert found.values["fid"].value == pytest.approx(fid(drawn, real).value, rel=1e-9)
    parts = [recall(part, real).value for part in drawn[: 2 * n].split(n)]
    assert found.values["recall"].value == pytest.approx(np.mean(parts), rel=1e-12)
    first = score(ScoringContext(data, "test", samples[:n], evaluator, own_cache), ["c2st"])
    assert found.values["c2st"] == first.values["c2st"]


def test_a_metric_that_is_undefined_in_a_block_has_its_reason(own_cache: Path) -> None:
    data = load("eight_gaussians")
    samples = reference_batch(data, "test", 900)
    broken = samples.x.clone()
    broken[-1] = torch.nan
    evaluator = evaluators_by_role(data, own_cache)["primary"]
    found = score(ScoringContext(data, "test", Batch(broken), evaluator, own_cache, 300), ["precision"])
    assert not found.values
    assert found.undefined["precision"] == "features are not finite"


def test_a_perfect_model_scores_the_bias_that_theory_gives() -> None:
    """FID of two normal sets: (d² + d)/4 (1/n + 1/m) + d (1/n + 1/m) to the first order."""
    n, m, d = 3_000, 1_000, 12
    real = 3 * torch.randn(m, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = perfect_model(real, n)
    assert found.values["fid"].value == pytest.approx(9 * ((d + 1) / 4 + 1) * d * (1 / n + 1 / m), rel=0.2)
    assert found == perfect_model(real, n)
    assert "kid" not in found.values  # unbiased
    assert found.values["fid"].value < perfect_model(real, m).values["fid"].value
