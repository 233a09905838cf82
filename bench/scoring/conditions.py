"""What samples are asked for: labels as frequent as in the train split, or the conditions of held-out examples."""

from __future__ import annotations

import torch
from torch import Tensor

from ..data import DataSet, Split
from ..seeds import derive
from .references import reference_batch


def asked_conditions(data: DataSet, split: Split, n: int, *, seed: int | None = None) -> Tensor | None:
    """Conditions (n, ...) for n samples; None for data without conditions.

    Labels never come from the held-out examples: a family that knew how often each class occurs among them would score
    better than one that has to draw its classes.

    split: the held-out examples whose images or texts are asked for, in their order and over again where n is larger.
    seed: labels are drawn independently, as an unconditional family draws its classes; None: always the same labels,
        as many of each class as its frequency gives (`apportioned`), which takes the luck of the draw out of trials.
    """
    train = data.splits["train"]
    if train.labels is None:
        held_out = reference_batch(data, split, min(n, len(data.splits[split]))).condition
        return None if held_out is None else held_out[torch.arange(n) % len(held_out)]
    counts = train.labels.bincount(minlength=data.spec.classes)
    if seed is None:
        labels = torch.arange(len(counts)).repeat_interleave(apportioned(counts, n))
        return labels[torch.randperm(n, generator=torch.Generator().manual_seed(derive(0, "labels", n)))]
    generator = torch.Generator().manual_seed(derive(seed, "labels"))
    return counts.double().multinomial(n, replacement=True, generator=generator)


def apportioned(counts: Tensor, n: int) -> Tensor:
    """n items shared out by counts (k,): the whole parts of n p, and one more for each of the largest remainders.

    Of equal remainders the first ones; int64 (k,), with sum n.
    """
    quota = n * counts.double() / counts.sum()
    shares = quota.floor().long()
    rest = n - int(shares.sum())
    most = (quota - shares).argsort(descending=True, stable=True)[:rest]
    shares[most] += 1
    return shares
