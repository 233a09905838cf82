"""Trainings that are kept and continued, for the contract of families."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor

from gentune.bench.data import DataSet
from gentune.bench.training.cache import TrainingCache
from gentune.bench.training.checkpoints import KeptTraining
from gentune.bench.training.key import TrainingKey
from gentune.bench.training.loop import LoopSettings, TrainingRun, plan, train
from gentune.models import GenerativeModel
from gentune.search_spaces import FamilyCard

LOOP = LoopSettings(batch_size=8, averages=True)
HALF_LIFE = 0.1


@dataclass(frozen=True)
class KeptRun:
    """A trained model, the account of its training, and the keys of its stages with their last steps."""

    model: GenerativeModel
    run: TrainingRun
    stages: tuple[tuple[str, int], ...]

    def state(self, cache: Path, stage: int) -> dict[str, Tensor]:
        """What is kept of the end of a stage."""
        found = TrainingCache(cache).read(*self.stages[stage])
        assert found is not None, f"stage {stage} has left no state"
        return load(found[1])


def train_kept(
    card: FamilyCard,
    family: type[GenerativeModel],
    settings: Mapping[str, Any],
    data: DataSet,
    cache: Path,
    *,
    steps: int,
    fidelity: float = 1.0,
) -> KeptRun:
    """Trains a fresh model, going on from what the cache holds."""
    torch.manual_seed(0)
    model = family(data.spec, **settings)
    planned = plan(model.stages(), steps, fidelity)
    key = TrainingKey.of(card, family, settings, LOOP, data, seed=0, device=torch.device("cpu"))
    assert key is not None, f"the source of {family.__name__} is in no file"
    keys = key.of_stages(model, planned, HALF_LIFE)
    kept = KeptTraining(TrainingCache(cache), keys, family=card.name, data=data.spec.name)
    train_split = data.splits["train"].all()
    run = train(model, train_split, LOOP, steps=steps, seed=0, fidelity=fidelity, average=HALF_LIFE, kept=kept)
    return KeptRun(model, run, tuple(zip(keys, (part.until for part in planned), strict=True)))


def same_bits(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    """Whether two sets of tensors agree in names, types, shapes and every bit."""
    return a.keys() == b.keys() and all(_bits(a[name]) == _bits(b[name]) for name in a)


def _bits(tensor: Tensor) -> tuple[torch.dtype, torch.Size, bytes]:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return tensor.dtype, tensor.shape, flat.view(torch.uint8).numpy().tobytes()
