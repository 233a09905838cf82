"""Cards of the metrics on memorisation, fairness, stability and energy. Free of torch."""

from __future__ import annotations

from .base import Direction, MetricCard

_MEMORISATION, _FAIRNESS, _STABILITY = "memorisation", "fairness", "stability"


def _card(
    name: str,
    group: str,
    direction: Direction,
    unit: str,
    needs: tuple[str, ...],
    module: str,
    summary: str,
) -> MetricCard:
    return MetricCard(name, group, direction, unit, needs, summary, f"{module}:{name}")


CARDS: tuple[MetricCard, ...] = (
    _card(
        "authenticity",
        _MEMORISATION,
        "higher",
        "share",
        ("generated_features", "train_features"),
        "memorisation",
        "Share of samples that lie farther from their nearest train example than that one's own nearest neighbour.",
    ),
    _card(
        "nearest_train_distance",
        _MEMORISATION,
        "higher",
        "ratio",
        ("generated_features", "train_features", "real_features"),
        "memorisation",
        "Mean distance of samples to the train set over that of held-out examples: 1 is like new data, 0 copied.",
    ),
    _card(
        "fid_gap",
        _MEMORISATION,
        "lower",
        "squared feature distance",
        ("generated_features", "real_features", "train_features", "seed"),
        "memorisation",
        "FID to held-out examples less FID to as many train examples: the larger, the more is memorised.",
    ),
    _card(
        "data_copying",
        _MEMORISATION,
        "higher",
        "standard deviations",
        ("generated_features", "train_features", "real_features", "seed"),
        "memorisation",
        "Rank test C_T of distances to the train set, samples against held-out: far below 0 is copying.",
    ),
    _card(
        "class_frequency_gap",
        _FAIRNESS,
        "lower",
        "share",
        ("generated_probabilities", "real_labels"),
        "fairness",
        "Share of the samples that would have to change class for the classes to be as frequent as in real data.",
    ),
    _card(
        "class_recall_gap",
        _FAIRNESS,
        "lower",
        "share",
        ("generated_features", "real_features", "real_labels"),
        "fairness",
        "Share of real examples with a sample nearby: of the best covered class less that of the worst.",
    ),
    _card(
        "failure_rate",
        _STABILITY,
        "lower",
        "share",
        ("states",),
        "stability",
        "Share of trials that failed: diverged, ran out of memory or broke.",
    ),
    _card(
        "seed_spread",
        _STABILITY,
        "lower",
        "unit of the objective",
        ("final_values",),
        "stability",
        "Standard deviation of the score over re-trainings of one setting with other seeds.",
    ),
    _card(
        "setting_sensitivity",
        _STABILITY,
        "lower",
        "unit of the objective",
        ("trial_values",),
        "stability",
        "Interquartile range of the score over the settings that a study tried.",
    ),
    _card("energy", "cost", "lower", "J", ("cost",), "cost", "Energy that the device drew during the trial."),
)
