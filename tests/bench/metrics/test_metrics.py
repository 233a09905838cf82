"""The catalogue, `measure`, and the metrics on likelihoods, conditions and cost."""

from __future__ import annotations

import inspect
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from scipy.stats import binomtest

from gentune.bench.metrics import INPUTS, METRICS, CostReport, MetricCard, MetricValue, UndefinedError, measure
from gentune.bench.metrics.alignment import condition_accuracy, wilson_interval
from gentune.bench.metrics.likelihood import bits_per_dim, kl_to_truth, nll
from gentune.models.base import Likelihood, LikelihoodKind
from gentune.models.data_spec import ConditionSpec, DataSpec

GROUPS = {
    "quality",
    "diversity",
    "likelihood",
    "alignment",
    "utility",
    "latent control",
    "memorisation",
    "fairness",
    "stability",
    "cost",
}
LATER = {"human"}  # contracts that are not kept yet
IMAGES = DataSpec("pictures", "image", (1, 4, 4), levels=17, condition=ConditionSpec("label", classes=3))
VECTORS = DataSpec("points", "vector", (2,), mean=(1.0, -1.0), deviation=(0.5, 4.0))
COST = CostReport(
    train_seconds=12.0,
    sample_seconds=2.0,
    samples=100,
    parameters=1_000,
    peak_memory=2.0**20,
    operations=1e9,
    operations_per_sample=1e4,
)


def exact(log_prob: torch.Tensor) -> Likelihood:
    return Likelihood(log_prob, LikelihoodKind.EXACT)


# The catalogue


def test_the_catalogue_holds_what_the_contract_names() -> None:
    text = (Path(__file__).parents[3] / "docs" / "contracts.md").read_text(encoding="utf-8")
    (paragraph,) = re.findall(r"\*\*Metrics\*\*:(.*?)\n\n", text, re.DOTALL)
    named = {name for names in re.findall(r"`([a-z0-9_ ]+)`", paragraph) for name in names.split()}
    assert {"fid", "flops", "mig", "authenticity"} <= named
    assert named - set(METRICS) == LATER


@pytest.mark.parametrize("card", METRICS.values(), ids=lambda card: card.name)
def test_card_and_function_agree(card: MetricCard) -> None:
    function = card.load()
    signature = inspect.signature(function)
    assert tuple(signature.parameters) == card.needs
    assert all(p.default is inspect.Parameter.empty for p in signature.parameters.values())
    assert signature.return_annotation in (MetricValue, "MetricValue")
    assert set(card.needs) <= INPUTS.keys()
    assert METRICS[card.name] is card
    assert card.group in GROUPS
    assert card.direction in ("lower", "higher")
    assert card.unit
    assert card.summary.endswith(".")
    assert re.search(r"arXiv:\d{4}\.\d{4,5}|doi:|JMLR", function.__doc__ or "")


def test_listing_metrics_imports_nothing_heavy() -> None:
    code = (
        "import sys, gentune.bench.metrics as m; assert m.METRICS; "
        "print([n for n in ('torch', 'numpy', 'scipy') if n in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


# measure


def test_missing_inputs_make_a_metric_undefined_and_say_which() -> None:
    inputs = {"generated_probabilities": torch.eye(3), "conditions": None, "cost": COST}
    result = measure(["condition_accuracy", "kl_to_truth", "parameters"], inputs)
    assert result.values == {"parameters": MetricValue(1_000.0)}
    assert result.undefined == {
        "condition_accuracy": "needs class conditions",
        "kl_to_truth": "needs a likelihood and the data's description and data with a known density",
    }


def test_a_falsy_input_is_not_a_missing_one() -> None:
    result = measure(["inception_score"], {"generated_probabilities": torch.eye(3), "seed": 0})
    assert result.values["inception_score"].value == pytest.approx(3.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_result_that_is_not_finite_is_never_a_number(bad: float) -> None:
    result = measure(["flops", "train_seconds"], {"cost": replace(COST, operations=bad)})
    assert result.values == {"train_seconds": MetricValue(12.0)}
    assert "not finite" in result.undefined["flops"]


def test_an_unknown_metric_is_refused_by_name() -> None:
    with pytest.raises(KeyError, match="fidd"):
        measure(["fidd"], {})


# Likelihoods


def test_nll_is_in_original_units_with_a_normal_interval() -> None:
    log_prob = torch.tensor([-1.0, -2.0, -3.0, -6.0])
    result = nll(exact(log_prob), VECTORS)
    assert result.value == pytest.approx(3.0 + math.log(0.5 * 4.0))
    standard_error = math.sqrt(14 / 3) / 2  # deviations 2, 1, 0, -3
    assert result.low == pytest.approx(result.value - 1.959964 * standard_error, abs=1e-6)
    assert result.high == pytest.approx(result.value + 1.959964 * standard_error, abs=1e-6)


def test_nll_of_the_truth_is_its_entropy() -> None:
    """A normal law in original units, its density in standardised ones given by the change of variables."""
    torch.manual_seed(0)
    z = torch.randn(20_000, 2, dtype=torch.float64)
    log_prob = -0.5 * z.square().sum(1) - math.log(2 * math.pi)
    entropy = 1 + math.log(2 * math.pi) + math.log(0.5 * 4.0)
    result = nll(exact(log_prob), VECTORS)
    assert result.low is not None and result.high is not None
    assert result.low < entropy < result.high
    assert result.high - result.low < 0.03


def test_bits_per_dim_of_the_uniform_law_is_the_levels_logarithm() -> None:
    log_prob = torch.full((5,), -16 * math.log(17), dtype=torch.float64)
    assert bits_per_dim(exact(log_prob), IMAGES).value == pytest.approx(math.log2(17))
    result = measure(["bits_per_dim"], {"likelihood": exact(log_prob), "spec": VECTORS})
    assert "images" in result.undefined["bits_per_dim"]


def test_a_better_model_has_a_lower_nll_and_divergence() -> None:
    torch.manual_seed(0)
    z = torch.randn(2_000, 2, dtype=torch.float64)
    truth = -0.5 * z.square().sum(1) - math.log(2 * math.pi) - VECTORS.log_scale

    def scores(shift: float) -> tuple[float, float]:
        likelihood = exact(-0.5 * (z - shift).square().sum(1) - math.log(2 * math.pi))
        return nll(likelihood, VECTORS).value, kl_to_truth(likelihood, VECTORS, truth).value

    near, far = scores(0.1), scores(1.0)
    assert near[0] < far[0]
    assert near[1] < far[1]
    assert scores(0.0)[1] == pytest.approx(0.0, abs=1e-12)


def test_kl_to_truth_of_two_normal_laws() -> None:
    """KL(N(0, 1) || N(m, s²)) = log s + (1 + m²) / 2s² - 1/2, for each of two dimensions."""
    torch.manual_seed(1)
    z = torch.randn(50_000, 2, dtype=torch.float64)
    m, s = 0.4, 1.5
    truth = -0.5 * z.square().sum(1) - math.log(2 * math.pi) - VECTORS.log_scale
    model = -0.5 * ((z - m) / s).square().sum(1) - math.log(2 * math.pi) - 2 * math.log(s)
    result = kl_to_truth(exact(model), VECTORS, truth)
    expected = 2 * (math.log(s) + (1 + m**2) / (2 * s**2) - 0.5)
    assert result.low is not None and result.high is not None
    assert result.low < expected < result.high
    assert result.high - result.low < 0.02


def test_kl_to_truth_of_sequences_is_the_mean_difference_of_log_probabilities() -> None:
    tokens = DataSpec("tokens", "sequence", (2,), vocabulary=4)
    truth, model = torch.tensor([-1.0, -2.0]), torch.tensor([-1.5, -2.25])
    assert kl_to_truth(exact(model), tokens, truth).value == pytest.approx(0.375)


def test_a_density_of_zero_somewhere_leaves_the_likelihood_undefined() -> None:
    likelihood = exact(torch.tensor([-1.0, -math.inf, -2.0]))
    result = measure(
        ["nll", "kl_to_truth"], {"likelihood": likelihood, "spec": VECTORS, "true_log_density": torch.zeros(3)}
    )
    assert not result.values
    assert result.undefined["nll"] == "the log-likelihood is not finite for 1 of 3 examples"
    truth_off = measure(
        ["kl_to_truth"],
        {"likelihood": exact(torch.zeros(2)), "spec": VECTORS, "true_log_density": torch.tensor([0.0, math.nan])},
    )
    assert "true log-density is not finite for 1 of 2" in truth_off.undefined["kl_to_truth"]


def test_likelihoods_edges() -> None:
    single = nll(exact(torch.tensor([-1.5])), IMAGES)
    assert single == MetricValue(1.5)
    with pytest.raises(UndefinedError, match="at least 1"):
        nll(exact(torch.zeros(0)), IMAGES)
    with pytest.raises(UndefinedError, match="vectors"):
        kl_to_truth(exact(torch.zeros(3)), IMAGES, torch.zeros(3))
    with pytest.raises(ValueError, match="shape"):
        kl_to_truth(exact(torch.zeros(3)), VECTORS, torch.zeros(1))
    with pytest.raises(ValueError, match="shape"):
        nll(exact(torch.zeros(3, 1)), IMAGES)


def test_sums_are_in_float64() -> None:
    """A float32 sum of these would be off in the third decimal."""
    values = torch.full((1_000_000,), -1234.567)
    assert nll(exact(values), IMAGES).value == pytest.approx(float(-values[0].double()), abs=1e-9)


# Conditions


def test_condition_accuracy_counts_hits() -> None:
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.1, 0.4], [0.0, 0.1, 0.9]])
    right = torch.tensor([0, 1, 0, 2])
    assert condition_accuracy(probabilities, right).value == 1.0
    assert condition_accuracy(probabilities, torch.tensor([0, 1, 2, 2])).value == 0.75
    assert condition_accuracy(probabilities, (right + 1) % 3).value == 0.0


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (3, 10), (10, 10), (345, 359)])
def test_wilson_interval_agrees_with_scipy(hits: int, n: int) -> None:
    expected = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-12)
    conditions = torch.ones(n, dtype=torch.int64)
    conditions[:hits] = 0
    result = condition_accuracy(torch.tensor([[0.9, 0.1]]).repeat(n, 1), conditions)
    assert result.value == hits / n
    assert (result.low, result.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_condition_accuracy_edges() -> None:
    labels = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(UndefinedError, match="2 classes"):
        condition_accuracy(torch.ones(2, 1), labels)
    with pytest.raises(UndefinedError, match="not finite"):
        condition_accuracy(torch.full((2, 3), math.nan), labels)
    with pytest.raises(UndefinedError, match="at least 1"):
        condition_accuracy(torch.ones(0, 3), labels[:0])
    with pytest.raises(ValueError, match="wanted 0 to 2"):
        condition_accuracy(torch.ones(2, 3), labels + 3)
    with pytest.raises(ValueError, match="shape"):
        condition_accuracy(torch.ones(3, 3), labels)


# Cost


def test_cost_metrics_read_the_report() -> None:
    names = [name for name, card in METRICS.items() if card.group == "cost"]
    result = measure(names, {"cost": COST})
    assert {name: value.value for name, value in result.values.items()} == {
        "train_seconds": 12.0,
        "sample_seconds": 2.0,
        "samples_per_second": 50.0,
        "parameters": 1_000.0,
        "peak_memory": 2.0**20,
        "flops": 1e9,
        "sample_flops": 1e4,
    }


def test_costs_that_were_not_measured_are_undefined() -> None:
    result = measure(
        ["peak_memory", "samples_per_second", "sample_flops"],
        {"cost": replace(COST, peak_memory=None, sample_seconds=0.0, operations_per_sample=0.0)},
    )
    assert not result.values
    assert set(result.undefined) == {"peak_memory", "samples_per_second", "sample_flops"}


def test_every_implementation_loads() -> None:
    """Cards name functions relative to their package."""
    for name, card in METRICS.items():
        assert callable(card.load()), name
