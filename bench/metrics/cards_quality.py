"""Cards of further metrics on quality, pairs and diversity."""

from __future__ import annotations

from .base import MetricCard

_FEATURES = ("generated_features", "real_features")
_PAIRS = ("originals", "reconstructions")

CARDS: tuple[MetricCard, ...] = (
    MetricCard(
        "fd_infinity",
        "quality",
        "lower",
        "squared feature distance",
        (*_FEATURES, "seed"),
        "FID extrapolated to infinitely many samples; may be slightly negative.",
        ".extrapolation:fd_infinity",
        "slow",
    ),
    MetricCard(
        "sliced_wasserstein",
        "quality",
        "lower",
        "feature distance",
        (*_FEATURES, "seed"),
        "1-Wasserstein distance between projections, averaged over directions.",
        ".sliced:sliced_wasserstein",
    ),
    MetricCard(
        "c2st",
        "quality",
        "lower",
        "share",
        (*_FEATURES, "seed"),
        "Accuracy of a classifier that tells samples from real examples; 0.5 where it cannot.",
        ".two_sample:c2st",
        "slow",
    ),
    MetricCard(
        "reconstruction_error",
        "quality",
        "lower",
        "squared difference",
        _PAIRS,
        "Mean squared error of reconstructions, for each number of the data.",
        ".pairs:reconstruction_error",
    ),
    MetricCard(
        "psnr",
        "quality",
        "higher",
        "dB",
        _PAIRS,
        "Peak signal-to-noise ratio of reconstructed images, with a range of 2.",
        ".pairs:psnr",
    ),
    MetricCard(
        "ssim",
        "quality",
        "higher",
        "similarity",
        _PAIRS,
        "Structural similarity of reconstructed images and their originals; at most 1.",
        ".pairs:ssim",
    ),
    MetricCard(
        "lpips",
        "quality",
        "lower",
        "perceptual distance",
        _PAIRS,
        "Perceptual distance of reconstructed images through AlexNet; needs its weights at hand.",
        ".perceptual:lpips",
    ),
    MetricCard(
        "lpips_in_domain",
        "quality",
        "lower",
        "squared distance of unit features",
        ("original_features", "reconstruction_features"),
        "The distance that LPIPS takes, through the data set's own evaluator; not comparable with LPIPS.",
        ".perceptual:lpips_in_domain",
    ),
    MetricCard(
        "f_score",
        "diversity",
        "higher",
        "share",
        _FEATURES,
        "Harmonic mean of precision and recall.",
        ".diversity:f_score",
    ),
    MetricCard(
        "vendi",
        "diversity",
        "higher",
        "effective samples",
        ("generated_features",),
        "How many samples differ, by the cosine similarity of their features; blind to the real data.",
        ".diversity:vendi",
    ),
    MetricCard(
        "modes_covered",
        "diversity",
        "higher",
        "modes",
        ("generated_x", "modes"),
        "Modes of a toy law that get at least a fifth of their equal share of the samples.",
        ".diversity:modes_covered",
    ),
)
