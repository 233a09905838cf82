"""What a first finalist leaves: its nearest train examples, scores by class and over the guidance scale."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor

from gentune.bench.artifacts.finalist import GUIDANCE_SCALES, write_sample_details
from gentune.bench.data import load
from gentune.bench.metrics import Measurement
from gentune.bench.runs.run_folder import RunFolder
from gentune.bench.scoring.context import ScoringContext
from gentune.bench.scoring.references import evaluators_by_role
from gentune.bench.scoring.scorer import Scope, metric_names, score
from gentune.models import Batch, DataSpec, GenerativeModel
from gentune.search_spaces.card import parse_card

CARD = parse_card(
    """
[family]
name = "copier"
group = "test"
summary = "shows train examples of the class asked for; noise without guidance"
class = "copier:Copier"
kinds = ["image"]
conditional = "label"
[sample.guidance_scale]
type = "float"
low = 0.0
high = 8.0
default = 1.0
""",
    "copier.toml",
)


class Copier(GenerativeModel):
    """Draws train examples of the class asked for; at guidance 0 of any class."""

    def __init__(self, data: DataSpec) -> None:
        super().__init__(data)
        self.train_split = load("digits").splits["train"].all()

    def sample(
        self, n: int, *, condition: Tensor | None = None, generator: Generator, guidance_scale: float = 1.0
    ) -> Tensor:
        labels = self.train_split.condition
        assert labels is not None
        assert condition is not None
        if guidance_scale == 0.0:
            return self.train_split.x[torch.randint(len(labels), (n,), generator=generator)]
        chosen = []
        for label in condition.tolist():
            rows = torch.nonzero(labels == label).flatten()
            chosen.append(int(rows[torch.randint(len(rows), (1,), generator=generator)]))
        return self.train_split.x[chosen]


@pytest.fixture(scope="module")
def copies() -> tuple[Copier, Batch]:
    data = load("digits")
    model = Copier(data.spec)
    test = data.splits["test"].all()
    return model, Batch(
        model.sample(len(test), condition=test.condition, generator=torch.Generator().manual_seed(0)), test.condition
    )


@pytest.fixture(scope="module")
def folder(copies: tuple[Copier, Batch], own_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    model, generated = copies
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    data = load("digits")
    evaluator = evaluators_by_role(data, own_cache)["primary"]
    context = ScoringContext(data, "test", generated, evaluator, own_cache, model=model)
    write_sample_details(folder, "final-copier", CARD, context, {"guidance_scale": 1.0}, seed=3)
    return folder


def test_nothing_is_written_for_data_without_an_evaluator(
    copies: tuple[Copier, Batch], own_cache: Path, tmp_path: Path
) -> None:
    context = ScoringContext(load("digits"), "test", copies[1], None, own_cache, model=copies[0])
    write_sample_details(RunFolder(tmp_path), "final-copier", CARD, context, {"guidance_scale": 1.0}, seed=3)
    assert not list(tmp_path.rglob("*.json"))


def test_copies_lie_on_their_originals(folder: RunFolder, copies: tuple[Copier, Batch]) -> None:
    content = json.loads(folder.artifact("neighbours", "final-copier.json").read_text())
    train = copies[0].train_split.x
    assert content["synthetic"] is True
    for entry in content["neighbours"]:
        assert entry["distance"][0] == pytest.approx(0.0, abs=1e-6)
        assert torch.equal(copies[1].x[entry["sample"]], train[entry["train"][0]])
    assert folder.artifact("neighbours", "final-copier.png").is_file()


def test_every_class_has_its_scores(folder: RunFolder) -> None:
    content = json.loads(folder.artifact("classes", "final-copier.json").read_text())
    assert content.keys() == {"precision", "recall", "coverage"}
    for scores in content.values():
        assert sorted(map(int, scores)) == list(range(10))
        assert all(0.5 < figure["value"] <= 1 for figure in scores.values())


def test_accuracy_is_told_over_the_guidance_scale(folder: RunFolder) -> None:
    rows = json.loads(folder.artifact("guidance", "final-copier.json").read_text())
    assert [row["guidance_scale"] for row in rows] == list(GUIDANCE_SCALES)
    accuracy = [row["condition_accuracy"]["value"] for row in rows]
    assert accuracy[0] < 0.25
    assert min(accuracy[1:]) > 0.95
    assert all(row["recall"]["value"] > 0.8 for row in rows)


@pytest.mark.slow
def test_finals_find_copies_that_quick_scores_miss(copies: tuple[Copier, Batch], own_cache: Path) -> None:
    data, generated = load("digits"), copies[1]
    evaluators = evaluators_by_role(data, own_cache)

    def scored(scope: Scope, *named: str, role: str = "primary") -> Measurement:
        context = ScoringContext(data, "test", generated, evaluators[role], own_cache)
        return score(context, metric_names(scope, named=named, through_evaluator=role == "second"))

    quick = scored("quick")
    assert "authenticity" not in quick.values
    assert "authenticity" not in quick.undefined
    assert scored("quick", "authenticity").values["authenticity"].value < 0.05
    assert scored("named", "authenticity").values.keys() == {"authenticity"}
    everything = scored("all")
    assert everything.values["nearest_train_distance"].value < 0.01
    assert everything.values["data_copying"].value < -3
    assert everything.values["fid"] == quick.values["fid"]
    assert everything.values["task_accuracy"].value > 0.9
    assert "failure_rate" not in {*everything.values, *everything.undefined}
    second = scored("all", role="second")
    assert "task_accuracy" not in {*second.values, *second.undefined}
    assert second.values["authenticity"].value < 0.05
