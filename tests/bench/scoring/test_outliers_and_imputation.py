"""Uses of a density or a reconstruction: foreign examples, hidden entries, a class left out, yardsticks."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from torch import Generator, Tensor

from gentune.bench import registry
from gentune.bench.artifacts.finalist import write_completions, write_outliers
from gentune.bench.data import DataRef, DataSet, load
from gentune.bench.metrics import UndefinedError
from gentune.bench.metrics.completion import imputation_error
from gentune.bench.runs.run_folder import RunFolder
from gentune.bench.scoring.baselines import yardsticks
from gentune.bench.scoring.measurement import sample_like, score
from gentune.bench.scoring.outliers_and_imputation import (
    complete_held_out,
    foreign_sets,
    hidden_entries,
    impute,
    typicality,
    without_last_class,
)
from gentune.bench.training.setting import split_setting
from gentune.bench.trial.jobs import TrialJob
from gentune.bench.trial.model_training import trained_anew
from gentune.models import Batch, ConditionSpec, DataSpec, GenerativeModel
from gentune.models.classical.gaussian import Gaussian
from gentune.models.classical.naive_bayes import NaiveBayes
from gentune.models.classical.pca import ProbabilisticPCA
from gentune.search_spaces import load_card

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
    model.stages()[0].fit(data.splits["train"], _generator())  # type: ignore[misc]
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


def test_foreign_images_are_what_they_are_called() -> None:
    data = load("digits")
    sets = foreign_sets(data.spec, data.splits["test"], seed=1)
    assert sets.keys() == {"noise", "shuffled", "inverted"}
    for x in sets.values():
        assert x.shape == (200, 1, 8, 8)
        assert torch.equal(x, data.spec.to_lattice(x))
    levels = data.spec.to_levels(sets["noise"])
    assert torch.bincount(levels.flatten(), minlength=17).min() > 0.8 * levels.numel() / 17
    test = data.splits["test"].x
    known = {tuple(row) for row in data.spec.to_levels(test).flatten(1).tolist()}
    upright = {tuple(row) for row in (16 - data.spec.to_levels(sets["inverted"])).flatten(1).tolist()}
    assert upright < known
    # Every pixel keeps its law, and loses its neighbours.
    assert sets["shuffled"].mean(0).numpy() == pytest.approx(test.mean(0).numpy(), abs=0.2)
    together = [float(torch.corrcoef(x[:, 0, 2:6, 2:6].flatten(1).T).abs().mean()) for x in (test, sets["shuffled"])]
    assert together[0] > 1.5 * together[1]


def test_foreign_vectors_fill_the_range_of_the_data() -> None:
    x = torch.randn(500, 3, generator=_generator())
    sets = foreign_sets(SPACE, Batch(x), seed=0)
    assert sets.keys() == {"noise", "shuffled"}
    assert ((sets["noise"] >= x.min(0).values) & (sets["noise"] <= x.max(0).values)).all()
    assert torch.isin(sets["shuffled"][:, 1], x[:, 1]).all()
    assert not foreign_sets(DataSpec("tokens", "sequence", (6,), vocabulary=5), Batch(torch.zeros(3, 6)), seed=0)


def test_leaving_the_last_class_out_keeps_the_other_labels() -> None:
    data = load("digits")
    found = without_last_class(data)
    assert found is not None
    fewer, last = found
    assert last == 9
    assert fewer.spec.classes == 9
    train = fewer.splits["train"]
    assert train.condition is not None and data.splits["train"].condition is not None
    assert train.condition.unique().tolist() == list(range(9))
    kept = data.splits["train"].condition < 9
    assert torch.equal(train.x, data.splits["train"].x[kept])
    assert without_last_class(load("two_moons")) is None
    two = replace(data.spec, condition=ConditionSpec("label", classes=2))
    assert without_last_class(replace(data, spec=two)) is None


def test_half_of_the_entries_are_hidden_by_pixels() -> None:
    missing = hidden_entries(COLOUR, 40, seed=0)
    assert missing.shape == (40, 3, 4, 5)
    assert torch.equal(missing[:, 0], missing[:, 2])
    assert (missing[:, 0].flatten(1).sum(1) == 10).all()
    assert not torch.equal(missing[0], missing[1])
    assert torch.equal(missing, hidden_entries(COLOUR, 40, seed=0))
    plane = hidden_entries(DataSpec("plane", "vector", (2,)), 100, seed=0)
    assert (plane.sum(1) == 1).all()
    assert 30 < int(plane[:, 0].sum()) < 70
    assert (hidden_entries(SPACE, 9, seed=0).sum(1) == 2).all()


def test_reconstruction_is_repeated_until_it_settles() -> None:
    x = torch.tensor([[1.0, 2.0, 99.0]])
    missing = torch.tensor([[False, False, True]])
    start = torch.tensor([[1.0, 2.0, 0.0]])
    filled = impute(Projecting(SPACE), x, missing, start=start, samples=start, generator=_generator())
    assert filled[0, :2].tolist() == [1.0, 2.0]
    assert float(filled[0, 2]) == pytest.approx(1.5, abs=1e-3)  # the only value that the map leaves as it is


def test_samples_lend_the_entries_of_those_that_look_alike() -> None:
    x = torch.tensor([[0.0, 0.0, 99.0], [5.0, 5.0, 99.0]])
    missing = torch.tensor([[False, False, True]]).repeat(2, 1)
    groups = torch.tensor([[0.0, 0.1, 3.0], [5.1, 5.0, -4.0]]).repeat(8, 1)
    filled = impute(Silent(SPACE), x, missing, start=x, samples=groups, generator=_generator())
    assert filled.tolist() == [[0.0, 0.0, 3.0], [5.0, 5.0, -4.0]]


def test_own_imputation_comes_first() -> None:
    data = load("digits")
    model = _fitted(ProbabilisticPCA(data.spec), data)
    found = complete_held_out(model, data, data.splits["test"], data.splits["test"].x, seed=0)
    assert found is not None
    own = model.impute(Batch(found.x), found.missing, _generator())  # type: ignore[operator]
    assert torch.equal(found.completed, own)
    assert torch.equal(found.completed[~found.missing], found.x[~found.missing])
    assert torch.equal(found.by_mean[0][found.missing[0]], data.splits["train"].x.mean(0)[found.missing[0]])


def test_imputation_error_is_relative_to_the_mean() -> None:
    x = torch.randn(2_000, 3, generator=_generator())
    missing = hidden_entries(SPACE, 2_000, seed=0)
    mean = torch.where(missing, 0.0, x)
    assert imputation_error(x, missing, x, mean).value == 0.0
    same = imputation_error(x, missing, mean, mean)
    assert same.value == pytest.approx(1.0)
    half = imputation_error(x, missing, torch.where(missing, 0.5 * x, x), mean)
    assert half.value == pytest.approx(0.5)
    noise = torch.where(missing, x + torch.randn(2_000, 3, generator=_generator(1)) / math.sqrt(2), x)
    found = imputation_error(x, missing, noise, mean)
    assert found.low is not None and found.high is not None
    assert found.low < math.sqrt(0.5) < found.high
    # What was not hidden does not count.
    assert imputation_error(x, missing, torch.where(missing, 0.5 * x, 7.0), mean).value == half.value
    with pytest.raises(UndefinedError, match="never wrong"):
        imputation_error(x, missing, noise, x)


def test_interval_of_the_imputation_error_holds() -> None:
    held = 0
    for seed in range(200):
        noise = torch.randn(2, 60, 4, generator=_generator(seed)).double()
        scale = torch.rand(60, 1, generator=_generator(seed + 1_000)).double() + 0.5  # hard examples are hard for both
        x, all_missing = torch.zeros(60, 4).double(), torch.ones(60, 4, dtype=torch.bool)
        found = imputation_error(x, all_missing, 0.6 * scale * noise[0], scale * noise[1])
        assert found.low is not None and found.high is not None
        held += found.low < 0.6 < found.high
    assert 0.9 < held / 200 <= 0.99


def test_finals_are_scored_on_foreign_and_broken_examples(own_cache: Path) -> None:
    data = load("digits")
    values = {}
    for name, model in {"gaussian": Gaussian(data.spec), "silent": Silent(data.spec)}.items():
        if name == "gaussian":
            _fitted(model, data)
        drawn = sample_like(model, data.splits["test"], conditional=False, settings={}, seed=0)
        quick = score(data, "test", drawn, cache=str(own_cache), second=False, model=model)
        assert not {"outlier_auroc", "imputation_error"} & {*quick.values, *quick.undefined}
        wanted = ("outlier_auroc", "imputation_error")
        values[name] = score(data, "test", drawn, cache=str(own_cache), second=False, model=model, wanted=wanted)
    assert values["gaussian"].values["outlier_auroc"].value > 0.95
    assert values["gaussian"].values["imputation_error"].value < 0.8
    assert "outlier_auroc" in values["silent"].undefined
    assert values["silent"].values["imputation_error"].value > 1.0


def test_a_class_left_out_is_told_by_a_training_without_it(tmp_path: Path) -> None:
    data, folder = load("digits"), RunFolder(tmp_path)
    seen: list[DataSet] = []

    def train_anew(other: DataSet) -> GenerativeModel:
        seen.append(other)
        return _fitted(NaiveBayes(other.spec), other)

    write_outliers(folder, "final", data, _fitted(NaiveBayes(data.spec), data), train_anew)
    content = json.loads(folder.artifact("outliers", "final.json").read_text())
    assert content["by"] == "log-likelihood"
    found = {entry["foreign"]: entry for entry in content["sets"]}
    assert list(found) == ["noise", "shuffled", "inverted", "class 9 left out"]
    assert found["noise"]["value"] > 0.99
    assert 0.6 < found["class 9 left out"]["value"] < 1.0
    assert found["class 9 left out"]["low"] < found["class 9 left out"]["value"]
    assert seen[0].spec.classes == 9

    def fail(other: DataSet) -> GenerativeModel:
        raise RuntimeError("no such luck")

    write_outliers(folder, "other", data, Projecting(data.spec), fail)
    content = json.loads(folder.artifact("outliers", "other.json").read_text())
    assert content["by"] == "reconstruction error"
    assert content["sets"][-1] == {"foreign": "class 9 left out", "undefined": "RuntimeError: no such luck"}
    write_outliers(folder, "silent", data, Silent(data.spec), fail)
    assert not folder.artifact("outliers", "silent.json").exists()


def test_completed_images_are_drawn_below_what_they_were(tmp_path: Path) -> None:
    data, folder = load("digits"), RunFolder(tmp_path)
    model, card = _fitted(ProbabilisticPCA(data.spec), data), load_card(SPACES / "classical" / "pca.toml")
    write_completions(folder, "final", card, data, model, data.splits["validation"])
    picture = np.asarray(Image.open(folder.artifact("completions", "final.png"))).astype(float)
    truth, hidden, completed = np.split(picture[1:], 3)  # rows of images, each with a line below
    grey = np.abs(hidden - 127.5) < 8  # level 8 of 0...16
    changed = hidden != truth
    assert grey[changed].all()
    assert 0.3 < changed.mean() < 0.6
    error, mean_error = (np.abs(guess - truth)[changed].mean() for guess in (completed, np.full_like(truth, 127.5)))
    assert error < 0.6 * mean_error
    write_completions(folder, "points", card, load("two_moons"), model, data.splits["validation"])
    assert not folder.artifact("completions", "points.png").exists()


def test_yardsticks_of_the_test_split() -> None:
    data = load("digits")
    found = yardsticks(data, "test")
    assert found.keys() == {"logistic_regression", "png", "zlib"}
    accuracy = found["logistic_regression"].values["bayes_accuracy"]
    train, test = data.splits["train"], data.splits["test"]
    assert train.condition is not None and test.condition is not None
    reference = LogisticRegression(max_iter=2_000).fit(train.x.flatten(1).numpy(), train.condition.numpy())
    assert accuracy.value == pytest.approx(reference.score(test.x.flatten(1).numpy(), test.condition.numpy()), abs=0.02)
    assert accuracy.low is not None and accuracy.low < accuracy.value
    ratios = {name: found[name].values["compression_ratio"].value for name in ("png", "zlib")}
    assert all(0.9 < ratio < 1.7 for ratio in ratios.values())  # 2.4 bits/dim, plain counting, would be 1.7
    assert not yardsticks(data, "validation")
    assert not yardsticks(load("two_moons"), "test")


def test_a_part_of_the_data_is_trained_on_for_as_many_steps_as_all(monkeypatch: pytest.MonkeyPatch) -> None:
    data = load("digits")
    fewer = without_last_class(data)
    assert fewer is not None
    taken: list[int] = []
    monkeypatch.setattr("gentune.bench.trial.model_training.train", lambda *_, steps, **__: taken.append(steps))
    card = registry.family("beta_vae").require_card()
    job = TrialJob("", "final", "beta_vae", 0, 1, "test", DataRef("digits"), {}, ("fid",))
    trained_anew(job, split_setting(card, {}), fewer[0])
    assert taken == [card.steps["digits"]]
