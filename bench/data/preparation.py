"""From what a source holds to a data set: subset, duplicates, splits, standardisation."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import get_args

import numpy as np

from ..errors import UsageError
from . import duplicates
from .base import DataSet, Split, standardised
from .common_options import CommonOptions
from .examples import Examples
from .found import Found
from .splitting import SPLITS, draw_splits, draw_subset

_FEWEST = 5  # examples of a split: with fewer no metric has an interval
_MOST_REPEATED = 0.5  # share of examples that others equal, above which repeats are how the data are
_LARGEST_GROUP = 0.1  # share of examples that near duplicates may chain together

assert get_args(Split) == SPLITS


def prepare(found: Found, options: CommonOptions) -> DataSet:
    """The data set that a source gives under the common options, with notes on what was done to it.

    Raises UsageError where there are too few examples, and for vectors that cannot be standardised.
    """
    name = found.spec.name
    _check_numbers(found)
    _check_classes(found)
    random = np.random.default_rng(options.split_seed)
    labels = found.condition if found.spec.condition.kind == "label" else None
    given = None if found.split is None else _split_numbers(found)
    notes = list(found.notes)
    chosen = np.arange(len(found))
    if options.subset:
        if options.subset > len(found):
            raise UsageError(f"option subset is {options.subset}; data {name!r} has {len(found)} examples")
        strata = np.zeros(len(found), int) if labels is None else np.unique(labels, return_inverse=True)[1]
        chosen = draw_subset(options.subset, random, strata if given is None else strata * len(SPLITS) + given)
    groups = np.arange(len(found)) if found.groups is None else found.groups
    groups, repeated = _with_duplicates(found, chosen, groups, notes)
    if given is None:
        split = draw_splits(options.split, random, groups[chosen], None if labels is None else labels[chosen])
    else:
        split = given[chosen]
        if repeated or found.groups is not None:
            chosen, split = _without_copies(chosen, split, groups[chosen], notes)
        split = _with_missing(split, options.split, random, groups[chosen], labels, chosen, notes)
    rows: dict[Split, np.ndarray] = {part: chosen[split == number] for number, part in enumerate(get_args(Split))}
    for part, index in rows.items():
        if len(index) < _FEWEST:
            raise UsageError(
                f"data {name!r} has {len(chosen)} examples, of which {len(index)} come into {part}; "
                f"wanted at least {_FEWEST} in each split"
            )
    return _data_set(found, rows, tuple(notes), options)


def _with_duplicates(found: Found, chosen: np.ndarray, groups: np.ndarray, notes: list[str]) -> tuple[np.ndarray, bool]:
    """The groups with those of duplicates joined, and whether duplicates are to be kept out of two splits."""
    known = found.duplicates or duplicates.find_duplicates(found.spec, found.values)
    inside = np.zeros(len(found), bool)
    inside[chosen] = True
    # Of each chosen example the first chosen one that equals it.
    _, first, copy_of = np.unique(known.same[chosen], return_index=True, return_inverse=True)
    same = first[copy_of]
    copied = same != np.arange(len(same))
    copies = int(copied.sum())
    if copies > _MOST_REPEATED * len(same):
        notes.append(f"copies of other examples: {copies:,} of {len(same):,}; they may stand in several splits")
        return groups, False
    pairs = np.stack([chosen, chosen[same]], axis=1)[copied]
    if copies:
        notes.append(f"copies of other examples: {copies:,} of {len(same):,}; they are kept in one split")
    near = known.near[inside[known.near].all(axis=1)]
    if len(near):
        sizes = np.bincount(duplicates.joined(known.same, near)[chosen])
        told = f"{len(near):,} pairs of images are nearly the same"
        if sizes.max() > max(2, _LARGEST_GROUP * len(same)):
            notes.append(f"{told}, too many to be kept together")
        else:
            notes.append(f"{told}; they are kept in one split")
            pairs = np.concatenate([pairs, near])
    return (duplicates.joined(groups, pairs), True) if len(pairs) else (groups, False)


def _without_copies(
    chosen: np.ndarray, split: np.ndarray, groups: np.ndarray, notes: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Leaves out of train what stands in a held-out split too, and out of validation what stands in test."""
    last = np.zeros(groups.max() + 1, np.int8)
    np.maximum.at(last, groups, split)
    kept = split == last[groups]
    if not kept.all():
        notes.append(
            f"{int((~kept).sum()):,} examples are left out of train or validation, as a later split has them too"
        )
    return chosen[kept], split[kept]


def _with_missing(
    split: np.ndarray,
    shares: tuple[float, ...],
    random: np.random.Generator,
    groups: np.ndarray,
    labels: np.ndarray | None,
    chosen: np.ndarray,
    notes: list[str],
) -> np.ndarray:
    """The splits that the source lacks, drawn from its train split."""
    missing = [number for number in (1, 2) if not (split == number).any()]
    if not missing:
        return split
    train = split == 0
    wanted = np.array([share if i == 0 or i in missing else 0.0 for i, share in enumerate(shares)])
    drawn = draw_splits(
        tuple(wanted / wanted.sum()),
        random,
        groups[train],
        None if labels is None else labels[chosen[train]],
    )
    notes.append(f"{' and '.join(SPLITS[i] for i in missing)} are drawn from the source's train split")
    result = split.copy()
    result[train] = drawn
    return result


def _split_numbers(found: Found) -> np.ndarray:
    assert found.split is not None
    numbers = np.full(len(found), -1, np.int8)
    for number, part in enumerate(SPLITS):
        numbers[found.split == part] = number
    assert (numbers >= 0).all(), "a source names splits as `SPLITS` does"
    if not (numbers == 0).any():
        raise UsageError(f"data {found.spec.name!r} has no train split")
    return numbers


def _check_classes(found: Found) -> None:
    """Raises UsageError for a class that the source's own train split lacks."""
    if found.split is None or found.condition is None or found.spec.condition.kind != "label":
        return
    trained = np.bincount(found.condition[found.split == "train"], minlength=found.spec.classes)
    missing = np.setdiff1d(found.condition, np.flatnonzero(trained))
    if len(missing):
        first = found.class_names[missing[0]] if found.class_names else missing[0]
        raise UsageError(f"data {found.spec.name!r}: class {first!r} stands in a held-out split but not in train")


def _check_numbers(found: Found) -> None:
    """Raises UsageError for vectors that are no numbers, and for a set in which all examples are the same."""
    name, x = found.spec.name, found.values
    if len(x) == 0:
        raise UsageError(f"data {name!r} has no examples")
    if found.spec.kind == "vector" and not np.isfinite(x).all():
        bad = int((~np.isfinite(x)).any(axis=tuple(range(1, x.ndim))).sum())
        raise UsageError(f"data {name!r}: {bad:,} of {len(x):,} examples hold NaN or infinite values")
    if len(x) > 1 and all((x[start : start + 4_096] == x[:1]).all() for start in range(0, len(x), 4_096)):
        raise UsageError(f"data {name!r}: all {len(x):,} examples are the same; there is nothing to learn")


def _data_set(found: Found, rows: dict[Split, np.ndarray], notes: tuple[str, ...], options: CommonOptions) -> DataSet:
    spec, condition = found.spec, found.condition
    if spec.kind == "vector":
        try:
            data = standardised(
                spec,
                {part: found.values[index] for part, index in rows.items()},
                conditions=None if condition is None else {part: condition[index] for part, index in rows.items()},
            )
        except ValueError as error:
            raise UsageError(str(error)) from None
        return replace(data, notes=notes, class_names=found.class_names)
    splits: dict[Split, Examples] = {}
    for part, index in rows.items():
        mirrored = found.mirrored and part == "train"
        own = None if condition is None else condition[np.concatenate([index, index]) if mirrored else index]
        chosen = np.concatenate([index, ~index]) if mirrored else index
        splits[part] = Examples.of_arrays(spec, found.values, own, rows=chosen)
    return DataSet(spec, splits, notes=notes, class_names=found.class_names, content=_content(found, options))


def _content(found: Found, options: CommonOptions) -> str:
    """What a fingerprint is made of, where the source knows a hash of its examples; "" where it does not."""
    if not found.content:
        return ""
    return hashlib.sha256(f"{found.content} {found.mirrored} {options}".encode()).hexdigest()
