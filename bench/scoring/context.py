"""The context of scoring one set of samples: the same fields for trials, finals, floors and external samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from ...models.base import Batch, GenerativeModel
from .. import protocol
from ..data import DataSet, Split
from ..data.examples import Examples
from ..evaluators import Evaluator, Features, describe_cached
from ..metrics import CostReport
from ..seeds import derive
from .held_out import HeldOut
from .imputation import Completion, complete_held_out
from .latent_codes import in_chunks, path_examples
from .outlier_detection import outlier_sets, typicality
from .references import (
    image_text_evaluator,
    reference_batch,
    reference_examples,
    reference_features,
    reference_rows,
    whole_train,
)


@dataclass(frozen=True, eq=False)
class ScoringContext:
    """Samples, the real examples that they are compared with, and what stands behind the samples.

    What costs a pass of a network is computed when it is first asked for, and once. It is None where it is not
    defined: without a model, an evaluator or labels.

    data, split: what the samples are compared with.
    generated: the samples, with the conditions that they were asked for; on the CPU.
    evaluator: the feature network that metrics look through; None for data that has none.
    cache: the folder where features of real examples are kept.
    real_count: how many of its examples; None: as many as there are samples. Where it is given, metrics that want
        equal counts look at `blocks`.
    seed: which real examples are taken where there are more, and of metrics that draw; runs use 0.
    real: whether `generated` are real examples that stand for samples, so that their features are kept.
    features: the evaluator's features of the samples, where they are known already.
    model: what the samples were drawn from.
    held_out: log-likelihoods, and the examples that they belong to.
    cost: what training and sampling took.
    asked: of conditions on images or texts, the examples of the split whose conditions the samples were asked for,
        int64 (n,). classes: of what these conditions show, int64 (n,), where that is known.
    tested_on: real examples on which classifiers trained on samples are tested; None: those that are compared with.
    """

    data: DataSet
    split: Split
    generated: Batch
    evaluator: Evaluator | None
    cache: Path
    real_count: int | None = None
    seed: int = 0
    real: bool = False
    features: Features | None = None
    model: GenerativeModel | None = None
    held_out: HeldOut | None = None
    cost: CostReport | None = None
    asked: Tensor | None = None
    classes: Tensor | None = None
    tested_on: Examples | None = None

    @property
    def labelled(self) -> bool:
        """Whether the data's examples have labels."""
        return self.data.spec.labelled

    @cached_property
    def generated_features(self) -> Features | None:
        """The evaluator's features of the samples."""
        if self.features is not None or self.evaluator is None:
            return self.features
        if self.real:
            return describe_cached(self.evaluator, self.generated.x, cache=self.cache)
        return self.evaluator.describe(self.generated.x)

    @cached_property
    def blocks(self) -> tuple[ScoringContext, ...]:
        """The samples in blocks of as many as (at most 2,000) held-out examples, each compared with these alone.

        Samples that fill no block are left out. This context itself where its counts are equal.
        """
        if self.real_count is None:
            return (self,)
        size = min(len(self.generated), protocol.SAMPLES, self.real_count)
        rows = [slice(start, start + size) for start in range(0, len(self.generated) - size + 1, size)]
        return tuple(
            replace(
                self,
                generated=self.generated[part],
                features=self._features_of(part),
                real_count=None,
                asked=None if self.asked is None else self.asked[part],
                classes=None if self.classes is None else self.classes[part],
            )
            for part in rows
        )

    @cached_property
    def image_text(self) -> Evaluator | None:
        """The evaluator of images and texts, where the data are images with texts."""
        return image_text_evaluator(self.data, self.cache)

    @property
    def texts(self) -> Tensor | None:
        """The texts (n, T) that the samples were asked for."""
        return self.generated.condition if self.data.spec.condition.kind == "text" else None

    def meanings_of(self, texts: Tensor) -> Tensor:
        """What texts (n, T) say, (n, f): known values, or their tokens."""
        return texts if self.data.meanings is None else self.data.meanings(texts)

    @cached_property
    def targets(self) -> Tensor | None:
        """What the samples should be, (n, *spec.shape), where image conditions belong to the images beside them."""
        if self.asked is None or not self.data.spec.paired:
            return None
        return self.data.splits[self.split].x[self.asked]

    @property
    def asked_classes(self) -> Tensor | None:
        """The classes that the samples were asked for, or that their conditions show, int64 (n,)."""
        return self.classes if self.generated.labels is None else self.generated.labels

    @property
    def reference_classes(self) -> Tensor | None:
        """Of the held-out examples, int64 (m,); None without labels."""
        classes = self.data.classes_of(self.split)
        if self.reference.labels is not None or classes is None:
            return self.reference.labels
        return classes[reference_rows(self.data, self.split, self._compared, seed=self.seed)]

    def _features_of(self, part: slice) -> Features | None:
        found = self.generated_features
        if found is None:
            return None
        return Features(found.features[part], None if found.probabilities is None else found.probabilities[part])

    @cached_property
    def reference(self) -> Batch:
        """The held-out examples."""
        return reference_batch(self.data, self.split, self._compared, seed=self.seed)

    @cached_property
    def reference_features(self) -> Features | None:
        """The evaluator's features of the held-out examples."""
        return self._features_of_split(self.split, self._compared)

    @property
    def _compared(self) -> int:
        return len(self.generated) if self.real_count is None else self.real_count

    @cached_property
    def train(self) -> Examples:
        """The train examples among which copies are looked for: all, since among a part most would not be found."""
        return reference_examples(self.data, "train", whole_train(self.data), seed=self.seed)

    @cached_property
    def train_features(self) -> Features | None:
        """The evaluator's features of these train examples."""
        return self._features_of_split("train", whole_train(self.data))

    def features_of(self, x: Tensor | None) -> Tensor | None:
        """The evaluator's features (n, d) of examples; None without an evaluator or examples."""
        return None if x is None or self.evaluator is None else self.evaluator.features(x)

    @cached_property
    def reconstructions(self) -> Tensor | None:
        """The model's reconstructions of the held-out examples, on the CPU."""
        if self.model is None or not self.model.can("reconstruct"):
            return None
        return in_chunks(self.model.reconstruct, self.model, self.reference)  # type: ignore[arg-type]

    @cached_property
    def completion(self) -> Completion | None:
        """Held-out examples with half of their entries hidden, and as the model completes them."""
        if self.model is None:
            return None
        return complete_held_out(self.model, self.data, self.reference, self.generated.x, seed=derive(0, "uses"))

    @cached_property
    def paths(self) -> tuple[Tensor, Tensor] | None:
        """Decoded codes, and decoded codes a small step further, as many as held-out examples."""
        return path_examples(self.model, len(self.reference))

    @cached_property
    def inlier_scores(self) -> Tensor | None:
        """Typicality of held-out examples (n,): by their likelihood, where it is known already.

        That of a family that takes labels is not: typicality is asked without them.
        """
        if self.held_out is not None and self.held_out.labels == "none":
            return self.held_out.likelihood.log_prob
        return None if self.model is None else typicality(self.model, self.reference.x, seed=derive(0, "uses"))

    @cached_property
    def outlier_scores(self) -> Mapping[str, Tensor]:
        """Typicality of the outliers of each set, (m,); empty where it is not defined."""
        outliers = outlier_sets(self.data.spec, self.reference, seed=derive(0, "uses"))
        if self.model is None or not outliers:
            return {}
        scores = typicality(self.model, torch.cat(list(outliers.values())), seed=derive(0, "uses"))
        return {} if scores is None else dict(zip(outliers, scores.split([*map(len, outliers.values())]), strict=True))

    def _features_of_split(self, split: Split, count: int) -> Features | None:
        if self.evaluator is None:
            return None
        return reference_features(self.data, split, count, evaluator=self.evaluator, cache=self.cache, seed=self.seed)
