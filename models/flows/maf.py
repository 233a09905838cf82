"""Masked autoregressive flow."""

from __future__ import annotations

import zuko

from ..data_spec import DataSpec
from .vector_flow import VectorFlow


class MAF(VectorFlow):
    """Each coordinate is scaled and shifted by functions of those before it; the order is reversed in each transform.

        z_i = (x_i - mu(x_<i)) exp(-a(x_<i)),   log|det| = -sum a

    A masked network gives all mu and a in one pass, so that densities take one pass and samples D of them.

    References: Papamakarios et al., "Masked Autoregressive Flow", arXiv:1705.07057; masks: arXiv:1502.03509.

    transforms: autoregressive transforms. hidden, depth: units of a hidden layer, and hidden layers.
    """

    family = "maf"

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate: float = 3e-3,
        transforms: int = 6,
        hidden: int = 96,
        depth: int = 2,
        weight_decay: float = 1e-6,
    ) -> None:
        super().__init__(data, learning_rate=learning_rate, weight_decay=weight_decay)
        self.vector_flow = zuko.flows.MAF(
            data.dimensions,
            self.classes,
            transforms=transforms,
            hidden_features=(hidden,) * depth,
        )
