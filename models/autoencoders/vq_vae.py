"""VQ-VAE: an autoencoder with discrete codes, and an autoregressive prior over them.

Glossary:
    z   the encoder's output (n, T, code_dim), T vectors in raster order
    k   their nearest codes (n, T) in the codebook;  q  the codebook's vectors for them, like z
    p(x|q)  the decoder: a distribution for each pixel or each entry of a vector (`decoder_likelihoods`)
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from ..base import Adam, Batch, GenerativeModel, Likelihood, LikelihoodKind, Losses, Phase, Stage
from ..data_spec import DataSpec
from ..nets.causal_transformer import CausalTransformer
from ..nets.layers import ResidualBlock, decoder_for, encoder_for
from ..nets.quantiser import Codebook
from ..nets.sides import Enlarged, HalvingConv, Size, image_shape, shrunk
from .decoder_likelihoods import likelihood_for

_VECTOR_CODES = 4  # T of vectors
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
        per_value = self.likelihood.outputs_per_value
        self.encoder: nn.Module
        self.decoder: nn.Module
        if data.kind == "image":
            shape = image_shape(data, "vq_vae")
            rows, columns = shrunk(shape[1:], downsampling)
            self.positions = rows * columns
            widths = _widths(width, downsampling)
            self.encoder = _MapEncoder(shape[0], code_dim, widths, depth)
            self.decoder = _MapDecoder(code_dim, per_value * shape[0], widths, depth, shape[1:])
        else:
            self.positions = _VECTOR_CODES
            flat = self.positions * code_dim
            vectors = nn.Unflatten(1, (self.positions, code_dim))
            encoder = encoder_for(data, flat, width=width, depth=depth, family="vq_vae")
            self.encoder = nn.Sequential(encoder, vectors)
            decoder = decoder_for(data, flat, width=width, depth=depth, family="vq_vae", outputs_per_value=per_value)
            self.decoder = nn.Sequential(nn.Flatten(), decoder)
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
        z = self.encoder(batch.x).float()  # (n, T, code_dim)
        k = self.codebook.nearest(z)
        self.codebook.note(z, k, generator)
        q = self.codebook.look_up(k)
        commitment = (z - q).square().mean()
        straight_through = z + (q - z).detach()
        reconstruction = -self.likelihood.log_prob(self.decoder(straight_through), batch.x).mean()
        total = reconstruction / self.data.dimensions + self.commitment * commitment
        used = torch.bincount(k.flatten(), minlength=len(self.codebook.counts)) / k.numel()
        perplexity = torch.exp(torch.special.entr(used).sum())
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


def _widths(width: int, downsampling: int) -> tuple[int, ...]:
    """Channels at each lower resolution, the highest first. Raises ValueError for a factor other than 2 and 4."""
    if downsampling not in (2, 4):
        raise ValueError(f"downsampling is {downsampling}; wanted 2 or 4")
    return (2 * width,) if downsampling == 2 else (2 * width, 4 * width)


class _MapEncoder(nn.Sequential):
    """Images (n, C, H, W) to vectors (n, T, code_dim), one for each place of the lowest resolution."""

    def __init__(self, channels: int, code_dim: int, widths: tuple[int, ...], depth: int) -> None:
        blocks: list[nn.Module] = []
        for inside, outside in zip((channels, *widths), widths, strict=False):
            blocks.append(HalvingConv(inside, outside))
            blocks += [ResidualBlock(outside) for _ in range(depth - 1)]
            blocks.append(nn.SiLU())
        super().__init__(*blocks, nn.Conv2d(widths[-1], code_dim, 1))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).flatten(2).transpose(1, 2)


class _MapDecoder(nn.Sequential):
    """Vectors (n, T, code_dim) to images (n, channels, H, W): the encoder backwards, up-sampled as `ConvDecoder`.

    size: of the images.
    """

    def __init__(self, code_dim: int, channels: int, widths: tuple[int, ...], depth: int, size: Size) -> None:
        self.rows = shrunk(size, 2 ** len(widths))[0]
        blocks: list[nn.Module] = [nn.Conv2d(code_dim, widths[-1], 3, padding=1)]
        for number, outside in reversed(list(enumerate((widths[0] // 2, *widths[:-1])))):
            blocks += [ResidualBlock(widths[number]) for _ in range(depth - 1)]
            blocks += [nn.SiLU(), Enlarged(shrunk(size, 2**number))]
            blocks.append(nn.Conv2d(widths[number], outside, 3, padding=1))
        super().__init__(*blocks, nn.SiLU(), nn.Conv2d(widths[0] // 2, channels, 3, padding=1))

    def forward(self, q: Tensor) -> Tensor:
        return super().forward(q.transpose(1, 2).unflatten(2, (self.rows, -1)))
