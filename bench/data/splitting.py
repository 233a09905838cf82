"""Draws the examples of a source into train, validation and test. Free of torch."""

from __future__ import annotations

import numpy as np

SPLITS = ("train", "validation", "test")


def draw_splits(
    shares: tuple[float, ...], random: np.random.Generator, groups: np.ndarray, labels: np.ndarray | None
) -> np.ndarray:
    """The split of each example, 0...2 for `SPLITS`, int8 (n,).

    Every split has its share of every label, as nearly as groups let it: the groups of a label are shuffled and laid on
    a line as long as their sizes, which is cut by the shares at a random offset. Each label has a group in train.

    shares: of the three splits, with a sum of one; one of zero stays empty.
    groups: (n,) integers; examples with the same one come into one split, under the label of the first of them.
    labels: (n,) integers; None: all examples are alike.
    """
    units, first, unit_of, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    strata = np.zeros(len(units), int) if labels is None else labels[first]
    ends = np.cumsum(shares)[:-1]
    chosen = np.empty(len(units), np.int8)
    for stratum in np.unique(strata):
        members = random.permutation(np.flatnonzero(strata == stratum))
        total = sizes[members].sum()
        before = np.cumsum(sizes[members]) - sizes[members]
        places = ((before + random.random() * sizes[members]) / total) % 1.0
        chosen[members] = np.searchsorted(ends, places, side="right")
        if shares[0] > 0 and not (chosen[members] == 0).any():
            chosen[members[0]] = 0
    return chosen[unit_of]


def draw_subset(count: int, random: np.random.Generator, strata: np.ndarray) -> np.ndarray:
    """Sorted indices of `count` examples, of every stratum its share but for rounding.

    strata: (n,) integers.
    """
    order = random.permutation(len(strata))
    order = order[np.argsort(strata[order], kind="stable")]  # strata one after another, each shuffled
    places = (np.arange(count) + random.random()) * (len(strata) / count)
    return np.sort(order[places.astype(int)])
