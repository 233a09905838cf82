"""Cards of the metrics on memorisation, fairness, stability and energy. Free of torch."""

from __future__ import annotations

from .base import MetricCard, card_of

_MEMORISATION, _FAIRNESS, _STABILITY = "memorisation", "fairness", "stability"


CARDS: tuple[MetricCard, ...] = (
    card_of(
        "authenticity",
        _MEMORISATION,
        "higher",
        "share",
        ("generated_features", "train_features"),
        "memorisation",
        "Share of samples that lie farther from their nearest train example than that one's own nearest neighbour.",
        counts="all",
    ),
    card_of(
        "nearest_train_distance",
        _MEMORISATION,
        "higher",
        "ratio",
        ("generated_features", "train_features", "real_features"),
        "memorisation",
        "Mean distance of samples to the train set over that of held-out examples: 1 is like new data, 0 copied.",
        counts="all",
    ),
    card_of(
        "fid_gap",
        _MEMORISATION,
        "lower",
        "squared feature distance",
        ("generated_features", "real_features", "train_features", "seed"),
        "memorisation",
        "FID to held-out examples less FID to as many train examples: the larger, the more is memorised.",
        counts="all",
    ),
    card_of(
        "data_copying",
        _MEMORISATION,
        "higher",
        "standard deviations",
        ("generated_features", "train_features", "real_features", "seed"),
        "memorisation",
        "Rank test C_T of distances to the train set, samples against held-out: far below 0 is copying.",
        counts="one block",
    ),
    card_of(
        "class_frequency_gap",
        _FAIRNESS,
        "lower",
        "share",
        ("generated_probabilities", "real_labels"),
        "fairness",
        "Share of the samples that would have to change class for the classes to be as frequent as in real data.",
        counts="all",
        kinds=("image",),
    ),
    card_of(
        "class_recall_gap",
        _FAIRNESS,
        "lower",
        "share",
        ("generated_features", "real_features", "real_labels"),
        "fairness",
        "Share of real examples with a sample nearby: of the best covered class less that of the worst.",
    ),
    card_of(
        "failure_rate",
        _STABILITY,
        "lower",
        "share",
        ("states",),
        "stability",
        "Share of trials that failed: diverged, ran out of memory or broke.",
    ),
    card_of(
        "seed_spread",
        _STABILITY,
        "lower",
        "unit of the objective",
        ("final_values",),
        "stability",
        "Standard deviation of the score over re-trainings of one setting with other seeds.",
    ),
    card_of(
        "setting_sensitivity",
        _STABILITY,
        "lower",
        "unit of the objective",
        ("trial_values",),
        "stability",
        "Interquartile range of the score over the settings that a study tried.",
    ),
    card_of(
        "energy",
        "cost",
        "lower",
        "J",
        ("cost",),
        "cost",
        "Energy that the device drew during the trial.",
        measured=True,
        requires=".cost:counters_of_energy",
    ),
)
