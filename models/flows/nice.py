"""NICE: additive couplings and one scaling layer."""

from __future__ import annotations

import torch
import zuko
from torch import Tensor, nn

from ..data_spec import DataSpec
from .vector_flow import VectorFlow


class NICE(VectorFlow):
    """Additive couplings, which keep volumes, and a last layer that scales every coordinate.

        z_a = x_a,   z_b = x_b + m(x_a);   then z_i exp(s_i),   log|det| = sum s

    Even and odd coordinates take turns. The base is the normal one, of the two in the paper.

    References: Dinh et al., "NICE: Non-linear Independent Components Estimation", arXiv:1410.8516, sections 3.2-3.4.

    transforms: couplings. hidden, depth: units of a hidden layer of m, and its hidden layers.
    """

    family = "nice"

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate: float = 3e-3,
        transforms: int = 4,
        hidden: int = 128,
        depth: int = 3,
        weight_decay: float = 1e-6,
    ) -> None:
        super().__init__(data, learning_rate=learning_rate, weight_decay=weight_decay)
        couplings = zuko.flows.NICE(
            data.dimensions,
            self.classes,
            transforms=transforms,
            hidden_features=(hidden,) * depth,
            univariate=zuko.transforms.AdditiveTransform,
            shapes=[()],
        )
        self.vector_flow = zuko.flows.Flow([*couplings.transform.transforms, _Scaling(data.dimensions)], couplings.base)


class _Scaling(zuko.lazy.LazyTransform):
    """z_i exp(s_i) of D coordinates."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(dimensions))

    def forward(self, c: Tensor | None = None) -> torch.distributions.Transform:
        return torch.distributions.AffineTransform(0.0, self.log_scale.exp(), event_dim=1)
