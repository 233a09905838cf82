"""Wasserstein GAN with gradient penalty.

Glossary:
    D   the critic, a scalar for each example; G the generator; z ~ N(0, I) its codes
    lambda  weight of the gradient penalty
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Generator, Tensor, nn

from .base import Adam, Batch, GenerativeModel, Losses, Phase, Stage
from .data_spec import DataSpec
from .layers import decoder_for, encoder_for, he_initialise


class WGANGP(GenerativeModel):
    """Gulrajani et al., "Improved training of Wasserstein GANs", arXiv:1704.00028, algorithm 1.

    critic     E D(G(z)) - E D(x) + lambda E (|grad D(x^)| - 1)^2,   x^ uniform on the line from x to G(z)
    generator  -E D(G(z))

    The critic's supremum over 1-Lipschitz functions is the Wasserstein-1 distance of data and samples. The
    critic has no normalisation across examples, since the penalty is on the gradient of each alone (section 4).
    One step is `discriminator_steps` critic steps and one generator step; Adam has betas (beta1, 0.9).

    learning_rate_generator, learning_rate_discriminator: of Adam. latent_dim: length of z.
    width: w; 2w channels at half resolution, 4w at a quarter; vectors have 4w hidden units.
    depth: blocks at each lower resolution; vectors have depth + 1 hidden layers. gradient_penalty: lambda.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate_generator: float = 3e-3,
        learning_rate_discriminator: float = 3e-3,
        beta1: float = 0.0,
        discriminator_steps: int = 2,
        gradient_penalty: float = 1.0,
        latent_dim: int = 32,
        width: int = 16,
        depth: int = 1,
    ) -> None:
        super().__init__(data)
        self.learning_rate_generator = learning_rate_generator
        self.learning_rate_discriminator = learning_rate_discriminator
        self.beta1 = beta1
        self.discriminator_steps = discriminator_steps
        self.gradient_penalty = gradient_penalty
        self.latent_dim = latent_dim
        leaky = partial(nn.LeakyReLU, 0.2)
        self.critic = encoder_for(data, 1, width=width, depth=depth, family="wgan_gp", activation=leaky)
        self.generator = decoder_for(data, latent_dim, width=width, depth=depth, family="wgan_gp", activation=nn.ReLU)
        he_initialise(self.critic)
        he_initialise(self.generator)

    def stages(self) -> tuple[Stage, ...]:
        betas = (self.beta1, 0.9)
        critic = Phase(
            "discriminator",
            self.critic.parameters(),
            self.critic_loss,
            Adam(self.learning_rate_discriminator, betas=betas, decay="cosine", final_share=0.1),
            steps=self.discriminator_steps,
        )
        generator = Phase(
            "generator",
            self.generator.parameters(),
            self.generator_loss,
            Adam(self.learning_rate_generator, betas=betas, decay="cosine", final_share=0.1),
        )
        return (Stage("adversarial", phases=(critic, generator)),)

    def critic_loss(self, batch: Batch, generator: Generator) -> Losses:
        """Equation 3 of the paper; the part `distance` estimates the Wasserstein distance from below."""
        with torch.no_grad():
            fake = self.decode(self._codes(len(batch), generator))
        distance = self.critic(batch.x).float().mean() - self.critic(fake).float().mean()
        penalty = self._penalty(batch.x, fake, generator)
        return Losses(self.gradient_penalty * penalty - distance, {"distance": distance, "gradient_penalty": penalty})

    def generator_loss(self, batch: Batch, generator: Generator) -> Losses:
        """-E D(G(z)) on as many codes as the batch has examples."""
        fake = self.decode(self._codes(len(batch), generator))
        return Losses(-self.critic(fake).float().mean())

    @torch.no_grad()
    def sample(
        self, n: int, *, condition: Tensor | None = None, generator: Generator, truncation: float = 1.0
    ) -> Tensor:
        """n samples (n, *data.shape), images rounded to the lattice; truncation: deviation of the codes."""
        x = self.decode(truncation * self._codes(n, generator))
        return self.data.to_lattice(x) if self.data.kind == "image" else x

    def decode(self, z: Tensor) -> Tensor:
        """G(z): codes (n, latent_dim) to (n, *data.shape); images in [-1, 1], not rounded."""
        x = self.generator(z).float()
        return torch.tanh(x) if self.data.kind == "image" else x

    def _codes(self, n: int, generator: Generator) -> Tensor:
        return torch.randn(n, self.latent_dim, generator=generator, device=self.device)

    def _penalty(self, real: Tensor, fake: Tensor, generator: Generator) -> Tensor:
        """E (|grad D(x^)| - 1)^2 in full precision: second derivatives lose too much in bfloat16."""
        weight = torch.rand(len(real), *[1] * (real.ndim - 1), generator=generator, device=real.device)
        between = torch.lerp(fake, real, weight).requires_grad_()  # (n, ...)
        with torch.autocast(real.device.type, enabled=False), torch.enable_grad():
            # Through a view: torch's operation counter cannot hook a leaf inside a nested gradient.
            scores = self.critic(between.view_as(between)).sum()
            (gradient,) = torch.autograd.grad(scores, between, create_graph=True)
        norm = gradient.flatten(1).square().sum(1).add(1e-12).sqrt()  # (n,)
        return (norm - 1.0).square().mean()
