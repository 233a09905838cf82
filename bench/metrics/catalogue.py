"""The metrics: built-in ones, and those of plug-ins. Their cards cost no torch; loading an implementation does."""

from __future__ import annotations

from .base import MetricCard, card_of
from .cards_quality import CARDS as QUALITY
from .cards_sequences import CARDS as SEQUENCES
from .cards_trust import CARDS as TRUST
from .cards_utility import CARDS as UTILITY
from .inputs import INPUTS
from .registration import added, place_of

_FEATURES = ("generated_features", "real_features")


_CARDS = (
    card_of(
        "fid",
        "quality",
        "lower",
        "squared feature distance",
        _FEATURES,
        "fidelity",
        "Fréchet distance between Gaussians fitted to generated and real features; biased upwards at small n.",
        counts="all",
    ),
    card_of(
        "kid",
        "quality",
        "lower",
        "squared MMD (cubic kernel)",
        (*_FEATURES, "seed"),
        "fidelity",
        "Kernel distance between generated and real features; unbiased, so it may be slightly negative.",
        counts="all",
    ),
    card_of(
        "inception_score",
        "quality",
        "higher",
        "effective classes",
        ("generated_probabilities", "seed"),
        "fidelity",
        "Whether single samples look like one class and all together like many; blind to the real data.",
        counts="all",
        kinds=("image",),
    ),
    card_of(
        "mmd",
        "quality",
        "lower",
        "squared MMD (Gaussian kernels)",
        _FEATURES,
        "mmd",
        "Kernel distance with bandwidths set by the real features; unbiased, so it may be slightly negative.",
        counts="all",
    ),
    card_of(
        "kl_to_truth",
        "quality",
        "lower",
        "nats",
        ("likelihood", "spec", "true_log_density"),
        "likelihood",
        "Divergence from the true density to the model, where the truth is known.",
        kinds=("vector", "sequence"),
    ),
    card_of(
        "precision",
        "diversity",
        "higher",
        "share",
        _FEATURES,
        "fidelity",
        "Share of generated samples that lie within the real ones' neighbourhoods.",
    ),
    card_of(
        "recall",
        "diversity",
        "higher",
        "share",
        _FEATURES,
        "fidelity",
        "Share of real examples that lie within the generated ones' neighbourhoods.",
    ),
    card_of(
        "density",
        "diversity",
        "higher",
        "ratio",
        _FEATURES,
        "manifold",
        "How many real neighbourhoods a generated sample falls into, against what is expected; may exceed 1.",
    ),
    card_of(
        "coverage",
        "diversity",
        "higher",
        "share",
        _FEATURES,
        "manifold",
        "Share of real examples with a generated sample in their neighbourhood.",
    ),
    card_of(
        "nll",
        "likelihood",
        "lower",
        "nats",
        ("likelihood", "spec"),
        "likelihood",
        "Mean negative log-likelihood of held-out examples, in original units.",
    ),
    card_of(
        "bits_per_dim",
        "likelihood",
        "lower",
        "bits/dim",
        ("likelihood", "spec"),
        "likelihood",
        "Negative log-likelihood of an image's levels, in bits for each number of it.",
        kinds=("image",),
    ),
    card_of(
        "condition_accuracy",
        "alignment",
        "higher",
        "share",
        ("generated_probabilities", "conditions"),
        "alignment",
        "Share of generated samples that the evaluator takes for the class that was asked for.",
        counts="all",
        kinds=("image",),
    ),
    card_of("train_seconds", "cost", "lower", "s", ("cost",), "cost", "Measured time of the training.", measured=True),
    card_of(
        "sample_seconds",
        "cost",
        "lower",
        "s",
        ("cost",),
        "cost",
        "Measured time of drawing the samples.",
        measured=True,
    ),
    card_of(
        "samples_per_second",
        "cost",
        "higher",
        "samples/s",
        ("cost",),
        "cost",
        "Samples drawn in each second.",
        measured=True,
    ),
    card_of("parameters", "cost", "lower", "parameters", ("cost",), "cost", "Trained numbers in the model."),
    card_of(
        "peak_memory",
        "cost",
        "lower",
        "bytes",
        ("cost",),
        "cost",
        "Largest memory held during the trial.",
        measured=True,
    ),
    card_of(
        "flops",
        "cost",
        "lower",
        "operations",
        ("cost",),
        "cost",
        "Floating-point operations of training and sampling, counted.",
    ),
    card_of(
        "sample_flops",
        "cost",
        "lower",
        "operations/sample",
        ("cost",),
        "cost",
        "Floating-point operations of drawing one sample, counted.",
    ),
)

METRICS: dict[str, MetricCard] = {card.name: card for card in (*_CARDS, *QUALITY, *UTILITY, *TRUST, *SEQUENCES)}
_ADDED_BY: dict[str, str] = {}  # plug-ins' metrics -> the file that added them


def add_metric(card: MetricCard) -> None:
    """Makes a plug-in's metric known. The same file may add it again, as a reloaded one does.

    card: with inputs that are known; those of the plug-in itself are added first (`add_input`).

    Raises ValueError for a name that is taken or is no Python name, and for inputs that nothing provides.
    """
    where = place_of(card.implementation) if callable(card.implementation) else card.implementation.split(":")[0]
    for need in card.needs:
        if need not in INPUTS:
            raise ValueError(f"{where}: metric {card.name!r} needs {need!r}, which is none of {', '.join(INPUTS)}")
    added(card.name, card, METRICS, _ADDED_BY, what="metric", where=where)
