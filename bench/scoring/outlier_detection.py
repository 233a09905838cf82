"""Outlier detection: how typical examples look to a model, and sets of outliers to tell from the data's examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ...models.base import Batch, GenerativeModel, Likelihood
from ...models.data_spec import ConditionSpec, DataSpec
from .. import protocol
from ..data import DataSet
from ..seeds import derive
from .references import some_of

_OUTLIERS = 200  # examples of each generated set


def typicality(model: GenerativeModel, x: Tensor, *, seed: int) -> Tensor | None:
    """Typicality of each example, float64 (n,) on the CPU: its log-likelihood; of families without one, minus
    the mean squared error of its reconstruction; None without either, and for families that require a condition.
    """
    likelihood: Callable[[Batch], Likelihood] | None = getattr(model, "log_likelihood", None)
    reconstruct: Callable[[Batch], Tensor] | None = getattr(model, "reconstruct", None)
    if model.requires_condition() or (likelihood is None and reconstruct is None):
        return None

    def score(part: Tensor) -> Tensor:
        if likelihood is not None:
            return likelihood(Batch(part)).log_prob
        assert reconstruct is not None
        return -(reconstruct(Batch(part)) - part).flatten(1).square().mean(1)

    parts = []
    with torch.no_grad():
        for number, part in enumerate(x.split(protocol.CHUNK)):
            model.evaluation_seed = derive(seed, "typicality", number)
            parts.append(score(part.to(model.device)).cpu().double())
    return torch.cat(parts)


def measure_of_typicality(model: GenerativeModel) -> str:
    """What `typicality` is, in words."""
    return "log-likelihood" if model.can("log_likelihood") else "reconstruction error"


def outlier_sets(spec: DataSpec, held_out: Batch, *, seed: int) -> Mapping[str, Tensor]:
    """Sets of outliers (at most 200 examples each) by name; empty for sequences.

    noise: every entry uniform, over all levels of images or over the range of the held-out vectors.
    shuffled: every entry from a different held-out example: the marginals are right, the joint law is wrong.
    inverted: held-out images with dark and light exchanged.
    """
    x = some_of(held_out.x, _OUTLIERS, seed=seed)
    n = len(x)
    generator = torch.Generator().manual_seed(derive(seed, "foreign"))
    if spec.kind == "sequence":
        return {}
    entries = held_out.x.flatten(1)
    lender = torch.randint(len(entries), (n, entries.shape[1]), generator=generator)
    shuffled = entries.gather(0, lender).view_as(x)
    if spec.kind == "image":
        assert spec.levels is not None
        noise = torch.randint(spec.levels, x.shape, generator=generator)
        return {"noise": spec.from_levels(noise), "shuffled": shuffled, "inverted": -x}
    low, high = held_out.x.min(0).values, held_out.x.max(0).values
    return {"noise": low + (high - low) * torch.rand(x.shape, generator=generator), "shuffled": shuffled}


def without_last_class(data: DataSet) -> tuple[DataSet, int] | None:
    """The data set without its last class, and that class; None where fewer than two would be left.

    The last, so that the others keep their labels, and the same for every family.
    """
    spec = data.spec
    if spec.classes < 3:
        return None
    last = spec.classes - 1
    splits = {}
    for name, examples in data.splits.items():
        assert examples.labels is not None
        splits[name] = examples.select(examples.labels != last)
    fewer = replace(spec, name=f"{spec.name} without class {last}", condition=ConditionSpec("label", classes=last))
    return DataSet(fewer, splits), last
