"""The Optuna store next to the records."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import optuna
import pytest

from gentune.bench.runs.optuna_store import OptunaStore


def test_a_file_whose_making_is_cut_off_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the moment when tables are there and an index is not, a study could be entered twice, and read never again."""
    url = f"sqlite:///{tmp_path / 'store.db'}"

    def cut_off(to: str) -> None:
        with sqlite3.connect(to.removeprefix("sqlite:///")) as file:
            file.execute("CREATE TABLE studies (study_id INTEGER PRIMARY KEY, study_name VARCHAR(512) NOT NULL)")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(optuna.storages, "RDBStorage", cut_off)
        with pytest.raises(KeyboardInterrupt):
            OptunaStore(url)
    assert not (tmp_path / "store.db").exists()

    for _ in range(2):
        OptunaStore(url).open("one", ["lower"])
    assert optuna.get_all_study_names(url) == ["one"]
    assert [path.name for path in tmp_path.iterdir()] == ["store.db"]
