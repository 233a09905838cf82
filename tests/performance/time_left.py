"""How far the plan and the time left of real small runs were from the time that they took; a command, not a test.

    python tests/performance/time_left.py [--only NAME] [--keep FOLDER]

Each run begins with an empty cache, so that evaluators are trained. The plan is what a run says before its first job;
the time left is read from `log/progress.jsonl`, as the display counts it down. Both are compared with the wall time of
the whole command, from its start to its end.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = {
    "vectors, closed-form": "--data two_moons --families gaussian,gaussian_mixture,kernel_density --trainings 3 "
    "--seeds 2 --workers 1",
    "digits, two neural": "--data digits --families vae,wgan_gp --trainings 2 --seeds 1 --choice-seeds 1 --workers 2 "
    "--size 0.25",
    "table": "--data TABLE --families gaussian,realnvp --trainings 3 --seeds 2 --choice-seeds 1 --workers 2 "
    "--size 0.25",
    "colour patches": "--data photo_patches --families gaussian,pca --trainings 2 --seeds 1 --choice-seeds 1 "
    "--workers 2",
    "two speeds": "--data iris --families ddpm --trainings 3 --seeds 2 --choice-seeds 1 --workers 1 --two-speeds "
    "--size 0.25",
}
FROM, LAST = 0.2, 0.95  # shares of a run between which the time left is judged; at the end a second is a factor


def table(folder: Path) -> Path:
    """A CSV with numbers and categories, 600 rows."""
    import numpy as np

    random = np.random.default_rng(0)
    rows = [f"{a:.3f},{b:.3f},{random.choice(['x', 'y', 'z'])}" for a, b in random.normal(size=(600, 2))]
    path = folder / "table.csv"
    path.write_text("\n".join(["a,b,c", *rows]) + "\n", encoding="utf-8")
    return path


def measured(options: str, folder: Path) -> tuple[float, float, float, int]:
    """Seconds that a run took, those that its plan said, and the worst factor of the time left, of how many words."""
    arguments = options.replace("TABLE", str(table(folder))).split()
    environment = os.environ | {"GENTUNE_CACHE": str(folder / "cache")}
    command = [str(Path(sys.executable).with_name("gentune")), "compare", *arguments, "--out", str(folder / "run")]
    began, clock = time.time(), time.monotonic()
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    took = time.monotonic() - clock
    lines = (folder / "run" / "log" / "progress.jsonl").read_text(encoding="utf-8").splitlines()
    told = [(entry["written"] - began, entry["seconds_left"]) for entry in map(json.loads, lines)]
    plan = sum(told[0])
    factors = [max(left / (took - at), (took - at) / max(left, 1e-9)) for at, left in told if FROM <= at / took <= LAST]
    return took, plan, max(factors, default=float("nan")), len(factors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=RUNS)
    parser.add_argument("--keep", type=Path, help="folder of the runs; default: a temporary one")
    given = parser.parse_args()
    print("| run | took | plan | plan / took | worst factor of the time left, from a fifth on |\n|---|---|---|---|---|")
    for name in [given.only] if given.only else RUNS:
        folder = Path(tempfile.mkdtemp(dir=given.keep))
        took, plan, worst, count = measured(RUNS[name], folder)
        print(f"| {name} | {took:.0f} s | {plan:.0f} s | {plan / took:.2f} | {worst:.2f} (of {count}) |", flush=True)


if __name__ == "__main__":
    main()
