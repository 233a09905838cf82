"""What a density or a reconstruction is good for: telling foreign examples, and completing broken ones.

Glossary:
    x        (n, *spec.shape) examples
    missing  bool like x, true where an entry is hidden
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from ...models.base import Batch, GenerativeModel, Likelihood
from ...models.data_spec import ConditionSpec, DataSpec
from ..data import DataSet
from ..seeds import derive

_CHUNK = 500  # examples evaluated at a time; part of the protocol, since chunks have their own seeds
_FOREIGN = 200  # examples of each generated foreign set
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


def typicality(model: GenerativeModel, x: Tensor, *, seed: int) -> Tensor | None:
    """How typical each example looks, float64 (n,) on the CPU: its log-likelihood; of families without one, minus
    the mean squared error of its reconstruction; None without either.
    """
    likelihood: Callable[[Batch], Likelihood] | None = getattr(model, "log_likelihood", None)
    reconstruct: Callable[[Batch], Tensor] | None = getattr(model, "reconstruct", None)
    if likelihood is None and reconstruct is None:
        return None

    def score(part: Tensor) -> Tensor:
        if likelihood is not None:
            return likelihood(Batch(part)).log_prob
        assert reconstruct is not None
        return -(reconstruct(Batch(part)) - part).flatten(1).square().mean(1)

    parts = []
    with torch.no_grad():
        for number, part in enumerate(x.split(_CHUNK)):
            model.evaluation_seed = derive(seed, "typicality", number)
            parts.append(score(part.to(model.device)).cpu().double())
    return torch.cat(parts)


def measure_of_typicality(model: GenerativeModel) -> str:
    """What `typicality` is, in words."""
    return "log-likelihood" if model.can("log_likelihood") else "reconstruction error"


def foreign_sets(spec: DataSpec, held_out: Batch, *, seed: int) -> Mapping[str, Tensor]:
    """Examples (at most 200 a set) that are none of the data's, by the name of their set; empty for sequences.

    noise: every entry uniform, over all levels of images or over the range of the held-out vectors.
    shuffled: every entry from a held-out example of its own: right one by one, wrong together.
    inverted: held-out images with dark for light.
    """
    x = _some(held_out.x, _FOREIGN, seed=seed)
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


def _some(x: Tensor, count: int, *, seed: int) -> Tensor:
    """At most `count` examples, chosen by seed: the first ones may all be of one class."""
    if len(x) <= count:
        return x
    generator = torch.Generator().manual_seed(derive(seed, "some", count))
    return x[torch.randperm(len(x), generator=generator)[:count].sort().values]


def without_last_class(data: DataSet) -> tuple[DataSet, int] | None:
    """The data set as if it never had had its last class, and that class; None where fewer than two would be left.

    The last, so that the others keep their labels, and the same for every family.
    """
    spec = data.spec
    if spec.classes < 3:
        return None
    last = spec.classes - 1
    splits = {}
    for name, batch in data.splits.items():
        assert batch.labels is not None
        splits[name] = batch[batch.labels != last]
    fewer = replace(spec, name=f"{spec.name} without class {last}", condition=ConditionSpec("label", classes=last))
    return DataSet(fewer, splits), last


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
    x = _some(held_out.x, _COMPLETED, seed=seed)
    missing = hidden_entries(spec, len(x), seed=seed)
    if not missing.any():
        return None  # the only pixel
    by_mean = torch.where(missing, data.splits["train"].x.mean(0), x)
    device = model.device
    model.evaluation_seed = derive(seed, "completion")
    generator = torch.Generator(device).manual_seed(derive(seed, "completion"))
    x_there, missing_there, start, drawn = (t.to(device) for t in (x, missing, by_mean, samples))
    completed = impute(model, x_there, missing_there, start=start, samples=drawn, generator=generator)
    return Completion(x, missing, completed.cpu(), by_mean)


@torch.no_grad()
def impute(
    model: GenerativeModel, x: Tensor, missing: Tensor, *, start: Tensor, samples: Tensor, generator: Generator
) -> Tensor:
    """x with its missing entries filled in by the model, by the first of these means that the family has:

    1. its own `impute(batch, missing, generator)`, such as a closed-form conditional expectation;
    2. `reconstruct`: ten rounds from `start`, each replacing the missing entries by those of the reconstruction
       (Rezende et al., arXiv:1401.4082, appendix F, without its noise);
    3. its samples: the mean of the eight that are nearest in the observed entries, which with ever more samples is
       the conditional expectation under the model (Stone 1977, doi:10.1214/aos/1176343886, for nearest neighbours).
       Weights by the likelihoods of the examples so completed cost as much as all other scores together, and on the
       digits made the errors of a flow and of a diffusion model a sixth larger.
    """
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
