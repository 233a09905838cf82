"""RealNVP: a normalising flow of affine couplings."""

from __future__ import annotations

import zuko
from torch import Tensor

from ..data_spec import DataSpec
from ..nets.sides import image_shape
from .couplings import MaskedFlow
from .flow import NormalisingFlow
from .mixture_base import MixtureBase


class RealNVP(NormalisingFlow):
    """Affine couplings: convolutional ones at several scales for images; zuko's RealNVP for vectors.

    Codes of vectors may be of a mixture of Gaussians, which separates modes that maps of a normal cannot. It models
    p(x) alone; conditions are not used.

    References: Dinh et al., "Density estimation using Real NVP", arXiv:1605.08803; couplings over a mixture: Izmailov
    et al., arXiv:1912.13025; its autoregressive form: arXiv:1705.07057, section 4.

    components: Gaussians in the mixture, of each coordinate given those before it; 1: the normal density. transforms:
    couplings at each scale, of vectors in all. hidden, depth: channels and residual blocks of a coupling's network; of
    vectors 2 * hidden units in each of depth + 1 hidden layers.
    """

    family = "realnvp"
    takes_labels = False
    training_stage = "couplings"

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate: float = 3e-3,
        components: int = 1,
        transforms: int = 6,
        hidden: int = 48,
        depth: int = 1,
        weight_decay: float = 1e-5,
    ) -> None:
        super().__init__(data, learning_rate=learning_rate, weight_decay=weight_decay)
        if data.kind == "image":
            if components > 1:
                raise ValueError(f"realnvp of images has a normal base, components = 1; got {components}")
            shape = image_shape(data, self.family)
            self.image_flow = MaskedFlow(shape, transforms=transforms, hidden=hidden, depth=depth)
        else:
            layers = (2 * hidden,) * (depth + 1)
            self.vector_flow = zuko.flows.RealNVP(data.dimensions, transforms=transforms, hidden_features=layers)
            if components > 1:
                self.base = MixtureBase(data.dimensions, 0, components, layers)

    def _forward(self, y: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.image_flow(y) if self.data.kind == "image" else self.vector_flow.transform().call_and_ladj(y)

    def _inverse(self, z: Tensor, labels: Tensor | None) -> Tensor:
        return self.image_flow.inverse(z) if self.data.kind == "image" else self.vector_flow.transform().inv(z)
