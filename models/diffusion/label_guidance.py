"""Denoising networks with a condition that may be left out, so that one serves p(x|y), p(x) and guidance."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from ..data_spec import DataSpec
from ..nets.image_conditions import at_size
from ..nets.sides import image_shape
from ..nets.unet import DenoisingMLP, UNet


class GuidedNetwork(nn.Module):
    """A denoising network with a condition that may be left out: labels (n,), texts as tokens (n, T), or images.

    none: what stands for a condition, or for each of its tokens, that is left out. conditional: whether there is any.
    """

    none: int
    conditional: bool

    def forward(self, x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        """Like x (n, ...), for times (n,) in [0, 1] and conditions (n, ...)."""
        raise NotImplementedError(f"{type(self).__name__} does not estimate anything")

    def labels(self, n: int, condition: Tensor | None) -> Tensor:
        """Conditions (n, ...) as `forward` takes them, int64; those of none where there are none."""
        raise NotImplementedError(f"{type(self).__name__} takes no conditions")

    def dropped(self, labels: Tensor, probability: float, generator: Generator) -> Tensor:
        """Conditions (n, ...), each left out with a probability.

        References: Ho and Salimans, arXiv:2207.12598, algorithm 1.
        """
        out = torch.rand(len(labels), generator=generator, device=labels.device) < probability
        return torch.where(out.view(-1, *[1] * (labels.dim() - 1)), self.none, labels)

    def guided(self, x: Tensor, time: Tensor, labels: Tensor, scale: float) -> Tensor:
        """`forward` under classifier-free guidance (`guide`); the network runs once where one branch is enough.

        Channels beyond those of x, which tell of variances, are the conditional branch's.
        """
        none = torch.full_like(labels, self.none)
        if scale == 0.0 or not self.conditional:
            return self(x, time, none)
        if scale == 1.0:
            return self(x, time, labels)
        both = self(torch.cat((x, x)), torch.cat((time, time)), torch.cat((none, labels)))
        unconditional, conditional = both.chunk(2)
        channels = x.shape[1]
        guided = guide(unconditional[:, :channels], conditional[:, :channels], scale)
        return torch.cat((guided, conditional[:, channels:]), dim=1)


class LabelledNetwork(GuidedNetwork):
    """A denoising network, and an embedding of labels 0...K - 1 and of K, "no label".

    body: makes the network, (x (n, ...), t (n,) in [0, 1], embedded labels (n, embedding)) -> like x; called once the
    embedding has its weights. family: named in errors.
    """

    def __init__(self, data: DataSpec, body: Callable[[], nn.Module], *, embedding: int, family: str) -> None:
        super().__init__()
        self.none, self.conditional, self._family = data.classes, data.classes > 0, family
        self.label_embedding = nn.Embedding(self.none + 1, embedding)
        nn.init.normal_(self.label_embedding.weight, std=0.5)
        self.body = body()

    def forward(self, x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        """Like x (n, ...), for times (n,) in [0, 1] and labels (n,)."""
        return self.body(x, time, self.label_embedding(labels))

    def labels(self, n: int, condition: Tensor | None) -> Tensor:
        """Labels (n,) int64; that of "no label" where there are none.

        Raises ValueError for conditions of another shape.
        """
        device = self.label_embedding.weight.device
        if condition is None or not self.conditional:
            return torch.full((n,), self.none, device=device)
        if condition.shape != (n,):
            raise ValueError(f"{self._family} needs one label an example, shape ({n},), got {tuple(condition.shape)}")
        return condition.to(device)


class ImagedNetwork(GuidedNetwork):
    """A denoising network whose conditions are images c (n, C', h, w): they stand before x in its input, at the size of
    x, and flat before vectors.

    A channel in front tells whether there is a condition: it is one, and all is zero where the condition is left out.
    So `labels` are (n, 1 + C', H, W), or (n, 1 + C' h w) beside vectors.

    body, embedding, family: as of `LabelledNetwork`; the body's embedding is zero, and its input as wide as both.

    References: Saharia et al., arXiv:2104.07636, section 2 (concatenation); Brooks et al., arXiv:2211.09800, section
    3.2 (conditions on images that are left out at random).
    """

    none, conditional = 0, True
    embedded: Tensor

    def __init__(self, data: DataSpec, body: Callable[[], nn.Module], *, embedding: int, family: str) -> None:
        super().__init__()
        self.shape, self._family = data.condition.shape, family
        self.size = (data.shape[1], data.shape[2]) if data.kind == "image" else None
        self.register_buffer("embedded", torch.zeros(1, embedding), persistent=False)
        self.body = body()

    def forward(self, x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        return self.body(torch.cat((labels.to(x.dtype), x), dim=1), time, self.embedded.expand(len(x), -1))

    def labels(self, n: int, condition: Tensor | None) -> Tensor:
        """Conditions as `forward` takes them, zero where there are none.

        Raises ValueError for conditions of another shape.
        """
        wanted = (n, *self.shape)
        c = self.embedded.new_zeros(wanted) if condition is None else condition.to(self.embedded)
        if c.shape != wanted:
            raise ValueError(f"{self._family} needs one image an example, shape {wanted}, got {tuple(c.shape)}")
        c = c.flatten(1) if self.size is None else at_size(c, self.size)
        there = torch.full_like(c[:, :1], 0.0 if condition is None else 1.0)
        return torch.cat((there, c), dim=1)


@dataclass(frozen=True)
class Guidance:
    """How closely samples follow their condition, and at which noise levels.

    scale: as `guide` takes it. low, high: the band of levels in which it holds, by the part that noise has of both,
    sigma / (signal + sigma) for x_t = signal x + sigma eps: 0 at the data, 1 at pure noise. Outside it samples are
    plainly conditional, scale 1, which costs half as much.

    References: Kynkaanniemi et al., "Applying guidance in a limited interval", arXiv:2404.07724, equation 5; their
    sigma is ours over the signal, and their best bands on ImageNet, from 0.2 to 3, are 0.17 to 0.75 here.
    """

    scale: float = 1.0
    low: float = 0.0
    high: float = 1.0

    def given(self, condition: Tensor | None) -> Guidance:
        """Itself; without a condition, unconditional at every level."""
        return Guidance(scale=0.0) if condition is None else self

    def at(self, signal: Tensor, sigma: Tensor) -> float:
        """The scale at a level with these coefficients (n, ...), which are equal in all rows."""
        if self.low <= 0.0 and self.high >= 1.0:
            return self.scale
        part = float((sigma / (signal + sigma)).flatten()[0])
        return self.scale if self.low <= part <= self.high else 1.0


def usual_network(
    data: DataSpec, *, width: int, depth: int, dropout: float, family: str, outputs: int = 1
) -> GuidedNetwork:
    """A U-Net for images or a residual MLP for vectors, with labels, or with images where these are the conditions.

    width: channels at full resolution; vectors have four times as many hidden features. depth: residual blocks per
    resolution; vectors have twice as many blocks. family: named in errors. outputs: for each number of the data.

    Raises ValueError for sequences.
    """
    embedding, imaged = 4 * width, data.condition.kind == "image"
    sizes = {"embedding": embedding, "outputs": outputs * data.shape[0]}

    def body() -> nn.Module:
        if data.kind == "image":
            beside = 1 + data.condition.shape[0] if imaged else 0
            shape = image_shape(data, family)
            return UNet(shape, width=width, depth=depth, dropout=dropout, beside=beside, **sizes)
        if data.kind == "vector":
            beside, d = 1 + math.prod(data.condition.shape) if imaged else 0, data.dimensions
            return DenoisingMLP(d, width=4 * width, depth=2 * depth, dropout=dropout, beside=beside, **sizes)
        raise ValueError(f"{family} takes images and vectors, got {data.kind} data {data.name!r}")

    network = ImagedNetwork if imaged else LabelledNetwork
    return network(data, body, embedding=embedding, family=family)


def guide(unconditional: Tensor, conditional: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance: eps(x, none) + scale (eps(x, y) - eps(x, none)).

    scale 0 is unconditional, 1 conditional. With w = scale - 1 it is the paper's (1 + w) eps(x, y) - w eps(x, none).
    x_0, v and the velocity of a flow depend on eps by the same affine map on both sides, so they may be guided in its
    place.

    References: Ho and Salimans, arXiv:2207.12598, equation 6.
    """
    return unconditional + scale * (conditional - unconditional)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode (no dropout) inside the block; the mode before it is restored."""
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)
