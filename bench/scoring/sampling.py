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

_ROUNDING = 1e-4  # by which images may leave [-1, 1]


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


def complete_examples(
    model: GenerativeModel, known: Batch, missing: Tensor, *, settings: Mapping[str, Any], seed: int
) -> Batch:
    """Examples whose `missing` entries (bool, like known.x) the model has drawn, on the CPU; in chunks as
    `draw_samples`. The model's class has `complete`; of a batch without conditions it may draw these, too."""
    parts = []
    for start in range(0, len(known), protocol.CHUNK):
        chunk = slice(start, start + protocol.CHUNK)
        generator = torch.Generator(model.device).manual_seed(derive(seed, "chunk", start))
        given, there = known[chunk].to(model.device), missing[chunk].to(model.device)
        parts.append(model.complete(given, there, generator=generator, **settings).cpu())  # type: ignore[operator]
    return Batch(torch.cat(parts), known.condition)


def check_samples(generated: Batch, count: int, data: DataSet) -> None:
    """Raises TrialError for samples of another shape, type or range than the data's, DivergedError where they are not
    finite."""
    x, spec = generated.x, data.spec
    if tuple(x.shape) != (count, *spec.shape):
        raise TrialError(f"samples have shape {tuple(x.shape)}; wanted {(count, *spec.shape)}")
    if x.is_floating_point() == (spec.kind == "sequence"):
        wanted = "whole numbers (int64)" if spec.kind == "sequence" else "float32"
        raise TrialError(f"samples are of type {str(x.dtype).removeprefix('torch.')}; wanted {wanted}")
    if x.is_floating_point() and not torch.isfinite(x).all():
        raise DivergedError("samples are not finite")
    if spec.kind == "vector" or not x.numel():
        return
    low, high = (0, (spec.vocabulary or 1) - 1) if spec.kind == "sequence" else (-1.0, 1.0)
    least, most = x.min().item(), x.max().item()
    if least < low - _ROUNDING or most > high + _ROUNDING:
        raise TrialError(f"samples are out of range: from {least:.4g} to {most:.4g}; wanted {low:g} to {high:g}")


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
