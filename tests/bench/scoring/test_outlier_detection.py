"""Outlier detection: typicality, the sets of outliers, and a class that is left out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor

from gentune.bench import registry
from gentune.bench.artifacts.finalist import write_outliers
from gentune.bench.data import DataRef, DataSet, load
from gentune.bench.runs.run_folder import RunFolder
from gentune.bench.scoring.context import ScoringContext
from gentune.bench.scoring.outlier_detection import outlier_sets, typicality, without_last_class
from gentune.bench.scoring.sampling import draw_samples
from gentune.bench.scoring.scorer import metric_names, score
from gentune.bench.training.setting import split_setting
from gentune.bench.trial.jobs import TrialJob
from gentune.bench.trial.model_training import retrained_on_part
from gentune.models import Batch, ConditionSpec, DataSpec, GenerativeModel
from gentune.models.classical.gaussian import Gaussian
from gentune.models.classical.naive_bayes import NaiveBayes
from gentune.search_spaces import DataSize

SPACES = Path(__file__).parents[3] / "search_spaces"
SPACE = DataSpec("space", "vector", (3,))
COLOUR = DataSpec("colour", "image", (3, 4, 5), levels=256)


def _generator(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


class Silent(GenerativeModel):
    """Samples, and says nothing else."""

    def sample(self, n: int, *, condition: Tensor | None = None, generator: Generator) -> Tensor:
        return torch.zeros(n, *self.data.shape)


class Projecting(Silent):
    """Reconstructs by setting every entry to the mean of the example's entries."""

    def reconstruct(self, batch: Batch) -> Tensor:
        x = batch.x
        return x.flatten(1).mean(1).view(-1, *[1] * (x.ndim - 1)).expand_as(x)


def _fitted(model: GenerativeModel, data: DataSet) -> GenerativeModel:
    model.stages()[0].fit(data.splits["train"].all(), _generator())  # type: ignore[misc]
    return model.eval()


def test_typicality_is_the_likelihood_or_minus_the_reconstruction_error() -> None:
    x = torch.randn(700, 3, generator=_generator())
    model = Gaussian(SPACE)
    scores = typicality(model, x, seed=0)
    assert scores is not None
    assert torch.equal(scores, model.log_likelihood(Batch(x)).log_prob)
    errors = typicality(Projecting(SPACE), x, seed=0)
    assert errors is not None
    assert torch.allclose(errors, -x.var(1, correction=0).double(), atol=1e-6)
    assert typicality(Silent(SPACE), x, seed=0) is None


def test_outlier_images_are_what_they_are_called() -> None:
    data = load("digits")
    sets = outlier_sets(data.spec, data.splits["test"].all(), seed=1)
    assert sets.keys() == {"noise", "shuffled", "inverted"}
    for x in sets.values():
        assert x.shape == (200, 1, 8, 8)
        assert torch.equal(x, data.spec.to_lattice(x))
    levels = data.spec.to_levels(sets["noise"])
    assert torch.bincount(levels.flatten(), minlength=17).min() > 0.8 * levels.numel() / 17
    test = data.splits["test"].x[:]
    known = {tuple(row) for row in data.spec.to_levels(test).flatten(1).tolist()}
    upright = {tuple(row) for row in (16 - data.spec.to_levels(sets["inverted"])).flatten(1).tolist()}
    assert upright < known
    # Every pixel keeps its law, and loses its neighbours.
    assert sets["shuffled"].mean(0).numpy() == pytest.approx(test.mean(0).numpy(), abs=0.2)
    together = [float(torch.corrcoef(x[:, 0, 2:6, 2:6].flatten(1).T).abs().mean()) for x in (test, sets["shuffled"])]
    assert together[0] > 1.5 * together[1]


def test_outlier_vectors_fill_the_range_of_the_data() -> None:
    x = torch.randn(500, 3, generator=_generator())
    sets = outlier_sets(SPACE, Batch(x), seed=0)
    assert sets.keys() == {"noise", "shuffled"}
    assert ((sets["noise"] >= x.min(0).values) & (sets["noise"] <= x.max(0).values)).all()
    assert torch.isin(sets["shuffled"][:, 1], x[:, 1]).all()
    assert not outlier_sets(DataSpec("tokens", "sequence", (6,), vocabulary=5), Batch(torch.zeros(3, 6)), seed=0)


def test_leaving_the_last_class_out_keeps_the_other_labels() -> None:
    data = load("digits")
    found = without_last_class(data)
    assert found is not None
    fewer, last = found
    assert last == 9
    assert fewer.spec.classes == 9
    train = fewer.splits["train"].all()
    labels = data.splits["train"].labels
    assert train.labels is not None and labels is not None
    assert train.labels.unique().tolist() == list(range(9))
    kept = labels < 9
    assert torch.equal(train.x, data.splits["train"].x[kept])
    assert without_last_class(load("two_moons")) is None
    two = replace(data.spec, condition=ConditionSpec("label", classes=2))
    assert without_last_class(replace(data, spec=two)) is None


def test_finals_are_scored_on_outliers_and_hidden_entries(own_cache: Path) -> None:
    data = load("digits")
    values = {}
    for name, model in {"gaussian": Gaussian(data.spec), "silent": Silent(data.spec)}.items():
        if name == "gaussian":
            _fitted(model, data)
        drawn = draw_samples(model, len(data.splits["test"]), None, settings={}, seed=0)
        context = ScoringContext(data, "test", drawn, None, own_cache, model=model)
        quick = metric_names("quick")
        assert not {"outlier_auroc", "imputation_error"} & {*quick}
        values[name] = score(context, ("outlier_auroc", "imputation_error"))
    assert values["gaussian"].values["outlier_auroc"].value > 0.95
    assert values["gaussian"].values["imputation_error"].value < 0.8
    assert "outlier_auroc" in values["silent"].undefined
    assert values["silent"].values["imputation_error"].value > 1.0


def test_a_class_left_out_is_detected_by_a_training_without_it(tmp_path: Path) -> None:
    data, folder = load("digits"), RunFolder(tmp_path)
    seen: list[DataSet] = []

    def retrain(other: DataSet) -> GenerativeModel:
        seen.append(other)
        return _fitted(NaiveBayes(other.spec), other)

    def context(model: GenerativeModel) -> ScoringContext:
        return ScoringContext(data, "test", data.splits["test"].all(), None, tmp_path, model=model)

    write_outliers(folder, "final", context(_fitted(NaiveBayes(data.spec), data)), retrain)
    content = json.loads(folder.artifact("outliers", "final.json").read_text())
    assert content["by"] == "log-likelihood"
    found = {entry["outliers"]: entry for entry in content["sets"]}
    assert list(found) == ["noise", "shuffled", "inverted", "class 9 left out"]
    assert found["noise"]["value"] > 0.99
    assert 0.6 < found["class 9 left out"]["value"] < 1.0
    assert found["class 9 left out"]["low"] < found["class 9 left out"]["value"]
    assert seen[0].spec.classes == 9

    def fail(other: DataSet) -> GenerativeModel:
        raise RuntimeError("no such luck")

    write_outliers(folder, "other", context(Projecting(data.spec)), fail)
    content = json.loads(folder.artifact("outliers", "other.json").read_text())
    assert content["by"] == "reconstruction error"
    assert content["sets"][-1] == {"outliers": "class 9 left out", "undefined": "RuntimeError: no such luck"}
    write_outliers(folder, "silent", context(Silent(data.spec)), fail)
    assert not folder.artifact("outliers", "silent.json").exists()


def test_a_part_of_the_data_is_trained_on_for_as_many_steps_as_all(monkeypatch: pytest.MonkeyPatch) -> None:
    data = load("digits")
    fewer = without_last_class(data)
    assert fewer is not None
    taken: list[int] = []
    monkeypatch.setattr("gentune.bench.trial.model_training.train", lambda *_, steps, **__: taken.append(steps))
    card = registry.family("beta_vae").require_card()
    job = TrialJob("final", registry.family("beta_vae").resolved(), 0, 1, "test", DataRef("digits"), {}, ("fid",))
    retrained_on_part(job, split_setting(card, {}), fewer[0])
    assert taken == [card.full_steps(DataSize("image", 8.0))]
