"""Whole comparisons through evaluators that a study names: of sequences, which have none by default, and of a table."""

from __future__ import annotations

from pathlib import Path

import pytest

import gentune
from gentune.bench import registry
from gentune.bench.errors import UsageError

registry.load_plugin(Path(__file__).parents[2] / "plugins" / "chain.py")
SMALL = {"trainings": 1, "seeds": 1, "choice_seeds": 0, "final_samples": 50, "executor": "in_process"}


@pytest.mark.slow
def test_sequences_are_compared_by_their_ngrams(tmp_path: Path) -> None:
    run = gentune.compare(
        data="chain",
        families="bigram",
        evaluators="ngrams",
        objective="mmd,bits_per_token",
        out=tmp_path / "run",
        **SMALL,
    )
    (evaluator,) = run.leaderboard["evaluators"]
    assert (evaluator["role"], evaluator["name"], evaluator["quality"]) == ("primary", "ngrams", None)
    assert {r.reason for r in run.folder.records()} == {None}
    (row,) = run.leaderboard["rows"]
    assert abs(row["metrics"]["mmd"]["value"]) < 0.05  # a bigram model of a chain of the first order
    assert row["metrics"]["coverage"]["value"] > 0.5
    floors = [r for r in run.folder.records("reference") if r.family == "floor"]
    assert {r.split for r in floors} == {"validation", "test"}
    assert all("mmd" in r.metrics for r in floors)
    (final,) = run.folder.records("final")
    assert final.evaluators["primary"]["name"] == "ngrams"
    assert not final.second_metrics
    page = (run.path / "report" / "index.html").read_text(encoding="utf-8")
    assert "ngrams" in page and "The second evaluator is" not in page


@pytest.mark.slow
def test_a_table_is_seen_through_a_network_of_its_own(tmp_path: Path) -> None:
    run = gentune.compare(
        data="iris",
        families="gaussian",
        evaluators=["perceptron", "raw"],
        out=tmp_path / "run",
        **SMALL,
    )
    assert run.leaderboard["objective"] == ["mmd"]
    first, second = run.leaderboard["evaluators"]
    assert first["quality"]["task"] == "classes"
    assert first["quality"]["value"] > 0.8
    assert first["weights"]["source"] == "the train split" and len(first["weights"]["sha256"]) == 64
    assert (second["name"], second["quality"], second["weights"]) == ("raw", None, None)
    (final,) = run.folder.records("final")
    assert {"mmd"} <= set(final.metrics) & set(final.second_metrics)
    assert final.metrics["mmd"] != final.second_metrics["mmd"]
    assert "accuracy" in (run.path / "report" / "index.html").read_text(encoding="utf-8")
    assert run.folder.study.evaluators == ("perceptron", "raw")
    with pytest.raises(UsageError, match="evaluators"):
        gentune.compare(data="iris", families="gaussian", out=tmp_path / "run", **SMALL)
