"""Conditional GAN: both networks receive the label.

Glossary: as in `adversarial`, with labels y; all densities are conditional on y.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..base import Batch, Stage
from ..data_spec import DataSpec
from .base import AdversarialModel, AdversarialSettings, Norm


class CGAN(AdversarialModel):
    """Mirza and Osindero, "Conditional generative adversarial nets", arXiv:1411.1784, equation 2.

    discriminator  -E log sigma(D(x, y)) - E log(1 - sigma(D(G(z, y), y)))
    generator      -E log sigma(D(G(z, y), y))

    G receives the label, one-hot, concatenated to its codes. D receives it as a learned direction along which the
    features of the example are scored, D(x, y) = a . f(x) + e_y . f(x): where p(y | x) is log-linear in f, the best D
    has that form (Miyato and Koyama, arXiv:1802.05637, section 3), and it learns faster than with a label concatenated
    to the pixels. Without given labels, samples have labels drawn as often as in the train split. Data without labels
    has one class, and the family is then a GAN.

    The hyperparameters are those of `AdversarialSettings`.
    """

    family = "cgan"
    frequencies: Tensor

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate_generator: float = 1.5e-3,
        learning_rate_discriminator: float = 3e-3,
        beta1: float = 0.0,
        discriminator_steps: int = 2,
        discriminator_norm: Norm = "spectral",
        latent_dim: int = 32,
        width: int = 16,
        depth: int = 1,
    ) -> None:
        settings = AdversarialSettings(
            learning_rate_generator=learning_rate_generator,
            learning_rate_discriminator=learning_rate_discriminator,
            beta1=beta1,
            discriminator_steps=discriminator_steps,
            latent_dim=latent_dim,
            width=width,
            depth=depth,
            discriminator_norm=discriminator_norm,
        )
        super().__init__(data, settings)

    @property
    def _labels(self) -> int:
        return self.data.classes

    def _initialise(self) -> None:
        super()._initialise()
        self.register_buffer("frequencies", torch.ones(max(1, self._labels)))  # of the classes

    def stages(self) -> tuple[Stage, ...]:
        if not self._labels:
            return super().stages()
        return (Stage("classes", fit=self._count_classes, depends_on=()), *super().stages())

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """G(z, y): codes (n, latent_dim) and labels (n,) to (n, *data.shape); images in [-1, 1], not rounded.

        Without labels they are drawn by `evaluation_generator`.
        """
        return self._generate(z, condition, self.evaluation_generator())

    def _generate(self, z: Tensor, condition: Tensor | None, generator: Generator) -> Tensor:
        if not self._labels:
            return self._output(self.generator(z))
        n, k = len(z), self._labels
        if condition is None:
            condition = torch.multinomial(self.frequencies, n, replacement=True, generator=generator)
        if condition.shape != (n,):
            raise ValueError(f"cgan needs one label an example, shape ({n},), got {tuple(condition.shape)}")
        labels = k**0.5 * F.one_hot(condition.to(z.device), k).to(z.dtype)  # with the mean square of the codes
        return self._output(self.generator(torch.cat((z, labels), dim=1)))

    def _score(self, x: Tensor, condition: Tensor | None) -> Tensor:
        scores = self.discriminator(x).float()  # (n, 1 + classes): a . f(x), then e_y . f(x) of each class
        if not self._labels:
            return scores[:, 0]
        assert condition is not None
        return scores[:, 0] + scores.gather(1, 1 + condition[:, None])[:, 0]

    def _count_classes(self, data: Batch, generator: Generator) -> float:
        """Shares of the classes; returns the operations it took."""
        assert data.labels is not None
        counts = torch.bincount(data.labels, minlength=self._labels)
        self.frequencies.copy_(counts / len(data))
        return float(len(data))
