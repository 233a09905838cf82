"""What a job leaves, on its way to the run folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from gentune.bench.runs.records import Record
from gentune.bench.runs.run_folder import RunFolder
from gentune.bench.runs.spool import DamagedDeliveryError, Delivery, Outbox, adopt, deliveries, read_delivery

FIRST = Record("reference", "png", 0, 0, "test", "complete", {})
LAST = Record("reference", "floor", 0, 0, "test", "complete", {})


def delivered(spool: Path) -> Delivery:
    outbox = Outbox(spool, LAST.name)
    outbox.write_json("classes/a.json", {"b": 1})
    outbox.write_record(FIRST)
    outbox.write_record(LAST)
    return outbox.close()


def test_a_delivery_is_adopted_as_it_was_written(tmp_path: Path) -> None:
    spool, folder = tmp_path / "spool", RunFolder(tmp_path / "run")
    delivery = delivered(spool)
    assert read_delivery(delivery.folder) == delivery
    assert delivery.record == LAST
    for _ in range(2):  # an interrupted adoption is done again
        adopt(delivery, folder)
        assert folder.records() == [LAST, FIRST]
        assert folder.read_json("classes/a.json") == {"b": 1}
    assert sorted(path.name for path in folder.path.iterdir()) == ["artifacts", "records"]


def test_records_come_after_artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path / "run")
    delivery = delivered(tmp_path / "spool")
    (delivery.folder / "artifacts" / "classes" / "a.json").unlink()
    (delivery.folder / "artifacts" / "classes" / "a.json").symlink_to(tmp_path)  # cannot be read
    monkeypatch.setattr("gentune.bench.runs.spool._files", lambda at: [at / "artifacts" / "classes" / "a.json"])
    with pytest.raises(OSError):
        adopt(delivery, folder)
    assert folder.records() == []


def test_an_attempt_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    first, second = delivered(tmp_path), delivered(tmp_path)
    assert first == second
    assert [path.name for path in tmp_path.iterdir()] == [LAST.name]


@pytest.mark.parametrize("damage", ["changed", "missing", "added", "no manifest", "no record"])
def test_what_is_damaged_or_unfinished_is_removed_with_a_line(tmp_path: Path, damage: str) -> None:
    delivery = delivered(tmp_path)
    record = delivery.folder / "records" / f"{LAST.name}.json"
    if damage == "changed":
        record.write_text(record.read_text().replace("floor", "roof"))
    elif damage == "missing":
        (delivery.folder / "artifacts" / "classes" / "a.json").unlink()
    elif damage == "added":
        (delivery.folder / "artifacts" / "b.json").write_text("{}")
    elif damage == "no manifest":
        (delivery.folder / "delivery.json").unlink()
    else:
        Outbox(tmp_path, LAST.name).close()
    Outbox(tmp_path, "unfinished").write_record(FIRST)
    with pytest.raises(DamagedDeliveryError):
        read_delivery(delivery.folder)
    said: list[str] = []
    assert deliveries(tmp_path, said.append) == []
    assert len(said) == 1 and said[0].startswith(f"{LAST.name}: the delivery that a worker left is damaged")
    assert list(tmp_path.iterdir()) == []
    assert deliveries(tmp_path / "nowhere", said.append) == []
