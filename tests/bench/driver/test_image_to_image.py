"""Whole comparisons of families of images from images: tuning with two speeds, finals, and the report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gentune.bench import registry
from gentune.bench.data import describe_data, locate
from gentune.bench.driver.comparison import ComparisonDriver
from gentune.bench.driver.run_setup import describe
from gentune.bench.errors import UsageError
from gentune.bench.evaluators import library
from gentune.bench.runs.run_folder import RunFolder
from gentune.bench.scheduling import IN_PROCESS, Executor, ExecutorSettings, executor
from gentune.reports.page import write_report

TASKS = {"super_resolution": ("ddpm", "flow_matching", "pix2pix", "srgan"), "rotated": ("cyclegan",)}
YARDSTICKS = {"super_resolution": "bicubic", "rotated": "untranslated"}


class _Run(ComparisonDriver):
    """A comparison in this process."""

    def _executor(self) -> Executor:
        return executor(IN_PROCESS).start(ExecutorSettings(self._spool, say=self._say))


@pytest.fixture(scope="module", params=TASKS)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunFolder]:
    """A short comparison on 100 small images with two classes."""
    folder = tmp_path_factory.mktemp(request.param)
    drawn = np.random.default_rng(0)
    labels = np.arange(100) % 2
    shade = drawn.integers(60, 200, (100, 2, 2)).repeat(4, 1).repeat(4, 2)
    x = np.clip(shade + 50 * labels[:, None, None] + drawn.integers(-20, 20, (100, 8, 8)), 0, 255).astype(np.uint8)
    np.savez(folder / "squares.npz", samples=x, labels=labels)
    options = {
        "data": f"{request.param}:{folder / 'squares.npz'}",
        "families": list(TASKS[request.param]),
        "trainings": 2,
        "two_speeds": True,
        "size": 0.05,
        "seeds": 1,
        "choice_seeds": 1,
        "final_samples": 40,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "_FEWEST_STEPS", 30)
        run = RunFolder.create_or_match(folder / "run", describe(None, options))
        _Run(run).run()
        yield run


@pytest.mark.slow
def test_a_comparison_ends_with_finals_and_a_report(finished: RunFolder) -> None:
    (task,) = (name for name in TASKS if finished.study.data.reader == name)
    finals = {record.family: record for record in finished.records("final")}
    assert set(finals) == set(TASKS[task])
    reasons = {record.name: record.reason for record in finals.values() if record.state != "complete"}
    assert not reasons
    text = write_report(finished).read_text()
    assert "Below each condition stand its target" in text
    board = json.loads((finished.report_path / "leaderboard.json").read_text())
    references = {row["name"]: row["metrics"] for row in board["references"]}
    measured = "psnr" if task == "super_resolution" else "condition_accuracy"
    assert "value" in references[YARDSTICKS[task]][measured]
    assert all("value" in row["metrics"][measured] for row in board["rows"])
    for record in finals.values():
        assert Path(finished.artifact("samples", f"{record.name}.png")).is_file()


def test_families_that_need_pairs_or_images_are_refused_elsewhere() -> None:
    unpaired = describe_data(locate("rotated:digits"))
    wanted = "family 'pix2pix' does not fit data 'rotated-digits': it needs pairs, and the data are unpaired"
    with pytest.raises(UsageError, match=wanted):
        registry.families_for(["pix2pix"], unpaired)
    assert registry.families_for(["all"], unpaired)[0] == ["cyclegan"]
    for name, task, reason in (
        ("gan", "inpainting:digits", "takes no conditions, and the data have image conditions"),
        ("srgan", "digits", "requires image conditions, and the data have label conditions"),
    ):
        with pytest.raises(UsageError, match=reason):
            registry.families_for([name], describe_data(locate(task)))
