"""Tables of real trials, from which rules of tuning are compared and the priors of cards are learned.

    python tests/performance/tuning/collect.py --pairs gaussian_mixture-digits,vae-two_moons

A table is a file of JSON lines, one a trial, in the results' folder; a command that is interrupted goes on where it
was. Of every twelve trials one repeats the default with a new seed, which says how much trainings of one setting
differ, three lie anywhere, four change a part of the default's parameters, and four are drawn from normal distributions
around the default in all parameters.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from tuning.pairs import Pair, by_name, measure, parse_pair

from gentune.bench.proposal.beliefs import Belief, Beliefs
from gentune.bench.proposal.candidates import perturbations, sobol
from gentune.bench.proposal.encoding import Encoding
from gentune.bench.seeds import derive
from gentune.search_spaces import SearchSpace

Kind = Literal["default", "anywhere", "part", "near"]

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "runs" / "tuning"
TRIALS = 120
PATTERN: tuple[Kind, ...] = (
    *("default", "part", "near", "anywhere", "part", "near"),
    *("anywhere", "part", "near", "anywhere", "part", "near"),
)
SPREAD = 0.2  # of the normal distributions around the default, in shares of the ranges
# Trainings of families with steps are shortened to a few seconds: the tables are for rules of tuning.
PAIRS = by_name(
    Pair("gaussian_mixture", "digits"),
    Pair("gaussian_mixture", "two_moons"),
    Pair("pca", "digits"),
    Pair("naive_bayes", "digits"),
    Pair("vae", "two_moons", share=0.1),
    Pair("vae", "digits", share=0.2),
    Pair("wgan_gp", "eight_gaussians", share=0.06),
    Pair("gan", "two_moons", share=0.06),
    Pair("realnvp", "eight_gaussians", share=0.06),
    Pair("realnvp", "two_moons", share=0.06),
    Pair("autoencoder", "eight_gaussians", share=0.1),
    Pair("autoencoder", "digits", share=0.2),
)


def settings(space: SearchSpace, trials: int) -> Iterator[tuple[Kind, dict[str, Any]]]:
    """The settings of a table, the same for every call."""
    encoding = Encoding(space)
    centre = encoding.positions([space.default()])
    beliefs = Beliefs(encoding, {p.name: Belief(p.default, _spread(p.kind)) for p in space}, 0)
    counts = {kind: sum(PATTERN[k % len(PATTERN)] == kind for k in range(trials)) for kind in get_args(Kind)}
    rows = {
        "anywhere": iter(encoding.snap(sobol(counts["anywhere"], len(encoding), 1))),
        "part": iter(perturbations(encoding, centre, counts["part"], np.random.default_rng(2))),
        "near": iter(encoding.snap(beliefs.shape(sobol(counts["near"], len(encoding), 3)))),
    }
    for k in range(trials):
        kind = PATTERN[k % len(PATTERN)]
        yield kind, space.default() if kind == "default" else encoding.decode(next(rows[kind]))


def _spread(kind: str) -> float:
    """A choice is another one in half of the draws."""
    return 0.5 if kind == "categorical" else SPREAD


def read(path: Path) -> list[dict[str, Any]]:
    """The trials of a table; a line that an interruption left unfinished is passed over."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def collect(pair: Pair, path: Path, trials: int, cache: Path, until: float) -> None:
    """Adds to a table the trials that it lacks, until the moment `until` of the monotonic clock."""
    there = {entry["number"] for entry in read(path)}
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.read_bytes().endswith(b"\n"):
        with path.open("a", encoding="utf-8") as file:
            file.write("\n")
    for number, (kind, setting) in enumerate(settings(pair.resolved().card.space, trials)):
        if number in there:
            continue
        if time.monotonic() > until:
            return
        seed = derive(0, pair.name, number)
        with tempfile.TemporaryDirectory() as folder:
            found = measure(pair, setting, seed, Path(folder), cache)
        entry = {"number": number, "kind": kind, "setting": setting, "seed": seed, **vars(found)}
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", default=",".join(PAIRS))
    parser.add_argument("--trials", type=int, default=TRIALS, help="of each table")
    parser.add_argument("--minutes", type=float, default=math.inf, help="after which no new trial begins")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    try:
        pairs = [parse_pair(name, PAIRS) for name in options.pairs.split(",")]
    except ValueError as error:
        print(f"collect.py: {error}", file=sys.stderr)
        return 2
    until = time.monotonic() + 60.0 * options.minutes
    # In rounds, so that an interrupted command leaves tables of about the same length.
    for trials in range(len(PATTERN), options.trials + len(PATTERN), len(PATTERN)):
        for pair in pairs:
            path = options.results / "tables" / f"{pair.name}.jsonl"
            collect(pair, path, min(trials, options.trials), options.results / "cache", until)
            print(f"{pair.name}: {len(read(path))} of {options.trials}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
