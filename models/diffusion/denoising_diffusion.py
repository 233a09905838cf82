"""What families of denoising diffusion share, whatever network removes the noise: objective, samplers, likelihood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..base import Adam, Batch, GenerativeModel, Likelihood, LikelihoodKind, Losses, Phase, Stage
from ..data_spec import DataSpec
from ..likelihoods import sum_per_example
from . import gaussian_diffusion as diffusion
from .label_guidance import Guidance, GuidedNetwork, evaluating
from .noisy_classifier import NoisyClassifier
from .samplers import Sampler, sample_chain

GuidedBy = Literal["classifier_free", "classifier"]
Variances = Literal["fixed", "learned"]

_BOUND_SHARE = 1e-3  # of the bound in the loss with learned variances; arXiv:2102.09672, equation 16
_CLASSIFIER_SHARE = 0.25  # of the steps
_CLASSIFIER_DECAY = 0.05  # of its weights; the code of arXiv:2105.05233


_NETWORK_SETTINGS = (
    "learning_rate",
    "schedule",
    "timesteps",
    "target",
    "weighting",
    "variance",
    "guidance",
)  # of a network that knows no labels


@dataclass(frozen=True)
class DiffusionSettings:
    """What every family of denoising diffusion needs of its hyperparameters.

    learning_rate: of Adam, rising over 20 steps, then falling along a cosine to a twentieth.
    schedule: a name in `SCHEDULES`. timesteps: noise levels T.
    target, weighting: what the network predicts, and the weights of levels in the loss.
    unconditional_probability: how often a label is left out in training.
    variance: of ancestral steps and in the bound: "fixed" at the posterior's for images, at the forward kernel's for
        vectors; or "learned", for which the network has to return twice as many channels.
    guidance: what leads samples to a class: the network's own difference between with and without a label, or the
        gradient of a classifier on noisy examples, to which a quarter of the training goes; the network then learns
        p(x) alone.
    classifier_width, classifier_learning_rate: of that classifier.
    """

    learning_rate: float
    schedule: str
    timesteps: int
    target: diffusion.Target
    weighting: diffusion.Weighting
    unconditional_probability: float
    guidance: GuidedBy = "classifier_free"
    classifier_width: int = 32
    classifier_learning_rate: float = 4e-3
    variance: Variances = "fixed"


class DenoisingDiffusion(GenerativeModel):
    """A network that removes Gaussian noise, trained at all noise levels at once; a family says which network.

    With labels the network is class-conditional; labels are dropped with `unconditional_probability`, so that one
    network also models p(x). A family's constructor takes its hyperparameters as keywords and hands the common ones on
    as `settings`; `network_settings` names those that its network depends on.

    References: Ho et al., arXiv:2006.11239; cosine schedule: arXiv:2102.09672; v-prediction: arXiv:2202.00512;
    DDIM: arXiv:2010.02502; learned variances: arXiv:2102.09672; classifier-free guidance: arXiv:2207.12598; classifier
    guidance: arXiv:2105.05233.
    """

    family: ClassVar[str]  # its name, for errors
    network_settings: ClassVar[tuple[str, ...]]

    abar: Tensor
    limit: Tensor
    noise_levels = 16  # levels drawn per example for the likelihood bound

    def __init__(self, data: DataSpec, network: GuidedNetwork, settings: DiffusionSettings) -> None:
        super().__init__(data)
        self.settings = settings
        self.register_buffer("abar", diffusion.SCHEDULES[settings.schedule](settings.timesteps))
        # Estimates of x_0 are clipped to the data's range while sampling; vectors' range is read off the train split.
        self.register_buffer("limit", torch.full(data.shape, 1.0 if data.kind == "image" else 10.0))
        self._variance: diffusion.Variance = "posterior" if data.kind == "image" else "forward"
        self._first = diffusion.first_level(self.abar, data.levels)
        self.network = network
        self.classifier: NoisyClassifier | None = None
        if settings.guidance == "classifier" and data.classes:
            self.classifier = NoisyClassifier(data, width=settings.classifier_width, family=self.family)

    @property
    def timesteps(self) -> int:
        return self.abar.shape[0] - 1

    def stages(self) -> tuple[Stage, ...]:
        optimiser = Adam(self.settings.learning_rate, warmup_steps=20, decay="cosine", final_share=0.05)
        phase = Phase("all", self.network.parameters(), self.loss, optimiser)
        before = (Stage("range", fit=self.fit_range, depends_on=()),) if self.data.kind == "vector" else ()
        if self.classifier is None:
            return (*before, Stage("training", phases=(phase,)))
        names = (*_NETWORK_SETTINGS, *self.network_settings)
        training = Stage("training", phases=(phase,), share=1.0 - _CLASSIFIER_SHARE, depends_on=names)
        rate, decay = self.settings.classifier_learning_rate, _CLASSIFIER_DECAY
        optimiser = Adam(rate, weight_decay=decay, warmup_steps=20, decay="cosine", final_share=0.05)
        phase = Phase("classifier", self.classifier.parameters(), self.classifier_loss, optimiser)
        return (*before, training, Stage("classifier", phases=(phase,), share=_CLASSIFIER_SHARE))

    def loss(self, batch: Batch, generator: Generator) -> Losses:
        """Weighted squared error of the predicted target at levels drawn uniformly from 1...T; with learned variances
        and a thousandth of `learned_variance_loss`.

        References: Ho et al., arXiv:2006.11239, equation 14; weights: `loss_weights`; Nichol and Dhariwal,
        arXiv:2102.09672, equation 16.
        """
        t, noise, x_t = self._noisy(batch.x, generator)
        labels = self.network.labels(len(batch), batch.condition)
        unconditional = self.settings.unconditional_probability if self.classifier is None else 1.0
        labels = self.network.dropped(labels, unconditional, generator)
        output = self.network(x_t, self._time(t), labels)
        prediction = output[:, : x_t.shape[1]]
        wanted = diffusion.target_of(self.settings.target, batch.x, noise, self.abar, t)
        errors = ((prediction - wanted) ** 2).flatten(1).mean(1)
        weights = diffusion.loss_weights(self.settings.weighting, self.settings.target, self.abar, t)
        total, parts = (weights * errors).mean(), {"squared_error": errors.detach().mean()}
        if self.settings.variance == "learned":
            x0, share = self._read(output, x_t, t)
            assert share is not None
            bound = diffusion.learned_variance_loss(batch.x, x0, share, self.abar, t).mean()
            total, parts = total + _BOUND_SHARE * bound, {**parts, "bound": bound.detach()}
        return Losses(total, parts)

    def classifier_loss(self, batch: Batch, generator: Generator) -> Losses:
        """Cross-entropy of the classes at levels drawn uniformly from 1...T, in nats."""
        assert self.classifier is not None
        t, _, x_t = self._noisy(batch.x, generator)
        labels = self.network.labels(len(batch), batch.condition)
        return Losses(F.cross_entropy(self.classifier(x_t, self._time(t)), labels))

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        condition: Tensor | None = None,
        generator: Generator,
        sampler: Sampler = "ddim",
        steps: int = 25,
        eta: float = 0.0,
        guidance_scale: float = 1.0,
        guidance_low: float = 0.0,
        guidance_high: float = 1.0,
    ) -> Tensor:
        """n samples; unconditional where `condition` is None, whatever the guidance. guidance_*: as in `Guidance`."""
        x = torch.randn(n, *self.data.shape, generator=generator, device=self.device)
        labels = self.network.labels(n, condition)
        guidance = Guidance(guidance_scale, guidance_low, guidance_high).given(condition)

        def denoise(x_t: Tensor, t: Tensor) -> Tensor | tuple[Tensor, Tensor]:
            scale = guidance.at(*diffusion.coefficients(self.abar, t, x_t))
            x0, share = self._guided(x_t, t, labels, scale)
            x0 = torch.maximum(torch.minimum(x0, self.limit), -self.limit)
            return x0 if share is None else (x0, share)

        with evaluating(self):
            x = sample_chain(
                denoise,
                x,
                self.abar,
                sampler=sampler,
                steps=steps,
                eta=eta,
                variance=self._variance,
                generator=generator,
            )
        return self.data.to_lattice(x) if self.data.kind == "image" else x

    @torch.no_grad()
    def log_likelihood(self, batch: Batch) -> Likelihood:
        """The variational bound in nats: prior KL, KL of every step, and a decoder for the first level.

        With labels y (n,) a bound on log p(x|y), where the network knows them. Without, one of the branch for no label,
        which is then trained on few examples; a tighter one on log p(x) is `marginal_log_prob` of the classes' bounds.
        The sum over steps is estimated without bias from `samples` stratified noise levels per example.

        References: Ho et al., arXiv:2006.11239, equations 5 and 13.
        """
        x = batch.x
        labels = self.network.labels(len(batch), batch.condition if self.classifier is None else None)
        generator = self.evaluation_generator()

        def denoise(x_t: Tensor, t: Tensor) -> Tensor | tuple[Tensor, Tensor]:
            x0, share = self._read(self.network(x_t, self._time(t), labels), x_t, t)
            x0 = x0.clamp(-1.0, 1.0) if self.data.kind == "image" else x0
            return x0 if share is None else (x0, share)

        with evaluating(self):
            kl, drawn = diffusion.stratified_step_kl(
                denoise,
                x,
                self.abar,
                first=self._first + 1,
                count=self.noise_levels - 1,
                variance=self._variance,
                generator=generator,
            )
            decoded = self._decoder_log_prob(denoise, x, generator)
        bound = decoded - kl - diffusion.prior_kl(x, self.abar)
        return Likelihood(bound, LikelihoodKind.ELBO, samples=drawn + 1)

    def _guided(self, x_t: Tensor, t: Tensor, labels: Tensor, scale: float) -> tuple[Tensor, Tensor | None]:
        """`_read` under guidance by labels (n,): `LabelledNetwork.guided`, or `x0_shift` scaled."""
        own = scale if self.classifier is None else 0.0
        x0, share = self._read(self.network.guided(x_t, self._time(t), labels, own), x_t, t)
        if self.classifier is not None and scale != 0.0:
            gradient = self.classifier.gradient(x_t, self._time(t), labels)
            x0 = x0 + scale * diffusion.x0_shift(gradient, self.abar, t)
        return x0, share

    def _read(self, output: Tensor, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the network's output says: the estimate of x_0, and `share` of a learned variance, [-1, 1] as [0, 1]."""
        channels = x_t.shape[1]
        x0 = diffusion.x0_from(self.settings.target, output[:, :channels], x_t, self.abar, t)
        return x0, (output[:, channels:] + 1.0) / 2.0 if self.settings.variance == "learned" else None

    def _noisy(self, x: Tensor, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Levels (n,) drawn uniformly from 1...T, noise, and x (n, ...) with it at these levels."""
        t = torch.randint(1, self.timesteps + 1, (len(x),), generator=generator, device=x.device)
        noise = torch.randn(x.shape, generator=generator, device=x.device)
        return t, noise, diffusion.diffuse(x, noise, self.abar, t)

    def _decoder_log_prob(self, denoise: diffusion.VaryingDenoiser, x: Tensor, generator: Generator) -> Tensor:
        """log p(x_0 | x_t) (n,) at the first level: a Gaussian around the estimate, cut into bins for images."""
        t = torch.full((x.shape[0],), self._first, device=x.device)
        noise = torch.randn(x.shape, generator=generator, device=x.device)
        mean, _ = diffusion.with_spread(denoise(diffusion.diffuse(x, noise, self.abar, t), t), self._variance)
        deviation = diffusion.decoder_deviation(self.abar, self.data.levels)
        if self.data.levels is None:
            return sum_per_example(torch.distributions.Normal(mean, deviation).log_prob(x))
        k = self.data.to_levels(x)
        return sum_per_example(diffusion.discretised_gaussian_log_prob(k, mean, deviation, self.data.levels))

    def fit_range(self, data: Batch, generator: Generator) -> float:
        """The largest magnitude of every number over the train split, and a tenth; returns the operations it took."""
        self.limit.copy_(1.1 * data.x.abs().amax(dim=0))
        return 2.0 * data.x.numel()

    def _time(self, t: Tensor) -> Tensor:
        """Levels (n,) as the network's times in [0, 1]."""
        return t.to(self.limit.dtype) / self.timesteps
