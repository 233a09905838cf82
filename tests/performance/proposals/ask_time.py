"""Time of one ask on six mixed parameters, Gentune's against Optuna's GPSampler, on one thread.

    python tests/performance/proposals/ask_time.py [--sizes 50,200,1000] [--alone 10000]

Studies are filled with random settings; each sampler asks once unmeasured, then asks and tells in turn with the other,
so that what disturbs the machine for a while disturbs both.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import platform
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"
sys.path.insert(0, str(Path(__file__).parent))

import methods  # noqa: E402 - after the threads are set
import numpy as np  # noqa: E402
import optuna  # noqa: E402
import store  # noqa: E402
from optuna.distributions import (  # noqa: E402
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from scores import interval  # noqa: E402

ROOT = Path(__file__).parents[3]
DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "a": FloatDistribution(0.0, 1.0),
    "b": FloatDistribution(-5.0, 5.0),
    "c": FloatDistribution(0.0, 10.0),
    "rate": FloatDistribution(1e-5, 1e-1, log=True),
    "depth": IntDistribution(1, 16),
    "kind": CategoricalDistribution(["first", "second", "third", "fourth"]),
}
RIVAL = "gp"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    warnings.filterwarnings("ignore", module="optuna")
    logging.disable(logging.WARNING)
    import torch

    torch.set_num_threads(1)
    rows = []
    for size in _numbers(options.sizes):
        rows.append(against_rival(options.ours, size, options.studies, options.asks))
        print(_line(rows[-1]), flush=True)
    for size in _numbers(options.alone):
        rows.append(alone(options.ours, size, options.asks))
        print(_line(rows[-1]), flush=True)
    found = {"ours": options.ours, "version": store.version(options.ours), "python": platform.python_version()}
    store.write(options.results / "ask_time.json", {**found, "rival": RIVAL, "rows": rows})
    return 0


def against_rival(ours: str, size: int, studies: int, asks: int) -> dict[str, Any]:
    """Medians in seconds, and the ratio of the medians with its interval over resampled pairs of asks."""
    pairs = []
    for seed in range(studies):
        both = [_study(spec, size, seed) for spec in (ours, RIVAL)]
        for study in both:
            _ask(study)
        pairs += [[_ask(study) for study in both] for _ in range(asks)]
    times = np.array(pairs)  # (asks of all studies, 2)
    rows = np.random.default_rng(0).integers(0, len(times), (10_000, len(times)))
    draws = np.median(times[rows], axis=1)
    mine, theirs = np.median(times, axis=0).tolist()
    found = interval(draws[:, 0] / draws[:, 1])
    return {
        "size": size,
        "ours": mine,
        "rival": theirs,
        "ratio": mine / theirs,
        "interval": [found.low, found.high],
        "asks": len(times),
    }


def alone(ours: str, size: int, asks: int) -> dict[str, Any]:
    """The median in seconds and the slowest, without a rival."""
    study = _study(ours, size, 0)
    _ask(study)
    times = [_ask(study) for _ in range(asks)]
    return {"size": size, "ours": float(np.median(times)), "slowest": max(times), "asks": asks}


def _study(spec: str, size: int, seed: int) -> Any:
    """A study with `size` random trials, the same for every sampler."""
    study = optuna.create_study(sampler=methods.sampler(*methods.split(spec), seed))
    source = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    rng = np.random.default_rng(seed)
    trials = []
    for _ in range(size):
        params = source.ask(DISTRIBUTIONS).params
        value = _objective(params) + 0.05 * rng.standard_normal()
        trials.append(optuna.create_trial(params=params, distributions=DISTRIBUTIONS, value=value))
    study.add_trials(trials)
    return study


def _ask(study: Any) -> float:
    """The seconds of one ask; its trial is told."""
    began = time.perf_counter()
    trial = study.ask(DISTRIBUTIONS)
    seconds = time.perf_counter() - began
    study.tell(trial, _objective(trial.params))
    return seconds


def _objective(params: dict[str, Any]) -> float:
    smooth = (params["a"] - 0.3) ** 2 + math.sin(params["b"]) * params["c"] / 10
    return (
        smooth
        + (math.log10(params["rate"]) + 3) ** 2 / 4
        + (params["depth"] - 6) ** 2 / 50
        + {"first": 0.0, "second": 0.2, "third": 0.5, "fourth": 0.1}[params["kind"]]
    )


def _line(row: dict[str, Any]) -> str:
    if "ratio" not in row:
        return f"{row['size']:6d} trials: ours {row['ours']:.3f} s (slowest of {row['asks']}: {row['slowest']:.3f} s)"
    low, high = row["interval"]
    return (
        f"{row['size']:6d} trials: ours {row['ours']:.3f} s, {RIVAL} {row['rival']:.3f} s, "
        f"ratio {row['ratio']:.2f} [{low:.2f}, {high:.2f}] ({row['asks']} asks)"
    )


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", default="gentune")
    parser.add_argument("--sizes", default="50,200,1000", help="trials in the studies that both samplers see")
    parser.add_argument("--alone", default="10000", help="trials in the studies that ours alone sees; '' for none")
    parser.add_argument("--studies", type=int, default=3, help="studies of each size")
    parser.add_argument("--asks", type=int, default=5, help="measured asks in each study")
    parser.add_argument("--results", type=Path, default=ROOT / "runs" / "proposals")
    return parser


if __name__ == "__main__":
    sys.exit(main())
