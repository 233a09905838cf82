"""The golden comparison: fixed commands give the same figures, bit for bit, before and after a change.

`python tests/golden/golden.py check long` runs the commands and tells where they differ from `long.json`; `make`
rewrites that file; commit it separately and say why. `short` is the form that the tests run.

Processors of different make differ in the seventh digit, and then in what is proposed, so the kernels are fixed by
KERNELS; on another processor than the file names figures agree to 1e-3, relative.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
KERNELS = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
# form -> (data set -> families, trainings, seeds of the finals, their samples, the scale of trainings); the choice has
# one seed. Rounding grows with every step: whole trainings of the flow differed by percents between two processors.
FORMS: dict[str, tuple[dict[str, str], int, int, int | None, float]] = {
    "long": (
        {
            "digits": "gaussian_mixture,naive_bayes,beta_vae,vq_vae,wgan_gp,cgan,realnvp,ddpm",
            "eight_gaussians": "gaussian_mixture,naive_bayes,beta_vae,vq_vae,wgan_gp,realnvp,ddpm",
        },
        3,
        2,
        None,
        1.0,
    ),
    "short": (
        {"digits": "gaussian_mixture,naive_bayes", "eight_gaussians": "realnvp"},
        1,
        1,
        500,
        0.03,
    ),
}
# What differs between two runs of one command: times, and what is counted from them.
OF_THE_CLOCK = {"train_seconds", "sample_seconds", "samples_per_second", "peak_memory"}


def processor() -> str:
    """The processor's name, as Linux tells it; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def run(form: str, gentune: str, root: Path) -> dict[str, Any]:
    """Figures of the form's comparisons: settings, objectives and metrics of all trials and finalists.

    gentune: the command. root: an empty folder for the runs and for a cache of their own.
    """
    sets, trainings, seeds, samples, size = FORMS[form]
    environment = {**os.environ, **KERNELS, **ONE_THREAD, "GENTUNE_CACHE": str(root / "cache")}
    figures = {}
    for data, families in sets.items():
        out = root / data
        options = ["--trainings", str(trainings), "--seeds", str(seeds), "--choice-seeds", "1", "--size", str(size)]
        options += ["--workers", "1", "--devices", "cpu"]
        options += [] if samples is None else ["--final-samples", str(samples)]
        command = [gentune, "compare", "--data", data, "--families", families, *options, "--seed", "0"]
        subprocess.run([*command, "--out", str(out)], env=environment, check=True, stdout=subprocess.DEVNULL)
        told = subprocess.run([gentune, "export", str(out), "--json"], env=environment, check=True, capture_output=True)
        figures[data] = {kind: [_row(row) for row in rows] for kind, rows in json.loads(told.stdout).items()}
    return {"processor": processor(), "kernels": KERNELS, "figures": figures}


def _row(row: dict[str, Any]) -> dict[str, Any]:
    kept = {key: row[key] for key in ("family", "number", "state", "move", "fidelity", "params", "cost", "seed")}
    for side in ("metrics", "second_metrics"):
        figures = {name: figure["value"] for name, figure in row.get(side, {}).items() if name not in OF_THE_CLOCK}
        if figures:
            kept[side] = figures
    return kept


def differences(expected: Any, got: Any, tolerance: float = 0.0, where: str = "") -> Iterator[str]:
    """Places where two documents differ; numbers may differ by `tolerance`, relative."""
    if isinstance(expected, dict) and isinstance(got, dict):
        for key in sorted(expected.keys() | got.keys()):
            if key not in expected or key not in got:
                yield f"{where}/{key}: only in what was {'got' if key in got else 'expected'}"
            else:
                yield from differences(expected[key], got[key], tolerance, f"{where}/{key}")
    elif isinstance(expected, list) and isinstance(got, list):
        if len(expected) != len(got):
            yield f"{where}: {len(expected)} rows expected, got {len(got)}"
        for k, (a, b) in enumerate(zip(expected, got, strict=False)):
            yield from differences(a, b, tolerance, f"{where}/{k}")
    elif expected != got:
        numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in (expected, got))
        if not (numbers and tolerance and math.isclose(expected, got, rel_tol=tolerance)):
            yield f"{where}: expected {expected!r}, got {got!r}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("make", "check"))
    parser.add_argument("form", choices=tuple(FORMS))
    parser.add_argument("--gentune", default=str(Path(sys.executable).parent / "gentune"), help="the command")
    given = parser.parse_args()
    path = HERE / f"{given.form}.json"
    with tempfile.TemporaryDirectory() as root:
        got = run(given.form, given.gentune, Path(root))
    if given.what == "make":
        path.write_text(json.dumps(got, indent=1) + "\n", encoding="utf-8")
        return 0
    expected = json.loads(path.read_text(encoding="utf-8"))
    exact = expected["processor"] == got["processor"]
    found = list(differences(expected["figures"], got["figures"], 0.0 if exact else 1e-3))
    print(f"{'bit for bit' if exact else 'to 1e-3, on another processor'}: {len(found)} differences")
    print("\n".join(found[:40]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
