"""Families' defaults at sizes between the built-in sets: are they better than one Gaussian with a full covariance?

    python tests/performance/default_sizes.py            # make bench-sizes; an hour of one core at first
    python tests/performance/default_sizes.py --families gan,vae --data photo_patches

The default setting of every family that trains by steps, at the size that its card gives it, is trained on colour
patches of 16x16 pixels and on digits of 14x14, and scored on the validation split through both evaluators; so is the
family `gaussian`. Results are kept, one file for each training, which is done again where steps or setting differ;
`--kept` shows the tables of what is there.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse  # noqa: E402 - after the threads are set
import json  # noqa: E402
import sys  # noqa: E402
from collections.abc import Iterator, Mapping, Sequence  # noqa: E402
from pathlib import Path  # noqa: E402
from statistics import fmean  # noqa: E402
from typing import Any  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent / "proposals"))

import page  # noqa: E402

from gentune.bench import registry  # noqa: E402
from gentune.bench.data import DataRef, open_data  # noqa: E402
from gentune.bench.files import default_cache, write_atomically  # noqa: E402
from gentune.bench.registry import ResolvedFamily  # noqa: E402
from gentune.bench.runs.run_folder import RecordFolder  # noqa: E402

ROOT = Path(__file__).parents[2]
DATA = {
    "photo_patches": DataRef.of("photo_patches", size=16),
    "mnist5k": DataRef.of("mnist5k", size=14),
}
BASELINE = "gaussian"
WANTED = 0.8  # share of the families whose default is better, through both evaluators


def families(ref: DataRef, named: Sequence[str]) -> dict[str, ResolvedFamily]:
    """The baseline and the families that train by steps, as they are for a data set; `named`: only some of these."""
    spec = open_data(ref).spec
    fitting, _ = registry.families_for(["all"], spec)
    cards = {name: changed.card for name, changed in registry.cards_of(fitting, spec).items()}
    wanted = [n for n, card in cards.items() if n == BASELINE or (card.trains and (not named or n in named))]
    return {name: registry.family(name).resolved(card=cards[name]) for name in wanted}


def trained(
    family: ResolvedFamily, data: str, seed: int, folder: Path, *, only_kept: bool = False
) -> dict[str, Any] | None:
    """The figures of a default setting, from the folder or measured now; None where only kept ones are wanted."""
    ref = DATA[data]
    spec = open_data(ref).spec
    setting = family.card.space.default()
    about = {
        "family": family.name,
        "data": data,
        "seed": seed,
        "steps": family.full_steps(spec) if family.card.trains else 0,
        "setting": setting,
    }
    file = folder / f"{data}-{family.name}-{seed}.json"
    if file.is_file():
        kept = json.loads(file.read_text(encoding="utf-8"))
        if {key: kept[key] for key in about} == about:
            return dict(kept)
    if only_kept:
        return None
    found = about | _measured(family, ref, seed, folder / "records")
    write_atomically(file, json.dumps(found, indent=1) + "\n")
    return found


def _measured(family: ResolvedFamily, ref: DataRef, seed: int, folder: Path) -> dict[str, Any]:
    import torch

    from gentune.bench.trial.execution import run_trial
    from gentune.bench.trial.jobs import TrialJob

    torch.set_num_threads(1)
    job = TrialJob(
        role="choice",
        trial=0,
        family=family,
        number=0,
        seed=seed,
        split="validation",
        data=ref,
        params=family.card.space.default(),
        objective=("fid",),
        second_evaluator=True,
        keep_samples=True,
        lean=True,
        cache=str(default_cache()),
    )
    record = run_trial(job, RecordFolder(folder))
    scores = {role: _fid(metrics) for role, metrics in (("main", record.metrics), ("second", record.second_metrics))}
    seconds = sum(record.seconds.get(part, 0.0) for part in ("train", "kept"))  # kept: trained by an earlier command
    return {"fid": scores, "reason": record.reason, "seconds": round(seconds, 1)}


def _fid(metrics: Mapping[str, Any]) -> float | None:
    return float(metrics["fid"]["value"]) if "fid" in metrics else None


def better(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The families whose default is better than the baseline through both evaluators."""
    limits = rows[BASELINE]["fid"]
    return [
        name
        for name, row in rows.items()
        if name != BASELINE and all(row["fid"][role] is not None and row["fid"][role] < limits[role] for role in limits)
    ]


def section(found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[str]:
    """The section of docs/benchmarks.md. found: rows by data set and family."""
    yield "## Defaults at other sizes"
    yield ""
    yield "The default of every family that trains by steps, as its card has it at that size, next to one Gaussian with"
    yield "a full covariance: FID on the validation split through the main and the second evaluator, one seed, and the"
    yield f"seconds of the training on one core of {page.cpu()}. Made by `make bench-sizes`."
    for data, rows in found.items():
        good, limits = better(rows), rows[BASELINE]["fid"]
        spec = open_data(DATA[data]).spec
        yield ""
        yield f"`{DATA[data]}`, {'×'.join(map(str, spec.shape[1:]))} pixels, {spec.examples:,} train examples:"
        yield f"{len(good)} of {len(rows) - 1} families are better through both."
        yield ""
        yield "| family | steps | FID, main | ratio | FID, second | ratio | seconds | better |"
        yield "|---|---:|---:|---:|---:|---:|---:|---|"
        for name, row in sorted(rows.items(), key=lambda item: _order(item[1], limits)):
            cells = [
                f"{row['fid'][r]:.1f} | {row['fid'][r] / limits[r]:.2f}" if row["fid"][r] else "– | –" for r in limits
            ]
            verdict = "" if name == BASELINE else "yes" if name in good else "no"
            yield f"| `{name}` | {row['steps']:,} | {' | '.join(cells)} | {row['seconds']:.0f} | {verdict} |"


def _order(row: Mapping[str, Any], limits: Mapping[str, float]) -> float:
    known = [row["fid"][role] / limits[role] for role in limits if row["fid"][role] is not None]
    return fmean(known) if len(known) == len(limits) else float("inf")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", default="", help="separated by commas; by default all")
    parser.add_argument("--data", choices=tuple(DATA), help="one of the sets")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "default_sizes", help="folder of the results")
    parser.add_argument("--kept", action="store_true", help="tables of what has been trained so far")
    parser.add_argument("--page", action="store_true", help="write the tables into docs/benchmarks.md")
    options = parser.parse_args(arguments)
    named = [name for name in options.families.split(",") if name]
    found: dict[str, dict[str, Any]] = {}
    for data in [options.data] if options.data else list(DATA):
        found[data] = {}
        for name, family in families(DATA[data], named).items():
            row = trained(family, data, options.seed, options.out, only_kept=options.kept)
            if row is not None:
                found[data][name] = row
                print(data, name, row["fid"], f"{row['seconds']} s", row["reason"] or "", flush=True)
    found = {data: rows for data, rows in found.items() if BASELINE in rows}
    print("\n".join(section(found)))
    if options.page:
        text = page.PAGE.read_text(encoding="utf-8")
        page.PAGE.write_text(page.put(text, "\n".join(section(found)), "sizes"), encoding="utf-8")
    missed = [data for data, rows in found.items() if len(better(rows)) < WANTED * (len(rows) - 1)]
    if missed:
        raise SystemExit(f"missed on {', '.join(missed)}")


if __name__ == "__main__":
    main()
