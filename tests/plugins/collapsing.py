"""A plug-in for tests of the collapse detector: GANs that collapse by construction."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Generator, Tensor

import gentune
from gentune.models import DataSpec
from gentune.models.adversarial.cgan import CGAN
from gentune.models.adversarial.gan import GAN
from gentune.search_spaces import shipped_cards


class Still(GAN):
    """A generator with a learning rate of zero."""

    def __init__(self, data: DataSpec, **settings: Any) -> None:
        super().__init__(data, **settings)
        self.settings = replace(self.settings, learning_rate_generator=0.0)


class Deaf(GAN):
    """No diversity in its noise."""

    def _codes(self, n: int, generator: Generator) -> Tensor:
        return torch.ones(n, self.latent_dim, device=self.device)


class Deafened(CGAN):
    """The same, but conditioned on labels."""

    def _codes(self, n: int, generator: Generator) -> Tensor:
        return torch.ones(n, self.latent_dim, device=self.device)


_CARDS = {path.stem: path.read_text(encoding="utf-8") for path in shipped_cards()}
for _kind, _base in ((Still, "gan"), (Deaf, "gan"), (Deafened, "cgan")):
    _text = _CARDS[_base].replace(f'name = "{_base}"', f'name = "{_kind.__name__.lower()}"')
    _line = next(line for line in _text.splitlines() if line.startswith("class = "))
    gentune.register(_kind, _text.replace(_line, f'class = "collapsing:{_kind.__name__}"'))
