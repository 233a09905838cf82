"""VQ-VAE: an autoencoder with discrete codes, and an autoregressive prior over them.

Glossary:
    z   the encoder's output (n, T, code_dim), T vectors in raster order
    k   their nearest codes (n, T) in the codebook;  q  the codebook's vectors for them, like z
    p(x|q)  the decoder: a distribution for each pixel or each entry of a vector (`decoder_likelihoods`)
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from ..base import Adam, Batch, GenerativeModel, Likelihood, LikelihoodKind, Losses, Phase, Stage
from ..data_spec import DataSpec
from ..nets.causal_transformer import CausalTransformer
from ..nets.place_networks import place_networks, places_of
from ..nets.quantiser import Codebook, quantised
from .decoder_likelihoods import likelihood_for

_FIRST_STAGE = (
    "learning_rate",
    "codes",
    "code_dim",
    "commitment",
    "codebook_decay",
    "downsampling",
    "pixels",
    "width",
    "depth",
    "weight_decay",
)


class VQVAE(GenerativeModel):
    """van den Oord et al., "Neural discrete representation learning", arXiv:1711.00937.

    codes   -log p(x|q) / D + commitment |z - sg(q)|^2,  equation 3 with a codebook that follows its vectors
            (appendix A.1) and gradients that pass from q to z as if they were equal (section 3.2)
    prior   -log p(k|y) / T,  with the first stage as it is

    Half of the training goes to each. Likelihoods are the bound  log p(x) >= log p(x|q(x)) + log p(k(x)),  one term
    of the sum over all codes; p(k) is the mean of p(k|y) over labels.

    learning_rate: of Adam, for encoder and decoder. codes: length of the codebook. code_dim: of its vectors.
    commitment: weight of the second term. codebook_decay: see `Codebook`. downsampling: 2 or 4, an image's sides by
    those of its map of codes; vectors have 4 codes. pixels: as `likelihood_for`. width: w; 2w channels at half
    resolution, 4w at a quarter; vectors have 4w hidden units. depth: blocks at each lower resolution; vectors have
    depth + 1 hidden layers. weight_decay: decoupled, in both stages.
    prior_learning_rate, prior_width (rounded up to a multiple of 4), prior_layers, dropout: of the prior.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate: float = 3e-3,
        codes: int = 128,
        code_dim: int = 16,
        commitment: float = 0.25,
        codebook_decay: float = 0.97,
        downsampling: int = 4,
        pixels: str = "logistic",
        width: int = 16,
        depth: int = 2,
        weight_decay: float = 1e-5,
        prior_learning_rate: float = 3e-3,
        prior_width: int = 64,
        prior_layers: int = 2,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(data)
        self.learning_rate = learning_rate
        self.prior_learning_rate = prior_learning_rate
        self.commitment = commitment
        self.weight_decay = weight_decay
        self.code_dim = code_dim
        self.likelihood = likelihood_for(data, pixels)
        rows, columns = places_of(data, downsampling, "vq_vae")
        self.positions = rows * columns
        self.encoder, self.decoder = place_networks(
            data,
            written=code_dim,
            read=code_dim,
            outputs_per_value=self.likelihood.outputs_per_value,
            downsampling=downsampling,
            width=width,
            depth=depth,
            family="vq_vae",
        )
        self.latent_dim = self.positions * code_dim
        self.codebook = Codebook(codes, code_dim, decay=codebook_decay)
        self.prior = CausalTransformer(
            codes, self.positions, classes=data.classes, width=prior_width, layers=prior_layers, dropout=dropout
        )

    def stages(self) -> tuple[Stage, ...]:
        networks = (*self.encoder.parameters(), *self.decoder.parameters())
        optimiser = Adam(self.learning_rate, weight_decay=self.weight_decay, decay="cosine", final_share=0.05)
        codes = Phase("autoencoder", networks, self.loss, optimiser, after=self.codebook.update)
        optimiser = Adam(self.prior_learning_rate, weight_decay=self.weight_decay, decay="cosine", final_share=0.05)
        prior = Phase("likelihood", self.prior.parameters(), self.prior_loss, optimiser)
        return (
            Stage("codes", phases=(codes,), share=0.5, depends_on=_FIRST_STAGE),
            Stage("prior", phases=(prior,), share=0.5),
        )

    def loss(self, batch: Batch, generator: Generator) -> Losses:
        """Of the first stage, in nats per dimension; `perplexity` is of the codes that the batch uses."""
        q, commitment, perplexity = quantised(self.codebook, self.encoder(batch.x).float(), generator)
        reconstruction = -self.likelihood.log_prob(self.decoder(q), batch.x).mean()
        total = reconstruction / self.data.dimensions + self.commitment * commitment
        return Losses(total, {"reconstruction": reconstruction, "commitment": commitment, "perplexity": perplexity})

    def prior_loss(self, batch: Batch, generator: Generator) -> Losses:
        """Nats per code."""
        with torch.no_grad():
            k = self._codes_of(batch.x)
        labels = batch.labels if self.prior.classes else None
        return Losses(-self.prior.log_prob(k, labels).mean() / self.positions)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        condition: Tensor | None = None,
        generator: Generator,
        temperature: float = 1.0,
        output: str = "sample",
    ) -> Tensor:
        """n samples (n, *data.shape) of the given labels, or of labels equally frequent.

        temperature: of the prior's softmax. output: "mean", the decoder's mean, or "sample", a draw from p(x|q);
        images are rounded to the lattice either way.
        """
        if output not in ("mean", "sample"):
            raise ValueError(f"output is {output!r}; wanted mean or sample")
        labels = condition if self.prior.classes else None
        raw = self.decoder(self.codebook.look_up(self.prior.draw(n, labels, generator, temperature=temperature)))
        if output == "sample":
            return self.likelihood.draw(raw, generator)
        return self._on_lattice(self.likelihood.mean(raw))

    @torch.no_grad()
    def log_likelihood(self, batch: Batch) -> Likelihood:
        """log p(x|q(x)) + log p(k(x)), a bound on log p(x); with labels (n,) on log p(x|y)."""
        k = self._codes_of(batch.x)
        reconstruction = self.likelihood.log_prob(self.decoder(self.codebook.look_up(k)), batch.x)
        known = batch.labels is not None and self.prior.classes > 0
        prior = self.prior.log_prob(k, batch.labels) if known else self.prior.marginal_log_prob(k)
        return Likelihood(reconstruction + prior, LikelihoodKind.ELBO)

    @torch.no_grad()
    def draw_codes(self, n: int, generator: Generator) -> Tensor:
        """n codes (n, T code_dim) from the prior, as `decode` takes them."""
        return self.codebook.look_up(self.prior.draw(n, None, generator)).flatten(1)

    def encode(self, batch: Batch) -> Tensor:
        """q(x), flattened: (n, T code_dim)."""
        return self.codebook.look_up(self._codes_of(batch.x)).flatten(1)

    def decode(self, z: Tensor) -> Tensor:
        """The mean of p(x|z): (n, *data.shape); images in [-1, 1], not rounded, so that it has a derivative.

        z: vectors (n, T code_dim), which need not be of the codebook: between two codes lies a mixed picture.
        """
        return self.likelihood.mean(self.decoder(z.unflatten(1, (self.positions, self.code_dim))))

    @torch.no_grad()
    def reconstruct(self, batch: Batch) -> Tensor:
        """The decoder's mean at q(x); images on the lattice."""
        return self._on_lattice(self.decode(self.encode(batch)))

    def _codes_of(self, x: Tensor) -> Tensor:
        return self.codebook.nearest(self.encoder(x).float())

    def _on_lattice(self, x: Tensor) -> Tensor:
        return self.data.to_lattice(x) if self.data.kind == "image" else x
