"""Provides the inputs that metrics name, from a scoring context: one entry for each built-in card of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from .. import protocol
from ..evaluators import Features
from ..metrics import INPUTS
from ..seeds import derive
from .context import ScoringContext
from .latent_codes import EPSILON, encoded

Provider = Callable[[ScoringContext], object]


def _features(found: Features | None) -> Tensor | None:
    return None if found is None else found.features


def _tokens(context: ScoringContext) -> Tensor | None:
    """(n,): how many tokens of each example with a likelihood count."""
    if context.data.spec.kind != "sequence" or context.held_out is None:
        return None
    return context.data.spec.mask_of(context.held_out.examples.x).sum(1)


def _true_log_density(context: ScoringContext) -> Tensor | None:
    """log p(x) (n,) of the examples with a likelihood, unless that is given a condition."""
    if context.data.log_density is None or context.held_out is None or context.held_out.given:
        return None
    return context.data.log_density(context.held_out.examples.x)


def _originals(context: ScoringContext) -> Tensor | None:
    """Of pairs the images that belong to the conditions, of other data the held-out examples that are reconstructed."""
    if context.data.spec.paired:
        return context.targets
    return None if context.reconstructions is None else context.reference.x


def _reconstructions(context: ScoringContext) -> Tensor | None:
    """Of pairs the samples."""
    if context.data.spec.paired:
        return None if context.targets is None else context.generated.x
    return context.reconstructions


def _original_features(context: ScoringContext) -> Tensor | None:
    if context.data.spec.paired:
        return context.features_of(context.targets)
    return None if context.reconstructions is None else _features(context.reference_features)


def _train_codes(context: ScoringContext) -> Tensor | None:
    """Of labelled train examples, of which a probe learns."""
    return None if context.train.labels is None else encoded(context.model, context.train)


def _sample_embeddings(context: ScoringContext) -> Tensor | None:
    """The image-text evaluator's features of samples that were asked for by texts."""
    if context.image_text is None or context.texts is None:
        return None
    return context.image_text.features(context.generated.x)


def _outlier_scores(context: ScoringContext) -> Tensor | None:
    scores = list(context.outlier_scores.values())
    return torch.cat(scores) if scores else None


PROVIDERS: dict[str, Provider] = {
    "generated_features": lambda c: _features(c.generated_features),
    "generated_probabilities": lambda c: None if c.generated_features is None else c.generated_features.probabilities,
    "real_features": lambda c: _features(c.reference_features),
    "conditions": lambda c: c.asked_classes,
    "real_labels": lambda c: c.reference_classes,
    "generated_x": lambda c: c.generated.x,
    "real_x": lambda c: c.reference.x,
    "sample_embeddings": _sample_embeddings,
    "asked_embeddings": lambda c: None if not c.image_text or c.texts is None else c.image_text.text_features(c.texts),
    "asked_meanings": lambda c: None if c.texts is None else c.meanings_of(c.texts),
    "modes": lambda c: c.data.modes,
    "grammatical": lambda c: None if c.data.grammatical is None else c.data.grammatical(c.generated.x),
    "spec": lambda c: c.data.spec,
    "seed": lambda c: derive(c.seed, "metrics"),
    "train_features": lambda c: _features(c.train_features),
    "train_x": lambda c: c.train.x[:],
    "synthetic": lambda c: None if c.generated.labels is None else c.generated,
    "real_train": lambda c: c.train,
    "real_test": lambda c: c.reference if c.tested_on is None else c.tested_on,
    "likelihood": lambda c: None if c.held_out is None else c.held_out.likelihood,
    "true_log_density": _true_log_density,
    "tokens": _tokens,
    "class_log_likelihoods": lambda c: None if c.held_out is None else c.held_out.by_class,
    "class_labels": lambda c: None if c.held_out is None else c.held_out.examples.labels,
    "originals": _originals,
    "reconstructions": _reconstructions,
    "original_features": _original_features,
    "reconstruction_features": lambda c: c.features_of(_reconstructions(c)),
    "train_codes": _train_codes,
    "train_labels": lambda c: c.train.labels,
    "test_codes": lambda c: None if c.reference.labels is None else encoded(c.model, c.reference),
    "test_labels": lambda c: c.reference.labels,
    "codes": lambda c: encoded(c.model, c.data.splits[c.split][: protocol.SAMPLES]),
    "factors": lambda c: None if c.data.factors is None else c.data.factors[c.split][: protocol.SAMPLES],
    "inlier_scores": lambda c: c.inlier_scores,
    "outlier_scores": _outlier_scores,
    "incomplete_x": lambda c: None if c.completion is None else c.completion.x,
    "missing": lambda c: None if c.completion is None else c.completion.missing,
    "completed_x": lambda c: None if c.completion is None else c.completion.completed,
    "mean_completed_x": lambda c: None if c.completion is None else c.completion.by_mean,
    "path_features_a": lambda c: None if c.paths is None else c.features_of(c.paths[0]),
    "path_features_b": lambda c: None if c.paths is None else c.features_of(c.paths[1]),
    "epsilon": lambda c: EPSILON,
    "cost": lambda c: c.cost,
}


class ProvidedInputs(Mapping[str, object]):
    """The inputs of one context by name, each computed when it is first looked up, and once.

    Inputs that no context has (of a study, or the caller's) are not in it.
    """

    def __init__(self, context: ScoringContext) -> None:
        self._context = context
        self._providers = {
            name: provider
            for name, card in INPUTS.items()
            if (provider := card.provider or PROVIDERS.get(name)) is not None
        }
        self._computed: dict[str, object] = {}

    def __getitem__(self, name: str) -> object:
        if name not in self._computed:
            self._computed[name] = self._providers[name](self._context)
        return self._computed[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._providers)

    def __len__(self) -> int:
        return len(self._providers)
