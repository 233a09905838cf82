"""A small network for vectors, rows of tables among them: it learns classes where there are labels, else to rebuild.

Distances between standardised coordinates weigh every column alike, and a category of many values as many columns;
features of a trained network weigh what tells the classes apart, or what most of the variance is in.

References: Alaa et al., arXiv:2102.08921, section 5, who embed tables by a small network before they compare them.
"""

from __future__ import annotations

from torch import nn

from ...models.data_spec import DataSpec
from .networks import FEATURES, FeatureNetwork


class Perceptron(FeatureNetwork):
    """Two hidden layers on the coordinates (n, D), and a linear map to the features."""

    def __init__(self, spec: DataSpec, *, width: int = 128) -> None:
        if spec.kind != "vector":
            raise ValueError(f"evaluator 'perceptron' looks at vectors; data {spec.name!r} is {spec.kind}")
        body = nn.Sequential(
            nn.Linear(spec.dimensions, width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, FEATURES),
        )
        super().__init__(spec, body)
