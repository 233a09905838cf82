"""Whole comparisons on data conditioned on images and on texts, with families that require or merely take them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
import torch

import gentune
from gentune.bench import registry
from gentune.bench.commands.listing import list_data
from gentune.bench.data import add_reader, data_specs, load, remove_reader
from gentune.bench.driver.comparison import ComparisonDriver
from gentune.bench.driver.run_setup import describe
from gentune.bench.errors import UsageError
from gentune.bench.evaluators import library
from gentune.bench.runs.run_folder import RunFolder
from gentune.bench.scheduling import IN_PROCESS, Executor, ExecutorSettings, executor
from gentune.bench.scoring.conditions import asked_conditions
from gentune.bench.scoring.sampling import draw_samples
from gentune.bench.training.checkpoints import load_model
from gentune.models import Batch
from gentune.reports.page import write_report
from gentune.search_spaces.card import parse_card
from gentune.testing import FamilyContract

FAMILIES = {"inverted": ("inverter", "optional_inverter"), "worded": ("worded", "optional_worded")}
KINDS = {"inverted": "image", "worded": "text"}


def _toy(name: str) -> ModuleType:
    """A module of tests/toys, loaded once."""
    module = f"toy_{name}"
    if module not in sys.modules:
        spec = spec_from_file_location(module, Path(__file__).parents[2] / "toys" / f"{name}.py")
        assert spec is not None and spec.loader is not None
        sys.modules[module] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[module])
    return sys.modules[module]


TOYS = {name: _toy(name) for name in FAMILIES}


class _Run(ComparisonDriver):
    """A comparison in this process."""

    def _executor(self) -> Executor:
        return executor(IN_PROCESS).start(ExecutorSettings(self._spool, say=self._say))


@pytest.fixture(scope="module", autouse=True)
def known() -> Iterator[None]:
    """The toys' data and families, by name; evaluators are trained briefly."""
    for toy in TOYS.values():
        add_reader(toy.Reader())
        for family, card in toy.CARDS.items():
            gentune.register(family, card)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "_FEWEST_STEPS", 30)
        yield
    for name in TOYS:
        remove_reader(name)


@pytest.fixture(scope="module", params=["worded", pytest.param("inverted", marks=pytest.mark.slow)])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    name = request.param
    options = {
        "data": name,
        "families": list(FAMILIES[name]),
        "trainings": 1,
        "seeds": 1,
        "choice_seeds": 1,
    }
    folder = RunFolder.create_or_match(tmp_path_factory.mktemp(name) / "run", describe(None, options))
    _Run(folder).run()
    return folder


def test_every_record_is_complete(finished: RunFolder) -> None:
    reasons = {record.name: record.reason for record in finished.records() if record.state != "complete"}
    assert not reasons
    assert {record.family for record in finished.records("final")} == set(FAMILIES[finished.study.data.reader])


def test_samples_are_drawn_for_the_conditions(finished: RunFolder) -> None:
    data = load(finished.study.data.reader)
    test = data.splits["test"].all()
    for family in FAMILIES[data.spec.name]:
        model, _ = load_model(next(finished.artifact("models").glob(f"final-{family}-*")))
        asked = asked_conditions(data, "test", len(test), seed=1)
        drawn = draw_samples(model, len(test), asked, settings={}, seed=0)
        assert asked is not None and test.condition is not None
        assert torch.equal(asked, test.condition) and drawn.labels is None
        error, at_random = ((x - test.x).square().mean() for x in (drawn.x, test.x.roll(1, 0)))
        assert error < 0.3 * at_random


def test_what_needs_labels_is_undefined_with_the_reason(finished: RunFolder) -> None:
    (record, *_) = finished.records("final")
    assert record.undefined["condition_accuracy"].endswith("class conditions")
    assert not list(finished.artifact("classes").glob("*"))


def test_a_family_that_requires_its_condition_has_a_likelihood_given_it(finished: RunFolder) -> None:
    records = {record.family: record for record in finished.records("final")}
    if "worded" not in records:
        assert all(record.undefined["nll"] == "needs a likelihood" for record in records.values())
        return
    given, marginal = records["worded"], records["optional_worded"]
    assert given.likelihood == {"kind": "exact", "samples": None, "given": "text"}
    assert marginal.likelihood == {"kind": "exact", "samples": None}
    # Normal around a mean that is known: a deviation of 0.2 is told by 40 steps, and four places are not.
    figures = [record.metrics["nll"]["value"] or 0.0 for record in (given, marginal)]
    assert figures[0] < 0.5 < 2.5 < figures[1]
    assert given.undefined["outlier_auroc"].startswith("needs a likelihood")
    assert "outlier_auroc" in marginal.metrics
    assert finished.read_json(f"outliers/{marginal.name}.json") is not None
    assert finished.read_json(f"outliers/{given.name}.json") is None


def test_the_report_is_written_and_names_who_was_left_out(finished: RunFolder) -> None:
    page = write_report(finished)
    kind = KINDS[finished.study.data.reader]
    text = page.read_text()
    assert {"image": "each with an image as its condition", "text": "each with a text"}[kind] in text
    assert ("exact, given the text" in text) == (kind == "text")
    board = json.loads((finished.report_path / "leaderboard.json").read_text())
    assert {row["family"] for row in board["rows"]} == set(FAMILIES[finished.study.data.reader])
    spec = data_specs()[finished.study.data.reader]
    fitting = registry.families_for(["all"], spec)[0]
    left_out = registry.left_out(fitting, finished.study.objective, spec)
    asked_for_all = set(fitting) == set(finished.study.families)
    assert board["skipped"] == (left_out if asked_for_all else {})
    assert left_out["gaussian"] == f"takes no conditions, and the data have {kind} conditions"
    assert left_out["cgan"] == f"takes label conditions, and the data have {kind} conditions"


def test_a_family_that_does_not_fit_is_refused_by_name() -> None:
    wanted = "family 'gaussian' does not fit data 'worded': it takes no conditions, and the data have text conditions"
    with pytest.raises(UsageError, match=wanted):
        registry.families_for(["gaussian"], data_specs()["worded"])
    with pytest.raises(UsageError, match="it requires text conditions, and the data have no conditions"):
        registry.families_for(["worded"], data_specs()["two_moons"])
    assert registry.families_for(["optional_worded"], data_specs()["two_moons"]) == (["optional_worded"], {})


def test_conditions_do_not_count_as_classes_in_listings() -> None:
    rows = {row["name"]: row["classes"] for row in list_data()}
    assert (rows["digits"], rows["inverted"], rows["worded"]) == (10, 0, 0)


for _toy_name, _module in TOYS.items():
    for _family, _text in _module.CARDS.items():
        _title = f"Test{_family.__name__}"
        _contents = {"card": parse_card(_text, f"{_toy_name}.py"), "family": _family, "__module__": __name__}
        globals()[_title] = type(_title, (FamilyContract,), _contents)


def test_labels_are_told_by_their_shape() -> None:
    x = torch.zeros(3, 2)
    assert Batch(x).labels is None
    assert Batch(x, torch.zeros(3, 2, dtype=torch.int64)).labels is None  # a text
    assert Batch(x, torch.zeros(3, 1, 8, 8)).labels is None
    labels = torch.tensor([0, 1, 2])
    assert Batch(x, labels).labels is labels
