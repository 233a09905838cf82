"""What a first finalist leaves beside its scores: nearest train examples, scores by class and over guidance, how well
it tells foreign examples, and what it completes broken ones to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from ...models.base import Batch, GenerativeModel
from ...search_spaces import FamilyCard
from ..data import DataSet
from ..metrics import METRICS, MetricValue, measure
from ..metrics.per_class import per_class
from ..runs.run_folder import RunFolder
from ..scoring.measurement import Reference, evaluator_pair, reference_batch, reference_for, sample_like, whole_train
from ..scoring.outliers_and_imputation import (
    complete_held_out,
    foreign_sets,
    measure_of_typicality,
    typicality,
    without_last_class,
)
from ..seeds import derive
from .neighbours import nearest_neighbours, write_neighbours
from .pictures import write_samples

GUIDANCE_SCALES = (0.0, 1.0, 1.5, 2.0, 3.0, 5.0)
_SHOWN = 10  # completed images in a picture
_BY_CLASS = ("precision", "recall", "coverage")
_OVER_GUIDANCE = ("condition_accuracy", "recall", "fid")


def write_extras(
    folder: RunFolder,
    name: str,
    card: FamilyCard,
    data: DataSet,
    model: GenerativeModel,
    generated: Batch,
    sampling: Mapping[str, Any],
    *,
    cache: str,
    seed: int,
) -> None:
    """Writes artifacts for the record `name`, through the primary evaluator, against the test split.

    neighbours/NAME.json, .png: the samples nearest to the train set above their nearest train examples.
    classes/NAME.json: precision, recall and coverage of each class, for samples drawn with labels.
    guidance/NAME.json: condition accuracy, recall and FID over the guidance scale, for families that have one.
    """
    evaluator = evaluator_pair(data, cache)[0]
    features = evaluator.describe(generated.x).features
    train = reference_for(data, cache, "train", False, whole_train(data))
    found = nearest_neighbours(features, train.features.features)
    write_neighbours(folder.artifact("neighbours"), name, generated, train.batch, found, data.spec, maker=card.name)
    if generated.labels is None:
        return
    real = reference_for(data, cache, "test", False, len(generated))
    assert real.batch.labels is not None
    by_class = {}
    for metric in _BY_CLASS:
        scored = per_class(
            METRICS[metric].load(),
            features,
            real.features.features,
            generated.labels,
            real.batch.labels,
            derive(0, "classes"),
        )
        by_class[metric] = {
            **{label: _figure(value) for label, value in scored.values.items()},
            **{label: {"undefined": reason} for label, reason in scored.undefined.items()},
        }
    folder.write_json(f"classes/{name}.json", by_class)
    if "guidance_scale" in card.space:
        folder.write_json(f"guidance/{name}.json", _over_guidance(data, real, model, sampling, cache=cache, seed=seed))


def write_outliers(
    folder: RunFolder,
    name: str,
    data: DataSet,
    model: GenerativeModel,
    train_anew: Callable[[DataSet], GenerativeModel],
) -> None:
    """outliers/NAME.json: `outlier_auroc` of the test split against each foreign set by itself.

    With labels a class is left out, too: `train_anew` trains the same setting on the data without it, and its test
    examples are the foreign ones. Nothing is written for families that say nothing of how typical an example is.
    """
    test, seed = reference_batch(data, "test"), derive(0, "uses")
    inliers = typicality(model, test.x, seed=seed)
    if inliers is None:
        return
    rows = [
        {"foreign": foreign, **_auroc(inliers, typicality(model, x, seed=seed))}
        for foreign, x in foreign_sets(data.spec, test, seed=seed).items()
    ]
    fewer = without_last_class(data)
    if fewer is not None:
        others, last = fewer
        assert test.labels is not None
        left_out = test.labels == last
        try:
            other = train_anew(others)
            outcome = _auroc(*(typicality(other, test.x[rows], seed=seed) for rows in (~left_out, left_out)))
        except Exception as error:  # noqa: BLE001 - the final has its own scores, whatever becomes of this training
            outcome = {"undefined": f"{type(error).__name__}: {error}"}
        rows.append({"foreign": f"class {last} left out", **outcome})
    folder.write_json(f"outliers/{name}.json", {"by": measure_of_typicality(model), "sets": rows})


def write_completions(
    folder: RunFolder, name: str, card: FamilyCard, data: DataSet, model: GenerativeModel, generated: Batch
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


def _over_guidance(
    data: DataSet, real: Reference, model: GenerativeModel, sampling: Mapping[str, Any], *, cache: str, seed: int
) -> list[dict[str, Any]]:
    """Scores at each scale, the other sampling hyperparameters and the seed as they are.

    Accuracy rises with guidance and diversity falls: one scale alone shows only one side (arXiv:2207.12598).
    """
    evaluator = evaluator_pair(data, cache)[0]
    rows = []
    for scale in GUIDANCE_SCALES:
        settings = {**sampling, "guidance_scale": scale}
        drawn = sample_like(model, real.batch, conditional=True, settings=settings, seed=seed)
        seen = evaluator.describe(drawn.x)
        inputs = {
            "generated_features": seen.features,
            "real_features": real.features.features,
            "generated_probabilities": seen.probabilities,
            "conditions": drawn.labels,
        }
        values = measure(_OVER_GUIDANCE, inputs).values
        rows.append({"guidance_scale": scale, **{metric: _figure(value) for metric, value in values.items()}})
    return rows


def _figure(value: MetricValue) -> dict[str, Any]:
    return asdict(value)
