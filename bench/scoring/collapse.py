"""Whether a model's samples have collapsed: whether they differ among themselves as little as real examples never do.

Scores cannot tell: a generator that repeats one perfect example has the best precision there is. Three signs are
looked for in an evaluator's features, each against as many real examples. All are ratios of lengths or counts of one
space, so that they know no unit, and the bounds hold for any data:

    spread  of all pairs of samples, a quarter lie nearer to each other than this many times what a quarter of the
            pairs of real examples do; with labels also among pairs of one class. Below a fifth: a point, or few
            clumps. A quarter, because samples on one, two or three of many equal modes have a third of their pairs
            or more within a mode, and real examples on many modes do not.
    twins   the median distance from a sample to its nearest other one, likewise. Below a tenth: some examples over
            and over, however far from each other (the birthday paradox test; Arora and Zhang, arXiv:1706.08224).
    reach   how many real examples are some sample's nearest (the exponential of the entropy of their shares), over
            the same for a Gaussian with the real examples' moments; and the samples' deviation along the directions
            that carry half of the real variance. Below 0.3, and below 0.55: what varies among the samples is not what
            varies among the data. An untrained network's samples are such. Of images alone: in the plane any blob
            that is too small is near to few examples.

On the digits, through the primary evaluator, untrained generators of six architectures have a reach up to 0.20 and
directions up to 0.49; independent pixels 0.50 and 0.59, real examples 1.24 and 0.99, models after a quarter of a
training more than independent pixels. An untrained network of vectors may well be as diverse as the data, and is then
merely wrong.

Where the pixels of images are strongly correlated, independent ones all look like the same noise to an evaluator: on
photo_patches they have a spread of 0.19 and a reach of 0.01, less than untrained generators. They are as diverse as
their family allows, so that `varied_by_value` spares them: pairs of them, and nearest ones, lie as far apart as real
examples in the values themselves, and each value is distributed as in the data.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..metrics.features import distances, subset

SPREAD, TWINS, REACH, DIRECTIONS = 0.2, 0.1, 0.3, 0.55  # the bounds; see above
SAME_VALUES = 0.25  # deviations between distributions of single values that count as the same; see `varied_by_value`
FEWEST = 20  # samples below which nothing is said
MOST = 1_000  # examples of either side that are looked at: milliseconds
_QUARTER = 0.25
_HALF_VARIANCE = 0.5


@dataclass(frozen=True)
class Diversity:
    """Of samples against real examples; 1: as much. None where the real side gives no scale.

    spread, twins, reach (of images): see the module. directions: deviation along the main directions of the data.
    within: `spread` among pairs of one class.
    """

    spread: float | None
    within: float | None
    twins: float | None
    reach: float | None
    directions: float

    @property
    def collapsed(self) -> str | None:
        """The reason for which the samples count as collapsed; None where they do not."""
        if self.spread is not None and self.spread < SPREAD:
            return f"samples lie {self.spread:.2g} times as far apart as real examples (a quarter of the pairs)"
        if self.within is not None and self.within < SPREAD:
            return (
                f"samples of one class lie {self.within:.2g} times as far apart as real ones (a quarter of the pairs)"
            )
        if self.twins is not None and self.twins < TWINS:
            return (
                f"the same few samples: the nearest other one is {self.twins:.2g} times as far as among real examples"
            )
        if self.reach is not None and self.reach < REACH and self.directions < DIRECTIONS:
            return (
                f"samples are nearest to {self.reach:.2g} times as many real examples as a Gaussian's are, and deviate "
                f"{self.directions:.2g} times as much along the data's main directions"
            )
        return None


def diversity(
    generated: Tensor,
    real: Tensor,
    labels: Tensor | None = None,
    real_labels: Tensor | None = None,
    *,
    images: bool = False,
) -> Diversity | None:
    """Of features (n, d) and (m, d), float64; None for fewer than 20 of either, or real ones that are all alike.

    labels, real_labels: (n,) and (m,), for diversity within a class. images: whether `reach` is looked at.
    Of more than 1,000 examples of a side some are chosen, always the same.
    """
    size = min(len(generated), len(real), MOST)
    if size < FEWEST:
        return None
    generated, labels = _some(generated, labels, size)
    real, real_labels = _some(real, real_labels, size)
    variance = real.var(0)
    if not variance.any():
        return None
    among, among_real = distances(generated, generated), distances(real, real)
    within = None
    if labels is not None and real_labels is not None:
        pairs = (_pairs(d, y) for d, y in ((among, labels), (among_real, real_labels)))
        within = _ratio(*(_quarter(p) for p in pairs))
    spread = _ratio(_quarter(_pairs(among)), _quarter(_pairs(among_real)))
    nearest = [d.fill_diagonal_(torch.inf).min(1) for d in (among, among_real)]
    twins = _ratio(*(n.values.median() for n in nearest))
    reach = None
    if images:
        own, blind = (_effective(distances(x, real).argmin(1), size) for x in (generated, _gaussian_like(real)))
        reach = own / blind
    return Diversity(spread, within, twins, reach, _along_main_directions(generated, real))


def varied_by_value(generated: Tensor, real: Tensor, train: Tensor) -> bool:
    """Whether images (n, ...), as they are and not as an evaluator sees them, vary as real ones do.

    Samples lie no closer to each other than real examples (`spread` and `twins` of at least 1), and single values are
    distributed as in the train split, which families learn from: the sum of their Wasserstein distances is at most 0.25
    times that of their deviations. Train examples and independent pixels are at .01 to .21 (60 to 1,000 of them) on
    digits and photo_patches, untrained generators of five architectures at .31 and more; copies of few examples have
    close twins.
    """
    x, y = (images.flatten(1).double() for images in (generated, real))
    found = diversity(x, y)
    if found is None or found.spread is None or found.twins is None or min(found.spread, found.twins) < 1.0:
        return False
    size = min(len(x), len(train), MOST)
    x, y = (_some(images.flatten(1).double(), None, size)[0].sort(dim=0).values for images in (generated, train))
    return bool((x - y).abs().mean(0).sum() <= SAME_VALUES * y.std(0).sum())


def _some(x: Tensor, labels: Tensor | None, size: int) -> tuple[Tensor, Tensor | None]:
    if len(x) == size:
        return x, labels
    chosen = subset(len(x), size, seed=0)
    return x[chosen], None if labels is None else labels[chosen]


def _pairs(distance: Tensor, labels: Tensor | None = None) -> Tensor:
    """Distances (n, n) of all pairs, or of those with equal labels, flat."""
    above = torch.ones_like(distance, dtype=torch.bool).triu(1)
    return distance[above if labels is None else above & (labels[:, None] == labels)]


def _quarter(values: Tensor) -> Tensor:
    """What a quarter of the values lie below; NaN of none."""
    return values.kthvalue(max(1, round(_QUARTER * len(values)))).values if len(values) else torch.tensor(torch.nan)


def _ratio(a: Tensor, b: Tensor) -> float | None:
    return float(a / b) if b > 0 and not a.isnan() else None


def _gaussian_like(real: Tensor) -> Tensor:
    """As many examples, always the same, of the normal distribution with the moments of real ones (n, d)."""
    _, singular, basis = torch.linalg.svd(real - real.mean(0), full_matrices=False)
    noise = torch.randn(len(real), len(singular), generator=torch.Generator().manual_seed(0), dtype=real.dtype)
    return real.mean(0) + noise @ (singular[:, None] * basis) / (len(real) - 1) ** 0.5


def _effective(index: Tensor, n: int) -> float:
    """exp of the entropy of the shares of the values of `index` among 0...n-1."""
    share = index.bincount(minlength=n).double() / len(index)
    return float(torch.special.entr(share).sum().exp())


def _along_main_directions(generated: Tensor, real: Tensor) -> float:
    """Root mean square, over the principal directions with half of the real variance, of the ratio of deviations.

    A direction counts for no more than 1, so that a wide one cannot make up for others.
    """
    _, singular, basis = torch.linalg.svd(real - real.mean(0), full_matrices=False)
    variance = singular.square() / (len(real) - 1)  # falling
    count = 1 + int((variance.cumsum(0) < _HALF_VARIANCE * variance.sum()).sum())
    own = (generated @ basis[:count].T).var(0)
    return float((own / variance[:count]).clamp(max=1.0).mean().sqrt())
