"""Denoising diffusion with a transformer."""

from __future__ import annotations

from ..data_spec import DataSpec
from ..nets.diffusion_transformer import DiffusionTransformer
from ..nets.sides import image_shape
from .denoising_diffusion import DenoisingDiffusion, DiffusionSettings, GuidedBy, Variances
from .gaussian_diffusion import Target, Weighting
from .label_guidance import LabelledNetwork

_HEAD = 32  # features of a head


class DiT(DenoisingDiffusion):
    """Denoising diffusion whose network is a transformer over patches, which time and label steer by the shifts, scales
    and gates of its layer normalisations (adaLN-Zero).

    References: Peebles and Xie, "Scalable diffusion models with transformers", arXiv:2212.09748; otherwise as in
    `DenoisingDiffusion`.

    patch: side of a patch in pixels. width: of the transformer, rounded up to a multiple of 32, the width of a head.
    depth: blocks. The others: as in `DiffusionSettings`.
    """

    family = "dit"
    network_settings = ("patch", "width", "depth")

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate: float = 4e-3,
        schedule: str = "cosine",
        timesteps: int = 500,
        target: Target = "v",
        weighting: Weighting = "simple",
        patch: int = 1,
        width: int = 64,
        depth: int = 3,
        variance: Variances = "fixed",
        unconditional_probability: float = 0.15,
        guidance: GuidedBy = "classifier_free",
        classifier_width: int = 32,
        classifier_learning_rate: float = 4e-3,
    ) -> None:
        shape = image_shape(data, self.family)
        heads = -(-width // _HEAD)

        def body() -> DiffusionTransformer:
            outputs = (2 if variance == "learned" else 1) * shape[0]
            return DiffusionTransformer(
                shape, patch=patch, width=_HEAD * heads, depth=depth, heads=heads, outputs=outputs
            )

        settings = DiffusionSettings(
            learning_rate=learning_rate,
            schedule=schedule,
            timesteps=timesteps,
            target=target,
            weighting=weighting,
            variance=variance,
            unconditional_probability=unconditional_probability,
            guidance=guidance,
            classifier_width=classifier_width,
            classifier_learning_rate=classifier_learning_rate,
        )
        super().__init__(data, LabelledNetwork(data, body, embedding=_HEAD * heads, family=self.family), settings)
