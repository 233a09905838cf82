"""A newcomer's metric, with an input that it brings along."""

from __future__ import annotations

from torch import Tensor

import gentune
from gentune.bench.metrics import InputCard, MetricCard, MetricValue


def brightness_gap(brightness: Tensor, real_brightness: Tensor) -> MetricValue:
    """The difference of mean brightness; lower is better."""
    return MetricValue(float((brightness.mean() - real_brightness.mean()).abs()))


gentune.register_metric(
    MetricCard(
        "brightness_gap",
        "quality",
        "lower",
        "levels of [-1, 1]",
        ("brightness", "real_brightness"),
        "How far samples are from real examples in mean brightness.",
        "metric:brightness_gap",
    ),
    brightness_gap,
    inputs=(
        InputCard("brightness", "samples", provider=lambda context: context.generated.x.double().flatten(1).mean(1)),
        InputCard(
            "real_brightness", "examples", provider=lambda context: context.reference.x.double().flatten(1).mean(1)
        ),
    ),
)
