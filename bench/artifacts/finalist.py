"""Artifacts of a first finalist: nearest train examples, scores by class and over guidance, how well
it detects outliers, and how it completes examples with hidden entries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from ...models.base import Batch, GenerativeModel
from ...search_spaces import FamilyCard
from ..data import DataSet
from ..evaluators import Features
from ..metrics import METRICS, MetricValue, measure
from ..metrics.per_class import per_class
from ..runs.run_folder import RecordFolder
from ..scoring.context import ScoringContext
from ..scoring.imputation import complete_held_out
from ..scoring.outlier_detection import measure_of_typicality, typicality, without_last_class
from ..scoring.references import reference_batch
from ..scoring.sampling import draw_samples
from ..scoring.scorer import score
from ..seeds import derive
from .neighbours import nearest_neighbours, write_neighbours
from .pictures import write_samples

GUIDANCE_SCALES = (0.0, 1.0, 1.5, 2.0, 3.0, 5.0)
_SHOWN = 10  # completed images in a picture
_BY_CLASS = ("precision", "recall", "coverage")
_OVER_GUIDANCE = ("condition_accuracy", "recall", "fid")


def write_sample_details(
    folder: RecordFolder,
    name: str,
    card: FamilyCard,
    context: ScoringContext,
    sampling: Mapping[str, Any],
    *,
    seed: int,
) -> None:
    """Writes artifacts for the record `name`; none for data without a feature evaluator.

    neighbours/NAME.json, .png: the samples nearest to the train set above their nearest train examples.
    classes/NAME.json: precision, recall and coverage of each class, for samples drawn with labels.
    guidance/NAME.json: recall, FID and, with labels, condition accuracy over a family's guidance scale.

    card: the family's. context: the samples against the test split, through the primary evaluator.
    sampling: the sampling hyperparameters that the samples were drawn with. seed: of samples at other scales.
    """
    drawn, train, real = context.generated_features, context.train_features, context.reference_features
    if drawn is None or train is None or real is None:
        return
    generated, spec = context.generated, context.data.spec
    found = nearest_neighbours(drawn.features, train.features)
    write_neighbours(folder.artifact("neighbours"), name, generated, context.train, found, spec, maker=card.name)
    if generated.labels is not None:
        folder.write_json(f"classes/{name}.json", _by_class(generated.labels, drawn, context.reference.labels, real))
    if generated.condition is not None and "guidance_scale" in card.space:
        folder.write_json(f"guidance/{name}.json", _over_guidance(context, sampling, seed=seed))


def _by_class(labels: Tensor, drawn: Features, real_labels: Tensor | None, real: Features) -> dict[str, Any]:
    """Metrics of each class; labels and features of the samples, then of the real examples."""
    assert real_labels is not None
    by_class = {}
    for metric in _BY_CLASS:
        scored = per_class(
            METRICS[metric].load(),
            drawn.features,
            real.features,
            labels,
            real_labels,
            derive(0, "classes"),
        )
        by_class[metric] = {
            **{label: _figure(value) for label, value in scored.values.items()},
            **{label: {"undefined": reason} for label, reason in scored.undefined.items()},
        }
    return by_class


def write_outliers(
    folder: RecordFolder,
    name: str,
    context: ScoringContext,
    retrain: Callable[[DataSet], GenerativeModel] | None,
) -> None:
    """outliers/NAME.json: `outlier_auroc` of the test examples against each set of outliers by itself.

    With labels a class is left out, too, where `retrain` is given: it trains the same setting on the data without it,
    and its test examples are the outliers. Nothing is written for families that say nothing of how typical an example
    is, and for data without sets of outliers.
    """
    inliers, test, seed = context.inlier_scores, context.reference, derive(0, "uses")
    if inliers is None or context.model is None:
        return
    rows = [{"outliers": outliers, **_auroc(inliers, scores)} for outliers, scores in context.outlier_scores.items()]
    fewer = None if retrain is None else without_last_class(context.data)
    if retrain is not None and fewer is not None:
        others, last = fewer
        assert test.labels is not None
        left_out = test.labels == last
        try:
            other = retrain(others)
            outcome = _auroc(*(typicality(other, test.x[rows], seed=seed) for rows in (~left_out, left_out)))
        except Exception as error:  # noqa: BLE001 - the final has its own scores, whatever becomes of this training
            outcome = {"undefined": f"{type(error).__name__}: {error}"}
        rows.append({"outliers": f"class {last} left out", **outcome})
    if not rows:
        return
    folder.write_json(f"outliers/{name}.json", {"by": measure_of_typicality(context.model), "sets": rows})


def write_completions(
    folder: RecordFolder, name: str, card: FamilyCard, data: DataSet, model: GenerativeModel, generated: Batch
) -> None:
    """completions/NAME.png, of images: ten test images, the same with half of their pixels hidden (grey), completed."""
    if data.spec.kind != "image":
        return
    ten = reference_batch(data, "test", min(_SHOWN, len(reference_batch(data, "test"))))
    found = complete_held_out(model, data, ten, generated.x, seed=derive(0, "uses"))
    if found is None:
        return
    rows = torch.stack([found.x, torch.where(found.missing, 0.0, found.x), found.completed])  # (3, n, C, H, W)
    sheet = rows.new_full((3, _SHOWN, *data.spec.shape), -1.0)  # grids have ten columns; empty ones stay black
    sheet[:, : len(found.x)] = rows
    write_samples(folder.artifact("completions"), name, Batch(sheet.flatten(0, 1)), data.spec, maker=card.name)


def _auroc(inliers: Tensor | None, outliers: Tensor | None) -> dict[str, Any]:
    measured = measure(["outlier_auroc"], {"inlier_scores": inliers, "outlier_scores": outliers})
    for value in measured.values.values():
        return _figure(value)
    return {"undefined": measured.undefined["outlier_auroc"]}


def _over_guidance(context: ScoringContext, sampling: Mapping[str, Any], *, seed: int) -> list[dict[str, Any]]:
    """Scores at each scale, the other sampling hyperparameters and the seed as they are.

    Accuracy rises with guidance and diversity falls: one scale alone shows only one side (arXiv:2207.12598).
    """
    assert context.model is not None
    rows = []
    for scale in GUIDANCE_SCALES:
        settings = {**sampling, "guidance_scale": scale}
        asked = context.generated
        drawn = draw_samples(context.model, len(asked), asked.condition, settings=settings, seed=seed)
        values = score(replace(context, generated=drawn, features=None), _OVER_GUIDANCE).values
        rows.append({"guidance_scale": scale, **{metric: _figure(value) for metric, value in values.items()}})
    return rows


def _figure(value: MetricValue) -> dict[str, Any]:
    return asdict(value)
