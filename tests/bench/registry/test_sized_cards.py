"""Families' cards for a data set, as a study has them: what is stated for its size, scaled, then changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gentune.bench import registry
from gentune.bench.data import DataRef, describe_data, open_data
from gentune.bench.errors import UsageError
from gentune.bench.registry import cards_of, size_of
from gentune.bench.runs.run_folder import RecordFolder
from gentune.bench.trial.execution import run_trial
from gentune.bench.trial.jobs import TrialJob
from gentune.models import DataSpec
from gentune.search_spaces import DataSize

PATCHES = DataRef.of("photo_patches", size=16)


def test_what_of_a_data_set_sizes_follow(tmp_path: Path) -> None:
    assert size_of(describe_data(PATCHES)) == size_of(open_data(PATCHES).spec) == DataSize("image", 16.0, 3_528)
    assert size_of(DataSpec("wide", "image", (3, 8, 18), levels=2)) == DataSize("image", 12.0)
    assert size_of(describe_data(DataRef("diabetes"))) == DataSize("vector", 11.0, 265)
    text = tmp_path / "lines.csv"
    text.write_text("a,b\n" + "".join(f"{i},{i * i % 7}\n" for i in range(100)), encoding="utf-8")
    for options, examples in (({}, 60), ({"subset": 50, "split": (0.4, 0.3, 0.3)}, 20)):
        ref = DataRef.of("table", path=str(text), **options)
        assert describe_data(ref).examples == open_data(ref).spec.examples == examples


@pytest.mark.parametrize("name", ["digits", "wine", "sprites"])
def test_described_numbers_are_those_of_the_split(name: str) -> None:
    assert describe_data(DataRef(name)).examples == len(open_data(DataRef(name)).splits["train"])


def test_changes_are_laid_over_the_sized_and_scaled_card() -> None:
    spec = describe_data(PATCHES)
    own, quarter = (cards_of(["gan"], spec, scale=scale)["gan"].card for scale in (1.0, 0.25))
    high, beyond = own.space["width"].high, quarter.space["width"].high
    assert high is not None and beyond == round(high / 2)
    with pytest.raises(UsageError, match=r"space\.gan\.width: parameter 'width' has a default out of range"):
        cards_of(["gan"], spec, {"gan": {"width": {"default": int(high)}}}, 0.25)
    changed = cards_of(["gan"], spec, {"gan": {"width": {"fix": 9}}}, 0.25)["gan"]
    assert changed.card.space["width"].default == 9, "what a study says is not scaled"
    assert changed.card.full_steps(size_of(spec)) == quarter.full_steps(size_of(spec))


def test_a_trial_takes_the_steps_of_its_card(
    tiny_plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gentune.bench.protocol.SAMPLES", 20)
    registry.load_plugin(tiny_plugin)
    spec, steps = describe_data(DataRef("two_moons")), []
    for scale in (1.0, 0.5):
        card = cards_of(["tiny"], spec, scale=scale)["tiny"].card
        family = registry.family("tiny").resolved([str(tiny_plugin)], card)
        where = {"cache": str(tmp_path / "cache"), "lean": True}
        job = TrialJob("trial", family, 0, 1, "validation", DataRef("two_moons"), {}, ("nll",), **where)  # type: ignore[arg-type]
        folder = RecordFolder(tmp_path / str(scale))
        record = run_trial(job, folder)
        lines = folder.artifact("trials", record.name, "history.jsonl").read_text(encoding="utf-8").splitlines()
        steps.append(json.loads(lines[-1])["step"])
    assert steps == [20, 10]
