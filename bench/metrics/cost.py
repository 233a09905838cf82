"""Cost metrics of a trial. Free of torch.

References, for all of them: Dehghani et al., "The efficiency misnomer", arXiv:2110.12894: no single one of these
figures stands for cost, so that they are reported side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from .base import MetricValue, UndefinedError


@dataclass(frozen=True)
class CostReport:
    """The driver's own counts and clocks.

    train_seconds, sample_seconds: wall clock; `samples` were drawn in the latter.
    parameters: numbers in the model's trained tensors.
    peak_memory: bytes; None where it was not measured.
    operations: floating-point operations of training and sampling, counted.
    operations_per_sample: those of drawing one sample; None where they cannot be counted beforehand.
    energy: joules that the device drew for training and sampling; None where it does not tell.
    """

    train_seconds: float
    sample_seconds: float
    samples: int
    parameters: int
    peak_memory: float | None
    operations: float
    energy: float | None = None
    operations_per_sample: float | None = None


def train_seconds(cost: CostReport) -> MetricValue:
    """Wall-clock seconds of the training (arXiv:2110.12894); lower is better."""
    return MetricValue(float(cost.train_seconds))


def sample_seconds(cost: CostReport) -> MetricValue:
    """Wall-clock seconds of drawing the evaluation's samples (arXiv:2110.12894); lower is better."""
    return MetricValue(float(cost.sample_seconds))


def samples_per_second(cost: CostReport) -> MetricValue:
    """Throughput of sampling, in the evaluation's own batches (arXiv:2110.12894); higher is better."""
    if cost.samples < 1 or cost.sample_seconds <= 0:
        raise UndefinedError("no samples were drawn, or in no measurable time")
    return MetricValue(cost.samples / cost.sample_seconds)


def parameters(cost: CostReport) -> MetricValue:
    """Numbers in the model's trained tensors (arXiv:2110.12894); lower is better."""
    return MetricValue(float(cost.parameters))


def peak_memory(cost: CostReport) -> MetricValue:
    """Largest memory held, in bytes (arXiv:2110.12894); lower is better."""
    if cost.peak_memory is None:
        raise UndefinedError("memory was not measured")
    return MetricValue(float(cost.peak_memory))


def flops(cost: CostReport) -> MetricValue:
    """Floating-point operations of training and sampling, machine-independent (arXiv:2110.12894); lower is better."""
    return MetricValue(float(cost.operations))


def sample_flops(cost: CostReport) -> MetricValue:
    """Floating-point operations of drawing one sample, machine-independent (arXiv:2110.12894); lower is better."""
    if not cost.operations_per_sample:
        raise UndefinedError("the operations of sampling are not counted")
    return MetricValue(float(cost.operations_per_sample))


def counters_of_energy() -> None:
    """Raises UndefinedError where the package that reads NVIDIA's counters is missing."""
    if find_spec("pynvml") is None:
        raise UndefinedError("needs the package nvidia-ml-py, which reads the device's counters (extra `energy`)")


def energy(cost: CostReport) -> MetricValue:
    """Joules that the device drew for training and sampling (arXiv:2110.12894); lower is better."""
    if cost.energy is None:
        raise UndefinedError("the device does not tell its energy")
    return MetricValue(float(cost.energy))
