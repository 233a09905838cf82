"""Metrics on samples of sequences: by hand, on planted failures, and the contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gentune.bench.data import load
from gentune.bench.metrics import UndefinedError
from gentune.bench.metrics.ngrams import numbered_ngrams
from gentune.bench.metrics.sequences import (
    copied_share,
    copied_span,
    distinct_n,
    longest_copies,
    ngram_mmd,
    repetition,
)
from gentune.models import DataSpec
from gentune.testing import MetricContract

SPEC = DataSpec("tokens", "sequence", (8,), vocabulary=4, padding=3)
IMAGES = DataSpec("images", "image", (1, 1, 8), levels=4)


def drawn(seed: int, n: int = 60, alike: int = 0) -> Tensor:
    """Sequences of tokens 0...2 in unequal shares; the first `alike` ones equal."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.multinomial(torch.tensor([0.6, 0.3, 0.1]), n * 8, replacement=True, generator=generator).reshape(n, 8)
    x[:alike] = x[:1]
    return x


def test_distinct_n_by_hand() -> None:
    # 0 1 2 0 1 2 0 1: five 4-grams, three of them different; 0 1 2 0 once more in the second; the third has none.
    x = torch.tensor([[0, 1, 2, 0, 1, 2, 0, 1], [0, 1, 2, 0, 3, 3, 3, 3], [1, 1, 1, 3, 3, 3, 3, 3]])
    assert distinct_n(x, SPEC).value == pytest.approx(3 / 6)


def test_the_interval_of_distinct_n_is_the_jackknife() -> None:
    x = drawn(0, n=40)
    without = torch.tensor([distinct_n(x[torch.arange(40) != i], SPEC).value for i in range(40)], dtype=torch.float64)
    error = (39 / 40 * (without - without.mean()).square().sum()).sqrt()
    found = distinct_n(x, SPEC)
    assert found.generated_error == pytest.approx(float(error), rel=1e-9)
    assert found.high == pytest.approx(found.value + 1.96 * float(error), rel=1e-3)


def test_repetition_by_hand() -> None:
    x = torch.tensor(
        [[0, 1, 2, 0, 1, 2, 0, 1], [0, 1, 2, 0, 1, 3, 3, 3], [1, 1, 1, 1, 1, 1, 3, 3], [1, 1, 3, 3, 3, 3, 3, 3]]
    )
    assert repetition(x, SPEC).value == pytest.approx((2 / 5 + 0 + 2 / 3) / 3)  # the last has no 4-gram


def by_brute_force(x: list[int], train: list[list[int]]) -> int:
    spans = [x[a:b] for a in range(len(x)) for b in range(a + 1, len(x) + 1)]
    there = [s for s in spans if any(s == t[i : i + len(s)] for t in train for i in range(len(t)))]
    return max(map(len, there), default=0)


def test_longest_copies_are_those_of_all_spans() -> None:
    x, train = drawn(1, n=30), drawn(2, n=12)
    x[3, 5:], x[4] = 3, 3  # shorter, and empty
    train[0, 2:] = 3
    mask, train_mask = SPEC.mask_of(x), SPEC.mask_of(train)
    found = longest_copies(x, mask, train, train_mask)
    rows = [[k for k in row if k != 3] for row in train.tolist()]
    assert found.tolist() == [by_brute_force([k for k in row if k != 3], rows) for row in x.tolist()]
    assert copied_span(x, train, SPEC).value == pytest.approx(float(found.double().mean()))


def test_a_copier_has_its_whole_length_copied() -> None:
    x = drawn(0)
    assert copied_span(x, x, SPEC).value == 8.0
    assert copied_share(x, x, SPEC).value == 1.0


def test_only_whole_copies_are_a_share() -> None:
    train = torch.tensor([[0, 1, 2, 3, 3, 3, 3, 3], [2, 2, 2, 2, 2, 2, 2, 2]])
    x = torch.tensor([[0, 1, 2, 3, 3, 3, 3, 3], [0, 1, 2, 2, 3, 3, 3, 3], [0, 1, 3, 3, 3, 3, 3, 3], [2] * 8])
    assert copied_share(x, train, SPEC).value == pytest.approx(0.5)


def test_numbers_of_ngrams_are_exact() -> None:
    x = drawn(3)
    number, there = numbered_ngrams(x, SPEC.mask_of(x), 3)
    grams = x.unfold(1, 3, 1)
    assert there.all()
    same = number.flatten()[:, None] == number.flatten()
    assert torch.equal(same, (grams.flatten(0, 1)[:, None] == grams.flatten(0, 1)).all(2))


def test_ngram_mmd_is_about_zero_for_equal_laws_and_sees_another_order() -> None:
    equal = ngram_mmd(drawn(0, n=300), drawn(1, n=300), SPEC)
    assert equal.low is not None and equal.high is not None
    assert equal.low < 0 < equal.high
    ordered = drawn(0, n=300).sort(dim=1).values  # the same tokens
    worse = ngram_mmd(ordered, drawn(1, n=300), SPEC)
    assert worse.low is not None and worse.low > equal.high


def test_what_is_planted_in_the_grammar_is_seen() -> None:
    data = load("grammar")
    assert data.grammatical is not None
    real, other = (data.splits[split].x[:400] for split in ("test", "validation"))
    train = data.splits["train"].x[:2000]
    shuffled = real.clone()
    for row in shuffled:
        tokens = row[row != 10]
        row[: len(tokens)] = tokens[torch.randperm(len(tokens), generator=torch.Generator().manual_seed(0))]
    assert data.grammatical(shuffled).float().mean() < 0.2
    floor = ngram_mmd(other, real, data.spec)
    assert floor.high is not None and ngram_mmd(shuffled, real, data.spec).value > floor.high
    few = real[:20].repeat(20, 1)
    assert distinct_n(few, data.spec).value < 0.3 * distinct_n(real, data.spec).value
    assert copied_span(train[:400], train, data.spec).value > copied_span(real, train, data.spec).value + 2


@pytest.mark.parametrize("function", [distinct_n, repetition])
def test_images_are_no_sequences(function: object) -> None:
    with pytest.raises(UndefinedError, match="not for image"):
        function(torch.zeros(3, 1, 1, 8), IMAGES)  # type: ignore[operator]


class TestGrammaticality(MetricContract):
    card = "grammaticality"

    @classmethod
    def better(cls) -> Mapping[str, object]:
        return {"grammatical": torch.tensor([True, True, False])}

    @classmethod
    def worse(cls) -> Mapping[str, object]:
        return {"grammatical": torch.tensor([True, False, False])}

    @classmethod
    def degenerate(cls) -> Mapping[str, Mapping[str, object]]:
        return {"no sample": {"grammatical": torch.zeros(0, dtype=torch.bool)}}


class _OnTokens(MetricContract):
    @classmethod
    def better(cls) -> Mapping[str, object]:
        return {"generated_x": drawn(0), "real_x": drawn(1), "train_x": drawn(2), "spec": SPEC}

    @classmethod
    def degenerate(cls) -> Mapping[str, Mapping[str, object]]:
        of_images = {"generated_x": torch.zeros(9, 1, 1, 8), "spec": IMAGES}
        return {"no sample": {**cls.better(), "generated_x": drawn(0)[:0]}, "images": {**cls.better(), **of_images}}


class TestNgramMmd(_OnTokens):
    card = "ngram_mmd"

    @classmethod
    def worse(cls) -> Mapping[str, object]:
        return {**cls.better(), "generated_x": 2 - drawn(0)}

    @classmethod
    def degenerate(cls) -> Mapping[str, Mapping[str, object]]:
        return {**super().degenerate(), "one sequence": {**cls.better(), "real_x": drawn(1, alike=60)}}


class TestDistinctN(_OnTokens):
    card = "distinct_n"

    @classmethod
    def worse(cls) -> Mapping[str, object]:
        return {**cls.better(), "generated_x": drawn(0, alike=40)}

    @classmethod
    def degenerate(cls) -> Mapping[str, Mapping[str, object]]:
        short = replace(SPEC, shape=(3,))
        return {**super().degenerate(), "short ones": {**cls.better(), "generated_x": drawn(0)[:, :3], "spec": short}}


class TestRepetition(_OnTokens):
    card = "repetition"

    @classmethod
    def worse(cls) -> Mapping[str, object]:
        return {**cls.better(), "generated_x": torch.arange(60)[:, None].remainder(3).expand(-1, 8)}


class TestCopiedSpan(_OnTokens):
    card = "copied_span"

    @classmethod
    def worse(cls) -> Mapping[str, object]:
        return {**cls.better(), "generated_x": drawn(2)}

    @classmethod
    def degenerate(cls) -> Mapping[str, Mapping[str, object]]:
        return {**super().degenerate(), "no train example": {**cls.better(), "train_x": drawn(2)[:0]}}


class TestCopiedShare(TestCopiedSpan):
    card = "copied_share"
