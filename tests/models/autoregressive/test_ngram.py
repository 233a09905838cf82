"""n-grams: the formulas by hand, and all of a toy."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from gentune.models import Batch, ConditionSpec, DataSpec
from gentune.models.autoregressive.ngram import Ngram
from gentune.testing.examples import all_sequences, seeded

TEXT = DataSpec("text", "sequence", (5,), vocabulary=4, padding=3)
TRAIN = torch.tensor([[0, 1, 2, 3, 3], [0, 1, 1, 0, 2], [1, 2, 0, 3, 3], [2, 0, 1, 2, 3]])


def fitted(spec: DataSpec = TEXT, labels: torch.Tensor | None = None, **settings: object) -> Ngram:
    model = Ngram(spec, **settings)  # type: ignore[arg-type]
    model.fit(Batch(TRAIN, labels), seeded(0))
    return model.eval()


def counted_grams(length: int) -> Counter[tuple[int, ...]]:
    """Of each n-gram, with the mark -1 before a sequence, how often the train split has it."""
    found: Counter[tuple[int, ...]] = Counter()
    for row in TRAIN.tolist():
        ends = row.index(3) + 1 if 3 in row else len(row)
        marked = [-1, *row[:ends]]
        found.update(tuple(marked[t - length + 1 : t + 1]) for t in range(max(1, length - 1), len(marked)))
    return found


def witten_bell(history: tuple[int, ...], k: int) -> float:
    of_longer = [(gram, c) for gram, c in counted_grams(len(history) + 1).items() if gram[:-1] == history]
    shorter = witten_bell(history[1:], k) if history else 0.25
    total, different = sum(c for _, c in of_longer), len(of_longer)
    own = dict(of_longer).get((*history, k), 0)
    return (own + different * shorter) / (total + different) if total else shorter


def kneser_ney(history: tuple[int, ...], k: int, order: int) -> float:
    grams = counted_grams(len(history) + 1)
    if len(history) + 1 < order and history[:1] != (-1,):
        grams = Counter(gram[1:] for gram in counted_grams(len(history) + 2))
    of_longer = {gram: c for gram, c in grams.items() if gram[:-1] == history}
    shorter = kneser_ney(history[1:], k, order) if history else 0.25
    total = sum(of_longer.values())
    own = max(of_longer.get((*history, k), 0) - 0.6, 0.0)
    return (own + 0.6 * len(of_longer) * shorter) / total if total else shorter


@pytest.mark.parametrize("smoothing", ["witten_bell", "kneser_ney"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_probabilities_are_those_of_the_formulas(smoothing: str, order: int) -> None:
    model = fitted(order=order, smoothing=smoothing, discount=0.6)
    x = torch.tensor([[0, 1, 2, 0, 1], [2, 2, 0, 3, 3], [1, 1, 0, 2, 0]])
    log_p = model.log_probs(x, None)
    for row, found in zip(x.tolist(), log_p.exp().tolist(), strict=True):
        marked = [-1, *row]
        for t in range(1, len(marked)):
            history = tuple(marked[max(0, t - order + 1) : t])
            own = (witten_bell if smoothing == "witten_bell" else lambda h, k: kneser_ney(h, k, order))(
                history, marked[t]
            )
            assert found[t - 1] == pytest.approx(own, abs=1e-12), (history, marked[t])
            if marked[t] == 3:
                break


@pytest.mark.parametrize("smoothing", ["witten_bell", "kneser_ney"])
def test_probabilities_of_all_sequences_sum_to_one(smoothing: str) -> None:
    model = fitted(order=4, smoothing=smoothing)
    log_prob = model.log_likelihood(Batch(all_sequences(TEXT))).log_prob
    assert log_prob.exp().sum().item() == pytest.approx(1.0, abs=1e-10)


def test_labels_have_counts_of_their_own() -> None:
    from dataclasses import replace

    spec = replace(TEXT, condition=ConditionSpec("label", classes=3))
    model = fitted(spec, torch.tensor([0, 0, 1, 1]))
    first = [model.log_probs(TRAIN[:1], torch.tensor([y]))[0, 0].exp().item() for y in range(3)]
    assert first[0] > 0.5 > first[1]
    assert first[2] == pytest.approx(0.25), "a label without examples: uniform"
    everything = all_sequences(TEXT)
    labels = torch.zeros(len(everything), dtype=torch.int64)
    for y in range(3):
        log_prob = model.log_likelihood(Batch(everything, labels + y)).log_prob
        assert log_prob.exp().sum().item() == pytest.approx(1.0, abs=1e-10)


def test_samples_are_as_probable_as_they_say() -> None:
    model = fitted(order=3)
    x = model.sample(4000, generator=seeded(1))
    rows, counts = x.unique(dim=0, return_counts=True)
    p = model.log_likelihood(Batch(rows)).log_prob.exp()
    often = counts > 100
    assert often.sum() >= 5
    assert (counts[often] / 4000 - p[often]).abs().max() < 0.02
