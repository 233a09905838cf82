"""From a trained model to scores: equal counts, matched classes, one pass through each evaluator."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...models.base import Batch, GenerativeModel, Likelihood
from ...models.data_spec import DataSpec
from ..data import DataSet, Split
from ..evaluators import Evaluator, Features, describe_cached, evaluators_for, load_or_train
from ..metrics import METRICS, CostReport, Measurement, MetricCard, measure
from ..seeds import derive
from ..training.loop import DivergedError, TrainingRun
from .deferred import Lazy, Once
from .latent_codes import EPSILON, encoded, mapped, path_examples
from .outliers_and_imputation import Completion, complete_held_out, foreign_sets, typicality

SAMPLES = 2_000  # the most examples of each side that sample metrics see
_LIKELIHOOD_EXAMPLES = 20_000  # the most examples whose likelihood is computed
TRAIN_EXAMPLES = 20_000  # the most train examples among which copies are looked for
_SLOW = frozenset({"fd_infinity", "c2st"})  # seconds each, so for finals alone
_ONLY_FINALS = frozenset(  # inputs that cost a pass of their own, or look at the train split
    (
        "class_log_likelihoods",
        "completed_x",
        "outlier_scores",
        "codes",
        "path_features_a",
        "reconstruction_features",
        "reconstructions",
        "synthetic",
        "train_codes",
        "train_features",
        "train_x",
    )
)
_SEEN = frozenset(  # by an evaluator
    ("generated_features", "generated_probabilities", "path_features_a", "reconstruction_features")
)
_CHUNK = 500  # examples sampled or evaluated at a time; part of the protocol, since chunks have their own seeds


class TrialError(RuntimeError):
    """A setting that does not lead to a score; the message is the record's reason."""


@dataclass(frozen=True)
class Reference:
    """The real side of a comparison: examples of a split and how each evaluator sees them."""

    batch: Batch
    features: Features


@lru_cache(maxsize=2)
def evaluator_pair(data: DataSet, cache: str) -> tuple[Evaluator, Evaluator]:
    """The primary and the second evaluator of a data set, from the cache or trained now."""
    first, second = (load_or_train(data, name, cache=Path(cache)) for name in evaluators_for(data))
    return first, second


def reference_batch(data: DataSet, split: Split, count: int | None = None, *, seed: int = 0) -> Batch:
    """Up to SAMPLES examples of a split (or `count`), chosen by `seed` where there are more; runs use seed 0."""
    batch = data.splits[split]
    count = min(SAMPLES, len(batch)) if count is None else count
    if count == len(batch):
        return batch
    generator = torch.Generator().manual_seed(derive(seed, "subsample", split, count))
    return batch[torch.randperm(len(batch), generator=generator)[:count].sort().values]


@lru_cache(maxsize=16)
def reference_for(data: DataSet, cache: str, split: Split, second: bool, count: int) -> Reference:
    """`count` examples of a split as an evaluator sees them; kept in memory, and on the disk for other processes."""
    batch = reference_batch(data, split, count)
    evaluator = evaluator_pair(data, cache)[second]
    return Reference(batch, describe_cached(evaluator, batch.x, cache=Path(cache)))


def sample_like(
    model: GenerativeModel, batch: Batch, *, conditional: bool, settings: Mapping[str, Any], seed: int
) -> Batch:
    """As many samples as `batch` has examples, with its conditions where the model takes them; on the CPU."""
    parts = []
    with torch.no_grad():
        for start in range(0, len(batch), _CHUNK):
            rows = batch[slice(start, start + _CHUNK)].to(model.device)
            generator = torch.Generator(model.device).manual_seed(derive(seed, "chunk", start))
            condition = rows.condition if conditional else None
            parts.append(model.sample(len(rows), condition=condition, generator=generator, **settings).cpu())
    return Batch(torch.cat(parts), batch.condition if conditional else None)


def check_samples(generated: Batch, count: int, data: DataSet) -> None:
    """Raises TrialError for samples of another shape than asked for, DivergedError where they are not finite."""
    if tuple(generated.x.shape) != (count, *data.spec.shape):
        raise TrialError(f"samples have shape {tuple(generated.x.shape)}; wanted {(count, *data.spec.shape)}")
    if generated.x.is_floating_point() and not torch.isfinite(generated.x).all():
        raise DivergedError("samples are not finite")


def cost_report(
    model: GenerativeModel,
    run: TrainingRun,
    *,
    sample_seconds: float,
    samples: int,
    operations: float,
    energy: float | None,
) -> CostReport:
    """What the training of a model and `samples` samples took."""
    trained = sum(p.numel() for p in model.parameters()) or sum(b.numel() for b in model.buffers())
    device = model.device
    peak = max(run.peak_memory or 0.0, torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else None
    return CostReport(
        train_seconds=run.seconds,
        sample_seconds=sample_seconds,
        samples=samples,
        parameters=trained,
        peak_memory=peak,
        operations=operations,
        energy=None if run.seconds_kept else energy,  # what kept parts drew is not known
    )


def likelihood_of(model: GenerativeModel, batch: Batch, *, seed: int) -> tuple[Likelihood | None, Batch]:
    """log p(x) of (at most 20,000) examples, unconditionally, and these examples; None where not defined."""
    examples = Batch(batch.x[:_LIKELIHOOD_EXAMPLES])
    compute = getattr(model, "log_likelihood", None)
    if compute is None:
        return None, examples
    parts: list[Likelihood] = []
    with torch.no_grad():
        for start in range(0, len(examples), _CHUNK):
            model.evaluation_seed = derive(seed, "likelihood", start)
            parts.append(compute(examples[start : start + _CHUNK].to(model.device)))
    errors = [part.standard_error for part in parts]
    joined = replace(
        parts[0],
        log_prob=torch.cat([part.log_prob.cpu().double() for part in parts]),
        standard_error=None
        if any(e is None for e in errors)
        else torch.cat([e.cpu() for e in errors if e is not None]),
    )
    return joined, examples


def score(
    data: DataSet,
    split: Split,
    generated: Batch,
    *,
    cache: str,
    second: bool,
    seen: Features | None = None,
    wanted: Collection[str] = (),
    others: bool = True,
    thorough: bool = False,
    likelihood: Likelihood | None = None,
    examples: Batch | None = None,
    cost: CostReport | None = None,
    model: GenerativeModel | None = None,
) -> Measurement:
    """Metrics of the catalogue through one evaluator: the quick ones, or all that the samples and the model allow.

    generated: samples, or real examples for the floor. The real side is subsampled to the same count.
    seen: how the evaluator sees them, where that is known.
    wanted: metrics that are measured even if they are not quick, such as a study's objective; others: whether any but
        these are measured.
    thorough: whether slow metrics and those that look at the train split are measured too, as for finals.
    likelihood, examples: log-likelihoods and the examples they belong to.
    model: for what is asked of the model itself, such as reconstructions.
    Of the second evaluator only what goes through its features is measured.
    """
    evaluator = evaluator_pair(data, cache)[second]
    reference = reference_for(data, cache, split, second, len(generated))
    train = data.splits["train"]
    # The whole of it: among a part most copies would not be found.
    whole = Once(lambda: reference_for(data, cache, "train", second, whole_train(data)))
    described = Once(lambda: evaluator.describe(generated.x) if seen is None else seen)
    pairs = Once(lambda: _reconstructions(model, reference.batch))
    completion = Once(lambda: _completion(model, data, reference.batch, generated.x))
    paths = Once(lambda: path_examples(model, len(reference.batch)))
    inputs: dict[str, Callable[[], object]] = {
        "generated_features": lambda: described().features,
        "generated_probabilities": lambda: described().probabilities,
        "real_features": lambda: reference.features.features,
        "conditions": lambda: generated.labels,
        "real_labels": lambda: reference.batch.labels,
        "generated_x": lambda: generated.x,
        "real_x": lambda: reference.batch.x,
        "modes": lambda: data.modes,
        "likelihood": lambda: likelihood,
        "spec": lambda: data.spec,
        "true_log_density": lambda: _true_log_density(data, likelihood, examples),
        "cost": lambda: cost,
        "seed": lambda: derive(0, "metrics"),
        "train_features": lambda: whole().features.features,
        "train_x": lambda: whole().batch.x,
        "synthetic": lambda: None if generated.labels is None else generated,
        "real_train": lambda: train,
        "real_test": lambda: reference.batch,
        "originals": lambda: reference.batch.x if pairs() is not None else None,
        "reconstructions": pairs,
        "original_features": lambda: reference.features.features if pairs() is not None else None,
        "reconstruction_features": lambda: None if pairs() is None else evaluator.describe(pairs()).features,
        "train_codes": lambda: None if train.labels is None else encoded(model, train),
        "train_labels": lambda: train.labels,
        "test_codes": lambda: None if reference.batch.labels is None else encoded(model, reference.batch),
        "test_labels": lambda: reference.batch.labels,
        "inlier_scores": lambda: _inlier_scores(model, likelihood, reference.batch),
        "outlier_scores": lambda: _outlier_scores(model, data.spec, reference.batch),
        "incomplete_x": lambda: None if completion() is None else completion().x,
        "missing": lambda: None if completion() is None else completion().missing,
        "completed_x": lambda: None if completion() is None else completion().completed,
        "mean_completed_x": lambda: None if completion() is None else completion().by_mean,
        "codes": lambda: encoded(model, data.splits[split][:SAMPLES]),
        "factors": lambda: None if data.factors is None else data.factors[split][:SAMPLES],
        "path_features_a": lambda: None if paths() is None else evaluator.describe(paths()[0]).features,
        "path_features_b": lambda: None if paths() is None else evaluator.describe(paths()[1]).features,
        "epsilon": lambda: EPSILON,
        "class_log_likelihoods": lambda: (
            None if generated.labels is None else _class_log_likelihoods(data, model, reference.batch)
        ),
    }

    def is_measured(card: MetricCard) -> bool:
        needs = set(card.needs)
        if card.name in wanted:
            return True
        if not others or not needs <= inputs.keys() or (second and not needs & _SEEN):
            return False
        return thorough or (card.name not in _SLOW and not needs & _ONLY_FINALS)

    return measure([name for name, card in METRICS.items() if is_measured(card)], Lazy(inputs))


def whole_train(data: DataSet) -> int:
    """How many train examples copies are looked for among: all, but for very large sets."""
    return min(TRAIN_EXAMPLES, len(data.splits["train"]))


def _true_log_density(data: DataSet, likelihood: Likelihood | None, examples: Batch | None) -> Tensor | None:
    if data.log_density is None or examples is None or likelihood is None:
        return None
    return data.log_density(examples.x)


def _reconstructions(model: GenerativeModel | None, batch: Batch) -> Tensor | None:
    """The model's reconstructions of a batch, on the CPU; None where it does not reconstruct."""
    if model is None or not model.can("reconstruct"):
        return None
    return mapped(model.reconstruct, model, batch)  # type: ignore[arg-type]


def _completion(model: GenerativeModel | None, data: DataSet, held_out: Batch, samples: Tensor) -> Completion | None:
    if model is None:
        return None
    return complete_held_out(model, data, held_out, samples, seed=derive(0, "uses"))


def _inlier_scores(model: GenerativeModel | None, likelihood: Likelihood | None, batch: Batch) -> Tensor | None:
    """How typical held-out examples look (n,): as their likelihood says, where it is known already."""
    if likelihood is not None:
        return likelihood.log_prob
    return None if model is None else typicality(model, batch.x, seed=derive(0, "uses"))


def _outlier_scores(model: GenerativeModel | None, spec: DataSpec, batch: Batch) -> Tensor | None:
    """How typical the examples of all foreign sets look (m,)."""
    foreign = foreign_sets(spec, batch, seed=derive(0, "uses"))
    if model is None or not foreign:
        return None
    return typicality(model, torch.cat(list(foreign.values())), seed=derive(0, "uses"))


def _class_log_likelihoods(data: DataSet, model: GenerativeModel | None, batch: Batch) -> Tensor | None:
    """log p(x|y) (n, classes) for every class; None where the model has no likelihood."""
    if model is None or not model.can("log_likelihood"):
        return None
    columns = []
    for label in range(data.spec.classes):
        # The same noise for every class, so that classes differ by what they say of x alone.
        model.evaluation_seed = derive(0, "classes")
        of_class = Batch(batch.x, torch.full((len(batch),), label)).to(model.device)
        with torch.no_grad():
            columns.append(model.log_likelihood(of_class).log_prob.cpu())  # type: ignore[operator]
    return torch.stack(columns, dim=1)
