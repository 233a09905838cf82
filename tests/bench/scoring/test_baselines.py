"""Baselines that are no generative models, against other implementations."""

from __future__ import annotations

import pytest
from sklearn.linear_model import LogisticRegression

from gentune.bench.data import load
from gentune.bench.scoring.baselines import baselines


def test_baselines_of_the_test_split() -> None:
    data = load("digits")
    found = baselines(data, "test")
    assert found.keys() == {"logistic_regression", "png", "zlib"}
    accuracy = found["logistic_regression"].values["bayes_accuracy"]
    train, test = data.splits["train"].all(), data.splits["test"].all()
    assert train.condition is not None and test.condition is not None
    reference = LogisticRegression(max_iter=2_000).fit(train.x.flatten(1).numpy(), train.condition.numpy())
    assert accuracy.value == pytest.approx(reference.score(test.x.flatten(1).numpy(), test.condition.numpy()), abs=0.02)
    assert accuracy.low is not None and accuracy.low < accuracy.value
    ratios = {name: found[name].values["compression_ratio"].value for name in ("png", "zlib")}
    assert all(0.9 < ratio < 1.7 for ratio in ratios.values())  # 2.4 bits/dim, plain counting, would be 1.7
    assert not baselines(data, "validation")
    assert not baselines(load("two_moons"), "test")
