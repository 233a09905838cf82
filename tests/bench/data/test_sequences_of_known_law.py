"""The built-in sequences: their laws sum to one, their entropies are exact, and their examples come from them."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch

from gentune.bench.data import data_specs, load
from gentune.bench.data.builtin import grammar, noisy_ar

SYMBOLS = "xyz+*()[]="


def inside(string: str, symbols: str) -> float:
    """The probability that `symbols` become a string: the sum over all derivations, by brute force."""
    if not symbols:
        return float(not string)
    first, rest = symbols[0], symbols[1:]
    if first not in grammar.RULES:
        return inside(string[1:], rest) if string[:1] == first else 0.0
    return sum(
        p * inside(string[:cut], becomes) * inside(string[cut:], rest)
        for cut in range(len(string) + 1)
        if not rest or inside(string[cut:], rest)
        for p, becomes in grammar.RULES[first]
        if sum(symbol not in "MN" for symbol in becomes) <= cut
    )


@pytest.mark.parametrize("string", ["x=y", "x+y=z", "(x)=[y]", "x*(y+z)=x", "x=", "xy=x", "(x]=y", "x+=y", "x=y=z", ""])
def test_the_only_derivation_is_the_sum_over_all(string: str) -> None:
    assert math.exp(grammar.log_derivation(string)) == pytest.approx(inside(string, grammar.START), rel=1e-12)


def test_probabilities_of_short_strings_sum_to_what_the_law_of_lengths_says() -> None:
    mass, plogp = grammar.length_law(5)
    for length in range(6):
        log_p = np.array([grammar.log_derivation("".join(s)) for s in product(SYMBOLS, repeat=length)])
        found = log_p[np.isfinite(log_p)]
        assert np.exp(found).sum() == pytest.approx(mass[length], abs=1e-14)
        assert (np.exp(found) * found).sum() == pytest.approx(plogp[length], abs=1e-13)


def test_noisy_ar_sums_to_one_and_has_its_entropy() -> None:
    """Over all 625 sequences of 4 steps on 5 levels."""
    log_p = noisy_ar.log_transitions(5)
    log_pi = np.log(noisy_ar.stationary(log_p))
    law = np.exp(log_pi[:, :, None, None] + log_p[:, :, :, None] + log_p[None])
    assert law.sum() == pytest.approx(1.0, abs=1e-12)
    assert -(law * np.log(law)).sum() == pytest.approx(noisy_ar.entropy(5, 4), abs=1e-11)
    assert law.sum((0, 1)) == pytest.approx(np.exp(log_pi), abs=1e-12), "the law of two in a row stays"


def test_transitions_of_noisy_ar_are_masses_of_a_normal() -> None:
    from scipy.stats import norm

    p = np.exp(noisy_ar.log_transitions(16))
    a_1, a_2 = 2 * 0.95 * math.cos(math.pi / 5), -(0.95**2)
    mean = 7.5 + a_1 * (9 - 7.5) + a_2 * (4 - 7.5)
    edges = np.array([-np.inf, *np.arange(15) + 0.5, np.inf])
    assert p[4, 9] == pytest.approx(np.diff(norm.cdf(edges, mean, 0.9)), abs=1e-12)
    assert (p > 0).all()


@pytest.mark.parametrize(("name", "exact"), [("grammar", grammar.entropy(32)), ("noisy_ar", noisy_ar.entropy(16, 32))])
def test_examples_come_from_the_law_whose_entropy_is_stated(name: str, exact: float) -> None:
    data, stated = load(name), data_specs()[name].entropy
    assert stated == pytest.approx(exact, abs=1e-9)
    assert data.log_density is not None
    log_p = data.log_density(data.splits["test"].x[:])
    error = float(log_p.std()) / math.sqrt(len(log_p))
    assert -float(log_p.mean()) == pytest.approx(exact, abs=4 * error)


def test_what_the_grammar_does_not_allow_has_no_probability() -> None:
    data = load("grammar")
    assert data.log_density is not None and data.grammatical is not None
    x = data.splits["test"].x[:40].clone()
    assert data.grammatical(x).all()
    x[0, 0] = 10  # padding in the midst
    x[1] = 10  # the empty string
    x[2, :] = 0  # too long for any
    assert data.grammatical(x[:4]).tolist() == [False, False, False, True]
    assert torch.equal(data.log_density(x[:4]).isfinite(), data.grammatical(x[:4]))
    assert load("noisy_ar").grammatical is None
