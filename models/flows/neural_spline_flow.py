"""Neural spline flow."""

from __future__ import annotations

from typing import Literal

import zuko

from ..data_spec import DataSpec
from .vector_flow import VectorFlow


class NeuralSplineFlow(VectorFlow):
    """Each coordinate goes through a monotonic rational-quadratic spline that depends on others.

    A spline has K bins on [-5, 5] and is the identity outside; widths, heights and slopes of its bins come from a
    network of the coordinates before it (autoregressive) or of the other half (coupling). Splines bend a density far
    more than affine maps do, and are inverted in closed form.

    References: Durkan et al., "Neural Spline Flows", arXiv:1906.04032, equations 3-8 and section 3.2.

    scheme: "autoregressive", sampled in D passes, or "coupling", in two; of two coordinates they are the same.
    bins: K. transforms: spline transforms. hidden, depth: units of a hidden layer, and hidden layers.
    """

    family = "neural_spline_flow"

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate: float = 3e-3,
        scheme: Literal["autoregressive", "coupling"] = "coupling",
        bins: int = 8,
        transforms: int = 4,
        hidden: int = 96,
        depth: int = 2,
        weight_decay: float = 1e-6,
    ) -> None:
        super().__init__(data, learning_rate=learning_rate, weight_decay=weight_decay)
        self.vector_flow = zuko.flows.NSF(
            data.dimensions,
            self.classes,
            bins=bins,
            transforms=transforms,
            passes=2 if scheme == "coupling" else None,
            hidden_features=(hidden,) * depth,
        )
