"""Cards of metrics on samples of sequences."""

from __future__ import annotations

from .base import MetricCard, card_of

_SEQUENCES = ("sequence",)

CARDS: tuple[MetricCard, ...] = (
    card_of(
        "grammaticality",
        "quality",
        "higher",
        "share",
        ("grammatical",),
        "sequences",
        "Share of samples that the data's grammar allows; blind to diversity.",
        counts="all",
        kinds=_SEQUENCES,
    ),
    card_of(
        "ngram_mmd",
        "quality",
        "lower",
        "squared MMD (n-grams)",
        ("generated_x", "real_x", "spec"),
        "sequences",
        "Kernel distance between frequencies of up to three tokens in a row; unbiased, so it may be slightly negative.",
        counts="all",
        kinds=_SEQUENCES,
    ),
    card_of(
        "distinct_n",
        "diversity",
        "higher",
        "share",
        ("generated_x", "spec"),
        "sequences",
        "Different runs of four tokens among all of the samples'; falls with the number of samples.",
        kinds=_SEQUENCES,
    ),
    card_of(
        "repetition",
        "diversity",
        "lower",
        "share",
        ("generated_x", "spec"),
        "sequences",
        "Share of a sample's runs of four tokens that it has had before.",
        counts="all",
        kinds=_SEQUENCES,
    ),
    card_of(
        "copied_span",
        "memorisation",
        "lower",
        "tokens",
        ("generated_x", "train_x", "spec"),
        "sequences",
        "Longest span of a sample that stands in some train example, on average.",
        counts="all",
        kinds=_SEQUENCES,
    ),
    card_of(
        "copied_share",
        "memorisation",
        "lower",
        "share",
        ("generated_x", "train_x", "spec"),
        "sequences",
        "Share of samples that stand in the train split as they are.",
        counts="all",
        kinds=_SEQUENCES,
    ),
)
