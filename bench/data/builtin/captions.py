"""Captions: digits and shapes at one of two sizes and four places, each with a sentence that says which.

docs/data.md states how they are made. Some combinations of thing, size and place never occur in the train split: each
held-out split has combinations of its own, which only a model that has understood the parts of a sentence gets right.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ....models.data_spec import DataSpec
from ..base import DataSet, Split
from ..examples import Examples
from ..words import tokens_of
from . import sprites
from .caption_words import DIGITS, FACTORS, WORDINGS, caption, words_for
from .catalogue import WITHOUT_OPTIONS

COUNTS: dict[Split, int] = {"train": 4_000, "validation": 1_000, "test": 1_000}
NEW_SHARE = 0.25  # of the examples of a held-out split: those of its new combinations

_SEED = 52_817  # no picture of one split stands in another
_ASIDE = 1.0  # step of a sprite's 8 places by which a shape may lie further inside
_SIDE, _DIGIT, _LARGE_DIGIT = 16, 8, 12


def load(spec: DataSpec) -> DataSet:
    """4,000, 1,000 and 1,000 pictures with captions; no digit's image of one split stands in another."""
    reader = WITHOUT_OPTIONS["digits"]
    digits = reader.read(reader.describe())
    splits: dict[Split, Examples] = {}
    factors = {}
    for number, (name, count) in enumerate(COUNTS.items()):
        random = np.random.default_rng([_SEED, number])
        known, new = combinations("train"), combinations(name) if name != "train" else None
        chosen = known[random.integers(len(known), size=count)]
        if new is not None:
            fresh = random.random(count) < NEW_SHARE
            chosen[fresh] = new[random.integers(len(new), size=int(fresh.sum()))]
        x = np.zeros((count, 1, _SIDE, _SIDE), np.int64)
        of_digits = chosen[:, 0] < len(DIGITS)
        x[of_digits, 0] = _digits(chosen[of_digits], digits.splits[name], random, spec.levels or 0)
        x[~of_digits, 0] = _shapes(chosen[~of_digits], random, spec.levels or 0)
        wordings = random.integers(WORDINGS, size=(count, len(WORDINGS)))
        texts = [caption(row, wording) for row, wording in zip(chosen.tolist(), wordings.tolist(), strict=True)]
        captions = tokens_of(texts, spec.condition)
        splits[name] = Examples.of_arrays(spec, x, captions)
        factors[name] = torch.from_numpy(chosen)
    meanings = partial(_meanings, symbols=spec.condition.symbols)
    return DataSet(spec, splits, factor_names=tuple(FACTORS), factors=factors, meanings=meanings)


def combinations(split: Split) -> np.ndarray:
    """Things, sizes and places (k, 3) that occur in train, or in a held-out split alone.

    Of a thing's eight combinations each held-out split has one, of opposite sizes and places, so that train has every
    size and place of every thing.
    """
    rows = np.array(list(itertools.product(*(range(len(names)) for names in FACTORS.values()))))
    thing, size, place = rows.T
    in_validation = (size == thing // 4 % 2) & (place == thing % 4)
    in_test = (size != thing // 4 % 2) & (place == 3 - thing % 4)
    return rows[{"train": ~(in_validation | in_test), "validation": in_validation, "test": in_test}[split]]


def _meanings(texts: Tensor, symbols: Sequence[str]) -> Tensor:
    """Thing, size and place (n, 3) that captions (n, T) name."""
    columns = []
    for factor, names in FACTORS.items():
        said = []
        for name in names:
            wordings = [torch.tensor([symbols.index(word) for word in words.split()]) for words in words_for(name)]
            # A place has two words, both of which are in its captions.
            said.append(torch.stack([(texts[:, :, None] == w).any(1).all(1) for w in wordings]).any(0))
        found = torch.stack(said, dim=1)
        if not (found.sum(1) == 1).all():
            raise ValueError(f"texts of captions that do not name one {factor}")
        columns.append(found.long().argmax(1))
    return torch.stack(columns, dim=1)


def _digits(chosen: np.ndarray, examples: Examples, random: np.random.Generator, levels: int) -> np.ndarray:
    """Pictures (n, 16, 16) of levels: a small digit has the 8 x 8 pixels of its image, a large one 12 x 12."""
    labels = examples.labels
    assert labels is not None
    by_digit = [np.flatnonzero(labels.numpy() == digit) for digit in range(len(DIGITS))]
    x = (examples.x[:][:, 0].double().numpy() + 1.0) / 2.0
    pictures = np.zeros((len(chosen), _SIDE, _SIDE))
    for picture, (digit, size, place) in zip(pictures, chosen, strict=True):
        image = x[by_digit[digit][random.integers(len(by_digit[digit]))]]
        if size:
            image = _ENLARGE @ image @ _ENLARGE.T
        room = _SIDE - len(image)
        top, left = room * (place // 2), room * (place % 2)
        picture[top : top + len(image), left : left + len(image)] = image
    return np.rint(pictures * (levels - 1)).astype(np.int64)


def _shapes(chosen: np.ndarray, random: np.random.Generator, levels: int) -> np.ndarray:
    """Pictures (n, 16, 16) of levels: the smallest and the largest sprites, near the outermost places, of any angle."""
    n = len(chosen)
    thing, size, place = chosen.T
    extremes = {name: count - 1 for name, count in sprites.FACTORS.items()}
    drawn = {
        "shape": thing - len(DIGITS),
        "size": size * extremes["size"],
        "angle": random.uniform(0, sprites.FACTORS["angle"], size=n),
        "x": np.abs(place % 2 * extremes["x"] - random.uniform(0, _ASIDE, size=n)),
        "y": np.abs(place // 2 * extremes["y"] - random.uniform(0, _ASIDE, size=n)),
        "brightness": random.uniform(1, extremes["brightness"], size=n),
    }
    return sprites.render(np.stack([drawn[name] for name in sprites.FACTORS], axis=1), levels)


def _enlargement(small: int, large: int) -> np.ndarray:
    """Linear interpolation (large, small) between the centres of pixels."""
    at = (np.arange(large) + 0.5) * small / large - 0.5
    return np.clip(1.0 - np.abs(at[:, None].clip(0, small - 1) - np.arange(small)[None, :]), 0.0, 1.0)


_ENLARGE = _enlargement(_DIGIT, _LARGE_DIGIT)
