"""What `family_speed.py` times: our families next to other implementations of the same, on the digits' train split.

A pair is a function that builds both sides once, on equal terms (the same numbers of parameters, examples, iterations,
and inputs as each side takes them), and returns what to call for each part. It returns None where its rival is not
installed. To add one, write such a function and enter it in `PAIRS`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import speed_diffusion
import speed_flows
import speed_pixels
import speed_pythae
import speed_transformer
import torch
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as Mixture
from sklearn.naive_bayes import CategoricalNB, GaussianNB
from sklearn.neighbors import KernelDensity as Kernels

from gentune.bench.data import load
from gentune.models import Batch, ConditionSpec, DataSpec, GenerativeModel
from gentune.models.classical.densities import to_values
from gentune.models.classical.gaussian import Gaussian
from gentune.models.classical.gaussian_mixture import GaussianMixture
from gentune.models.classical.histogram import Histogram
from gentune.models.classical.kernel_density import KernelDensity
from gentune.models.classical.naive_bayes import NaiveBayes
from gentune.models.classical.pca import ProbabilisticPCA
from gentune.models.likelihoods import dequantise

Call = Callable[[], object]
SAMPLES = 500


@dataclass(frozen=True)
class Pair:
    """rival: the other implementation, in words. parts: for each part, the call of ours and of theirs."""

    rival: str
    parts: Mapping[str, tuple[Call, Call]]


class _Digits:
    """Train and test digits as either side takes them."""

    def __init__(self) -> None:
        data = load("digits")
        self.spec, self.train, self.test = data.spec, data.splits["train"].all(), data.splits["test"].all()
        assert self.train.condition is not None
        self.labels = self.train.condition.numpy()
        self.levels, self.test_levels = (self.spec.to_levels(b.x).flatten(1).numpy() for b in (self.train, self.test))
        self.u, self.test_u = (
            dequantise(b.x, self.spec, seeded()).flatten(1).double().numpy() for b in (self.train, self.test)
        )


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def fitting(make: Callable[[], GenerativeModel], data: Batch) -> tuple[GenerativeModel, Call]:
    """A fitted model, and the call that fits another."""

    def fit() -> GenerativeModel:
        model = make()
        model.stages()[0].fit(data, seeded())  # type: ignore[misc]
        return model.eval()

    return fit(), fit


def sampling(model: GenerativeModel) -> Call:
    generator = seeded()
    return lambda: model.sample(SAMPLES, generator=generator)


def density(model: Any, values: Any) -> Call:
    v = torch.from_numpy(values)
    return lambda: model.log_density(v)


def gaussian() -> Pair:
    d = _Digits()
    model, fit = fitting(lambda: Gaussian(d.spec), d.train)
    rival = Mixture(1, reg_covar=1e-3, random_state=0).fit(d.u)
    return Pair(
        "scikit-learn GaussianMixture(1)",
        {
            "train": (fit, lambda: Mixture(1, reg_covar=1e-3, random_state=0).fit(d.u)),
            "sample": (sampling(model), lambda: rival.sample(SAMPLES)),
            "density": (density(model, d.test_u), lambda: rival.score_samples(d.test_u)),
        },
    )


def gaussian_mixture() -> Pair:
    d = _Digits()
    model, fit = fitting(lambda: GaussianMixture(d.spec), d.train)

    def rival_fit() -> Mixture:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            seed = int(torch.randint(2**31 - 1, (1,), generator=_after_noise(d.train.x.shape)))
            return Mixture(10, reg_covar=1e-3, max_iter=200, random_state=seed).fit(d.u)

    rival = rival_fit()
    return Pair(
        "scikit-learn GaussianMixture",
        {
            "train": (fit, rival_fit),
            "sample": (sampling(model), lambda: rival.sample(SAMPLES)),
            "density": (density(model, d.test_u), lambda: rival.score_samples(d.test_u)),
        },
    )


def _after_noise(shape: torch.Size) -> torch.Generator:
    """The generator as our fit has it when it draws its seed, so that both start from the same k-means."""
    generator = seeded()
    torch.rand(shape, generator=generator)
    return generator


def histogram() -> Pair:
    d = _Digits()
    model, fit = fitting(lambda: Histogram(d.spec), d.train)
    one_class = [0] * len(d.levels)
    rival = CategoricalNB(alpha=0.1, min_categories=17).fit(d.levels, one_class)
    return Pair(
        "scikit-learn CategoricalNB of one class",
        {
            "train": (fit, lambda: CategoricalNB(alpha=0.1, min_categories=17).fit(d.levels, one_class)),
            "density": (
                lambda: model.log_likelihood(Batch(d.test.x)),  # type: ignore[operator]
                lambda: rival.predict_joint_log_proba(d.test_levels),
            ),
        },
    )


def naive_bayes() -> Pair:
    d = _Digits()
    model, fit = fitting(lambda: NaiveBayes(d.spec), d.train)
    rival = CategoricalNB(alpha=0.1, min_categories=17).fit(d.levels, d.labels)
    return Pair(
        "scikit-learn CategoricalNB",
        {
            "train": (fit, lambda: CategoricalNB(alpha=0.1, min_categories=17).fit(d.levels, d.labels)),
            "classify": (
                lambda: model.classify(d.test.x),  # type: ignore[operator]
                lambda: rival.predict_log_proba(d.test_levels),
            ),
        },
    )


def naive_bayes_gaussian() -> Pair:
    d = _Digits()
    spec = DataSpec("flat digits", "vector", (64,), condition=ConditionSpec("label", classes=10))
    train, test = (Batch(b.x.flatten(1), b.condition) for b in (d.train, d.test))
    model, fit = fitting(lambda: NaiveBayes(spec, conditionals="gaussian"), train)
    x, test_x = (b.x.double().numpy() for b in (train, test))
    rival = GaussianNB().fit(x, d.labels)
    return Pair(
        "scikit-learn GaussianNB",
        {
            "train": (fit, lambda: GaussianNB().fit(x, d.labels)),
            "classify": (
                lambda: model.classify(test.x),  # type: ignore[operator]
                lambda: rival.predict_log_proba(test_x),
            ),
        },
    )


def kernel_density() -> Pair:
    d = _Digits()
    model, fit = fitting(lambda: KernelDensity(d.spec), d.train)
    values = to_values(d.train.x, d.spec).numpy()
    rival = Kernels(bandwidth=0.07).fit(values)
    return Pair(
        "scikit-learn KernelDensity",
        {
            "train": (fit, lambda: Kernels(bandwidth=0.07).fit(values)),
            "sample": (sampling(model), lambda: rival.sample(SAMPLES)),
            "density": (density(model, d.test_u), lambda: rival.score_samples(d.test_u)),
        },
    )


def pca() -> Pair:
    d = _Digits()
    model, fit = fitting(lambda: ProbabilisticPCA(d.spec), d.train)
    rival = PCA(16).fit(d.u)
    codes = torch.randn(SAMPLES, 16, generator=seeded())
    return Pair(
        "scikit-learn PCA",
        {
            "train": (fit, lambda: PCA(16).fit(d.u)),
            "encode": (lambda: model.encode(Batch(d.test.x)), lambda: rival.transform(d.test_u)),  # type: ignore[operator]
            "decode": (
                lambda: model.decode(codes),  # type: ignore[operator]
                lambda: rival.inverse_transform(codes.double().numpy()),
            ),
            "density": (density(model, d.test_u), lambda: rival.score_samples(d.test_u)),
        },
    )


@cache
def _of_pythae() -> list[Any] | None:
    try:
        return speed_pythae.pairs()
    except ModuleNotFoundError:
        return None


def autoencoder(family: str) -> Callable[[], Pair | None]:
    """The pairs of `speed_pythae.py` for one family: an epoch of training, and samples."""
    names = {"epoch": "train", "samples": "sample"}

    def pair() -> Pair | None:
        every = _of_pythae()
        if every is None:
            return None
        mine = [p for p in every if p.name.startswith(f"{family}, ")]
        return Pair("pythae", {names[p.name.split(", ")[1]]: (p.ours, p.theirs) for p in mine})

    return pair


def gated_pixel_cnn() -> Pair:
    return Pair("its own network in full passes", {"sample": speed_pixels.sampling("gated_pixel_cnn")})


def transformer() -> Pair | None:
    """The rival of samples is our own network, without its cache."""
    try:
        train = speed_transformer.steps()
    except ModuleNotFoundError:
        return None
    return Pair("transformers' GPT-2; full passes", {"train": train, "sample": speed_transformer.samples()})


def vector_flow(family: str) -> Callable[[], Pair | None]:
    return lambda: Pair("zuko", {"train": speed_flows.vector_steps()[family]})


def glow() -> Pair | None:
    try:
        return Pair("normflows", speed_flows.glow())
    except ModuleNotFoundError:
        return None


def ddpm(side: int) -> Callable[[], Pair | None]:
    """On images of that side, of noise: what they show does not matter to the clock."""

    def made() -> Pair | None:
        try:
            return Pair("diffusers' UNet2DModel", speed_diffusion.pair(side))
        except ModuleNotFoundError:
            return None

    return made


PAIRS: dict[str, Callable[[], Pair | None]] = {
    "gaussian": gaussian,
    "gaussian_mixture": gaussian_mixture,
    "histogram": histogram,
    "naive_bayes": naive_bayes,
    "naive_bayes-gaussian": naive_bayes_gaussian,
    "kernel_density": kernel_density,
    "pca": pca,
    "autoencoder": autoencoder("autoencoder"),
    "vae": autoencoder("vae"),
    "vq_vae": autoencoder("vq_vae"),
    "maf": vector_flow("maf"),
    "iaf": vector_flow("iaf"),
    "neural_spline_flow": vector_flow("neural_spline_flow"),
    "realnvp": vector_flow("realnvp"),
    "glow": glow,
    "gated_pixel_cnn": gated_pixel_cnn,
    "transformer": transformer,
    "ddpm-8": ddpm(8),
    "ddpm-16": ddpm(16),
    "ddpm-32": ddpm(32),
}
