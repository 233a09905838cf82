"""Objectives and constraints that a run could not have are refused before work."""

from __future__ import annotations

from pathlib import Path

import pytest

from gentune.bench.driver.objectives import check_metrics
from gentune.bench.driver.run_setup import describe
from gentune.bench.errors import UsageError


@pytest.mark.parametrize(
    ("data", "metric", "said"),
    [
        ("iris", "modes_covered", "needs data with known modes, which 'iris' does not have"),
        ("iris", "mig", "needs data with known factors, which 'iris' does not have"),
        ("two_moons", "peak_memory", "is measured on CUDA devices, and this run is on the CPU"),
        ("two_moons", "energy", "is measured on CUDA devices, and this run is on the CPU"),
    ],
)
def test_objectives_that_no_trial_would_have_are_refused(data: str, metric: str, said: str) -> None:
    options = {"data": data, "families": "gaussian", "objective": metric, "trainings": 1, "devices": "cpu"}
    config = describe(None, options)
    with pytest.raises(UsageError, match=f"^metric '{metric}' {said}; wanted another objective, such as mmd$"):
        check_metrics(config)


def test_grammaticality_needs_a_grammar() -> None:
    options = {"families": "ngram", "objective": "grammaticality", "trainings": 1}
    check_metrics(describe(None, options | {"data": "grammar"}))
    with pytest.raises(
        UsageError, match=r"needs data with a known grammar, which 'noisy_ar' .*such as bits_per_token$"
    ):
        check_metrics(describe(None, options | {"data": "noisy_ar"}))


@pytest.mark.parametrize(("data", "constraint"), [("digits", "mig >= 0.1"), ("two_moons", "energy <= 1")])
def test_constraints_that_no_trial_would_tell_are_refused(data: str, constraint: str) -> None:
    options = {"data": data, "families": "gaussian", "constraints": (constraint,), "trainings": 1, "devices": "cpu"}
    with pytest.raises(UsageError, match=r"^metric '(mig|energy)' .*, so it cannot be constrained$"):
        check_metrics(describe(None, options))


def test_families_that_have_the_method_are_named() -> None:
    config = describe(
        None, {"data": "iris", "families": "gan,pca", "objective": "reconstruction_error", "trainings": 1}
    )
    with pytest.raises(UsageError, match=r"'gan' cannot reconstruct, .* wanted --families pca$"):
        check_metrics(config)


@pytest.mark.parametrize(
    ("family", "said"),
    [("gan", "has no likelihood, so"), ("gaussian", "has no likelihood for each class, so")],
)
def test_families_without_class_likelihoods_are_refused(family: str, said: str) -> None:
    options = {"data": "digits", "families": family, "objective": "bayes_accuracy", "trainings": 1}
    with pytest.raises(UsageError, match=f"^family '{family}' {said} bayes_accuracy is not defined for it$"):
        describe(None, options)
    describe(None, options | {"families": "naive_bayes"})


def test_energy_without_the_package_that_reads_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gentune.bench.metrics.cost.find_spec", lambda name: None)
    options = {"data": "two_moons", "families": "gaussian", "objective": "energy", "devices": "cuda:0", "trainings": 1}
    with pytest.raises(UsageError, match=r"^metric 'energy' needs the package nvidia-ml-py, .*such as mmd$"):
        check_metrics(describe(None, options))


def test_a_metric_without_its_weights_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GENTUNE_LPIPS_WEIGHTS", str(tmp_path / "none.pth"))
    config = describe(None, {"data": "digits", "families": "vae", "objective": "lpips", "trainings": 1})
    with pytest.raises(UsageError, match=r"^metric 'lpips' needs AlexNet's ImageNet weights: no file .*such as fid$"):
        check_metrics(config)
