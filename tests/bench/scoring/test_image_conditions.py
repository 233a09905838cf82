"""Samples that are asked for by images: what they are compared with, and what answers without a model reach."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gentune.bench import protocol
from gentune.bench.data import DataSet, locate, open_data
from gentune.bench.metrics import measure
from gentune.bench.registry import undefined_through
from gentune.bench.runs.run_folder import RunFolder
from gentune.bench.scoring.conditions import asked_conditions, asked_rows
from gentune.bench.scoring.context import ScoringContext
from gentune.bench.scoring.references import reference_batch
from gentune.bench.scoring.scorer import score
from gentune.bench.trial import floors
from gentune.bench.trial.jobs import FloorJob
from gentune.models import Batch

PAIRED = ("psnr", "ssim", "reconstruction_error")


def _data(task: str) -> DataSet:
    return open_data(locate(f"{task}:digits"))


def _context(data: DataSet, x: Tensor, n: int, **fields: object) -> ScoringContext:
    condition = asked_conditions(data, "test", n)
    return ScoringContext(
        data,
        "test",
        Batch(x, condition),
        None,
        Path(),
        asked=asked_rows(data, "test", n),
        **fields,  # type: ignore[arg-type]
    )


def test_samples_are_compared_with_the_targets_of_their_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "REAL_EXAMPLES", 100)
    data = _data("super_resolution")
    n = 250  # of 360 examples, of which 100 count: two blocks and a half
    rows = asked_rows(data, "test", n)
    assert rows is not None
    targets = data.splits["test"].x[rows]
    assert torch.equal(targets[:100], reference_batch(data, "test", 100).x)
    assert torch.equal(targets[100:200], targets[:100])
    x = targets.clone()
    x[:100] += 0.25 * torch.sign(0.5 - (targets[:100] > 0).float())  # a known error in the first block alone
    found = score(_context(data, x, n, real_count=100), PAIRED).values
    assert found["reconstruction_error"].value == pytest.approx(0.0625, rel=1e-5)
    assert found["psnr"].value == pytest.approx(10 * math.log10(4 / 0.0625), rel=1e-5)


def test_unpaired_samples_have_no_targets() -> None:
    data = _data("rotated")
    found = score(_context(data, data.splits["test"].x[:], 360), PAIRED)
    assert not found.values
    assert found.undefined["psnr"] == "needs reconstructions"


def test_classes_of_what_conditions_show_are_asked_for() -> None:
    data = _data("rotated")
    assert data.source_labels is not None
    rows = asked_rows(data, "test", 20)
    assert rows is not None
    asked = data.source_labels["test"][rows]
    x = data.splits["test"].x[rows]
    context = _context(data, x, 20, classes=asked)
    probabilities = F.one_hot(asked.roll(1), 10).double()
    inputs = {"generated_probabilities": probabilities, "conditions": context.asked_classes}
    of_targets = data.classes_of("test")
    assert of_targets is not None
    assert context.reference_classes is not None
    assert torch.equal(context.reference_classes, of_targets[rows])
    share = (asked.roll(1) == asked).double().mean().item()
    assert measure(["condition_accuracy"], inputs).values["condition_accuracy"].value == pytest.approx(share)


def test_which_metrics_tasks_can_have_is_known_beforehand() -> None:
    labelled, plain = _data("rotated").spec, replace(_data("rotated").spec, target_classes=0)
    assert undefined_through("condition_accuracy", labelled, None) is None
    assert undefined_through("class_frequency_gap", labelled, None) is None
    assert undefined_through("condition_accuracy", plain, None) == "needs labels, and 'rotated-digits' has none"
    assert "needs labels" in (undefined_through("bayes_accuracy", labelled, None) or "")


@pytest.mark.parametrize(
    ("task", "name"), [("super_resolution", "bicubic"), ("inpainting", "train_mean"), ("rotated", "untranslated")]
)
def test_answers_without_a_model_stand_among_the_references(
    task: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(floors, "metric_names", lambda *_, **__: list(PAIRED))
    data = _data(task)
    folder = RunFolder(tmp_path)
    job = FloorJob(locate(f"{task}:digits"), "test", "validation", str(tmp_path / "cache"), evaluators=("raw",))
    floors.run_floor(job, folder)
    records = {record.family: record for record in folder.records("reference")}
    metrics, test = records[name].metrics, data.splits["test"].all()
    assert test.condition is not None
    assert "psnr" not in records["floor"].metrics
    if task == "rotated":
        assert "psnr" not in metrics
        return
    if task == "super_resolution":
        answer = F.interpolate(test.condition, scale_factor=2, mode="bicubic").clamp(-1, 1)
    else:
        mean = data.splits["train"].x[:].mean(0)
        answer = torch.where(test.condition[:, 1:] > 0, mean, test.x)
    error = (data.spec.to_lattice(answer) - test.x).double().square().mean().item()
    assert metrics["reconstruction_error"]["value"] == pytest.approx(error, rel=1e-6)
    assert metrics["psnr"]["value"] == pytest.approx(10 * math.log10(4 / error), rel=1e-6)
