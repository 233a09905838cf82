"""Rows of a table as vectors, and back: n rows of codes to float64 (n, D) and again, exactly.

Codes are one array (n,) for each column: float64 numbers, or steps of time since the column's origin, with NaN for what
is missing; for categories the index of the value as int64, -1 for what is missing.

Values on a lattice (whole numbers, decimals, categories, what is missing) get uniform noise within their step, so that
no density can grow without bound on repeated values. The log-likelihood of a vector is then on average a lower bound on
that of its row: probabilities of categories, densities of numbers in their own units, also of those that stand in for
missing ones (Theis et al., "A note on the evaluation of generative models", arXiv:1511.01844, section 3.1).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ....models.table_spec import TableColumn, TableSpec

Codes = Mapping[str, np.ndarray]

# Models see vectors as float32, standardised. Noise keeps four times the round-off of that, and of float64, away from
# the next value; a lattice so fine that this would be more than a quarter of a step is as good as continuous.
_ROUND_OFF, _ROUND_OFF_64 = 2.0**-22, 2.0**-50
_MOST_KEPT_AWAY = 0.25


def encode(table: TableSpec, codes: Codes, seed: int) -> np.ndarray:
    """Vectors (n, D) of rows. seed: of the noise, and of the numbers that stand in for missing ones.

    A missing number is replaced by one of the column's own, drawn at random, so that no value piles up.
    """
    if not table.places:
        return np.empty((0, 0))
    parts = [
        _encoded(column, codes[column.name], np.random.default_rng([seed, index]))
        for index, column in enumerate(table.modelled)
    ]
    return np.concatenate(parts, axis=1)


def decode(table: TableSpec, x: np.ndarray) -> dict[str, np.ndarray]:
    """Codes of vectors (n, D), of every modelled column: any finite vector is a row with values that the columns have.

    Raises ValueError for vectors of another size.
    """
    if x.ndim != 2 or x.shape[1] != table.dimensions:
        raise ValueError(f"vectors of shape {x.shape}; the table's have {table.dimensions} entries")
    return {column.name: _decoded(column, x[:, place]) for column, place in table.places}


def noise_reach(column: TableColumn) -> float:
    """How far noise moves a number or a time from its value to either side, in its own unit; 0: none is added."""
    if column.decimals is None:
        return 0.0
    step = 10.0**-column.decimals
    kept_away = (column.high - column.low) / step * _ROUND_OFF + max(-column.low, column.high) / step * _ROUND_OFF_64
    return 0.0 if kept_away > _MOST_KEPT_AWAY else (0.5 - kept_away) * step


def _encoded(column: TableColumn, codes: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(n, width)"""
    n = len(codes)
    if column.kind == "category":
        states = np.where(codes < 0, len(column.categories), codes)
        indicators = states[:, None] == (np.arange(column.width) if column.width != 1 else 1)
        return indicators + _around(random, (n, column.width), 0.5 - _ROUND_OFF)
    gaps = np.isnan(codes)
    numbers = codes.copy()
    numbers[gaps] = random.choice(codes[~gaps], int(gaps.sum()))
    numbers += _around(random, (n,), noise_reach(column))
    if not column.missing:
        return numbers[:, None]
    return np.stack([numbers, gaps + _around(random, (n,), 0.5 - _ROUND_OFF)], axis=1)


def _around(random: np.random.Generator, size: tuple[int, ...], reach: float) -> np.ndarray:
    return random.uniform(-reach, reach, size) if reach else np.zeros(size)


def _decoded(column: TableColumn, x: np.ndarray) -> np.ndarray:
    """Codes (n,) of entries (n, width)."""
    if column.kind == "category":
        states = (x > 0.5).sum(axis=1) if column.width <= 1 else x.argmax(axis=1)  # of a constant: 0
        return np.where(states < len(column.categories), states, -1).astype(np.int64)
    numbers = x[:, 0]
    if column.decimals is not None:
        numbers = np.rint(numbers * 10.0**column.decimals) / 10.0**column.decimals + 0.0  # no negative zero
    numbers = numbers.clip(column.low, column.high)
    return np.where(x[:, 1] > 0.5, np.nan, numbers) if column.missing else numbers
