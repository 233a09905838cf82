"""The inputs that metrics may name: what each is, what it costs, and where it comes from. Free of torch.

Built-in inputs are provided by `bench/scoring/inputs.py`, by name. A plug-in adds its own with `add_input`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from .registration import added, place_of

Source = Literal["samples", "model", "run", "study", "caller"]
InputExpense = Literal["quick", "pass", "train split"]


@dataclass(frozen=True)
class InputCard:
    """An input's entry in the table.

    name: the parameter of metrics' functions.
    words: what it is, after "needs" in the reason of an undefined metric.
    source: what it is made of. samples: the samples and the data set, so that samples from elsewhere have it too;
        model: the trained model; run: what the driver counted; study: all trials of a study, in the reports;
        caller: nothing that a run has, so that only callers of `measure` can give it.
    expense: quick; or, for finals alone, a pass of a network or of the model, or a look at the train split.
    through_evaluator: whether it is computed from an evaluator's features; undefined for data without evaluators.
    of_labels: whether data without labels have none.
    of_targets: whether examples with labels have it whose conditions are images.
    of_texts: whether data without texts have none.
    of_classes: whether it holds the data set's labels, which probabilities of other classes do not fit.
    of_probabilities: whether it holds an evaluator's class probabilities.
    of_likelihood: whether it is made of the likelihoods of held-out examples, `ScoringContext.held_out`.
    provider: computes it from a `bench.scoring.ScoringContext`, None where it is not defined there. Built-in inputs
        leave it out.
    of_samples: whether it is made of the samples, so that it changes with their number. Plug-ins leave it out.
    """

    name: str
    words: str
    source: Source = "samples"
    expense: InputExpense = "quick"
    through_evaluator: bool = False
    of_labels: bool = False
    of_targets: bool = False
    of_texts: bool = False
    of_classes: bool = False
    of_probabilities: bool = False
    of_likelihood: bool = False
    provider: Callable[[Any], object] | None = None
    of_samples: bool = False

    @property
    def is_of_samples(self) -> bool:
        """`of_samples`; of a plug-in's input whether it may be, which its source tells."""
        return self.of_samples or (self.provider is not None and self.source == "samples")


_COMPLETED, _DECODED = "hidden entries that a model completes", "a decoder"
_TYPICALITY, _RECONSTRUCTED = "a likelihood or reconstructions of images or vectors", "reconstructions"
_EMBEDDED = "images and texts as a CLIP model sees them"

_CARDS = (
    # Float64 (n, d) and (m, d): features of the samples, and of held-out examples.
    InputCard("generated_features", "features of the samples", through_evaluator=True, of_samples=True),
    InputCard("real_features", "features of real examples", through_evaluator=True),
    # Float64 (n, classes): class probabilities of the samples.
    InputCard(
        "generated_probabilities",
        "an evaluator that classifies",
        through_evaluator=True,
        of_samples=True,
        of_labels=True,
        of_targets=True,
        of_probabilities=True,
    ),
    # Int64 (n,) and (m,): the classes that the samples were asked for, or that the images show from which they were
    # made; and those of the held-out examples.
    InputCard("conditions", "class conditions", of_classes=True, of_samples=True, of_labels=True, of_targets=True),
    InputCard("real_labels", "labels of real examples", of_classes=True, of_labels=True, of_targets=True),
    # Tensors (n, *spec.shape) and (m, *spec.shape).
    InputCard("generated_x", "samples", of_samples=True),
    InputCard("real_x", "real examples"),
    InputCard("modes", "data with known modes"),  # bench.data.Modes
    InputCard("grammatical", "data with a known grammar", of_samples=True),  # which samples it allows: bool (n,)
    InputCard("spec", "the data's description"),  # models.data_spec.DataSpec
    InputCard("seed", "a seed"),  # int, for metrics that draw
    InputCard("train_features", "features of the train split", expense="train split", through_evaluator=True),
    InputCard("train_x", "train examples", expense="train split"),
    # Batches with labels.
    InputCard("synthetic", "samples drawn for given classes", expense="train split", of_samples=True, of_labels=True),
    InputCard("real_train", "train examples", expense="train split"),
    InputCard("real_test", "held-out examples"),
    # A models.base.Likelihood of held-out examples; and of the same ones, (n,): the true log-density in nats and
    # original units, and how many tokens count.
    InputCard("likelihood", "a likelihood", "model", of_likelihood=True),
    InputCard("true_log_density", "data with a known density", "model", of_likelihood=True),
    InputCard("tokens", "sequences", "model", of_likelihood=True),
    InputCard(
        "class_log_likelihoods", "a likelihood for each class", "model", "pass", of_likelihood=True, of_labels=True
    ),  # (n, classes)
    InputCard(
        "class_labels", "labels of examples with a likelihood", "model", of_likelihood=True, of_labels=True
    ),  # (n,)
    # Held-out examples, what the model makes of them, and their features. Of images that are asked for by images the
    # targets and the samples.
    InputCard("originals", _RECONSTRUCTED, "model", "pass"),
    InputCard("reconstructions", _RECONSTRUCTED, "model", "pass"),
    InputCard("original_features", _RECONSTRUCTED, "model", "pass", through_evaluator=True),
    InputCard("reconstruction_features", _RECONSTRUCTED, "model", "pass", through_evaluator=True),
    # Codes (n, c) of train and held-out examples, their labels (n,), and what examples were generated from (n, f).
    InputCard("train_codes", "codes", "model", "train split", of_labels=True),
    InputCard("train_labels", "labels of train examples", "samples", "train split", of_labels=True),
    InputCard("test_codes", "codes", "model", "pass", of_labels=True),
    InputCard("test_labels", "labels of held-out examples", of_labels=True),
    InputCard("codes", "codes", "model", "pass"),
    InputCard("factors", "data with known factors"),
    # How typical held-out examples (n,) and outliers (m,) look to the model.
    InputCard("inlier_scores", _TYPICALITY, "model", "pass"),
    InputCard("outlier_scores", _TYPICALITY, "model", "pass"),
    # Examples (n, *spec.shape), which entries are hidden (bool), and the examples as the model and the mean complete
    # them.
    InputCard("incomplete_x", _COMPLETED, "model", "pass"),
    InputCard("missing", _COMPLETED, "model", "pass"),
    InputCard("completed_x", _COMPLETED, "model", "pass"),
    InputCard("mean_completed_x", _COMPLETED, "model", "pass"),
    # Features of decoded codes, and of those a step of `epsilon` along the way to others.
    InputCard("path_features_a", _DECODED, "model", "pass", through_evaluator=True),
    InputCard("path_features_b", _DECODED, "model", "pass", through_evaluator=True),
    InputCard("epsilon", "the length of a step between codes", "model"),
    InputCard("cost", "the costs of a training", "run"),  # metrics.cost.CostReport
    InputCard("states", "the states of a study's trials", "study"),
    InputCard("final_values", "scores of re-trainings", "study"),
    InputCard("trial_values", "scores of a study's trials", "study"),
    # Float64 (n, e): samples, and the texts that they were asked for, to the image-text evaluator; int64 (n, f): what
    # the texts say.
    InputCard("sample_embeddings", "images with texts", of_samples=True, of_texts=True),
    InputCard("asked_embeddings", "texts that were asked for", of_samples=True, of_texts=True),
    InputCard("asked_meanings", "texts that were asked for", of_samples=True, of_texts=True),
    # Float64 (n, e), from evaluators.clip.ClipEmbedder: data sets hold no texts that it could read.
    InputCard("image_embeddings", _EMBEDDED, "caller", "pass"),
    InputCard("text_embeddings", _EMBEDDED, "caller", "pass"),
)

INPUTS: dict[str, InputCard] = {card.name: card for card in _CARDS}
_ADDED_BY: dict[str, str] = {}  # plug-ins' inputs -> the file that added them


def add_input(card: InputCard) -> None:
    """Makes a plug-in's input known. The same file may add it again, as a reloaded one does.

    card: with a provider; `source` is "samples", "model" or "run".

    Raises ValueError for a name that is taken or is no Python name, and for an input without a provider.
    """
    where = place_of(card.provider)
    if card.provider is None or card.source not in ("samples", "model", "run"):
        raise ValueError(
            f"input {card.name!r} has source {card.source!r} and {'no' if card.provider is None else 'a'} provider; "
            "wanted samples, model or run, and a provider"
        )
    added(card.name, card, INPUTS, _ADDED_BY, what="input", where=where)
