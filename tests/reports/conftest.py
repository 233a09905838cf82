"""Records and run folders as the driver writes them, for the tests of reports."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gentune.bench.runs.records import Record, Role
from gentune.bench.runs.run_folder import RunFolder
from gentune.bench.runs.study_file import StudyFile

NASTY = '<script>alert("x")</script>'
LEVELS = {"gaussian_mixture": 50.0, "wgan_gp": 52.0, "ddpm": 20.0}


@pytest.fixture
def nasty() -> str:
    """Text that a page has to escape; the reason of a failed trial of every run holds it."""
    return NASTY


@pytest.fixture
def make_record() -> Callable[..., Record]:
    """`record_of`."""
    return record_of


@pytest.fixture
def write_run() -> Callable[..., RunFolder]:
    """`write_a_run`."""
    return write_a_run


@pytest.fixture
def parse_page() -> Callable[[str], Page]:
    """`Page`, of a page's text."""
    return Page


def figure_of(value: float) -> dict[str, float | None]:
    """A metric with an interval of one half to each side."""
    return {"value": value, "low": value - 0.5, "high": value + 0.5}


def record_of(role: Role, family: str, number: int, fid: float, *, seconds: float = 1.0, **changes: Any) -> Record:
    """A record of a family; `changes` replace its fields."""
    content: dict[str, Any] = {
        "role": role,
        "family": family,
        "number": number,
        "seed": number,
        "split": "validation" if role in ("trial", "choice") else "test",
        "trial": {"choice": 3, "final": 3, "default": 0}.get(role),
        "state": "complete",
        "params": {"learning_rate": 2e-3 if role == "final" else 1e-3, "batch_size": 64},
        "objectives": (fid,),
        "metrics": {"fid": figure_of(fid), "recall": figure_of(0.7), "train_seconds": figure_of(seconds)},
        "undefined": {"bits_per_dim": f"{family} has no likelihood"} if family != "gaussian_mixture" else {},
        "second_metrics": {"fid": figure_of(1.2 * fid)},
        "samples": 359,
        "cost": 1.0,
        "provenance": {"revision": "abc123", "versions": {"numpy": "2.4"}},
    }
    if family == "gaussian_mixture":
        content["metrics"]["bits_per_dim"] = figure_of(2.7)
        content["likelihood"] = {"kind": "dequantised", "samples": None}
    return Record(**{**content, **changes})


def write_a_run(path: Path, *, seeds: int = 3, finals: bool = True, seconds: float = 1.0, **study: Any) -> RunFolder:
    """A run of three families at the levels of `LEVELS`, with trials, choices, finals, defaults and references.

    finals: whether there is more than trials. study: options of its study file.
    """
    folder = RunFolder.create_or_match(
        path,
        StudyFile(
            **{
                "data": "digits",
                "families": tuple(LEVELS),
                "trainings": 4,
                "objective": ("fid",),
                "seeds": seeds,
                **study,
            }
        ),
    )
    rng = np.random.default_rng(0)
    for family, level in LEVELS.items():
        for number in range(4):
            fid = level * float(np.exp(0.3 * rng.normal())) / 2  # lower than any test score
            failed: dict[str, Any] = {
                "state": "failed",
                "objectives": None,
                "metrics": {},
                "reason": f"diverged {NASTY}",
            }
            folder.write_record(
                record_of("trial", family, number, fid, seconds=seconds, **(failed if number == 2 else {}))
            )
        for number in range(2 if finals else 0):
            folder.write_record(record_of("choice", family, number, level * (0.93 + 0.01 * number), seconds=seconds))
        for number in range(seeds if finals else 0):
            noise = float(np.exp(0.02 * rng.normal()))
            folder.write_record(record_of("final", family, number, level * noise, seconds=seconds))
            folder.write_record(record_of("default", family, number, 1.5 * level * noise, seconds=seconds))
    for name, fid in (("floor", 9.5), ("gaussian", 165.0)):
        folder.write_record(record_of("reference", name, 0, fid, seconds=seconds, undefined={}))
        elsewhere: dict[str, Any] = {"split": "validation", "undefined": {}}
        folder.write_record(record_of("reference", name, 1, 2 * fid, **elsewhere))
    evaluators = [{"role": "primary", "name": "convolutional", "fingerprint": "f00d", "accuracy": 0.978}]
    folder.write_json("evaluators.json", evaluators)
    content = {
        "state": "finished" if finals else "running",
        "started": f"at {seconds}",
        "data": {"name": "digits", "kind": "image", "shape": [1, 8, 8], "source": "UCI", "licence": "CC BY 4.0"},
        "families": {f: {"summary": f"About {f}."} for f in LEVELS},
        "skipped": {"lstm": "takes sequences"},
    }
    folder.write_json("comparison.json", content)
    return folder


class Page(HTMLParser):
    """Collects the attributes that load something, and the text outside scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._silent = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._silent += tag in ("script", "style")
        self.loads += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "action", "data", "poster")]

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.text += data
