"""Beta-VAE: a variational autoencoder with a weight on the KL divergence of its codes from the prior."""

from __future__ import annotations

from ..data_spec import DataSpec
from .vae import VariationalModel, VariationalSettings


class BetaVAE(VariationalModel):
    """A VAE that minimises  -E_q(z|x) log p(x|z) + beta KL(q(z|x) || N(0, I))  for any beta.

    beta above 1 asks for codes that are independent of one another and few, at the expense of reconstruction (Higgins
    et al. 2017, "beta-VAE", ICLR, equation 4); below 1 it reconstructs better and samples from the prior worse.

    The hyperparameters are those of `VariationalSettings`.
    """

    family = "beta_vae"

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate: float = 4e-3,
        latent_dim: int = 8,
        beta: float = 1.0,
        kl_warmup: float = 0.1,
        pixels: str = "logistic",
        width: int = 16,
        depth: int = 2,
        weight_decay: float = 1e-5,
    ) -> None:
        settings = VariationalSettings(
            learning_rate=learning_rate,
            latent_dim=latent_dim,
            kl_warmup=kl_warmup,
            pixels=pixels,
            width=width,
            depth=depth,
            weight_decay=weight_decay,
            beta=beta,
        )
        super().__init__(data, settings)
