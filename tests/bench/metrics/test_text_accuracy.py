"""Finding a sample's text among others: closed forms, draws, and the contract."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F

from gentune.bench.metrics import METRICS, UndefinedError
from gentune.bench.metrics.alignment import text_accuracy
from gentune.models import DataSpec
from gentune.testing import MetricContract


def _pairs(n: int, noise: float) -> dict[str, object]:
    generator = torch.Generator().manual_seed(0)
    texts = F.normalize(torch.randn(n, 8, generator=generator, dtype=torch.float64), dim=1)
    noisy = texts + noise * torch.randn(n, 8, generator=generator, dtype=torch.float64)
    meanings = torch.arange(n)[:, None]
    return {"sample_embeddings": F.normalize(noisy, dim=1), "asked_embeddings": texts, "asked_meanings": meanings}


class TestTextAccuracy(MetricContract):
    card = "text_accuracy"

    @classmethod
    def better(cls) -> Mapping[str, object]:
        return _pairs(200, 0.05)

    @classmethod
    def worse(cls) -> Mapping[str, object]:
        return _pairs(200, 0.6)

    @classmethod
    def degenerate(cls) -> Mapping[str, Mapping[str, object]]:
        alone = _pairs(20, 0.1) | {"asked_meanings": torch.zeros(20, 1, dtype=torch.int64)}
        return {"one meaning": alone, "no samples": _pairs(0, 0.1)}


def test_it_is_the_mean_over_draws_of_99_others() -> None:
    given = _pairs(150, 0.3)
    sample, text = given["sample_embeddings"], given["asked_embeddings"]
    assert isinstance(sample, torch.Tensor) and isinstance(text, torch.Tensor)
    cosines = sample @ text.T
    generator = torch.Generator().manual_seed(1)
    hits = torch.zeros(150, dtype=torch.float64)
    for _ in range(200):
        keys = torch.rand(150, 150, generator=generator)
        keys.fill_diagonal_(2.0)
        others = keys.argsort(1)[:, :99]
        hits += (cosines.gather(1, others) < cosines.diagonal()[:, None]).all(1).double() / 200
    found = text_accuracy(**given)  # type: ignore[arg-type]
    assert found.value == pytest.approx(hits.mean().item(), abs=0.01)
    assert 0.2 < found.value < 0.9


def test_texts_of_the_same_meaning_are_no_rivals() -> None:
    """Every text twice in other words that the evaluator likes better: all samples are still right."""
    given = _pairs(60, 0.0)
    embeddings = given["asked_embeddings"]
    assert isinstance(embeddings, torch.Tensor)
    doubled = {
        "sample_embeddings": embeddings.repeat(2, 1),
        "asked_embeddings": torch.cat((F.normalize(embeddings + 0.01, dim=1), embeddings)),
        "asked_meanings": torch.arange(60).repeat(2)[:, None],
    }
    assert text_accuracy(**doubled).value == pytest.approx(1.0, abs=1e-9)
    told_apart = doubled | {"asked_meanings": torch.arange(120)[:, None]}
    assert text_accuracy(**told_apart).value < 0.7


def test_chance_is_one_in_a_hundred() -> None:
    generator = torch.Generator().manual_seed(0)
    sample, text = (F.normalize(torch.randn(2_000, 8, generator=generator), dim=1).double() for _ in range(2))
    found = text_accuracy(sample, text, torch.arange(2_000)[:, None])
    assert found.value == pytest.approx(0.01, abs=0.004)
    with pytest.raises(ValueError, match=r"shapes \(2000, 8\) and \(1999, 8\)"):
        text_accuracy(sample, text[1:], torch.arange(2_000)[:, None])
    with pytest.raises(UndefinedError, match="at least 2 meanings"):
        text_accuracy(sample[:1], text[:1], torch.zeros(1, 1))


def test_data_without_texts_have_none() -> None:
    reason = METRICS["text_accuracy"].undefined_on(DataSpec("plain", "image", (1, 8, 8), levels=4))
    assert reason == "needs texts as conditions, and 'plain' has none"
