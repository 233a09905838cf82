"""Masked autoregressive flow."""

from __future__ import annotations

import zuko

from ..data_spec import DataSpec
from .mixture_base import MixtureBase
from .vector_flow import VectorFlow


class MAF(VectorFlow):
    """Each coordinate is scaled and shifted by functions of those before it; the order is reversed in each transform.

        z_i = (x_i - mu(x_<i)) exp(-a(x_<i)),   log|det| = -sum a

    A masked network gives all mu and a in one pass, so that densities take one pass and samples D of them. Under the
    last transform lies a normal density, or an autoregressive mixture of Gaussians ("MAF MoG"), which separates modes
    that maps of a normal cannot; codes are then of that mixture.

    References: Papamakarios et al., "Masked Autoregressive Flow", arXiv:1705.07057; masks: arXiv:1502.03509.

    components: Gaussians in each mixture; 1: the normal density. transforms: autoregressive transforms. hidden, depth:
    units of a hidden layer, and hidden layers.
    """

    family = "maf"

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate: float = 3e-3,
        components: int = 8,
        transforms: int = 4,
        hidden: int = 96,
        depth: int = 2,
        weight_decay: float = 1e-6,
    ) -> None:
        super().__init__(data, learning_rate=learning_rate, weight_decay=weight_decay)
        layers = (hidden,) * depth
        self.vector_flow = zuko.flows.MAF(data.dimensions, self.classes, transforms=transforms, hidden_features=layers)
        self.base = MixtureBase(data.dimensions, self.classes, components, layers) if components > 1 else None
