"""Plants failures in real digits, scores them as if they were samples, and writes docs/metrics.md.

    python tests/performance/planted_failures.py [--repeats 30] [--check]

Every sample metric of the catalogue sees every failure through both in-domain evaluators. A failure is caught where the
score lies beyond the 95% interval of the floor, real against real over random splits, on the side that is worse.
Exits with 1 where a metric misses a failure that `EXPECTED` says it catches, and `KNOWN_MISSES` does not explain.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
ROOT = Path(__file__).parents[2]

import torch  # noqa: E402 - after the threads are set
from heat_map import heat_map  # noqa: E402
from metrics_page import page  # noqa: E402
from planting import EXPECTED, KNOWN_MISSES  # noqa: E402
from scoring import Bench, catalogue, measured_floor, planted_scores, table  # noqa: E402

from gentune.bench.data import load  # noqa: E402

PAGE = ROOT / "docs" / "metrics.md"
PICTURE = ROOT / "docs" / "images" / "planted_failures.svg"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=30, help="random splits behind the floor, 20 at least")
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    if options.repeats < 20:
        parser.error("--repeats: a 95% interval needs 20 at least")
    torch.set_num_threads(1)
    cards = catalogue()
    bench = Bench(load("digits"), cards)
    floors = measured_floor(bench, options.repeats)
    cells = table(bench, floors, planted_scores(bench))
    if not options.check:
        PICTURE.parent.mkdir(parents=True, exist_ok=True)
        PICTURE.write_text(heat_map(cells, floors, bench), encoding="utf-8")
        PAGE.write_text(page(bench, floors, cells, cards, options.repeats, f"images/{PICTURE.name}"), encoding="utf-8")
    bad = 0
    for failure, names in EXPECTED.items():
        for name in names:
            if name not in cells:
                print(f"{failure}: {name} is not in the catalogue or has no floor")
                bad += 1
            elif not cells[name][failure].caught:
                explained = KNOWN_MISSES.get((failure, name))
                worse = ", ".join(f"{view} {z:.1f}" for view, z in cells[name][failure].worse.items())
                print(f"{failure}: missed by {name} ({worse} deviations)" + (f": {explained}" if explained else ""))
                bad += explained is None
    caught = sum(cells[n][f].caught for f, names in EXPECTED.items() for n in names if n in cells)
    print(f"{caught} expected catches made, {bad} missed without a reason; {len(cells)} metrics")
    alarms = [name for name, row in cells.items() if row["none"].caught]
    print(f"false alarms on the control: {' '.join(alarms) or 'none'}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
