"""Captions: what sentences say is what pictures show, and which combinations are new in held-out splits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gentune.bench.commands.cli import app
from gentune.bench.data import load
from gentune.bench.data.builtin.caption_words import CONDITION, FACTORS, caption
from gentune.bench.data.builtin.captions import combinations
from gentune.bench.data.words import PADDING, UNKNOWN, condition_of, tokens_of, vocabulary_of, words_of
from gentune.models import ConditionSpec


def test_sentences_name_the_factors() -> None:
    data = load("captions")
    words = {"little": "small", "big": "large", "upper": "top", "lower": "bottom"}
    for name, split in data.splits.items():
        assert data.factors is not None and split.condition is not None
        for text, factors in zip(split.condition[:200].tolist(), data.factors[name][:200].tolist(), strict=True):
            said = {words.get(word, word) for word in data.spec.condition.written(text).replace(",", "").split()}
            said = {word.rstrip(":") for word in said}
            for value, names in zip(factors, FACTORS.values(), strict=True):
                assert set(names[value].split()) <= said


def test_every_wording_has_its_words_in_the_vocabulary_and_fits() -> None:
    seen = set()
    for thing in range(13):
        for size, place in [(0, 0), (1, 1), (0, 2), (1, 3)]:
            for number in range(12):
                seen.add(caption((thing, size, place), (number % 3, number // 3 % 2, number // 6)))
    tokens = tokens_of(sorted(seen), CONDITION)
    assert len(seen) == 13 * 4 * 12
    assert not (tokens == UNKNOWN).any()
    assert max(map(len, map(words_of, seen))) == CONDITION.shape[0]
    assert [CONDITION.written(row) for row in tokens.tolist()] == sorted(seen)


def test_held_out_splits_have_combinations_of_their_own() -> None:
    data = load("captions")
    assert data.factors is not None
    sets = {name: {tuple(row) for row in combinations(name).tolist()} for name in data.splits}
    assert [len(sets[name]) for name in ("train", "validation", "test")] == [78, 13, 13]
    assert len(set.union(*sets.values())) == 104
    for thing in range(13):  # train has every size and place of every thing
        sizes, places = zip(*((size, place) for t, size, place in sets["train"] if t == thing), strict=True)
        assert set(sizes) == {0, 1} and set(places) == {0, 1, 2, 3}
    occurring = {name: {tuple(row) for row in rows.tolist()} for name, rows in data.factors.items()}
    assert occurring["train"] == sets["train"]
    for name in ("validation", "test"):
        assert occurring[name] == sets["train"] | sets[name]
        new = torch.tensor([tuple(row) in sets[name] for row in data.factors[name].tolist()])
        assert new.float().mean().item() == pytest.approx(0.25, abs=0.05)


def test_pictures_lie_where_they_are_said_to_and_are_as_large() -> None:
    data = load("captions")
    assert data.factors is not None
    x, factors = data.splits["train"].x[:][:, 0], data.factors["train"]
    ink = (x + 1.0).double()
    at = (torch.arange(16) + 0.5).double()
    row = (ink.sum(2) * at).sum(1) / ink.sum((1, 2))
    column = (ink.sum(1) * at).sum(1) / ink.sum((1, 2))
    digits = factors[:, 0] < 10
    assert torch.equal(row[digits] > 8.0, factors[digits, 2] // 2 == 1)
    assert torch.equal(column > 8.0, factors[:, 2] % 2 == 1)
    extent = (x.amax(1) > -0.9).sum(1)  # columns with ink
    small, large = (extent[digits & (factors[:, 1] == size)].float().mean() for size in (0, 1))
    assert large > 1.4 * small


def test_words_are_cut_filled_up_and_unknown() -> None:
    symbols = vocabulary_of(["A red dog, a cat.", "a dog"], most=3)
    assert symbols == ("", "[?]", ",", "a", "dog")  # as frequent as "." and earlier in the alphabet: the comma
    condition = condition_of(symbols, 4)
    tokens = tokens_of(["a dog", "the dog, a dog"], condition)
    assert tokens.tolist() == [[3, 4, PADDING, PADDING], [UNKNOWN, 4, 2, 3]]
    assert [condition.written(row) for row in tokens.tolist()] == ["a dog", "[?] dog, a"]
    assert condition.mask_of(torch.from_numpy(tokens)).sum().item() == 6
    assert ConditionSpec("text", (2,), vocabulary=9).written([3, 0]) == "3 0"


def test_impossible_texts_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the padding of texts is 9; wanted a token 0\.\.\.8"):
        ConditionSpec("text", (2,), vocabulary=9, padding=9)
    with pytest.raises(ValueError, match="1 symbols and vocabulary 9"):
        ConditionSpec("text", (2,), vocabulary=9, symbols=("a",))
    with pytest.raises(ValueError, match="conditions of kind 'label' have no symbols"):
        ConditionSpec("label", classes=2, symbols=("a",))


def test_data_show_prints_captions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for flags in ([], ["--json"]):
        app(["data", "show", "captions", "--out", str(tmp_path), *flags], standalone_mode=False)
    plain, document = capsys.readouterr().out.split("{", 1)
    content = json.loads("{" + document)
    assert content["conditions"] == "text" and len(content["texts"]) == 10
    assert all(f"  {text}\n" in plain for text in content["texts"])
    assert np.isin(["seven", "triangle"], CONDITION.symbols).all()
