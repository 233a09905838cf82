"""Do the claims of the leaderboard hold? Simulated boards through the functions that reports use.

    python tests/performance/standings.py                  # make bench-standings: 20,000 boards a cell
    python tests/performance/standings.py --boards 2000 --out /tmp/quick.json

Values of a board are normal in logarithms. The candidate is the family with the best mean over three retrainings on
validation, drawn with the same deviations. *Error*: the share of boards with a claim that the candidate is better
than a family which it is not truly better than, at the first look and at any look as seeds are added. Where all
families are equal every claim is wrong, whichever family was named; in *half worse* every second family is worse by
0.6, so a wrong name can lead to wrong claims too, and claims that are right leave more of the level to the others.
*Power*: eight families with a deviation of 0.12, one better by 0.3 in logarithms (26%); the share of boards in which
it is named and better than all others. *Intervals*: how often the table's 95% intervals hold the mean, over all
families and for the worst of them.

Cells that are in the results are not done again.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent / "proposals"))

import page

from gentune.reports.candidate import claims, hochberg, look_level, one_sided, spreads
from gentune.reports.inference import compare

Array = NDArray[np.float64]

RESULTS = Path("docs/results/standings.json")
FAMILIES = (5, 8, 21)
LOOKS = ((3, 5, 8), (5, 8, 12), (8, 12))  # seeds at each look
TRUTHS = ("equal", "half worse")
DEVIATION, GAP, WORSE, CHOICE_SEEDS = 0.12, 0.3, 0.6, 3
CHUNK = 1000
CHECKED = 10  # boards of each cell that are also judged one by one
INTERVAL_BOARDS = 1000  # intervals go board by board


def patterns(k: int) -> dict[str, Array]:
    """Deviations of k families in logarithms, from equal ones to a ratio of 17."""
    place = np.arange(k)
    return {
        "equal": np.full(k, DEVIATION),
        "evenly spread, 3-fold": np.geomspace(0.07, 0.21, k),
        "evenly spread, 17-fold": np.geomspace(0.03, 0.51, k),
        "half of them, 17-fold": np.where(place % 4 < 2, 0.03, 0.51),
        "one noisy, 3-fold": np.where(place == 0, 0.36, 0.12),
        "one noisy, 17-fold": np.where(place == 0, 0.51, 0.03),
    }


def boards(rng: np.random.Generator, means: Array, deviations: Array, seeds: int, count: int) -> tuple[Array, Array]:
    """(finals, truth): (count, k, seeds) and (count, k), the family first that validation named."""
    k = len(means)
    validation = means + deviations * rng.normal(size=(count, CHOICE_SEEDS, k)).mean(axis=1)
    named = validation.argmin(axis=1)
    finals = means[:, None] + deviations[:, None] * rng.normal(size=(count, k, seeds))
    order = np.argsort(np.arange(k) != named[:, None], axis=1, kind="stable")
    return np.take_along_axis(finals, order[..., None], axis=1), means[order]


def better(finals: Array, look: int) -> NDArray[np.bool_]:
    """Which others the candidate is said to be better than, (count, k - 1); finals: (count, k, seeds) logarithms."""
    seeds = finals.shape[-1]
    counts = np.full(finals.shape[1], float(seeds))
    variances, freedom = spreads(finals.var(axis=-1, ddof=1), counts)
    p = one_sided(finals.mean(axis=-1), variances, freedom, counts)
    plain = np.exp(finals).mean(axis=-1)
    p = np.where(plain[:, 1:] < plain[:, :1], 1.0, p)
    return hochberg(p) < look_level(look)


def agree(finals: Array, look: int) -> None:
    """Raises AssertionError unless what reports call for a single board says the same as `better`."""
    for board, said in zip(finals, better(finals, look), strict=True):
        groups = {str(i): np.exp(v).tolist() for i, v in enumerate(board)}
        found = claims(groups, "0", log_scale=True, look=look)
        assert found is not None and [f in found.better_than for f in list(groups)[1:]] == said.tolist()


def error(rng: np.random.Generator, deviations: Array, truth: str, looks: Sequence[int], count: int) -> list[float]:
    """Shares of boards with a wrong claim at the first look, and at any look."""
    means = np.where(np.arange(len(deviations)) % 2 == 1, WORSE, 0.0) if truth == "half worse" else 0 * deviations
    first, ever = 0, 0
    agree(boards(rng, means, deviations, looks[0], CHECKED)[0], 1)
    for _ in range(count // CHUNK):
        finals, true = boards(rng, means, deviations, looks[-1], CHUNK)
        wrong = [better(finals[..., :n], j) & (true[:, 1:] <= true[:, :1]) for j, n in enumerate(looks, 1)]
        first += int(wrong[0].any(axis=1).sum())
        ever += int(np.any([w.any(axis=1) for w in wrong], axis=0).sum())
    return [first / count, ever / count]


def power(rng: np.random.Generator, seeds: int, look: int, count: int) -> float:
    """The share of boards in which the family that is better by GAP is named and better than all others."""
    means, found = np.zeros(8), 0
    means[0] = -GAP
    for _ in range(count // CHUNK):
        finals, true = boards(rng, means, np.full(8, DEVIATION), seeds, CHUNK)
        found += int((better(finals, look).all(axis=1) & (true[:, 0] < 0)).sum())
    return found / count


def coverage(rng: np.random.Generator, deviations: Array, seeds: int, count: int) -> list[float]:
    """How often intervals hold the mean: over all families, and for the worst of them."""
    held = np.zeros(len(deviations))
    true = np.exp(deviations**2 / 2)  # the mean of a lognormal value
    for _ in range(count):
        drawn = np.exp(deviations[:, None] * rng.normal(size=(len(deviations), seeds)))
        found = compare({str(i): v.tolist() for i, v in enumerate(drawn)}, log_scale=True, pairs=())
        bounds = [found.estimates[str(i)] for i in range(len(deviations))]
        held += [(e.low or 0.0) <= t <= (e.high or 0.0) for e, t in zip(bounds, true, strict=True)]
    return [float(held.mean()) / count, float(held.min()) / count]


def cells(count: int) -> Iterator[tuple[str, Any]]:
    """(key, function of a generator) of every cell."""
    for k, looks, truth in product(FAMILIES, LOOKS, TRUTHS):
        for name, deviations in patterns(k).items():
            yield (
                f"error|{k}|{looks[0]}|{truth}|{name}",
                lambda rng, d=deviations, t=truth, n=looks: error(rng, d, t, n, count),
            )
    for seeds, look in ((3, 1), (5, 1), (8, 1), (8, 2)):
        yield f"power|{seeds}|{look}", lambda rng, n=seeds, j=look: power(rng, n, j, count)
    for k, seeds in product(FAMILIES, (3, 5, 8)):
        for name, deviations in patterns(k).items():
            yield (
                f"interval|{k}|{seeds}|{name}",
                lambda rng, d=deviations, n=seeds: coverage(rng, d, n, min(count, INTERVAL_BOARDS)),
            )


def section(found: Mapping[str, Any], count: int) -> Iterator[str]:
    """The lines of docs/benchmarks.md."""
    names = list(patterns(5))
    yield "## Standings"
    yield ""
    yield f"`make bench-standings`: {count:,} simulated boards a cell, through the functions that reports use;"
    yield "`tests/performance/standings.py` says what is drawn. Deviations are in logarithms, 17-fold from .03 to .51."
    yield ""
    worst = max(value[1] for key, value in found.items() if key.startswith("error"))
    yield "Share of boards with a wrong claim, at the first look / at any look while seeds are added (3, 5, 8;"
    yield f"5, 8, 12; 8, 12). The target is at most .055; the largest is {_share(worst)}."
    yield ""
    yield "| truth | families | first seeds | " + " | ".join(names) + " |"
    yield "|---|---:|---:|" + "---:|" * len(names)
    for truth, k, looks in product(TRUTHS, FAMILIES, LOOKS):
        shown = [found[f"error|{k}|{looks[0]}|{truth}|{name}"] for name in names]
        cells_ = " | ".join(f"{_share(first)} / {_share(ever)}" for first, ever in shown)
        yield f"| {'all equal' if truth == 'equal' else truth} | {k} | {looks[0]} | {cells_} |"
    yield ""
    power_ = {key: _share(value) for key, value in found.items() if key.startswith("power")}
    yield "Share of boards in which one family of eight that is better by 26% (deviation .12) is named and better"
    yield f"than all others: {power_['power|5|1']} at 5 seeds (the target is .85), {power_['power|8|1']} at 8,"
    yield f"{power_['power|8|2']} at 8 as the second look, {power_['power|3|1']} at 3 (Welch)."
    yield ""
    yield "How often 95% intervals of the table held the mean, over all families / for the worst family"
    yield f"({min(count, INTERVAL_BOARDS):,} boards):"
    yield ""
    yield "| families | seeds | " + " | ".join(names) + " |"
    yield "|---:|---:|" + "---:|" * len(names)
    for k, seeds in product(FAMILIES, (3, 5, 8)):
        shown = [found[f"interval|{k}|{seeds}|{name}"] for name in names]
        yield f"| {k} | {seeds} | " + " | ".join(f"{_share(mean)} / {_share(least)}" for mean, least in shown) + " |"


def _share(value: float) -> str:
    return f"{value:.3f}".lstrip("0")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Simulated boards: error, power and intervals.")
    parser.add_argument("--boards", type=int, default=20_000, metavar="N", help="a multiple of 1,000")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FILE")
    parser.add_argument("--page", action="store_true", help="write docs/benchmarks.md, too")
    given = parser.parse_args(arguments)
    found = json.loads(given.out.read_text(encoding="utf-8")) if given.out.is_file() else {}
    for key, run in cells(given.boards):
        if key not in found:
            found[key] = run(np.random.default_rng([given.boards, zlib.crc32(key.encode())]))
            print(key, found[key], file=sys.stderr, flush=True)
            given.out.parent.mkdir(parents=True, exist_ok=True)
            given.out.write_text(json.dumps(found, indent=0) + "\n", encoding="utf-8")
    lines = list(section(found, given.boards))
    print("\n".join(lines))
    if given.page:
        old = page.PAGE.read_text(encoding="utf-8")
        page.PAGE.write_text(page.put(old, "\n".join(lines), "standings"), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
