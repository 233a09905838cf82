"""Likelihoods of held-out examples: marginalised over classes in one pass, and with room for outliers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor

from gentune.bench import protocol
from gentune.bench.data import DataSet
from gentune.bench.data.examples import Examples
from gentune.bench.scoring.context import ScoringContext
from gentune.bench.scoring.held_out import (
    HeldOut,
    Labels,
    class_frequencies,
    held_out_examples,
    held_out_likelihood,
    with_outliers,
)
from gentune.bench.scoring.scorer import Scope, labels_of_likelihood, score
from gentune.models import Batch, DataSpec, GenerativeModel, Likelihood, LikelihoodKind
from gentune.models.classical.kernel_density import KernelDensity
from gentune.models.data_spec import ConditionSpec

CENTRES = torch.tensor([-2.0, 0.0, 2.0])
NOISE = 0.5


class ThreeNormals(GenerativeModel):
    """p(x|y) = N(x; centre of y, 1) to within noise; its branch for no label is poor."""

    def __init__(self, data: DataSpec, *, noise: float = 0.0) -> None:
        super().__init__(data)
        self.noise = noise
        self.seeds: list[int] = []

    def sample(self, n: int, *, condition: Tensor | None = None, generator: Generator) -> Tensor:
        return torch.randn(n, 1, generator=generator)

    def log_likelihood(self, batch: Batch) -> Likelihood:
        self.seeds.append(self.evaluation_seed)
        labels = batch.labels
        if labels is None:
            return Likelihood(torch.full((len(batch),), -50.0), LikelihoodKind.ELBO)
        error = self.noise * torch.randn(len(batch), generator=self.evaluation_generator())
        log_prob = torch.distributions.Normal(CENTRES[labels], 1.0).log_prob(batch.x[:, 0]) + error
        return Likelihood(log_prob, LikelihoodKind.ELBO, 7, torch.full((len(batch),), NOISE))


class LabelRequired(ThreeNormals):
    """The same family, which cannot do without a label."""

    def sample(self, n: int, *, condition: Tensor, generator: Generator) -> Tensor:  # type: ignore[override]
        return torch.randn(n, 1, generator=generator)


@pytest.fixture(scope="module")
def data() -> DataSet:
    """Three classes in the proportions 4 : 2 : 1; three normals in one dimension."""
    spec = DataSpec("three", "vector", (1,), condition=ConditionSpec("label", classes=3), entropy=1.9)
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 2]).repeat(30)
    x = CENTRES[labels][:, None] + torch.randn(len(labels), 1, generator=Generator().manual_seed(0))
    examples = Examples.of_arrays(spec, x, labels)
    return DataSet(spec, {"train": examples, "validation": examples, "test": examples})


def found_for(model: GenerativeModel, data: DataSet, labels: Labels) -> HeldOut:
    found = held_out_likelihood(model, data, held_out_examples(data, "test"), labels=labels, seed=3)
    assert found is not None
    return found


@pytest.mark.parametrize("family", [ThreeNormals, LabelRequired])
def test_it_is_marginalised_by_the_train_frequencies(family: type[ThreeNormals], data: DataSet) -> None:
    found = found_for(family(data.spec), data, "all")
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.tensor([4.0, 2.0, 1.0]).double()),
        torch.distributions.Normal(CENTRES.double(), 1.0),
    )
    expected = mixture.log_prob(found.examples.x[:, 0].double())
    assert torch.allclose(found.likelihood.log_prob, expected, atol=1e-5)
    assert (found.likelihood.kind, found.likelihood.samples) == (LikelihoodKind.ELBO, 7)
    assert found.likelihood.standard_error is not None
    assert torch.allclose(found.likelihood.standard_error, torch.tensor(NOISE).double())
    assert not found.given


def test_classes_share_their_noise_and_chunks_do_not(data: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "CHUNK", 150)
    exact = found_for(ThreeNormals(data.spec), data, "all")
    model = ThreeNormals(data.spec, noise=5.0)
    noisy = found_for(model, data, "all")
    assert exact.by_class is not None and noisy.by_class is not None
    assert [model.seeds.count(seed) for seed in dict.fromkeys(model.seeds)] == [3, 3]
    error = noisy.by_class - exact.by_class
    assert torch.allclose(error, error[:, :1].expand(-1, 3), atol=1e-4)
    assert error.std() > 3.0


def test_without_labels_a_family_is_asked_once_and_for_p_of_x(data: DataSet) -> None:
    model = ThreeNormals(data.spec)
    found = found_for(model, data, "none")
    assert found.by_class is None
    assert torch.equal(found.likelihood.log_prob, torch.full((210,), -50.0).double())
    assert len(model.seeds) == 1


def test_bayes_accuracy_comes_from_the_same_pass(data: DataSet, tmp_path: Path) -> None:
    model = ThreeNormals(data.spec)
    found = found_for(model, data, "all")
    samples = Batch(torch.zeros(210, 1), data.splits["test"].labels)
    context = ScoringContext(data, "test", samples, None, tmp_path, model=model, held_out=found)
    values = score(context, ["bayes_accuracy", "nll"]).values
    nearest = (found.examples.x - CENTRES).abs().argmin(1)
    assert found.examples.labels is not None
    hits = nearest.eq(found.examples.labels).double().mean()
    assert values["bayes_accuracy"].value == pytest.approx(float(hits))
    assert values["nll"].value == pytest.approx(-float(found.likelihood.log_prob.mean()))
    assert len(model.seeds) == 3


def test_the_own_labels_term_is_a_lower_bound_in_one_pass(data: DataSet) -> None:
    model = ThreeNormals(data.spec)
    own = found_for(model, data, "own")
    assert len(model.seeds) == 1
    whole = found_for(model, data, "all")
    assert whole.by_class is not None and own.examples.labels is not None
    joint = whole.by_class + class_frequencies(data).log()
    assert torch.allclose(own.likelihood.log_prob, joint.gather(1, own.examples.labels[:, None])[:, 0], atol=1e-6)
    assert (own.likelihood.log_prob < whole.likelihood.log_prob).all()


def test_trials_spare_a_pass_for_each_class_unless_it_is_the_objective() -> None:
    def wanted(scope: Scope, objective: str, measured: str = "mmd", takes_labels: bool = True) -> Labels | None:
        return labels_of_likelihood(scope, objective=(objective,), measured=(measured,), takes_labels=takes_labels)

    assert wanted("quick", "mmd") == wanted("quick", "mmd", "nll") == wanted("named", "mmd", "nll") == "own"
    assert wanted("quick", "nll") == wanted("named", "nll") == wanted("named", "mmd", "bayes_accuracy") == "all"
    assert wanted("all", "mmd") == "all"
    assert wanted("named", "mmd") is None
    assert wanted("quick", "mmd", takes_labels=False) == wanted("named", "nll", takes_labels=False) == "none"
    assert wanted("named", "mmd", takes_labels=False) is None


def test_the_same_examples_for_every_family_fewer_where_there_are_classes(
    data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "LIKELIHOOD_EXAMPLES", 300)
    examples = held_out_examples(data, "test")
    assert len(examples) == 100
    assert torch.equal(examples.x, held_out_examples(data, "test").x)
    assert set(examples.labels.tolist()) == {0, 1, 2}  # type: ignore[union-attr]


def test_class_frequencies_are_the_train_splits(data: DataSet) -> None:
    assert torch.allclose(class_frequencies(data), torch.tensor([4.0, 2.0, 1.0]).double() / 7)


def _given(log_prob: Tensor, error: Tensor | None = None) -> Likelihood:
    return Likelihood(log_prob, LikelihoodKind.ELBO, 7, error)


def test_with_room_for_outliers_a_density_is_still_one() -> None:
    x = torch.linspace(-40.0, 40.0, 80_001)[:, None]
    narrow = torch.distributions.Normal(0.5, 0.01).log_prob(x[:, 0].double())
    log_p = with_outliers(_given(narrow), x, DataSpec("line", "vector", (1,))).log_prob
    p = log_p.exp()
    assert float(p.sum()) * 1e-3 == pytest.approx(1.0, abs=1e-6)
    outside = (x[:, 0] - 0.5).abs() > 0.1  # what is left is the logistic distribution, of deviation 1
    beyond = float((p * x[:, 0].double().square())[outside].sum()) * 1e-3
    assert beyond == pytest.approx(protocol.OUTLYING, rel=0.05)


def test_no_row_costs_much_more_than_independent_columns_say() -> None:
    plane = DataSpec("plane", "vector", (2,))
    x, log_prob = torch.tensor([[0.0, 0.0], [8.0, 0.0], [0.3, -0.2]]), torch.tensor([-1e9, -1e9, -1.5])
    found = with_outliers(_given(log_prob, torch.full((3,), NOISE)), x, plane)
    assert found.log_prob[2].item() == pytest.approx(-1.5 - 1e-3, abs=1e-3)
    assert (found.log_prob[:2] > torch.tensor([-10.0, -24.0])).all()
    assert found.log_prob[0] > found.log_prob[1]
    assert found.standard_error is not None
    assert torch.allclose(found.standard_error, torch.tensor([0.0, 0.0, NOISE]).double(), atol=1e-2)


def test_images_and_vectors_of_a_known_density_keep_the_models_own() -> None:
    log_prob = torch.tensor([-1e9, 0.0])
    for spec in (DataSpec("toy", "vector", (2,), entropy=2.0), DataSpec("image", "image", (1, 1, 2), levels=4)):
        assert with_outliers(_given(log_prob), torch.zeros(2, *spec.shape), spec).log_prob is log_prob


def test_kernels_on_columns_that_nearly_determine_each_other_have_a_sensible_figure() -> None:
    """200 rows in nine columns on a plane: kernels around the train rows give the others exp(-1000)."""
    generator = Generator().manual_seed(0)
    free = torch.randn(400, 2, generator=generator)
    x = free @ torch.randn(2, 9, generator=generator) + 1e-3 * torch.randn(400, 9, generator=generator)
    x = (x - x[:200].mean(0)) / x[:200].std(0)
    spec = DataSpec("rows", "vector", (9,))
    splits = {"train": Examples.of_arrays(spec, x[:200]), "test": Examples.of_arrays(spec, x[200:])}
    model = KernelDensity(spec, bandwidth=0.01)
    model.fit(Batch(x[:200]), generator)
    raw = model.log_likelihood(Batch(x[200:])).log_prob
    found = found_for(model, DataSet(spec, splits), "none")  # type: ignore[arg-type]
    assert raw.mean() < -1_000.0
    assert found.likelihood.log_prob.mean() > -9 * 1.6 - 7.0
