"""Diffusion of images that texts describe."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from ..data_spec import DataSpec
from ..nets.layers import require_kind
from ..nets.sides import image_shape
from ..nets.text_transformer import TextTransformer
from ..nets.unet import Tokens, UNet
from .denoising_diffusion import DenoisingDiffusion, DiffusionSettings
from .gaussian_diffusion import Target, Weighting
from .label_guidance import GuidedNetwork
from .samplers import Sampler


class TextNetwork(GuidedNetwork):
    """A U-Net whose maps attend to the tokens of a text, as a transformer that is trained along reads it.

    The mean over tokens joins the time's embedding, too (Nichol et al., arXiv:2112.10741, section 3). A text that is
    left out is one of a token of its own, which no text has.

    width, depth, dropout: of the U-Net. text_width, text_layers: of the transformer.
    Raises ValueError for data that are no images with texts.
    """

    conditional = True

    def __init__(
        self, data: DataSpec, *, width: int, depth: int, dropout: float, text_width: int, text_layers: int
    ) -> None:
        super().__init__()
        require_kind(data, "text_to_image", ("image",))
        texts = data.condition
        if texts.kind != "text" or texts.vocabulary is None:
            raise ValueError(f"text_to_image requires text conditions, those of data {data.name!r} are {texts.kind}")
        self.none, self.length = texts.vocabulary, texts.shape[0]
        self.reader = TextTransformer(
            texts.vocabulary + 1, self.length, width=text_width, layers=text_layers, padding=texts.padding
        )
        context, embedding = self.reader.width, 4 * width
        self.whole = nn.Linear(context, embedding)
        shape = image_shape(data, "text_to_image")
        self.body = UNet(shape, width=width, depth=depth, dropout=dropout, embedding=embedding, context=context)

    def forward(self, x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        """Like x (n, C, H, W), for times (n,) in [0, 1] and texts (n, T)."""
        features = self.reader(labels)
        whole = self.whole(self.reader.pooled(features, labels))
        return self.body(x, time, whole, Tokens(features, self.reader.counts(labels)))

    def labels(self, n: int, condition: Tensor | None) -> Tensor:
        """Texts (n, T). Raises ValueError for another number of texts or tokens."""
        shape, device = (n, self.length), self.whole.weight.device
        if condition is None:
            return torch.full(shape, self.none, device=device)
        if condition.shape != shape:
            raise ValueError(f"text_to_image needs a text an example, shape {shape}, got {tuple(condition.shape)}")
        return condition.to(device)


class TextToImage(DenoisingDiffusion):
    """Denoising diffusion whose network attends to a text; texts are left out in training for guidance.

    References: Rombach et al., arXiv:2112.10752, section 3.3; Nichol et al., arXiv:2112.10741; otherwise as in
    `DenoisingDiffusion`.

    width, depth, dropout, text_width, text_layers: as in `TextNetwork`. The others: as in `DiffusionSettings`.
    """

    family = "text_to_image"
    network_settings = ("width", "depth", "dropout", "text_width", "text_layers")

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
        text_width: int = 64,
        text_layers: int = 2,
        unconditional_probability: float = 0.15,
    ) -> None:
        network = TextNetwork(
            data, width=width, depth=depth, dropout=dropout, text_width=text_width, text_layers=text_layers
        )
        settings = DiffusionSettings(
            learning_rate=learning_rate,
            schedule=schedule,
            timesteps=timesteps,
            target=target,
            weighting=weighting,
            unconditional_probability=unconditional_probability,
        )
        super().__init__(data, network, settings)

    def sample(  # type: ignore[override]  # it requires a condition
        self,
        n: int,
        *,
        condition: Tensor,
        generator: Generator,
        sampler: Sampler = "ddim",
        steps: int = 25,
        eta: float = 0.0,
        guidance_scale: float = 2.0,
        guidance_low: float = 0.0,
        guidance_high: float = 1.0,
    ) -> Tensor:
        """n images of texts (n, T); unconditional at a guidance scale of 0. guidance_*: as in `Guidance`."""
        return super().sample(
            n,
            condition=condition,
            generator=generator,
            sampler=sampler,
            steps=steps,
            eta=eta,
            guidance_scale=guidance_scale,
            guidance_low=guidance_low,
            guidance_high=guidance_high,
        )
