"""The CLIP score, and the CLIP embedder on a tiny random model that is made here."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from gentune.bench._torchvision import make_importable
from gentune.bench.errors import UsageError
from gentune.bench.evaluators.clip import ClipEmbedder, load_clip
from gentune.bench.metrics import UndefinedError
from gentune.bench.metrics.alignment import clip_score

TEXTS = ["a cat", "a bat and a cab", "tab"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP model of 16-dimensional embeddings for images of 32 × 32 pixels, with the alphabet for a vocabulary."""
    make_importable()
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = CLIPConfig(
        text_config={
            **tower,
            "vocab_size": len(vocabulary),
            "max_position_embeddings": 12,
            "bos_token_id": 0,
            "eos_token_id": 1,
            "pad_token_id": 1,
        },
        vision_config={**tower, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CLIPModel(config)
        for parameter in model.parameters():  # wide enough that inputs make a difference
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.3)
    place = tmp_path_factory.mktemp("clip")
    model.save_pretrained(place)
    CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=12).save_pretrained(place)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def embedder(folder: Path) -> ClipEmbedder:
    return load_clip(folder)


def pictures(n: int, channels: int = 3, side: int = 20) -> Tensor:
    levels = torch.randint(0, 256, (n, channels, side, side), generator=torch.Generator().manual_seed(1))
    return levels.float() * (2 / 255) - 1


def test_images_as_the_library_sees_picture_files(folder: Path, embedder: ClipEmbedder) -> None:
    from transformers import CLIPModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    x = pictures(3)
    files = [Image.fromarray(((row + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()) for row in x]
    values = CLIPImageProcessorPil.from_pretrained(folder)(files, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        model = CLIPModel.from_pretrained(folder).eval()
        wanted = model.visual_projection(model.vision_model(pixel_values=values).pooler_output)
    seen = embedder.images(x)
    assert seen.shape == (3, 16)
    assert seen.dtype == torch.float64
    assert torch.allclose(seen.float(), wanted, rtol=1e-5, atol=1e-5)


def test_texts_as_the_library_sees_them_one_by_one(folder: Path, embedder: ClipEmbedder) -> None:
    from transformers import CLIPModel, CLIPTokenizer

    tokenizer, model = CLIPTokenizer.from_pretrained(folder), CLIPModel.from_pretrained(folder).eval()
    with torch.no_grad():
        wanted = torch.cat(
            [
                model.text_projection(
                    model.text_model(
                        **tokenizer([text], truncation=True, max_length=12, return_tensors="pt")
                    ).pooler_output
                )
                for text in TEXTS
            ]
        )
    assert torch.allclose(embedder.texts(TEXTS).float(), wanted, rtol=1e-5, atol=1e-5)


def test_the_score_is_the_scaled_logit_of_the_model(folder: Path, embedder: ClipEmbedder) -> None:
    """The model's own logits are its cosines times its temperature."""
    from transformers import CLIPModel, CLIPTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    x = pictures(3)
    model = CLIPModel.from_pretrained(folder).eval()
    values = CLIPImageProcessorPil.from_pretrained(folder)(
        list(((x + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()), return_tensors="pt"
    )
    tokens = CLIPTokenizer.from_pretrained(folder)(
        TEXTS, padding="max_length", truncation=True, max_length=12, return_tensors="pt"
    )
    with torch.no_grad():
        logits = model(**tokens, **values).logits_per_image / model.logit_scale.exp()
    wanted = 2.5 * logits.diagonal().clamp_min(0.0).mean()
    assert clip_score(embedder.images(x), embedder.texts(TEXTS)).value == pytest.approx(float(wanted), rel=1e-4)


def test_embeddings_tell_inputs_apart_and_do_not_depend_on_chunks(embedder: ClipEmbedder) -> None:
    x, texts = pictures(5), [*TEXTS, "zebra", "q"]
    for whole, parts in (
        (embedder.images(x), embedder.images(x, chunk=2)),
        (embedder.texts(texts), embedder.texts(texts, chunk=2)),
    ):
        assert torch.allclose(whole, parts, rtol=1e-5, atol=1e-5)
        assert float(torch.pdist(whole).min()) > 1e-2


def test_grey_images_are_three_equal_channels(embedder: ClipEmbedder) -> None:
    grey = pictures(2, channels=1)
    assert torch.equal(embedder.images(grey), embedder.images(grey.expand(-1, 3, -1, -1)))


def test_long_texts_are_cut_and_nothing_is_nothing(embedder: ClipEmbedder) -> None:
    assert torch.equal(embedder.texts(["a" * 50]), embedder.texts(["a" * 90]))
    assert embedder.texts([]).shape == (0, 16)
    assert embedder.images(pictures(0)).shape == (0, 16)
    with pytest.raises(ValueError, match="wanted"):
        embedder.images(pictures(2, channels=2))


def test_the_fingerprint_is_that_of_the_weights(folder: Path, embedder: ClipEmbedder) -> None:
    from transformers import CLIPModel, CLIPTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    assert load_clip(folder).fingerprint == embedder.fingerprint
    model = CLIPModel.from_pretrained(folder)
    with torch.no_grad():
        model.visual_projection.weight[0, 0] += 1.0
    others = CLIPImageProcessorPil.from_pretrained(folder), CLIPTokenizer.from_pretrained(folder)
    assert ClipEmbedder("other", model, *others).fingerprint != embedder.fingerprint


# The score


def test_clip_score_closed_form() -> None:
    image = torch.tensor([[1.0, 0.0], [3.0, 4.0], [-2.0, 0.0]])
    text = torch.tensor([[5.0, 0.0], [3.0, 0.0], [1.0, 0.0]])  # cosines 1, 0.6, -1
    result = clip_score(image, text)
    assert result.value == pytest.approx(2.5 * 1.6 / 3, rel=1e-6)
    margin = 1.959963985 * 2.5 * statistics.stdev([1.0, 0.6, 0.0]) / math.sqrt(3)
    assert (result.low, result.high) == pytest.approx((result.value - margin, result.value + margin), rel=1e-6)


def test_clip_score_prefers_pairs_that_belong_together() -> None:
    image = torch.randn(200, 16, generator=torch.Generator().manual_seed(0))
    text = image + torch.randn(200, 16, generator=torch.Generator().manual_seed(1))
    matched, mixed = clip_score(image, text), clip_score(image, text.roll(1, dims=0))
    assert matched.low is not None
    assert mixed.high is not None
    assert matched.low > mixed.high


def test_clip_score_is_undefined_without_pairs_direction_or_numbers() -> None:
    for embeddings, reason in (
        (torch.zeros(0, 4), "1 pair"),
        (torch.zeros(2, 4), "zero"),
        (torch.full((2, 4), math.nan), "finite"),
    ):
        with pytest.raises(UndefinedError, match=reason):
            clip_score(embeddings, embeddings)
    with pytest.raises(ValueError, match="wanted"):
        clip_score(torch.ones(2, 4), torch.ones(3, 4))


# Where it cannot be had


@pytest.mark.parametrize("make", [lambda p: p / "missing", lambda p: p])
def test_a_missing_or_empty_folder_is_one_clear_line(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    with pytest.raises(UsageError) as caught:
        load_clip(make(tmp_path))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "preprocessor_config.json"])
def test_an_incomplete_folder_is_one_clear_line(folder: Path, tmp_path: Path, name: str) -> None:
    for path in folder.iterdir():
        if path.name != name:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(UsageError, match="cannot be had"):
        load_clip(tmp_path)


def test_no_hub_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    make_importable()
    from transformers import CLIPModel

    def offline(*_: object, **__: object) -> None:
        raise OSError("We couldn't connect to the hub.\nCheck your connection.")

    monkeypatch.setattr(CLIPModel, "from_pretrained", offline)
    with pytest.raises(UsageError, match=r"openai/clip.*couldn't connect to the hub\.\)$"):
        load_clip("openai/clip-vit-base-patch32")


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UsageError, match=r"gentune\[clip\]"):
        load_clip(tmp_path)
