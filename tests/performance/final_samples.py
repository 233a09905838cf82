"""How much FID varies over draws of samples from one trained model, and what the labels that are asked for change.

    python tests/performance/final_samples.py            # make bench-final-samples; minutes, prints two tables

Each family's default setting is trained once. Its samples are drawn again and again, as trials draw them and as finals
do, and scored through the primary evaluator against the test split. Of conditional families further draws ask for fixed
labels in place of independent ones: shared out by the train frequencies, as in trials; and the test split's own, over
again.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse  # noqa: E402 - after the threads are set
import math  # noqa: E402
from collections.abc import Callable, Sequence  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from statistics import fmean, stdev  # noqa: E402

from torch import Tensor  # noqa: E402

from gentune.bench import registry  # noqa: E402
from gentune.bench.data import DataSet, load  # noqa: E402
from gentune.bench.driver.final_samples import final_samples  # noqa: E402
from gentune.bench.evaluators import default_cache  # noqa: E402
from gentune.bench.metrics.fidelity import fid  # noqa: E402
from gentune.bench.scoring.conditions import asked_conditions  # noqa: E402
from gentune.bench.scoring.references import evaluators_by_role, real_examples  # noqa: E402
from gentune.bench.scoring.sampling import draw_samples  # noqa: E402
from gentune.bench.seeds import derive  # noqa: E402
from gentune.bench.training.loop import train  # noqa: E402
from gentune.bench.training.setting import build_model, split_setting  # noqa: E402

FAMILIES = ("kernel_density", "gaussian_mixture", "naive_bayes", "histogram", "cgan")
WANTED_SPREAD = 0.05  # of the logarithm, at the number of samples that finals draw
WANTED_CHANGE = 0.05  # by other labels


@dataclass(frozen=True)
class Trained:
    """A trained default setting that draws samples; `conditional`: it takes labels."""

    name: str
    conditional: bool
    draw: Callable[[int, Tensor | None, int], Tensor]


def trained(name: str, data: DataSet) -> Trained:
    """The family's default setting, trained once."""
    card = registry.cards_of([name], data.spec)[name].card
    family = registry.family(name).resolved(card=card)
    setting = split_setting(card, card.space.default())
    model = build_model(family.load(), data.spec, setting.train, 0)
    steps = family.full_steps(data.spec)
    train(model, data.splits["train"], setting.loop, steps=steps, seed=0, average=setting.average)
    conditional = card.fit(data.spec.kind, data.spec.condition.kind).condition != "none"

    def draw(n: int, condition: Tensor | None, seed: int) -> Tensor:
        asked = condition if conditional else None
        return draw_samples(model, n, asked, settings=setting.sample, seed=derive(seed, "samples")).x

    return Trained(name, conditional, draw)


def always(labels: Tensor | None) -> Callable[[int], Tensor | None]:
    """The same labels for every draw."""
    return lambda seed: labels


def spread(values: Sequence[float]) -> float:
    """Standard deviation of the logarithms."""
    return stdev(math.log(value) for value in values)


def shown(values: Sequence[float]) -> str:
    """The cells of a mean and of the deviation in logs."""
    return f"{fmean(values):.2f} | {spread(values):.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--draws", type=int, default=16)
    parser.add_argument("--samples", type=int, help="in place of what finals draw")
    options = parser.parse_args()
    data = load(options.data)
    evaluator = evaluators_by_role(data, default_cache())["primary"]
    few, real = real_examples(data, "test"), evaluator.features(data.splits["test"].all().x)
    many = final_samples(options.samples, few, {}).n
    held_out = data.splits["test"].labels

    def scores(model: Trained, n: int, conditions: Callable[[int], Tensor | None]) -> list[float]:
        drawn = (model.draw(n, conditions(seed), seed) for seed in range(options.draws))
        return [fid(evaluator.features(x), real).value for x in drawn]

    def independent(n: int) -> Callable[[int], Tensor | None]:
        return lambda seed: asked_conditions(data, "test", n, seed=seed)

    models = [trained(name, data) for name in options.families.split(",")]
    found = {(m.name, n): scores(m, n, independent(n)) for m in models for n in (few, many)}
    print(f"| family | FID, n = {few:,} | deviation in logs | FID, n = {many:,} | deviation in logs |")
    print("|---|---:|---:|---:|---:|")
    for model in models:
        cells = [shown(found[model.name, n]) for n in (few, many)]
        print(f"| `{model.name}` | {' | '.join(cells)} |")
    missed = [f"{m.name} varies" for m in models if spread(found[m.name, many]) > WANTED_SPREAD]
    kinds = " | ".join(f"{kind} | deviation" for kind in ("independent labels", "apportioned", "the test split's"))
    print(f"\n| family | samples | {kinds} | ratio |\n|---|" + "---:|" * 8)
    for model in (m for m in models if m.conditional and held_out is not None):
        assert held_out is not None
        for n in (few, many):
            fixed = asked_conditions(data, "test", n)
            matched = held_out.repeat(math.ceil(n / len(held_out)))[:n]
            drawn, apportioned, own = found[model.name, n], *(scores(model, n, always(y)) for y in (fixed, matched))
            ratio = fmean(drawn) / fmean(own)
            print(f"| `{model.name}` | {n:,} | {shown(drawn)} | {shown(apportioned)} | {shown(own)} | {ratio:.3f} |")
            if n == many and abs(ratio - 1) > WANTED_CHANGE:
                missed.append(f"{model.name} depends on labels")
    if missed:
        raise SystemExit("missed: " + ", ".join(missed))


if __name__ == "__main__":
    main()
