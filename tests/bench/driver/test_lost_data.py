"""Runs whose data are gone: a finished one is still read, another one names what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from gentune.bench.driver.run_setup import describe, drive
from gentune.bench.errors import UsageError
from gentune.bench.runs.run_folder import RunFolder


class Notes(list[str]):
    """Remembers what was said."""

    def say(self, line: str) -> None:
        self.append(line)

    def update(self) -> None:
        """Nobody looks."""


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run on a table that has been removed since."""
    table = tmp_path / "table.csv"
    table.write_text("a,b\n" + "\n".join(f"{i},{i % 7}" for i in range(100)))
    config = describe(None, {"data": str(table), "families": "gaussian", "trainings": 1})
    made = RunFolder.create_or_match(tmp_path / "run", config)
    table.unlink()
    return made


def test_a_finished_run_needs_its_data_no_more(folder: RunFolder) -> None:
    folder.write_json("comparison.json", {"state": "finished", "seeds": folder.study.seeds})
    told = Notes()
    drive(folder, {}, told)
    assert len(told) == 1 and f"{folder.path} is finished" in told[0]


@pytest.mark.parametrize("changes", [{}, {"seeds": 9}])
def test_one_that_has_to_go_on_names_the_file(folder: RunFolder, changes: dict[str, int]) -> None:
    folder.write_json("comparison.json", {"state": "finished" if changes else "interrupted"})
    with pytest.raises(UsageError, match=r"^[^\n]*table\.csv[^\n]*$"):
        drive(folder, changes, Notes())
    assert folder.study_path.is_file(), "nothing is lost"
