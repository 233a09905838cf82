"""Samples next to their nearest train examples: what a memorisation score looks like."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...models.base import Batch
from ...models.data_spec import DataSpec
from ..data.examples import Examples
from ..files import write_atomically
from ..metrics.features import checked_pair, distances, subset
from ..metrics.memorisation import nearest
from .pictures import write_samples

SAMPLES = 10  # the columns of a grid
NEIGHBOURS = 5  # its rows, below the sample itself


@dataclass(frozen=True)
class Neighbours:
    """Of k samples, the train examples nearest to each, nearest first.

    samples: (k,) int64 indices of the samples.
    train: (k, neighbours) int64 indices of train examples.
    distance: (k, neighbours) float64, in the evaluator's feature space.
    """

    samples: Tensor
    train: Tensor
    distance: Tensor


def nearest_neighbours(
    generated_features: Tensor,
    train_features: Tensor,
    *,
    samples: int = SAMPLES,
    neighbours: int = NEIGHBOURS,
    seed: int | None = None,
) -> Neighbours:
    """The neighbours of the `samples` samples nearest to the train set, nearest first: there copies show.

    With a seed, of a random choice of samples instead. Of fewer samples or train examples all are taken.
    Raises UndefinedError for none of either, or features that are not finite.
    """
    x, t = checked_pair(generated_features, train_features, at_least=1)
    count, depth = min(samples, len(x)), min(neighbours, len(t))
    closest = nearest(x, t).distance.argsort(stable=True)
    chosen = closest[:count] if seed is None else subset(len(x), count, seed)  # (k,)
    found = torch.topk(distances(x[chosen], t), depth, dim=1, largest=False, sorted=True)
    return Neighbours(chosen, found.indices, found.values)


def write_neighbours(
    folder: Path, name: str, generated: Batch, train: Batch | Examples, found: Neighbours, spec: DataSpec, *, maker: str
) -> Path | None:
    """Writes `name`.json, indices and distances, and of images `name`.png, whose path it returns.

    In the picture a column is a sample, above the train examples nearest to it: at most 10 samples, 5 examples each.

    generated, train: the examples that the features of `nearest_neighbours` belong to.
    maker: the family that made the samples, written into both files.
    """
    rows = zip(found.samples.tolist(), found.train.tolist(), found.distance.tolist(), strict=True)
    content = {
        "synthetic": True,
        "made_by": maker,
        "neighbours": [{"sample": s, "train": t, "distance": [round(v, 6) for v in d]} for s, t, d in rows],
    }
    write_atomically(folder / f"{name}.json", json.dumps(content, indent=1, allow_nan=False) + "\n")
    if spec.kind != "image":
        return None
    samples, neighbours = found.samples[:SAMPLES], found.train[:SAMPLES, :NEIGHBOURS]
    below = train.x[neighbours.T.flatten()]  # (neighbours * k, C, H, W)
    x = torch.cat([generated.x[samples], below.to(generated.x.device)])
    x = x.unflatten(0, (1 + neighbours.shape[1], len(samples)))  # (rows, k, C, H, W)
    sheet = x.new_full((len(x), SAMPLES, *spec.shape), -1.0)  # grids have ten columns; empty ones stay black
    sheet[:, : len(samples)] = x
    return write_samples(folder, name, Batch(sheet.flatten(0, 1)), spec, maker=maker)
