"""CLIP: images and texts as vectors of one space, by transformers (the extra `clip`, imported when first used).

Images in [-1, 1] go to 8 bits and through CLIP's own preprocessing in Pillow (the model's settings: by default the
shorter side to 224 pixels by bicubic interpolation, the centre square, its mean and deviation), grey ones as
three equal channels. Texts are cut to the length that the model takes. float32; embeddings do not depend on the size
of the chunks but for round-off of about 1e-6 of their length.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError
from .hub_models import loaded_model, place_of, told_in_one_line, weights_of

_CHUNK = 64


class ClipEmbedder:
    """A CLIP model with its preprocessing and its tokeniser, frozen; `load_clip` makes one.

    name: the folder or hub name it came from. weights: which they are.
    fingerprint: changes with the weights, the preprocessing, the tokeniser and the version of transformers.
    model: the network. tokenizer: None for an embedder of images alone.
    """

    def __init__(
        self, name: str, model: Any, processor: Any, tokenizer: Any, *, device: torch.device | str = "cpu"
    ) -> None:
        import transformers

        self.name = name
        self.weights = weights_of(name)
        self.model = model.to(torch.device(device), torch.float32).eval().requires_grad_(False)
        self._processor = processor
        self._tokenizer = tokenizer
        self.fingerprint = _fingerprint(model, processor, tokenizer, transformers.__version__)

    def __repr__(self) -> str:
        return f"ClipEmbedder({self.name!r}, fingerprint={self.fingerprint!r})"

    @torch.no_grad()
    def images(self, x: Tensor, *, chunk: int = _CHUNK) -> Tensor:
        """Embeddings (n, e), float64 on the CPU, of images (n, 1 or 3, H, W) in [-1, 1]."""
        if x.ndim != 4 or x.shape[1] not in (1, 3):
            raise ValueError(f"images of shape {tuple(x.shape)}; wanted (n, 1, H, W) or (n, 3, H, W)")
        if not len(x):
            return self._nothing()
        values = ((x.detach().cpu().clamp(-1.0, 1.0) + 1.0) * 127.5).round().to(torch.uint8)
        return torch.cat([self.see(rows) for rows in values.expand(-1, 3, -1, -1).split(chunk)])

    @torch.no_grad()
    def see(self, rgb: Tensor) -> Tensor:
        """Embeddings (n, e), float64 on the CPU, of uint8 images (n, 3, H, W), all at once."""
        rows = list(rgb.cpu().permute(0, 2, 3, 1).numpy())
        pictures = self._processor(rows, return_tensors="pt", input_data_format="channels_last")
        return _vectors(self.model.get_image_features(pixel_values=pictures["pixel_values"].to(self._device)))

    @torch.no_grad()
    def texts(self, texts: Sequence[str], *, chunk: int = _CHUNK) -> Tensor:
        """Embeddings (n, e), float64 on the CPU."""
        if not len(texts):
            return self._nothing()
        length = int(self.model.config.text_config.max_position_embeddings)
        parts = []
        for start in range(0, len(texts), chunk):
            # Every text is padded to the same length, so that one does not depend on its neighbours.
            tokens = self._tokenizer(
                list(texts[start : start + chunk]),
                padding="max_length",
                truncation=True,
                max_length=length,
                return_tensors="pt",
            ).to(self._device)
            features = self.model.get_text_features(
                input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
            )
            parts.append(_vectors(features))
        return torch.cat(parts)

    def _nothing(self) -> Tensor:
        return torch.empty(0, self.model.config.projection_dim, dtype=torch.float64)

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device


class ClipFeatures(nn.Module):
    """Turns uint8 (n, 3, H, W) into a tuple of one tensor, their embeddings (n, e), not brought to unit length."""

    def __init__(self, embedder: ClipEmbedder) -> None:
        super().__init__()
        self.embedder = embedder
        self.model = embedder.model

    def forward(self, rgb: Tensor) -> tuple[Tensor]:
        return (self.embedder.see(rgb),)


def load_clip(source: str | Path, *, texts: bool = True, device: torch.device | str = "cpu") -> ClipEmbedder:
    """The CLIP model in a local folder, or of a name on the Hugging Face hub such as "openai/clip-vit-base-patch32".

    texts: whether it embeds texts, too, which takes the files of its tokeniser.
    Raises UsageError, with one line, where transformers is not installed and where the model cannot be had.
    """
    name = str(source)
    model = loaded_model("CLIP", source, lambda library: library.CLIPModel)
    from transformers import CLIPTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    place, local = place_of("CLIP", source)
    with told_in_one_line("CLIP", source):
        if local and not texts and not (Path(place) / "preprocessor_config.json").is_file():
            side = model.config.vision_config.image_size  # CLIP's own preprocessing has no other setting
            processor = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
        else:
            processor = CLIPImageProcessorPil.from_pretrained(place, local_files_only=local)
        tokenizer = CLIPTokenizer.from_pretrained(place, local_files_only=local) if texts else None
    if tokenizer is not None:
        known, wanted = len(tokenizer.get_vocab()), model.text_model.get_input_embeddings().num_embeddings
        if not wanted // 2 < known <= wanted:  # without its files, the library makes a tokeniser that knows no words
            raise UsageError(f"CLIP model {name} cannot be had: its tokeniser knows {known} tokens, its model {wanted}")
    return ClipEmbedder(name, model, processor, tokenizer, device=device)


def _vectors(output: Any) -> Tensor:
    """Projected embeddings (n, e), from what transformers returns for them: a tensor, or an output that holds it."""
    embeddings: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return embeddings.to("cpu", torch.float64)


def _fingerprint(model: Any, processor: Any, tokenizer: Any, version: str) -> str:
    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(f"{key} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    settings = json.dumps(processor.to_dict(), sort_keys=True, default=str)
    vocabulary = "" if tokenizer is None else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    for text in (settings, vocabulary, str(model.config.text_config.max_position_embeddings), version):
        digest.update(text.encode())
    return digest.hexdigest()[:16]
