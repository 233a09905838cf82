"""Does the choice on validation gain what tuning offers, and does it leave a good default alone? Simulated studies.

    python tests/performance/choice.py                 # make bench-choice: 500 studies a gap, then the table
    python tests/performance/choice.py --runs 100 --results /tmp/quick.jsonl

A study is a `FamilyStudy` of ten trials, the default first, over four parameters in [0, 1]. Its objective is a bowl in
logarithms of FID: log 10 + Σ wⱼ (xⱼ − x*ⱼ)², where the optimum x* is drawn uniformly and the weights w from a Dirichlet
distribution (all ones), scaled so that random settings are worse than the best by 1.5 on average. The default lies in a
random direction from x*, as far that it is worse than the best of the space by the *gap*; where that is outside the
space, another optimum, weights and direction are drawn. A trial measures FID with a deviation of .20 in logarithms, a
retraining for the choice with .12. *Chosen* settings are those of `FamilyStudy.candidates` and `choose`; *rule* stands
for `--choice-seeds 0`, judged on the same trials. *Harmed*: the share of studies whose setting is truly worse than the
default by more than .05. *Loss*: how much worse it is than the best of the space, in logarithms, on average.

Studies that are in the results are not done again. The seeds below 500 chose the margin; the table is of others.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402 - after the threads are set

sys.path.insert(0, str(Path(__file__).parent / "proposals"))

import page  # noqa: E402

from gentune.bench.budget.kinds import Trainings  # noqa: E402
from gentune.bench.budget.operations import Operations  # noqa: E402
from gentune.bench.driver.choice import choose  # noqa: E402
from gentune.bench.driver.planning import TuningOptions  # noqa: E402
from gentune.bench.driver.study import PROOF, FamilyStudy  # noqa: E402
from gentune.bench.runs.records import Record  # noqa: E402
from gentune.search_spaces.card import parse_card  # noqa: E402

ROOT = Path(__file__).parents[2]
GAPS = (0.0, 0.3, 1.0)
TARGETS = {0.0: "harmed ≤ 5%", 0.3: "loss ≤ .25", 1.0: "loss ≤ .31"}
DIMENSIONS, TRIALS, CHOICE_SEEDS = 4, 10, 3
TRIAL_NOISE, CHOICE_NOISE, HARM = 0.20, 0.12, 0.05
FRESH = 500  # studies of the seeds below chose the margin
SPREAD = 1.5  # how much worse than the best random settings are on average

_FAMILY = """
[family]
name = "bowl"
group = "test"
summary = "a bowl"
class = "bowl:Bowl"
kinds = ["vector"]
[family.steps]
vector = 10
"""
_PARAMETER = '[train.x{}]\ntype = "float"\nlow = 0.0\nhigh = 1.0\ndefault = {!r}\n'

_WORDS = f"""\
Simulated studies of {TRIALS} trials on bowls in {DIMENSIONS} dimensions, through the functions that comparisons use.
Noise in logarithms: {TRIAL_NOISE:.2f} of a trial, {CHOICE_NOISE:.2f} of each of {CHOICE_SEEDS} retrainings.
*Gap*: how much worse the default is than the best of the space. *Left*: how often another setting is chosen;
*harmed*: how often one that is truly worse than the default by more than {HARM:.2f};
*loss*: how much worse than the best of the space the chosen one is, with its standard error.
*Rule*: the same for `--choice-seeds 0`, on the same trials. *Best tried*: the loss of the best setting among the
trials. `tests/performance/choice.py` says how bowls are drawn. Made by

    make bench-choice"""


@dataclass(frozen=True)
class Bowl:
    """optimum, weights, default: (d,)."""

    optimum: np.ndarray
    weights: np.ndarray
    default: np.ndarray

    def loss(self, setting: Mapping[str, Any]) -> float:
        """How much worse a setting is than the best, in logarithms."""
        x = np.array([setting[f"x{j}"] for j in range(DIMENSIONS)])
        return float((self.weights * (x - self.optimum) ** 2).sum())


def bowl(gap: float, chance: np.random.Generator) -> Bowl:
    """A bowl whose default is worse than its best by the gap."""
    while True:
        optimum = chance.random(DIMENSIONS)
        weights = chance.dirichlet(np.ones(DIMENSIONS))
        # E (x − x*)² over x uniform in [0, 1] is 1/12 + (x* − 1/2)².
        weights *= SPREAD / float((weights * (1 / 12 + (optimum - 0.5) ** 2)).sum())
        direction = chance.standard_normal(DIMENSIONS)
        default = optimum + direction * math.sqrt(gap / float((weights * direction**2).sum()))
        if ((default >= 0) & (default <= 1)).all():
            return Bowl(optimum, weights, default)


def tuned(truth: Bowl, seed: int, chance: np.random.Generator) -> FamilyStudy:
    """A study of the bowl, to its end."""
    parameters = "".join(_PARAMETER.format(j, float(value)) for j, value in enumerate(truth.default))
    card = parse_card(_FAMILY + parameters, "bowl.toml")
    options = TuningOptions(Trainings(TRIALS), ["lower"], 100, seed=seed)
    study = FamilyStudy(card, options, lambda setting: Operations(train=100.0, per_sample=0.0))
    while (asked := study.ask()) is not None:
        loss = truth.loss(asked.proposal.setting)
        study.tell(
            Record(
                role="trial",
                family="bowl",
                number=asked.number,
                seed=asked.seed,
                split="validation",
                state="complete",
                params=asked.proposal.setting,
                objectives=(_measured(loss, TRIAL_NOISE, chance),),
                cost=asked.cost,
            )
        )
    return study


def _measured(loss: float, noise: float, chance: np.random.Generator) -> float:
    """A FID, log-normal around its true value."""
    return 10.0 * math.exp(loss + noise * chance.standard_normal())


def simulate(gap: float, seed: int) -> dict[str, Any]:
    """One study: true losses of the candidates and the default first, and their measured retrainings."""
    chance = np.random.default_rng([seed, round(1000 * gap)])
    truth = bowl(gap, chance)
    study = tuned(truth, seed, chance)
    candidates = study.candidates()
    losses = [truth.loss(study.records[candidate.trial].params) for candidate in candidates]
    return {
        "gap": gap,
        "seed": seed,
        "losses": losses,
        "scores": [[_measured(loss, CHOICE_NOISE, chance) for _ in range(CHOICE_SEEDS)] for loss in losses],
        "probabilities": [candidate.probability for candidate in candidates],
        "best_tried": min(truth.loss(record.params) for record in study.records.values()),
    }


def cell(studies: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Figures of the studies of one gap."""
    chosen = [s["losses"][choose(s["scores"], lower=True, log_scale=True, protected=True)] for s in studies]
    defaults = [s["losses"][0] for s in studies]
    # The best challenger is the best setting by posterior mean, unless that is the default, which no other then beats.
    rule = [s["losses"][len(s["losses"]) > 1 and s["probabilities"][1] >= PROOF] for s in studies]
    return {
        "studies": len(studies),
        "candidates": float(np.mean([len(s["losses"]) for s in studies])),
        "left": _share(np.not_equal(chosen, defaults)),
        "harmed": _share(np.subtract(chosen, defaults) > HARM),
        "loss": float(np.mean(chosen)),
        "error": float(np.std(chosen, ddof=1)) / math.sqrt(len(chosen)),
        "rule_left": _share(np.not_equal(rule, defaults)),
        "rule_harmed": _share(np.subtract(rule, defaults) > HARM),
        "rule_loss": float(np.mean(rule)),
        "best_tried": float(np.mean([s["best_tried"] for s in studies])),
    }


def _share(cases: Any) -> float:
    return float(np.mean(cases))


def section(found: Mapping[float, Mapping[str, float]]) -> Iterator[str]:
    """The section's lines in docs/benchmarks.md."""
    yield from ("## The choice of a setting", "")
    yield from (_WORDS, "")
    yield "| gap | studies | candidates | left | harmed | loss | rule: left | harmed | loss | best tried | target |"
    yield "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|"
    for gap, f in sorted(found.items()):
        yield (
            f"| {gap:.1f} | {f['studies']} | {f['candidates']:.2f} | {f['left']:.1%} | {f['harmed']:.1%} | "
            f"{f['loss']:.3f} ± {f['error']:.3f} | {f['rule_left']:.1%} | {f['rule_harmed']:.1%} | "
            f"{f['rule_loss']:.3f} | {f['best_tried']:.3f} | {TARGETS.get(gap, '')} |"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500, help="studies of each gap")
    parser.add_argument("--first", type=int, default=FRESH, help="the seed of the first study")
    parser.add_argument("--results", type=Path, default=ROOT / "runs" / "choice.jsonl")
    parser.add_argument("--page", action="store_true", help="write the table into docs/benchmarks.md")
    options = parser.parse_args(arguments)
    options.results.parent.mkdir(parents=True, exist_ok=True)
    lines = options.results.read_text(encoding="utf-8").splitlines() if options.results.is_file() else []
    done = {(entry["gap"], entry["seed"]): entry for entry in map(json.loads, lines)}
    seeds = range(options.first, options.first + options.runs)
    with options.results.open("a", encoding="utf-8") as file:
        for seed in seeds:
            for gap in GAPS:
                if (gap, seed) not in done:
                    done[gap, seed] = simulate(gap, seed)
                    file.write(json.dumps(done[gap, seed]) + "\n")
                    file.flush()
    found = {gap: cell([s for (g, seed), s in done.items() if g == gap and seed in seeds]) for gap in GAPS}
    print("\n".join(section(found)))
    if options.page:
        text = page.PAGE.read_text(encoding="utf-8")
        page.PAGE.write_text(page.put(text, "\n".join(section(found)), "choice"), encoding="utf-8")


if __name__ == "__main__":
    main()
