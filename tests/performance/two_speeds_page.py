"""The section on two speeds in docs/benchmarks.md."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import page

_NAMES = {
    "two_speeds": "two speeds",
    "one_speed": "one speed (the control)",
    "curves": "two speeds, stopping by curves",
    "halving": "two speeds, stopping by halving",
    "gp_halving": "GPSampler with successive halving",
    "tpe_halving": "TPE with successive halving",
    "tpe_5_halving": "TPE from 5 starts with successive halving",
}


def write(found: Mapping[str, Mapping[str, Any]], *, budget: int, seeds: int, path: Path = page.PAGE) -> None:
    """Puts the section in its place. found: the figures of each method by family."""
    old = path.read_text(encoding="utf-8")
    path.write_text(page.put(old, "\n".join(section(found, budget, seeds)), "two_speeds"), encoding="utf-8")


def section(found: Mapping[str, Mapping[str, Any]], budget: int, seeds: int) -> Iterable[str]:
    """The section's lines."""
    yield from ("## Two speeds", "")
    yield f"Studies of {budget} full trainings' worth of counted operations on the digits, tuned for FID, with up to"
    yield f"{seeds} seeds, each method paired with the control by seed; Python {platform.python_version()},"
    yield from (f"{page.cpu()}, one thread a run. Made by", "", "    make bench-two-speeds", "")
    yield "*Settings* are those tried for one full training's cost, and their ratio to the control's. *Reached at*: the"
    yield "share of its budget at which a fully trained model's validation FID was as low as the control's lowest, the"
    yield "median over seeds, and with how many of them it was. *Test FID* is that of incumbents retrained with"
    yield "three seeds, its ratio to the control's with a paired bootstrap 95% interval."
    for family, methods in found.items():
        if not methods:
            continue
        yield from ("", f"### {family}", "")
        yield "| method | seeds | settings | ratio | reached at | test FID | ratio |"
        yield "|---|---:|---:|---:|---:|---:|---:|"
        for method, f in methods.items():
            low, high = f["test_ratio_interval"]
            settings = f"{f['settings_per_cost']:.2f} | {f['settings_ratio']:.2f}"
            reached = f"{f['reached_at']:.2f}" if f["reached_at"] < float("inf") else "–"
            reached += f" ({f['reached_by']} of {f['runs']})"
            test = f"{f['test']:.2f} | {f['test_ratio']:.3f} [{low:.3f}, {high:.3f}]"
            yield f"| {_NAMES[method]} | {f['runs']} | {settings} | {reached} | {test} |"
