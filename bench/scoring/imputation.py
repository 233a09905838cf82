"""Imputation: hidden entries of examples, completed by a model.

Glossary:
    x        (n, *spec.shape) examples
    missing  bool like x, true where an entry is hidden
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from ...models.base import Batch, GenerativeModel
from ...models.data_spec import DataSpec
from .. import protocol
from ..data import DataSet
from ..seeds import derive
from .references import some_of

_COMPLETED = 200  # examples whose missing entries are completed
_HIDDEN = 0.5  # share of an example's entries
_ROUNDS = 10  # of reconstruction
_NEAREST = 8  # of a model's samples, that lend an example their entries


@dataclass(frozen=True)
class Completion:
    """Examples, which of their entries were hidden, and what was put there by a model and by the train mean."""

    x: Tensor
    missing: Tensor
    completed: Tensor
    by_mean: Tensor


def hidden_entries(spec: DataSpec, n: int, *, seed: int) -> Tensor:
    """Half of the entries of each of n examples at random, at least one and never all; of images, whole pixels.

    Entries are missing completely at random (Little and Rubin, Statistical Analysis with Missing Data, section 1.3).
    """
    generator = torch.Generator().manual_seed(derive(seed, "hidden"))
    places = spec.dimensions // spec.shape[0] if spec.kind == "image" else spec.dimensions
    hidden = min(max(1, round(_HIDDEN * places)), places - 1)
    order = torch.rand(n, places, generator=generator).argsort(1)
    missing = order < hidden
    if spec.kind == "image":
        channels, height, width = spec.shape
        return missing.view(n, 1, height, width).expand(n, channels, height, width).clone()
    return missing


def complete_held_out(
    model: GenerativeModel, data: DataSet, held_out: Batch, samples: Tensor, *, seed: int
) -> Completion | None:
    """Up to 200 held-out examples with half of their entries completed; None for data of one entry or of tokens.

    samples: (m, *spec.shape) of the model.
    """
    spec = data.spec
    if spec.kind == "sequence" or spec.dimensions < 2 or not len(held_out):
        return None
    x = some_of(held_out.x, _COMPLETED, seed=seed)
    missing = hidden_entries(spec, len(x), seed=seed)
    if not missing.any():
        return None  # the only pixel
    by_mean = torch.where(missing, train_mean(data), x)
    device = model.device
    model.evaluation_seed = derive(seed, "completion")
    generator = torch.Generator(device).manual_seed(derive(seed, "completion"))
    x_there, missing_there, start, drawn = (t.to(device) for t in (x, missing, by_mean, samples))
    completed = impute(model, x_there, missing_there, start=start, samples=drawn, generator=generator)
    return Completion(x, missing, completed.cpu(), by_mean)


def train_mean(data: DataSet) -> Tensor:
    """Of the first 20,000 train examples, (*spec.shape), of which some at a time are in memory."""
    examples = data.splits["train"].x.select(slice(0, protocol.TRAIN_EXAMPLES))
    means = [(len(part), part.mean(0)) for part in examples.chunks()]
    if len(means) == 1:
        return means[0][1]
    whole = torch.stack([n * mean.double() for n, mean in means]).sum(0) / len(examples)
    return whole.to(means[0][1].dtype)


@torch.no_grad()
def impute(
    model: GenerativeModel, x: Tensor, missing: Tensor, *, start: Tensor, samples: Tensor, generator: Generator
) -> Tensor:
    """x with its missing entries filled in by the model, by the first of these means that the family has (of families
    that require a condition, the third):

    1. its own `impute(batch, missing, generator)`, such as a closed-form conditional expectation;
    2. `reconstruct`: ten rounds from `start`, each replacing the missing entries by those of the reconstruction
       (Rezende et al., arXiv:1401.4082, appendix F, without its noise);
    3. its samples: the mean of the eight that are nearest in the observed entries, which with ever more samples is
       the conditional expectation under the model (Stone 1977, doi:10.1214/aos/1176343886, for nearest neighbours).
       Weights by the likelihoods of the examples so completed cost as much as all other scores together, and on the
       digits made the errors of a flow and of a diffusion model a sixth larger.
    """
    if model.requires_condition():
        return _from_samples(samples, x, missing)
    own: Callable[[Batch, Tensor, Generator], Tensor] | None = getattr(model, "impute", None)
    if own is not None:
        return own(Batch(x), missing, generator)
    reconstruct: Callable[[Batch], Tensor] | None = getattr(model, "reconstruct", None)
    if reconstruct is not None:
        filled = start
        for _ in range(_ROUNDS):
            filled = torch.where(missing, reconstruct(Batch(filled)), x)
        return filled
    return _from_samples(samples, x, missing)


def _from_samples(samples: Tensor, x: Tensor, missing: Tensor) -> Tensor:
    drawn = samples.flatten(1).double()  # (m, D)
    observed = (~missing).flatten(1).double()  # (n, D)
    # Squared distances over the observed entries alone, as matrix products.
    own = x.flatten(1).double() * observed
    distances = own.square().sum(1, keepdim=True) - 2 * own @ drawn.T + observed @ drawn.square().T  # (n, m)
    nearest = distances.topk(min(_NEAREST, len(drawn)), largest=False).indices  # (n, k)
    filling = drawn[nearest].mean(1).to(x.dtype).view_as(x)
    return torch.where(missing, filling, x)
