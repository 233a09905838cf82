"""A plug-in for tests of whole runs on images: the beta-VAE, of fewer steps."""

from __future__ import annotations

from pathlib import Path

import gentune
from gentune import search_spaces
from gentune.models.autoencoders.beta_vae import BetaVAE

CARD = (Path(search_spaces.__file__).parent / "autoencoders" / "beta_vae.toml").read_text(encoding="utf-8")
OLD = 'name = "beta_vae"'
assert OLD in CARD
CARD = CARD.replace(OLD, 'name = "brief"') + "\n[sizes.image_8]\nsteps = 40\n"


class Brief(BetaVAE):
    """Trains in a second or two."""


gentune.register(Brief, CARD)
