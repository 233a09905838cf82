"""The table of metric inputs: no input without a provider, costs and sources as metrics use them, and new ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from gentune.bench import registry
from gentune.bench.data import DataSet, load
from gentune.bench.data.examples import Examples
from gentune.bench.evaluate import evaluate
from gentune.bench.metrics import INPUTS, METRICS, InputCard, MetricCard, MetricValue, add_input, add_metric
from gentune.bench.scoring.context import ScoringContext
from gentune.bench.scoring.held_out import HeldOut
from gentune.bench.scoring.inputs import PROVIDERS, ProvidedInputs
from gentune.bench.scoring.references import evaluators_by_role, reference_batch
from gentune.bench.scoring.scorer import metric_names, metrics_of_samples, score
from gentune.models import Batch, DataSpec, GenerativeModel, Likelihood, LikelihoodKind
from gentune.testing import MetricContract

PLUGIN = '''
from torch import Tensor

from gentune.bench.metrics import InputCard, MetricCard, MetricValue, UndefinedError, add_input, add_metric


def largest_shift(generated_centre: Tensor, real_centre: Tensor) -> MetricValue:
    """The largest difference of a coordinate's means; lower is better."""
    if not (generated_centre.isfinite().all() and real_centre.isfinite().all()):
        raise UndefinedError("a mean is not finite")
    return MetricValue(float((generated_centre - real_centre).abs().max()))


def reconstruction_shift(reconstructed_centre: Tensor, real_centre: Tensor) -> MetricValue:
    """The same of reconstructions."""
    return largest_shift(reconstructed_centre, real_centre)


def _reconstructed(context):
    x = context.reconstructions
    return None if x is None else x.mean(0)


for card in (
    InputCard("generated_centre", "the samples' mean", provider=lambda context: context.generated.x.mean(0)),
    InputCard("real_centre", "the real examples' mean", provider=lambda context: context.reference.x.mean(0)),
    InputCard("reconstructed_centre", "reconstructions", "model", "pass", provider=_reconstructed),
):
    add_input(card)
SHIFT = ("quality", "lower", "deviations")
add_metric(
    MetricCard(
        "largest_shift", *SHIFT, ("generated_centre", "real_centre"), "The largest shift of a mean.", largest_shift
    )
)
add_metric(
    MetricCard(
        "reconstruction_shift",
        *SHIFT,
        ("reconstructed_centre", "real_centre"),
        "The largest shift of the mean of reconstructions.",
        reconstruction_shift,
    )
)
'''


@pytest.fixture
def tables() -> Iterator[None]:
    """Puts the tables back as they were."""
    inputs, metrics = dict(INPUTS), dict(METRICS)
    yield
    INPUTS.clear()
    INPUTS.update(inputs)
    METRICS.clear()
    METRICS.update(metrics)


class Mirror(GenerativeModel):
    """Reconstructs exactly, and has a likelihood of one nat for each token that counts."""

    def sample(self, n: int, *, condition: Tensor | None = None, generator: Generator) -> Tensor:
        return torch.zeros(n, *self.data.shape)

    def reconstruct(self, batch: Batch) -> Tensor:
        return batch.x


# The table


def test_every_input_has_a_provider_and_every_provider_an_input() -> None:
    for card in METRICS.values():
        assert set(card.needs) <= INPUTS.keys(), card.name
    provided = {name for name, card in INPUTS.items() if card.source in ("samples", "model", "run")}
    assert provided == PROVIDERS.keys()
    elsewhere = {name: card.source for name, card in INPUTS.items() if name not in provided}
    assert set(elsewhere.values()) == {"study", "caller"}
    of_studies = {need for card in METRICS.values() if card.group == "stability" for need in card.needs}
    assert of_studies == {name for name, source in elsewhere.items() if source == "study"}  # by reports/standings.py


def test_inputs_of_samples_need_no_model_and_no_run(own_cache: Path) -> None:
    data = load("eight_gaussians")
    real = reference_batch(data, "validation", 50)
    evaluator = evaluators_by_role(data, own_cache)["primary"]
    given = ProvidedInputs(ScoringContext(data, "test", real, evaluator, own_cache))
    without = {name for name, card in INPUTS.items() if name in given and card.source != "samples"}
    assert all(given[name] is None for name in without - {"epsilon"})
    of_labels = {"conditions", "real_labels", "synthetic", "train_labels", "test_labels"}
    unknown = {"generated_probabilities", "factors", "grammatical"}
    unknown |= {name for name, card in INPUTS.items() if card.of_texts}
    there = {name for name in given if INPUTS[name].source == "samples" and given[name] is not None}
    assert there == {name for name, card in INPUTS.items() if card.source == "samples"} - of_labels - unknown


def test_trials_are_scored_by_what_is_quick() -> None:
    quick, everything = metric_names("quick"), metric_names("all")
    assert {"fid", "nll", "condition_accuracy", "train_seconds"} <= {*quick}
    expensive = {"fd_infinity", "c2st", "authenticity", "task_accuracy", "psnr", "mig", "outlier_auroc", "path_length"}
    assert not expensive & {*quick}
    assert {*quick} | expensive < {*everything}
    assert "failure_rate" not in everything
    assert metric_names("named", named=("psnr",)) == ["psnr"]
    assert {*metric_names("quick", named=("psnr",))} == {*quick, "psnr"}
    second = metric_names("all", through_evaluator=True)
    assert {"fid", "authenticity", "path_length"} <= {*second}
    assert not {"nll", "train_seconds", "task_accuracy"} & {*second}
    assert {"fid", "authenticity", "c2st"} <= {*metrics_of_samples()}
    assert not {"nll", "task_accuracy", "psnr", "train_seconds", "failure_rate"} & {*metrics_of_samples()}


# Data without what a metric needs


def test_without_an_evaluator_metrics_through_it_say_so(own_cache: Path) -> None:
    data = load("eight_gaussians")
    samples = reference_batch(data, "validation", 60)
    found = score(ScoringContext(data, "test", samples, None, own_cache), ["fid", "modes_covered", "nll"])
    assert found.undefined == {
        "fid": "needs a feature evaluator, and vector data 'eight_gaussians' has none",
        "nll": "needs a likelihood",
    }
    assert found.values["modes_covered"].value == 8


def test_tokens_that_count_are_counted(own_cache: Path) -> None:
    spec = DataSpec("words", "sequence", (4,), vocabulary=3, padding=2)
    x = torch.tensor([[0, 1, 1, 2], [1, 2, 2, 2]])
    examples = Examples.of_arrays(spec, x)
    data = DataSet(spec, {"train": examples, "validation": examples, "test": examples})
    likelihood = Likelihood(torch.tensor([-3.0, -1.0], dtype=torch.float64), LikelihoodKind.EXACT)
    context = ScoringContext(data, "test", Batch(x), None, own_cache, held_out=HeldOut(Batch(x), likelihood))
    found = score(context, ["bits_per_token", "fid"])
    assert found.values["bits_per_token"].value == pytest.approx(1 / np.log(2))  # one nat for each token
    assert "sequence data 'words' has none" in found.undefined["fid"]
    vectors = load("eight_gaussians")
    points = vectors.splits["test"].all()
    other = ScoringContext(vectors, "test", points, None, own_cache, held_out=HeldOut(points, likelihood))
    assert score(other, ["bits_per_token"]).undefined == {"bits_per_token": "needs sequences"}


# New inputs and metrics


def test_a_metric_with_new_inputs_is_one_file(tmp_path: Path, own_cache: Path, tables: None) -> None:
    file = tmp_path / "shift.py"
    file.write_text(PLUGIN, encoding="utf-8")
    registry.load_plugin(file)
    data = load("eight_gaussians")
    real = reference_batch(data, "validation", 100)
    samples = Batch(real.x + torch.tensor([0.0, 2.0]))
    expected = float((samples.x.mean(0) - reference_batch(data, "test", 100).x.mean(0)).abs().max())
    context = ScoringContext(data, "test", samples, None, own_cache, model=Mirror(data.spec))
    trial, final = (score(context, metric_names(scope)) for scope in ("quick", "all"))
    assert trial.values["largest_shift"] == MetricValue(expected)
    assert "reconstruction_shift" not in {*trial.values, *trial.undefined}  # a pass of the model
    assert final.values["reconstruction_shift"] == MetricValue(0.0)
    silent = score(replace(context, model=None), ["reconstruction_shift"])
    assert silent.undefined == {"reconstruction_shift": "needs reconstructions"}
    np.save(tmp_path / "a.npy", samples.x.double().numpy() * np.array(data.spec.deviation) + np.array(data.spec.mean))
    (scores,) = evaluate([tmp_path / "a.npy"], "eight_gaussians", cache=own_cache)
    assert scores.measured.values["largest_shift"].value == pytest.approx(expected, rel=1e-5)
    assert scores.as_json()["metrics"]["largest_shift"]["unit"] == "deviations"
    assert "reconstruction_shift" not in scores.as_json()["metrics"]

    class TestLargestShift(MetricContract):
        card = "largest_shift"

    assert registry.metric("largest_shift").load()(torch.zeros(2), torch.ones(2)) == MetricValue(1.0)
    TestLargestShift().test_the_card_needs_what_the_function_takes()
    TestLargestShift().test_every_need_is_a_known_input()


def _twice(seed: int) -> MetricValue:
    return MetricValue(2.0 * seed)


def test_names_are_taken_once(tables: None) -> None:
    card = MetricCard("twice", "quality", "none", "", ("seed",), "Twice the seed.", _twice)
    add_metric(card)
    add_metric(replace(card, unit="again"))  # the same file loaded again
    assert METRICS["twice"].unit == "again"
    with pytest.raises(ValueError, match=r"metric 'fid' is registered twice: in Gentune and in .*test_inputs\.py"):
        add_metric(replace(card, name="fid"))
    with pytest.raises(ValueError, match=r"metric 'twice' is registered twice: in .*test_inputs\.py and in elsewhere"):
        add_metric(replace(card, implementation="elsewhere:twice"))
    with pytest.raises(ValueError, match="'no name'; wanted letters"):
        add_metric(replace(card, name="no name"))
    with pytest.raises(ValueError, match="metric 'other' needs 'novelty', which is none of"):
        add_metric(replace(card, name="other", needs=("novelty",)))
    with pytest.raises(ValueError, match="input 'seed' is registered twice: in Gentune and in"):
        add_input(InputCard("seed", "a seed", provider=lambda context: 1))
    with pytest.raises(ValueError, match="source 'samples' and no provider"):
        add_input(InputCard("novelty", "novelty"))
    with pytest.raises(ValueError, match="source 'study' and a provider"):
        add_input(InputCard("novelty", "novelty", "study", provider=lambda context: 1))
