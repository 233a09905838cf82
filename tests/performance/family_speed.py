"""How fast the families train and sample, next to the nearest public implementation at equal architecture.

    pip install -c constraints.txt -e '.[peers]'                 # the rivals of the autoencoders
    python tests/performance/family_speed.py                     # all pairs; some minutes
    python tests/performance/family_speed.py --pairs pca --rounds 30

Ours and theirs take turns in one process on one thread, so that what else the machine does befalls both. Each round
times either side over as many calls as fill a twentieth of a second; a ratio is the mean over rounds of
log(ours / theirs), and its interval Student's. What is timed of each pair stands in `speed_pairs.py`, where further
pairs are added.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse  # noqa: E402 - after the threads are set
import json  # noqa: E402
import math  # noqa: E402
import statistics  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Mapping  # noqa: E402
from dataclasses import asdict, dataclass  # noqa: E402
from pathlib import Path  # noqa: E402

import torch  # noqa: E402
from scipy.stats import t as student  # noqa: E402
from speed_pairs import PAIRS, Call  # noqa: E402

from gentune.bench.files import write_atomically  # noqa: E402

ROOT = Path(__file__).parent.parent.parent
OUT = ROOT / "runs" / "families-speed.json"
TARGET = 1.05  # what a ratio should stay below
_ROUND_SECONDS = 0.05
_MOST_CALLS = 10_000


@dataclass(frozen=True)
class Ratio:
    """One part of one pair: milliseconds a call of either side (medians), and ours over theirs with its interval."""

    pair: str
    rival: str
    part: str
    ours_ms: float
    theirs_ms: float
    ratio: float
    low: float
    high: float


def compare(ours: Call, theirs: Call, rounds: int, seconds: float = _ROUND_SECONDS) -> Mapping[str, float]:
    """Times both in turns; see the module's head."""
    sides = (ours, theirs)
    counts = [_calls_for(side, seconds) for side in sides]
    times: list[list[float]] = [[], []]
    for number in range(rounds):
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            times[side].append(_time(sides[side], counts[side]) / counts[side])
    logs = [math.log(a / b) for a, b in zip(*times, strict=True)]
    mean = statistics.fmean(logs)
    margin = float(student.ppf(0.975, rounds - 1)) * statistics.stdev(logs) / math.sqrt(rounds)
    return {
        "ours_ms": 1e3 * statistics.median(times[0]),
        "theirs_ms": 1e3 * statistics.median(times[1]),
        "ratio": math.exp(mean),
        "low": math.exp(mean - margin),
        "high": math.exp(mean + margin),
    }


def _calls_for(side: Call, seconds: float) -> int:
    side()  # what is made on the first call is no part of the speed
    calls = 1
    while True:
        taken = _time(side, calls)
        if taken >= seconds or calls >= _MOST_CALLS:
            return calls
        calls = min(_MOST_CALLS, max(2 * calls, math.ceil(calls * 1.2 * seconds / max(taken, 1e-9))))


def _time(side: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        side()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", default=",".join(PAIRS), help="names, by commas")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=OUT, help="where the ratios are written as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    for name in arguments.pairs.split(","):
        pair = PAIRS[name]()
        if pair is None:
            print(f"{name}: its rival is not installed")
            continue
        for part, (ours, theirs) in pair.parts.items():
            ratio = Ratio(name, pair.rival, part, **compare(ours, theirs, arguments.rounds))
            mark = f"  above {TARGET}" if ratio.low > TARGET else ""
            shown = f"{ratio.ratio:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"
            print(f"{name:24} {part:10} {ratio.ours_ms:9.3f} ms {ratio.theirs_ms:9.3f} ms  {shown}{mark}", flush=True)
            found.append(asdict(ratio))
    if arguments.out.is_file():  # of pairs that were not asked for now
        measured = {ratio["pair"] for ratio in found}
        before = json.loads(arguments.out.read_text(encoding="utf-8"))
        found = [ratio for ratio in before if ratio["pair"] in PAIRS and ratio["pair"] not in measured] + found
    found.sort(key=lambda ratio: list(PAIRS).index(ratio["pair"]))
    write_atomically(arguments.out, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
