"""Inverse autoregressive flow."""

from __future__ import annotations

import zuko

from ..data_spec import DataSpec
from .vector_flow import VectorFlow


class IAF(VectorFlow):
    """A masked autoregressive flow turned around: each coordinate depends on the codes before it.

        x_i = z_i exp(a(z_<i)) + mu(z_<i)

    A sample takes one pass, and a density of data D of them, one coordinate after another. It was made for posteriors
    whose samples alone need a density; as a family of its own it is trained by maximum likelihood, through all passes,
    so that it takes vectors only.

    References: Kingma et al., "Improving variational inference with inverse autoregressive flow", arXiv:1606.04934;
    next to MAF: arXiv:1705.07057, section 3.3.

    transforms: autoregressive transforms. hidden, depth: units of a hidden layer, and hidden layers.
    """

    family = "iaf"

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
        if data.kind != "vector":
            raise ValueError(f"iaf takes vectors, got {data.kind} data {data.name!r}")
        super().__init__(data, learning_rate=learning_rate, weight_decay=weight_decay)
        masked = zuko.flows.MAF(
            data.dimensions,
            self.classes,
            transforms=transforms,
            hidden_features=(hidden,) * depth,
        )
        self.vector_flow = zuko.flows.Flow([transform.inv for transform in masked.transform.transforms], masked.base)
