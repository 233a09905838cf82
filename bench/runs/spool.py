"""Deliveries: the results of a job on their way from its worker to the run folder, which only the driver writes.

A worker writes into an outbox, a hidden folder in the run's spool. A finished outbox gets a manifest and its job's
name, and waits there until the driver has adopted it, even if worker or driver end. Read and written without torch.

spool/NAME/delivery.json  records/  artifacts/  log/
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..files import write_atomically
from .records import Record
from .run_folder import RecordFolder, RunFolder

_MANIFEST = "delivery.json"


class DamagedDeliveryError(Exception):
    """A delivery differs from its manifest; the message says how."""


@dataclass(frozen=True)
class Delivery:
    """What a finished job has left, in a folder on the driver's machine.

    name: of the job. folder: with records, artifacts and logs, as a run folder has them.
    records: in the order in which they are written; the last one is the job's own.
    """

    name: str
    folder: Path
    records: tuple[Record, ...]

    @property
    def record(self) -> Record:
        """The job's own record."""
        return self.records[-1]


class Outbox(RecordFolder):
    """Takes what a job writes while it runs.

    spool: the folder of a run's deliveries. name: of the job.
    """

    def __init__(self, spool: Path, name: str) -> None:
        spool.mkdir(parents=True, exist_ok=True)
        super().__init__(tempfile.mkdtemp(prefix=f".{name}-", dir=spool))
        self._name, self._place = name, spool / name
        self._records: list[Record] = []

    def write_record(self, record: Record) -> None:
        """Writes a record; the job's own comes last."""
        super().write_record(record)
        self._records.append(record)

    def close(self) -> Delivery:
        """Makes a delivery of it, whole or not at all; one of an earlier attempt gives way."""
        manifest = {
            "name": self._name,
            "records": [record.name for record in self._records],
            "files": {str(path.relative_to(self.path)): _hash(path) for path in _files(self.path)},
        }
        write_atomically(self.path / _MANIFEST, json.dumps(manifest, indent=1) + "\n")
        remove(self._place)
        self.path.replace(self._place)
        return Delivery(self._name, self._place, tuple(self._records))

    def discard(self) -> None:
        """Forgets what the job has written."""
        remove(self.path)


def read_delivery(folder: Path) -> Delivery:
    """A delivery as it lies in a spool. Raises DamagedDeliveryError if a file is missing, changed or unexpected."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        found = {str(path.relative_to(folder)): _hash(path) for path in _files(folder)}
        if found != manifest["files"] or manifest["name"] != folder.name or not manifest["records"]:
            raise DamagedDeliveryError("its files are not those of its manifest")
        texts = ((folder / "records" / f"{name}.json").read_text(encoding="utf-8") for name in manifest["records"])
        return Delivery(folder.name, folder, tuple(Record.from_json(text, folder.name) for text in texts))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedDeliveryError(f"{type(error).__name__}: {error}") from error


def deliveries(spool: Path, say: Callable[[str], None]) -> list[Delivery]:
    """The whole deliveries in a spool, by name; what is unfinished or damaged is removed.

    say: called with a line for each damaged one. No job may be running.
    """
    found = []
    for folder in sorted(spool.iterdir()) if spool.is_dir() else ():
        if folder.name.startswith("."):
            remove(folder)  # of a worker that was ended in the middle of its job
            continue
        try:
            found.append(read_delivery(folder))
        except DamagedDeliveryError as error:
            say(f"{folder.name}: the delivery that a worker left is damaged and was removed ({error})")
            remove(folder)
    return found


def adopt(delivery: Delivery, folder: RunFolder) -> None:
    """Writes a delivery into a run folder: artifacts and logs first, then the records, each file atomically.

    The delivery stays as it is, so that an interrupted adoption can be done again.
    """
    for path in _files(delivery.folder):
        relative = path.relative_to(delivery.folder)
        if relative.parts[0] != folder.records_path.name:
            write_atomically(folder.path / relative, path.read_bytes())
    for record in delivery.records:
        folder.write_record(record)


def remove(folder: Path) -> None:
    """Removes a folder of a spool, if it is there."""
    if folder.is_dir():
        shutil.rmtree(folder)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != _MANIFEST)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
