"""Equations of bracketed sums and products: strings of a probabilistic context-free grammar; docs/data.md states it.

Glossary:
    l  tokens of a string;  L  the most that one may have
    p  probability of a derivation, the product of its rules' probabilities; each string has at most one derivation
    Z  probability of at most L tokens: strings have the law p / Z, since longer ones are drawn again
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ....models.data_spec import DataSpec
from ..base import DataSet, Split
from ..examples import Examples

# Of each variable, what it may become and how probable that is. Capitals are variables, all else is written. A rule is
# recognised by the next token alone (the grammar is LL(1)): the one that begins with it, else the last.
RULES: Mapping[str, tuple[tuple[float, str], ...]] = {
    "S": ((1.0, "E=E"),),
    "E": ((1.0, "TM"),),
    "M": ((0.35, "+E"), (0.65, "")),
    "T": ((1.0, "FN"),),
    "N": ((0.3, "*T"), (0.7, "")),
    "F": ((0.16, "(E)"), (0.16, "[E]"), (0.34, "x"), (0.22, "y"), (0.12, "z")),
}
START = "S"
SIZES: dict[Split, int] = {"train": 10_000, "validation": 2_000, "test": 5_000}
_SEED = 52_014


def load(spec: DataSpec) -> DataSet:
    """Independent strings, drawn by a fixed seed, filled up with padding."""
    random = np.random.default_rng(_SEED)
    longest = spec.shape[0]
    splits: dict[Split, Examples] = {}
    for name, count in SIZES.items():
        strings = [draw(longest, random) for _ in range(count)]
        splits[name] = Examples.of_arrays(spec, _tokens(strings, spec))
    log_z = math.log(length_law(longest)[0].sum())

    def log_probability(x: Tensor) -> Tensor:
        values = [log_derivation(string) - log_z for string in _strings(x, spec)]
        return torch.tensor(values, dtype=torch.float64)

    def grammatical(x: Tensor) -> Tensor:
        return torch.tensor([log_derivation(string) > -math.inf for string in _strings(x, spec)])

    return DataSet(spec, splits, log_density=log_probability, grammatical=grammatical)


def draw(longest: int, random: np.random.Generator) -> str:
    """One string of at most `longest` tokens: longer ones are drawn again."""
    while True:
        stack, written = [START], ""
        while stack and len(written) <= longest:
            symbol = stack.pop()
            if symbol in RULES:
                stack += reversed(_drawn(RULES[symbol], random.random()))
            else:
                written += symbol
        if not stack and len(written) <= longest:
            return written


def log_derivation(string: str) -> float:
    """log p of a string's only derivation, found token by token; -inf where there is none."""
    stack, place, total = [START], 0, 0.0
    while stack:
        symbol, ahead = stack.pop(), string[place : place + 1]
        if symbol in RULES:
            rules = RULES[symbol]
            p, becomes = next((rule for rule in rules if ahead and rule[1].startswith(ahead)), rules[-1])
            total += math.log(p)
            stack += reversed(becomes)
        elif symbol == ahead:
            place += 1
        else:
            return -math.inf
    return total if place == len(string) else -math.inf


def length_law(longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Of strings with l = 0 ... `longest` tokens: Σ p, and Σ p log p, each (longest + 1,).

    For a rule V -> A B ... of probability q the sums over its derivations are convolutions of those of A, B, ...:
    Σ p = q Z_A * Z_B * ..., and Σ p log p follows from the product rule. Iterated until nothing changes, which takes
    finitely many rounds, since a string of l tokens has derivations of bounded depth.
    """
    mass = {v: np.zeros(longest + 1) for v in RULES}
    plogp = {v: np.zeros(longest + 1) for v in RULES}
    one_token = np.eye(longest + 1)[1] if longest else np.zeros(1)
    while True:
        before = {v: (mass[v], plogp[v]) for v in RULES}
        for variable, rules in RULES.items():
            sums = np.zeros((2, longest + 1))
            for q, becomes in rules:
                z, s = np.eye(longest + 1)[0], np.zeros(longest + 1)
                for symbol in becomes:
                    other = before.get(symbol, (one_token, np.zeros(longest + 1)))
                    z, s = _product((z, s), other)
                sums += q * z, q * (s + math.log(q) * z)
            mass[variable], plogp[variable] = sums
        if all(np.array_equal(before[v][0], mass[v]) and np.array_equal(before[v][1], plogp[v]) for v in RULES):
            return mass[START], plogp[START]


def entropy(longest: int) -> float:
    """Nats of one string of at most `longest` tokens: log Z - (1/Z) Σ p log p."""
    mass, plogp = length_law(longest)
    z = mass.sum()
    return float(math.log(z) - plogp.sum() / z)


def _drawn(rules: tuple[tuple[float, str], ...], u: float) -> str:
    """What a variable becomes, for u uniform in [0, 1)."""
    for p, becomes in rules:
        u -= p
        if u < 0:
            return becomes
    return rules[-1][1]


def _product(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Σ p and Σ p log p of two strings one after the other, by their length."""
    count = len(a[0])
    return np.convolve(a[0], b[0])[:count], (np.convolve(a[1], b[0]) + np.convolve(a[0], b[1]))[:count]


def _tokens(strings: list[str], spec: DataSpec) -> np.ndarray:
    """(n, T) of strings."""
    assert spec.padding is not None
    token = {symbol: number for number, symbol in enumerate(spec.symbols)}
    rows = np.full((len(strings), *spec.shape), spec.padding, np.uint8)
    for row, string in zip(rows, strings, strict=True):
        row[: len(string)] = [token[symbol] for symbol in string]
    return rows


def _strings(x: Tensor, spec: DataSpec) -> list[str]:
    """Of tokens (n, T): what stands before the padding, with "?", which is in no rule, for padding in between."""
    written = [symbol or "?" for symbol in spec.symbols]
    return ["".join(written[token] for token in row).rstrip("?") for row in x.tolist()]
