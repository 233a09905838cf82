"""The feature networks: two for images, of different architecture, and two without training for vectors.

Shapes: n examples, C channels, H x W pixels, F = 32 features.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ...models.base import Adam, Batch, Losses, Phase, Stage, Trainable
from ...models.data_spec import DataSpec
from ...models.nets.sides import Size, image_shape, padded, shrunk
from . import views

FEATURES = 32  # few enough for the covariance of some hundred samples
_MOST_PATCHES = 64
_LARGEST_MAP = 4  # side of the map that the convolutional network flattens
_LABEL_SMOOTHING = 0.05  # bounds the logits, else the features' scale grows with the length of the training


def learns_views(spec: DataSpec) -> bool:
    """Whether a trained evaluator of such data learns to tell how examples were changed."""
    return spec.kind == "image" and not spec.classes


class FeatureNetwork(Trainable):
    """A body with F features and a head on them: classes where the data has labels, else the values themselves.

    With labels it learns by cross-entropy, without by the squared error of reconstruction from the features; of images
    it then also learns how they have been changed (`views`), by a head of its own.
    """

    learning_rate = 3e-3
    weight_decay = 1e-2

    def __init__(self, spec: DataSpec, body: nn.Module) -> None:
        super().__init__()
        self.spec = spec
        self.classifies = spec.classes > 0
        self.body = body  # (n, C, H, W) to (n, F)
        outputs = spec.classes if self.classifies else spec.dimensions
        hidden: list[nn.Module] = [] if self.classifies else [nn.Linear(FEATURES, 256), nn.GELU()]
        self.head = nn.Sequential(nn.GELU(), *hidden, nn.Linear(256 if hidden else FEATURES, outputs))
        self.tells_views = learns_views(spec)
        if self.tells_views:
            kinds = len(views.KINDS)
            self.views = nn.Sequential(nn.GELU(), nn.Linear(FEATURES, 64), nn.GELU(), nn.Linear(64, kinds))

    def features(self, x: Tensor) -> Tensor:
        """(n, F), before the head's nonlinearity, so that no feature is cut off at zero."""
        return self.body(x)

    def logits_from_features(self, features: Tensor) -> Tensor:
        """(n, classes). Raises ValueError where the data has no labels."""
        if not self.classifies:
            raise ValueError(f"data {self.spec.name!r} has no labels to classify by")
        return self.head(features)

    def loss(self, batch: Batch, generator: Generator) -> Losses:
        output = self.head(self.body(batch.x))
        if not self.classifies:
            error = F.mse_loss(output, batch.x.flatten(1))
            if not self.tells_views:
                return Losses(error)
            x, kinds = views.changed(batch.x, generator)
            told = F.cross_entropy(self.views(self.body(x)), kinds)
            # As a share of the variance the error is of the size of the other task's, whatever the contrast.
            share = error / batch.x.var().clamp(min=1e-6)
            return Losses(share + told, {"unexplained": share.detach(), "views": told.detach()})
        assert batch.labels is not None
        return Losses(F.cross_entropy(output, batch.labels, label_smoothing=_LABEL_SMOOTHING))

    def stages(self) -> tuple[Stage, ...]:
        adam = Adam(self.learning_rate, weight_decay=self.weight_decay, warmup_steps=10, decay="cosine")
        return (Stage("evaluator", phases=(Phase("all", self.parameters(), self.loss, adam),)),)


class Convolutional(FeatureNetwork):
    """Three convolutions, the last two of stride 2, and a linear map to the features."""

    def __init__(self, spec: DataSpec, *, width: int = 16) -> None:
        shape = image_shape(spec, "this evaluator")
        top = tuple(min(side, _LARGEST_MAP) for side in shrunk(shape[1:], 4))
        body = nn.Sequential(
            nn.Conv2d(shape[0], width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1),
            nn.GELU(),
            nn.AdaptiveAvgPool2d(top),
            nn.Flatten(),
            nn.Linear(4 * width * top[0] * top[1], FEATURES),
        )
        super().__init__(spec, body)


class Mixer(FeatureNetwork):
    """An MLP-Mixer on square patches, which no convolution overlaps: at most 64 where the sides can be cut into so few.

    References: Tolstikhin et al., arXiv:2105.01601.
    """

    def __init__(self, spec: DataSpec, *, width: int = 48, depth: int = 2) -> None:
        shape = image_shape(spec, "this evaluator")
        patch = _patch_side(shape[1:])
        tokens = math.prod(shrunk(shape[1:], patch))
        body = nn.Sequential(
            _Patches(patch),  # (n, C p p, tokens)
            _Transposed(nn.Linear(shape[0] * patch**2, width)),
            *(_MixerBlock(tokens, width) for _ in range(depth)),
            nn.Flatten(),
            nn.LayerNorm(width * tokens),
            nn.Linear(width * tokens, FEATURES),
        )
        super().__init__(spec, body)


class RandomProjection(nn.Module):
    """A frozen two-layer network of tanh units with drawn weights, for vectors (n, D) -> (n, F), in float64.

    The units' slopes run from 0.5 to 8 in standardised units, so that they see the cloud as a whole and detail
    within it. The draw is part of the definition and does not vary.

    References: Saxe et al., "On random weights and unsupervised feature learning", ICML 2011.
    """

    _SEED = 90_125
    _HIDDEN = 128

    def __init__(self, spec: DataSpec) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(self._SEED)
        direction = F.normalize(_normal(self._HIDDEN, spec.dimensions, generator=generator))
        slope = torch.logspace(math.log2(0.5), math.log2(8.0), self._HIDDEN, base=2.0, dtype=torch.float64)
        # The offset puts each unit's bend at a point of the standardised cloud.
        offset = slope * _normal(self._HIDDEN, generator=generator)
        second = _normal(FEATURES, self._HIDDEN, generator=generator) / math.sqrt(self._HIDDEN)
        self.register_buffer("first", slope[:, None] * direction)  # (hidden, D)
        self.register_buffer("offset", offset)
        self.register_buffer("second", second)  # (F, hidden)

    def features(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(F.linear(x, self.first, self.offset))  # type: ignore[arg-type]
        return F.linear(hidden, self.second)  # type: ignore[arg-type]


class Raw(nn.Module):
    """The values themselves: (n, D) for vectors, (n, C H W) for images."""

    def __init__(self, spec: DataSpec) -> None:
        super().__init__()

    def features(self, x: Tensor) -> Tensor:
        return x.flatten(1)


class _MixerBlock(nn.Module):
    """x + MLP over tokens, then x + MLP over channels; x (n, tokens, width)."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.over_tokens = nn.Sequential(nn.Linear(tokens, 2 * tokens), nn.GELU(), nn.Linear(2 * tokens, tokens))
        self.over_channels = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.over_tokens(self.first(x).transpose(1, 2)).transpose(1, 2)
        return x + self.over_channels(self.second(x))


class _Patches(nn.Unfold):
    """Images to their square patches; patches that reach over the edge end in zeros."""

    def __init__(self, side: int) -> None:
        super().__init__(side, stride=side)
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(padded(x, self.side))


class _Transposed(nn.Module):
    """Applies a module to (n, tokens, values) where the input is (n, values, tokens)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.transpose(1, 2))


def _patch_side(size: Size) -> int:
    """Of patches without a rest, where the images' sides are multiples of 4."""
    patch, rest = 2, any(side % 4 for side in size)
    while math.prod(shrunk(size, patch)) > _MOST_PATCHES and (rest or not any(side % (2 * patch) for side in size)):
        patch *= 2
    return patch


def _normal(*size: int, generator: Generator) -> Tensor:
    return torch.randn(*size, generator=generator, dtype=torch.float64)
