"""The image-text evaluator: CLIP's loss, what its images tell, and how good it is on pairs with new combinations."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from gentune.bench.data import load
from gentune.bench.evaluators import load_or_train
from gentune.bench.evaluators.image_text import ImageText
from gentune.bench.scoring.context import ScoringContext
from gentune.bench.scoring.scorer import score
from gentune.bench.scoring.text_attributes import attribute_shares
from gentune.models import Batch, ConditionSpec, DataSpec

SPEC = DataSpec("toy", "image", (1, 16, 16), levels=4, condition=ConditionSpec("text", (3,), vocabulary=6, padding=0))


def _network() -> ImageText:
    torch.manual_seed(0)
    return ImageText(SPEC, width=4, text_width=8).eval()


def _batch(n: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    x = SPEC.from_levels(torch.randint(4, (n, 1, 16, 16), generator=generator))
    return Batch(x, torch.randint(1, 6, (n, 3), generator=generator))


@torch.no_grad()
def test_the_loss_is_that_of_clip() -> None:
    network, batch = _network(), _batch(5)
    assert batch.condition is not None
    images, texts = network.features(batch.x), network.text_features(batch.condition)
    assert torch.allclose(images.norm(dim=1), torch.ones(5))
    logits = images @ texts.T / 0.07
    expected = 0.0
    for i in range(5):
        expected -= (logits[i, i] - logits[i].logsumexp(0)).item() / 10
        expected -= (logits[i, i] - logits[:, i].logsumexp(0)).item() / 10
    assert network.loss(batch, torch.Generator()).total.item() == pytest.approx(expected, rel=1e-5)


@torch.no_grad()
def test_what_is_shown_is_told_wherever_it_stands_and_where_by_a_sum() -> None:
    """Moving an image changes its features by what tells of the place alone."""
    images = _network().images
    x = _batch(3).x
    moved = x.roll((4, 8), dims=(2, 3))
    what = [images.what(images.body(image).amax((2, 3))) for image in (x, moved)]
    assert torch.allclose(what[0], what[1], atol=1e-5)
    assert not torch.allclose(images(x), images(moved), atol=1e-3)


def test_data_without_texts_are_refused() -> None:
    with pytest.raises(ValueError, match="evaluator 'image_text' reads texts; data 'plain' has none"):
        ImageText(DataSpec("plain", "image", (1, 8, 8), levels=4))


@pytest.mark.slow
def test_on_captions_it_knows_attributes_of_new_combinations_and_notices_wrong_images(tmp_path: Path) -> None:
    data = load("captions")
    evaluator = load_or_train(data, "image_text", cache=tmp_path)
    assert evaluator.quality is not None and evaluator.quality.task == "pairs"
    assert evaluator.quality.value > 0.75 and "in finding an image's text" in str(evaluator.quality)
    again = load_or_train(data, "image_text", cache=tmp_path)
    assert again.fingerprint == evaluator.fingerprint
    test = data.splits["test"].all()
    context = ScoringContext(data, "test", test, None, tmp_path)
    shares = attribute_shares(context)
    assert shares is not None and shares["samples"] == 1_000 and 200 < shares["new_samples"] < 300
    for line in shares["attributes"]:
        assert line["all"] == line["real"] and line["new"] == line["real_new"]
        assert line["all"]["value"] > 0.95 and line["new"]["value"] > 0.9
    assert score(context, ["text_accuracy"]).values["text_accuracy"].value > 0.75
    # Mirrored images stand on the other side: the place is wrong, and the size is right.
    mirrored = ScoringContext(data, "test", Batch(test.x.flip(3), test.condition), None, tmp_path)
    wrong = attribute_shares(mirrored)
    assert wrong is not None
    by_name = {line["name"]: line["all"]["value"] for line in wrong["attributes"]}
    assert by_name["place"] < 0.05 and by_name["size"] > 0.9
    assert score(mirrored, ["text_accuracy"]).values["text_accuracy"].value < 0.1
    assert torch.allclose(F.normalize(evaluator.features(test.x[:3]), dim=1), evaluator.features(test.x[:3]))
