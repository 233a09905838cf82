"""A whole comparison on sequences: no evaluator; tuned and ranked by bits per token; n-grams are the yardstick."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import gentune
from gentune.bench import registry
from gentune.bench.commands.cli import main
from gentune.bench.data import (
    DataReader,
    DataRef,
    DataSet,
    add_reader,
    describe_data,
    load,
    remove_reader,
)
from gentune.bench.driver.job_factory import REFERENCE_FAMILIES
from gentune.bench.evaluators import evaluators_for
from gentune.bench.registry.families import _registered as registered
from gentune.bench.runs.run_folder import RunFolder
from gentune.bench.runs.study_file import StudyFile
from gentune.bench.trial.floors import run_floor
from gentune.bench.trial.jobs import FloorJob
from gentune.models import DataSpec
from gentune.reports.leaderboard import build_leaderboard
from gentune.testing import FamilyContract

PLUGIN = Path(__file__).parents[2] / "plugins" / "chain.py"
registry.load_plugin(PLUGIN)


def command(*arguments: str) -> int:
    """A command's exit code."""
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    return int(exit_info.value.code or 0)


def chain() -> ModuleType:
    return sys.modules[registry.family("bigram").load().__module__]


class TestBigram(FamilyContract):
    card = registry.family("bigram").require_card()
    family = registry.family("bigram").load()


@pytest.fixture(scope="module", params=[pytest.param("whole comparison", marks=pytest.mark.slow)])
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[gentune.api.Run]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENTUNE_CACHE_GIB", "0")
        for other in set(registered) - {"bigram"}:  # plug-ins of other tests in this process
            patch.delitem(registered, other)
        yield gentune.compare(
            data="chain",
            families="bigram",
            trainings=2,
            seeds=2,
            choice_seeds=1,
            out=tmp_path_factory.mktemp("sequences") / "run",
        )


def bits_per_token_of_the_chain() -> float:
    """The expected bits of a sequence over its expected tokens: its length, the first from the stationary law, then the
    chain."""
    pi, P = chain().stationary(), chain().TRANSITIONS
    first = -float(pi @ np.log2(pi))
    rate = -float(pi @ np.where(P > 0, P * np.log2(np.where(P > 0, P, 1.0)), 0.0).sum(1))
    length = (chain().SHORTEST + chain().LONGEST) / 2
    of_length = math.log2(chain().LONGEST + 1 - chain().SHORTEST)
    return (of_length + first + (length - 1) * rate) / length


def test_bits_per_token_is_what_is_tuned_and_close_to_the_entropy(run: gentune.api.Run) -> None:
    assert run.folder.study.objective == ("bits_per_token",)
    assert list(run.folder.study.families) == ["bigram"]
    records = run.folder.records("trial") + run.folder.records("final")
    assert len(records) >= 4
    assert {r.state for r in records} == {"complete"}
    assert all(r.objectives == (r.metrics["bits_per_token"]["value"],) for r in records)
    finals = [r.metrics["bits_per_token"]["value"] for r in run.folder.records("final")]
    assert finals == pytest.approx([bits_per_token_of_the_chain()] * len(finals), rel=0.03)


def test_padding_is_no_token(run: gentune.api.Run) -> None:
    """The bits of a final are shared among its tokens alone, however long the padding is."""
    model, test = run.model("bigram"), load("chain").splits["test"].all()
    log_prob = model.log_likelihood(test).log_prob.double()  # type: ignore[operator]
    tokens = int((test.x != chain().PADDING).sum())
    first = next(r for r in run.folder.records("final") if r.number == 0)
    assert first.metrics["bits_per_token"]["value"] == pytest.approx(-float(log_prob.sum()) / math.log(2) / tokens)
    samples = model.sample(100, generator=torch.Generator().manual_seed(0))
    assert int(model.data.mask_of(samples).sum(1).min()) >= chain().SHORTEST


def test_there_is_no_evaluator_and_what_needs_one_says_so(run: gentune.api.Run) -> None:
    assert evaluators_for(load("chain")) == ()
    assert run.folder.read_json("evaluators.json") == []
    for record in run.folder.records():
        assert record.evaluators == {}
        assert record.second_metrics == {}
    (final, *_) = run.folder.records("final")
    assert "evaluator" in final.undefined["fid"] and "sequence" in final.undefined["fid"]
    assert "evaluator" in final.undefined["recall"]
    assert final.metrics["parameters"]["value"] == 30  # 6 x 5


def test_real_sequences_and_ngrams_have_rows(run: gentune.api.Run) -> None:
    floor, ngram = run.leaderboard["references"]
    assert (floor["name"], ngram["name"]) == ("floor", "ngram")
    assert set(floor["metrics"]) >= {"ngram_mmd", "distinct_n", "repetition", "copied_span"}
    for metric in ("ngram_mmd", "distinct_n", "repetition", "copied_span"):
        assert "value" in floor["metrics"][metric]
    assert abs(floor["metrics"]["ngram_mmd"]["value"]) < 0.01
    entropy = bits_per_token_of_the_chain()
    assert entropy < ngram["metrics"]["bits_per_token"]["value"] < 1.1 * entropy, "four tokens back are too many for it"
    assert "grammar" in run.folder.records("final")[0].undefined["grammaticality"]


def test_the_report_shows_samples_as_tokens(run: gentune.api.Run) -> None:
    page = (run.path / "report" / "index.html").read_text(encoding="utf-8")
    shown = page.split('<section id="samples">')[1].split("</section>")[0]
    assert shown.count('<ol class="texts"') == 3  # real examples, the family, n-grams
    assert page.count("ngram (dashed)") == 1, "real sequences have no bits per token, hence no line"
    first = load("chain").splits["test"].x[:1][0].tolist()
    assert f"<pre>{' '.join(str(token) for token in first if token != chain().PADDING)}</pre>" in shown


def test_the_report_and_the_leaderboard_read_well(run: gentune.api.Run) -> None:
    report = run.path / "report"
    page = (report / "index.html").read_text(encoding="utf-8")
    text = page.split("<script")[0] + page.rsplit("</script>", 1)[1]
    assert "No evaluator" in page
    assert "bits_per_token" in text or "bits/token" in page
    for absent in ("One Gaussian", "The second evaluator is", "Traceback"):
        assert absent not in page
    assert run.leaderboard["evaluators"] == []
    (row,) = run.leaderboard["rows"]
    assert row["rank"] == 1
    assert row["metrics"]["bits_per_token"]["value"] == pytest.approx(bits_per_token_of_the_chain(), rel=0.03)
    for form in ("md", "csv", "tex"):
        assert "bigram" in (report / f"leaderboard.{form}").read_text(encoding="utf-8")


def test_commands_read_the_run(run: gentune.api.Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("export", str(run.path), "--json") == 0
    exported = json.loads(capsys.readouterr().out)
    assert all(math.isfinite(t["metrics"]["bits_per_token"]["value"]) for t in exported["trials"])
    assert command("status", str(run.path)) == 0
    assert "bits_per_token" in capsys.readouterr().out
    assert command("resume", str(run.path)) == 0
    assert command("latent", str(run.path), "--family", "bigram") == 2
    assert "has no codes" in capsys.readouterr().err


def test_samples_from_elsewhere_are_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "samples.npy", np.zeros((8, 12), dtype=np.int64))
    assert command("evaluate", str(tmp_path / "samples.npy"), "--data", "chain") == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines == ["gentune: data 'chain' is sequence; samples of images and vectors can be scored"]


class Unseen(DataReader):
    """The two moons, at which no evaluator looks."""

    name = "unseen_moons"

    def describe(self) -> DataSpec:
        return replace(describe_data(DataRef("two_moons")), name=self.name, evaluators=False)

    def read(self, spec: DataSpec) -> DataSet:
        moons = load("two_moons")
        return replace(moons, spec=replace(moons.spec, name=self.name, evaluators=False))


@pytest.fixture
def unseen() -> Iterator[str]:
    add_reader(Unseen())
    yield Unseen.name
    remove_reader(Unseen.name)


def test_readers_may_say_that_no_evaluator_looks_at_their_data(
    unseen: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluators_for(load("two_moons")) == ("raw", "random_projection")
    assert evaluators_for(load(unseen)) == ()
    np.save(tmp_path / "samples.npy", np.zeros((8, 2), dtype=np.float32))
    assert command("evaluate", str(tmp_path / "samples.npy"), "--data", unseen) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"gentune: data '{unseen}' has no feature evaluator; --evaluator takes, say, ")


def test_objectives_that_need_an_evaluator_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "run")
    study = ("compare", "--data", "chain", "--families", "bigram", "--trainings", "1", "--out", out)
    assert command(*study, "--objective", "mmd") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line == (
        "gentune: metric 'mmd' needs a feature evaluator, and sequence data 'chain' has none; "
        "wanted another objective, such as bits_per_token"
    )
    assert not Path(out).exists()


def test_the_default_objective_is_one_that_the_data_have() -> None:
    specs = [describe_data(DataRef(name)) for name in ("digits", "two_moons", "chain")]
    assert [registry.default_objective(spec) for spec in specs] == ["fid", "mmd", "bits_per_token"]
    unseen = [registry.default_objective(replace(spec, evaluators=False)) for spec in specs]
    assert unseen == ["bits_per_dim", "nll", "bits_per_token"]


def test_a_floor_without_an_evaluator_has_no_empty_row(unseen: str, tmp_path: Path) -> None:
    folder = RunFolder.create_or_match(
        tmp_path / "run",
        StudyFile(data=DataRef(unseen), families=("gaussian",), trainings=1, objective=("nll",)),
    )
    floor = run_floor(FloorJob(DataRef(unseen), "test", "validation", "", samples=100), folder)
    assert not floor.metrics
    assert "evaluator" in floor.undefined["mmd"]
    assert build_leaderboard(folder).content["references"] == []


@pytest.mark.parametrize("kind", ["image", "vector", "sequence"])
def test_reference_families_are_of_their_kind_of_data(kind: str) -> None:
    for name in REFERENCE_FAMILIES[kind]:  # type: ignore[index]
        assert kind in registry.family(name).require_card().kinds
