"""Denoising diffusion probabilistic models."""

from __future__ import annotations

from ..data_spec import DataSpec
from .denoising_diffusion import DenoisingDiffusion, DiffusionSettings, GuidedBy, Variances
from .gaussian_diffusion import Target, Weighting
from .label_guidance import usual_network


class DDPM(DenoisingDiffusion):
    """Denoising diffusion whose network is a small U-Net for images, a residual MLP for vectors.

    References: Ho et al., arXiv:2006.11239; otherwise as in `DenoisingDiffusion`.

    width, depth, dropout: as in `usual_network`. The others: as in `DiffusionSettings`.
    """

    family = "ddpm"
    network_settings = ("width", "depth", "dropout")

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate: float = 2e-3,
        schedule: str = "cosine",
        timesteps: int = 500,
        target: Target = "v",
        weighting: Weighting = "simple",
        width: int = 32,
        depth: int = 1,
        dropout: float = 0.0,
        variance: Variances = "fixed",
        unconditional_probability: float = 0.15,
        guidance: GuidedBy = "classifier_free",
        classifier_width: int = 32,
        classifier_learning_rate: float = 4e-3,
    ) -> None:
        outputs = 2 if variance == "learned" else 1
        network = usual_network(data, width=width, depth=depth, dropout=dropout, family=self.family, outputs=outputs)
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
        super().__init__(data, network, settings)
