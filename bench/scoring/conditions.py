"""What samples are asked for: labels as frequent as in the train split, or the conditions of held-out examples."""

from __future__ import annotations

import torch
from torch import Tensor

from ..data import DataSet, Split
from ..seeds import derive
from .references import real_examples, reference_rows


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
        rows, conditions = asked_rows(data, split, n), data.splits[split].condition
        return None if rows is None or conditions is None else conditions[rows]
    counts = train.labels.bincount(minlength=data.spec.classes)
    if seed is None:
        labels = torch.arange(len(counts)).repeat_interleave(apportioned(counts, n))
        return labels[torch.randperm(n, generator=torch.Generator().manual_seed(derive(0, "labels", n)))]
    generator = torch.Generator().manual_seed(derive(seed, "labels"))
    return counts.double().multinomial(n, replacement=True, generator=generator)


def asked_rows(data: DataSet, split: Split, n: int) -> Tensor | None:
    """The held-out examples whose images or texts n samples are asked for, int64 (n,); None where conditions are labels
    or there are none. The examples are those that the samples are compared with."""
    examples = data.splits[split]
    if examples.condition is None or data.spec.condition.kind == "label":
        return None
    rows = reference_rows(data, split, min(n, real_examples(data, split)))
    return rows[torch.arange(n) % len(rows)]


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
