"""The contract of metrics, on built-in ones of several kinds, and on wrong ones, which it finds out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gentune.bench.metrics import METRICS, MetricValue, UndefinedError
from gentune.models import DataSpec, Likelihood, LikelihoodKind
from gentune.testing import MetricContract


def _normal(seed: int, *, shift: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(120, 3, generator=generator, dtype=torch.float64) + shift


class _OnFeatures(MetricContract):
    """Samples of the same law are better than shifted ones."""

    @classmethod
    def better(cls) -> Mapping[str, object]:
        return {"generated_features": _normal(0), "real_features": _normal(1), "train_features": _normal(2), "seed": 0}

    @classmethod
    def worse(cls) -> Mapping[str, object]:
        return {**cls.better(), "generated_features": _normal(0, shift=3.0)}

    @classmethod
    def degenerate(cls) -> Mapping[str, Mapping[str, object]]:
        nan = torch.full((120, 3), torch.nan, dtype=torch.float64)
        return {
            "one sample": {**cls.better(), "generated_features": _normal(0)[:1]},
            "samples that are not numbers": {**cls.better(), "generated_features": nan},
        }


class TestFid(_OnFeatures):
    card = "fid"


class TestKid(_OnFeatures):
    card = "kid"


class TestSlicedWasserstein(_OnFeatures):
    card = "sliced_wasserstein"


class TestCoverage(_OnFeatures):
    card = "coverage"


class TestConditionAccuracy(MetricContract):
    card = "condition_accuracy"

    @classmethod
    def better(cls) -> Mapping[str, object]:
        return {"generated_probabilities": torch.eye(3), "conditions": torch.tensor([0, 1, 0])}

    @classmethod
    def worse(cls) -> Mapping[str, object]:
        return {"generated_probabilities": torch.eye(3), "conditions": torch.tensor([1, 1, 0])}

    @classmethod
    def degenerate(cls) -> Mapping[str, Mapping[str, object]]:
        return {"one class": {"generated_probabilities": torch.ones(3, 1), "conditions": torch.zeros(3).long()}}


class TestNll(MetricContract):
    card = "nll"

    @classmethod
    def better(cls) -> Mapping[str, object]:
        return cls._of(_normal(0)[:, 0])

    @classmethod
    def worse(cls) -> Mapping[str, object]:
        return cls._of(_normal(0)[:, 0] - 2.0)

    @classmethod
    def degenerate(cls) -> Mapping[str, Mapping[str, object]]:
        return {"an impossible example": cls._of(torch.tensor([0.0, -torch.inf]))}

    @staticmethod
    def _of(log_prob: Tensor) -> Mapping[str, object]:
        spec = DataSpec("plane", "vector", (2,), mean=(0.0, 0.0), deviation=(1.0, 1.0))
        return {"likelihood": Likelihood(log_prob, LikelihoodKind.EXACT), "spec": spec}


class TestOutlierAuroc(MetricContract):
    card = "outlier_auroc"

    @classmethod
    def better(cls) -> Mapping[str, object]:
        return {"inlier_scores": _normal(0)[:, 0], "outlier_scores": _normal(1, shift=-1.0)[:, 0]}

    @classmethod
    def worse(cls) -> Mapping[str, object]:
        return {"inlier_scores": _normal(0)[:, 0], "outlier_scores": _normal(1)[:, 0]}

    @classmethod
    def degenerate(cls) -> Mapping[str, Mapping[str, object]]:
        return {"no outliers": {"inlier_scores": torch.zeros(3), "outlier_scores": torch.zeros(0)}}


def _drawn(generated_features: Tensor, real_features: Tensor) -> MetricValue:
    return MetricValue(float(torch.rand(())))


def _beside_its_interval(generated_features: Tensor, real_features: Tensor) -> MetricValue:
    distance = float((generated_features.mean(0) - real_features.mean(0)).norm())
    return MetricValue(distance, distance + 1.0, distance + 2.0)


def test_what_is_wrong_is_found_out() -> None:
    class Wrong(_OnFeatures):
        card = replace(METRICS["fid"], direction="higher")

    with pytest.raises(AssertionError, match="higher is better"):
        Wrong().test_the_direction_is_right()
    Wrong.card = replace(METRICS["fid"], implementation=_drawn)
    with pytest.raises(AssertionError, match="shared generator"):
        Wrong().test_the_inputs_and_the_seed_decide()
    Wrong.card = replace(METRICS["fid"], implementation=_beside_its_interval)
    with pytest.raises(AssertionError):
        Wrong().test_the_value_is_finite_and_lies_in_its_interval()
    with pytest.raises(pytest.fail.Exception, match="one sample"):
        Wrong().test_degenerate_inputs_have_a_reason_and_no_number()
    Wrong.card = replace(METRICS["fid"], needs=("generated_features", "novelty"))
    with pytest.raises(AssertionError):
        Wrong().test_the_card_needs_what_the_function_takes()
    with pytest.raises(AssertionError, match="novelty"):
        Wrong().test_every_need_is_a_known_input()


def test_a_reason_is_not_empty() -> None:
    def silent(generated_features: Tensor, real_features: Tensor) -> MetricValue:
        raise UndefinedError("")

    class Silent(_OnFeatures):
        card = replace(METRICS["fid"], implementation=silent)

    with pytest.raises(AssertionError, match="without a reason"):
        Silent().test_degenerate_inputs_have_a_reason_and_no_number()
