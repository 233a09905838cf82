"""What scoring needs from a trained model: samples, likelihoods, costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...models.base import Batch, GenerativeModel
from .. import protocol
from ..data import DataSet
from ..metrics import CostReport
from ..seeds import derive
from ..training.loop import DivergedError, TrainingRun


class TrialError(RuntimeError):
    """A setting that does not lead to a score; the message is the record's reason."""


def draw_samples(
    model: GenerativeModel, n: int, condition: Tensor | None, *, settings: Mapping[str, Any], seed: int
) -> Batch:
    """n samples and what they were asked for, on the CPU; drawn in chunks, each with a seed of its own.

    condition: (n, ...), None for families that take none.
    """
    parts = []
    with torch.no_grad():
        for start in range(0, n, protocol.CHUNK):
            generator = torch.Generator(model.device).manual_seed(derive(seed, "chunk", start))
            size = min(protocol.CHUNK, n - start)
            asked = None if condition is None else condition[start : start + size].to(model.device)
            parts.append(model.sample(size, condition=asked, generator=generator, **settings).cpu())
    return Batch(torch.cat(parts), condition)


def check_samples(generated: Batch, count: int, data: DataSet) -> None:
    """Raises TrialError for samples of another shape than asked for, DivergedError where they are not finite."""
    if tuple(generated.x.shape) != (count, *data.spec.shape):
        raise TrialError(f"samples have shape {tuple(generated.x.shape)}; wanted {(count, *data.spec.shape)}")
    if generated.x.is_floating_point() and not torch.isfinite(generated.x).all():
        raise DivergedError("samples are not finite")


def cost_report(
    model: GenerativeModel,
    run: TrainingRun,
    *,
    sample_seconds: float,
    samples: int,
    operations: float,
    per_sample: float | None,
    energy: float | None,
) -> CostReport:
    """What the training of a model and `samples` samples took; fields of `CostReport`."""
    trained = sum(p.numel() for p in model.parameters()) or sum(b.numel() for b in model.buffers())
    device = model.device
    peak = max(run.peak_memory or 0.0, torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else None
    return CostReport(
        train_seconds=run.seconds,
        sample_seconds=sample_seconds,
        samples=samples,
        parameters=trained,
        peak_memory=peak,
        operations=operations,
        operations_per_sample=per_sample,
        energy=None if run.seconds_kept else energy,  # what kept parts drew is not known
    )
