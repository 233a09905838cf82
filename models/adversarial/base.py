"""The base of the adversarial families: a generator and a discriminator, trained in turn.

Glossary:
    G   the generator, from codes to examples; z ~ N(0, I) the codes
    D   the discriminator, a score (a logit) for each example; where it is no classifier it is called a critic
    p, q  densities of the data and of the samples
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ..base import Adam, Batch, GenerativeModel, Losses, Phase, Stage
from ..data_spec import DataSpec
from ..nets.layers import decoder_for, encoder_for, he_initialise

Norm = Literal["none", "batch", "layer", "spectral"]


@dataclass(frozen=True)
class AdversarialSettings:
    """What every adversarial family needs of its hyperparameters.

    learning_rate_generator, learning_rate_discriminator: of Adam (arXiv:1706.08500 gives reasons for two).
    beta1: decay of Adam's first moment, in both networks.
    discriminator_steps: steps of D before each step of G.
    latent_dim: length of z.
    width: w; 2w channels at half resolution, 4w at a quarter; vectors have 4w hidden units.
    depth: blocks at each lower resolution; vectors have depth + 1 hidden layers.
    discriminator_norm: see `normalise`.
    """

    learning_rate_generator: float
    learning_rate_discriminator: float
    beta1: float
    discriminator_steps: int
    latent_dim: int
    width: int
    depth: int
    discriminator_norm: Norm = "none"


class AdversarialModel(GenerativeModel):
    """A generator and a discriminator; a family says what either minimises, and of what they are built.

    One step is `discriminator_steps` steps of D and one of G, each on a batch and codes of its own. Both learning
    rates fall along a cosine to a tenth: gradient descent on a two-player game circles around the equilibrium, at a
    distance that shrinks with the step size. Adam has betas (beta1, `beta2`).

    The objectives here are Goodfellow et al.'s with the non-saturating loss of G (arXiv:1406.2661, section 3).

    A family's constructor takes its hyperparameters as keywords and hands the common ones on as `settings`.
    """

    family: ClassVar[str]  # its name, for errors
    beta2: ClassVar[float] = 0.99

    def __init__(self, data: DataSpec, settings: AdversarialSettings) -> None:
        super().__init__(data)
        self.settings = settings
        self.latent_dim = settings.latent_dim
        self.discriminator = self._build_discriminator(settings.width, settings.depth)
        self.generator = self._build_generator(settings.width, settings.depth)
        self._initialise()
        normalise(self.discriminator, settings.discriminator_norm)

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("adversarial", phases=self._phases()),)

    def discriminator_loss(self, batch: Batch, generator: Generator) -> Losses:
        """What D minimises, on a batch and as many samples."""
        return self._judge(batch, self._fake(batch, generator))

    def generator_loss(self, batch: Batch, generator: Generator) -> Losses:
        """What G minimises, on as many codes as the batch has examples."""
        fake = self._generate(self._codes(len(batch), generator), batch.condition, generator)
        return Losses(self.generator_objective(self._score(fake, batch.condition)))

    def discriminator_objective(self, real: Tensor, fake: Tensor) -> Tensor:
        """-E log sigma(D(x)) - E log(1 - sigma(D(G(z)))), of scores (n,); at D's optimum 2 log 2 - 2 JS(p, q)."""
        return F.softplus(-real).mean() + F.softplus(fake).mean()

    def generator_objective(self, fake: Tensor) -> Tensor:
        """-E log sigma(D(G(z))): its gradient does not vanish where D is confident."""
        return F.softplus(-fake).mean()

    @torch.no_grad()
    def sample(
        self, n: int, *, condition: Tensor | None = None, generator: Generator, truncation: float = 1.0
    ) -> Tensor:
        """n samples (n, *data.shape), images rounded to the lattice; truncation: deviation of the codes."""
        x = self._generate(truncation * self._codes(n, generator), condition, generator)
        return self.data.to_lattice(x) if self.data.kind == "image" else x

    def decode(self, z: Tensor) -> Tensor:
        """G(z): codes (n, latent_dim) to (n, *data.shape); images in [-1, 1], not rounded."""
        return self._output(self.generator(z))

    # --- what a family may do in its own way --------------------------------------------------------------

    @property
    def _labels(self) -> int:
        """Number of classes that both networks are conditioned on."""
        return 0

    def _build_discriminator(self, width: int, depth: int) -> nn.Module:
        leaky = partial(nn.LeakyReLU, 0.2)
        return encoder_for(self.data, 1 + self._labels, width=width, depth=depth, family=self.family, activation=leaky)

    def _build_generator(self, width: int, depth: int) -> nn.Module:
        inputs = self.latent_dim + self._labels
        return decoder_for(self.data, inputs, width=width, depth=depth, family=self.family, activation=nn.ReLU)

    def _initialise(self) -> None:
        he_initialise(self.discriminator)
        he_initialise(self.generator)

    def _generate(self, z: Tensor, condition: Tensor | None, generator: Generator) -> Tensor:
        """Examples of codes; `generator` is for families that draw more than codes."""
        return self.decode(z)

    def _score(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """D(x) (n,)."""
        return self.discriminator(x).float().squeeze(1)

    # --- plumbing -----------------------------------------------------------------------------------------

    def _phases(self, **of_discriminator: Any) -> tuple[Phase, Phase]:
        """D's phase and G's; of_discriminator: further arguments of the former."""
        adam = partial(Adam, betas=(self.settings.beta1, self.beta2), decay="cosine", final_share=0.1)
        discriminator = Phase(
            "discriminator",
            self.discriminator.parameters(),
            self.discriminator_loss,
            adam(self.settings.learning_rate_discriminator),
            steps=self.settings.discriminator_steps,
            **of_discriminator,
        )
        generator = Phase(
            "generator", self.generator.parameters(), self.generator_loss, adam(self.settings.learning_rate_generator)
        )
        return discriminator, generator

    def _judge(self, batch: Batch, fake: Tensor) -> Losses:
        """D's objective; the part `distance` is how much higher it scores examples than samples."""
        real_score, fake_score = (self._score(x, batch.condition) for x in (batch.x, fake))
        distance = real_score.mean() - fake_score.mean()
        return Losses(self.discriminator_objective(real_score, fake_score), {"distance": distance})

    @torch.no_grad()
    def _fake(self, batch: Batch, generator: Generator) -> Tensor:
        """As many samples as the batch has examples, for D to learn from."""
        return self._generate(self._codes(len(batch), generator), batch.condition, generator)

    def _codes(self, n: int, generator: Generator) -> Tensor:
        return torch.randn(n, self.latent_dim, generator=generator, device=self.device)

    def _output(self, x: Tensor) -> Tensor:
        """What comes out of the network, as examples."""
        return torch.tanh(x.float()) if self.data.kind == "image" else x.float()


def gradient_penalty(critic: nn.Module, real: Tensor, fake: Tensor, generator: Generator) -> Tensor:
    """E (|grad D(x^)| - 1)^2 with x^ uniform on the line from x to G(z), one point an example.

    References: Gulrajani et al., arXiv:1704.00028, equation 3.
    """
    weight = torch.rand(len(real), *[1] * (real.ndim - 1), generator=generator, device=real.device)
    norm = squared_gradients(critic, torch.lerp(fake, real, weight)).add(1e-12).sqrt()
    return (norm - 1.0).square().mean()


def squared_gradients(critic: nn.Module, x: Tensor) -> Tensor:
    """|grad D(x)|^2 (n,), itself differentiable, in full precision: second derivatives lose too much in bfloat16."""
    x = x.detach().requires_grad_()
    with torch.autocast(x.device.type, enabled=False), torch.enable_grad():
        # Through a view: torch's operation counter cannot hook a leaf inside a nested gradient.
        (gradient,) = torch.autograd.grad(critic(x.view_as(x)).sum(), x, create_graph=True)
    return gradient.flatten(1).square().sum(1)


def normalise(network: nn.Module, norm: Norm) -> None:
    """Normalises a discriminator in place.

    none; batch: over the examples of a batch (arXiv:1502.03167), real examples and samples separately; layer:
    over each example's features (arXiv:1607.06450) - both after every layer but the first and the last, as
    DCGAN has it; spectral: every layer's matrix is divided by its largest singular value, estimated by one step of
    power iteration at each use in training (Miyato et al., arXiv:1802.05957, algorithm 1). The vectors of the
    iteration are buffers, and so a part of the model's state.

    Raises ValueError for an unknown norm.
    """
    if norm == "none":
        return
    if norm not in ("batch", "layer", "spectral"):
        raise ValueError(f"unknown discriminator_norm {norm!r}; wanted none, batch, layer or spectral")
    layers = [(name, m) for name, m in network.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    for name, layer in layers:
        if norm == "spectral":
            if not layer.weight.any():  # a residual block's second convolution: no matrix to divide by its norm
                nn.init.kaiming_normal_(layer.weight)
            spectral_norm(layer)
        elif layer not in (layers[0][1], layers[-1][1]) and not name.endswith(".second"):
            # A residual block's second convolution starts at zero, which a normalisation would blow up.
            parent, _, last = name.rpartition(".")
            setattr(network.get_submodule(parent), last, nn.Sequential(layer, _norm_after(layer, norm)))


def _norm_after(layer: nn.Conv2d | nn.Linear, norm: Norm) -> nn.Module:
    if isinstance(layer, nn.Linear):
        features = layer.out_features
        return nn.BatchNorm1d(features) if norm == "batch" else nn.LayerNorm(features)
    channels = layer.out_channels
    return cast(nn.Module, nn.BatchNorm2d(channels) if norm == "batch" else nn.GroupNorm(1, channels))
