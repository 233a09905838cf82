"""The in-domain image-text evaluator: images and texts as vectors of one space, in which pairs lie close.

Shapes: n examples, C channels, H x W pixels, T tokens of a text, F = 32 features.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ...models.base import Adam, Batch, Losses, Phase, Stage, Trainable
from ...models.data_spec import DataSpec
from ...models.nets.sides import image_shape
from ...models.nets.text_transformer import TextTransformer
from .networks import FEATURES

_FIRST_TEMPERATURE = 0.07
_LARGEST_SCALE = 100.0
_PLACE_CHANNELS, _PLACES = 4, 4  # of what tells where things are: channels, and the side of their map


class ImageText(Trainable):
    """A convolutional network for images and a transformer for texts, trained by CLIP's objective: of a batch's pairs
    to find each image's text and each text's image, by a softmax over cosines with a learned temperature.

    References: Radford et al., arXiv:2103.00020, section 2.3 and figure 3.

    Raises ValueError for data that are no images with texts.
    """

    learning_rate = 3e-3
    weight_decay = 1e-2

    def __init__(self, spec: DataSpec, *, width: int = 16, text_width: int = 32) -> None:
        super().__init__()
        texts = spec.condition
        if texts.kind != "text" or texts.vocabulary is None:
            raise ValueError(f"evaluator 'image_text' reads texts; data {spec.name!r} has none")
        self.images = _WhatAndWhere(image_shape(spec, "this evaluator")[0], width)
        self.reader = TextTransformer(
            texts.vocabulary, texts.shape[0], width=text_width, layers=1, padding=texts.padding
        )
        self.projection = nn.Linear(self.reader.width, FEATURES)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(_FIRST_TEMPERATURE)))

    def features(self, x: Tensor) -> Tensor:
        """Of images (n, C, H, W): (n, F), of length 1."""
        return F.normalize(self.images(x), dim=1)

    def text_features(self, texts: Tensor) -> Tensor:
        """Of texts (n, T): (n, F), of length 1."""
        return F.normalize(self.projection(self.reader.pooled(self.reader(texts), texts)), dim=1)

    def loss(self, batch: Batch, generator: Generator) -> Losses:
        """The mean of both cross-entropies, in nats."""
        assert batch.condition is not None
        scale = self.log_scale.exp().clamp(max=_LARGEST_SCALE)
        logits = scale * self.features(batch.x) @ self.text_features(batch.condition).T
        own = torch.arange(len(batch), device=logits.device)
        return Losses((F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2)

    def stages(self) -> tuple[Stage, ...]:
        adam = Adam(self.learning_rate, weight_decay=self.weight_decay, warmup_steps=10, decay="cosine")
        return (Stage("evaluator", phases=(Phase("all", self.parameters(), self.loss, adam),)),)


class _WhatAndWhere(nn.Module):
    """Images (n, C, H, W) to (n, F): what is in them, and where, in a sum.

    What is told by the largest value of each channel over the map, the same wherever a thing stands: convolutions go
    round the edges, which would tell where it is. Where is told by a coarse map of few channels. A network that mixes
    both learns which things never stand where in the train split, and takes a new combination for a known one.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        sizes = ((channels, width, 1), (width, 2 * width, 2), (2 * width, 4 * width, 2), (4 * width, 4 * width, 1))
        layers: list[nn.Module] = []
        for inside, outside, stride in sizes:
            layers += [nn.Conv2d(inside, outside, 3, stride, padding=1, padding_mode="circular"), nn.GELU()]
        self.body = nn.Sequential(*layers)
        self.what = nn.Linear(4 * width, FEATURES)
        self.map = nn.Sequential(nn.Conv2d(4 * width, _PLACE_CHANNELS, 1), nn.GELU(), nn.AdaptiveAvgPool2d(_PLACES))
        self.where = nn.Linear(_PLACE_CHANNELS * _PLACES**2, FEATURES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(x)
        return self.what(h.amax((2, 3))) + self.where(self.map(h).flatten(1))
