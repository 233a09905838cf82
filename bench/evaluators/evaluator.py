"""A frozen feature network with a name and a fingerprint."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from ..data.examples import Column
from .hub_models import Weights
from .image_text import ImageText
from .networks import FeatureNetwork
from .quality import Quality

_CHUNK = 512


@dataclass(frozen=True)
class Features:
    """Output of an evaluator: features (n, d) and, from classifiers, probabilities (n, classes); float64, CPU."""

    features: Tensor
    probabilities: Tensor | None = None


class _Network(Protocol):
    def features(self, x: Tensor) -> Tensor: ...


class Evaluator:
    """Turns examples into features and, where it is a classifier, into class probabilities.

    It computes in float64 whatever the network was trained in, so that figures agree between devices and do not
    depend on the size of the chunks but for round-off of about 1e-13 of the features' size.

    name: as in `evaluators_for`.
    fingerprint: changes with the data, the code, the settings and the weights.
    quality: how well it does on the validation split what it was trained for; None where it was not trained here.
    weights: which they are; None where there is nothing but code.
    knows_classes: whether its probabilities are of the data set's classes, rather than of classes of its own.
    """

    chunk = _CHUNK

    def __init__(
        self,
        name: str,
        fingerprint: str,
        network: nn.Module,
        *,
        quality: Quality | None = None,
        weights: Weights | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.quality = quality
        self.weights = weights
        self.device = torch.device(device)
        self._module = copy.deepcopy(network).to(self.device, torch.float64).eval().requires_grad_(False)

    def __repr__(self) -> str:
        return f"Evaluator({self.name!r}, fingerprint={self.fingerprint!r}, accuracy={self.accuracy})"

    @property
    def accuracy(self) -> float | None:
        """The share of validation examples whose class it tells; None where it does not classify."""
        return self.quality.value if self.quality is not None and self.quality.task == "classes" else None

    def to(self, device: torch.device | str) -> Evaluator:
        """The same evaluator, computing on another device."""
        moved = copy.copy(self)
        moved.device = torch.device(device)
        moved._module = copy.deepcopy(self._module).to(moved.device)
        return moved

    @property
    def knows_classes(self) -> bool:
        return isinstance(self._module, FeatureNetwork) and self._module.classifies

    def features(self, x: Tensor) -> Tensor:
        """Features (n, d) of examples (n, *spec.shape) that lie on any device."""
        return self.describe(x).features

    @torch.no_grad()
    def text_features(self, texts: Tensor) -> Tensor:
        """Features (n, d), float64 on the CPU, of texts (n, T); of image-text evaluators alone."""
        module = cast(ImageText, self._module)
        return torch.cat([module.text_features(part.to(self.device)).cpu() for part in texts.split(self.chunk)])

    def probabilities(self, x: Tensor) -> Tensor | None:
        """Class probabilities (n, classes); None where the evaluator does not classify."""
        return self.describe(x).probabilities

    @torch.no_grad()
    def told(self, x: Tensor) -> Tensor:
        """What a network that learned without labels tells from the features of examples x (n, ...): of images scores
        of how they were changed (n, ways), of others the examples rebuilt (n, d)."""
        module = cast(FeatureNetwork, self._module)
        head = module.views if module.tells_views else module.head
        return head(self.features(x).to(self.device)).cpu()

    @torch.no_grad()
    def describe(self, x: Tensor | Column, *, chunk: int | None = None) -> Features:
        """Both in one pass, `chunk` examples at a time, so that those of a column are never all in memory."""
        features, probabilities = [], []
        size = chunk or self.chunk
        for part in (x[start : start + size] for start in range(0, len(x), size)):
            found, logits = self._see(part)
            features.append(found.cpu().double())
            if logits is not None:
                probabilities.append(logits.cpu().double().softmax(dim=1))
        return Features(torch.cat(features), torch.cat(probabilities) if probabilities else None)

    def _see(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features (c, d) and logits (c, classes) of some examples."""
        features = cast(_Network, self._module).features(x.to(self.device, torch.float64))
        if not self.knows_classes:
            return features, None
        return features, cast(FeatureNetwork, self._module).logits_from_features(features)
