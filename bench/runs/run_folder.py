"""A run's folder: the frozen study, records and artifacts. Read and written without torch.

study.toml  records/  store.db  artifacts/  log/  report/  lock
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..files import write_atomically
from .constraints import Constraint, constraints_in_force
from .lock import RunLock
from .records import Record, Role
from .study_file import StudyFile
from .study_options import first_difference, parse_study, read_study


class RecordFolder:
    """Records, artifacts and logs: of a run, or of one job on their way to a run."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @property
    def records_path(self) -> Path:
        return self.path / "records"

    @property
    def artifacts_path(self) -> Path:
        return self.path / "artifacts"

    @property
    def log_path(self) -> Path:
        return self.path / "log"

    def artifact(self, *parts: str) -> Path:
        """The path of an artifact, whether or not it is there."""
        return self.artifacts_path.joinpath(*parts)

    def write_record(self, record: Record) -> None:
        """Writes or replaces a record, atomically."""
        write_atomically(self.records_path / f"{record.name}.json", record.to_json())

    def remove_record(self, record: Record) -> None:
        """Removes a record, where it is there."""
        (self.records_path / f"{record.name}.json").unlink(missing_ok=True)

    def write_json(self, relative: str, content: Any) -> None:
        """Writes a JSON artifact, atomically."""
        write_atomically(self.artifacts_path / relative, json.dumps(content, indent=1, allow_nan=False) + "\n")


class RunFolder(RecordFolder):
    """One run on the disk. Reading needs no lock; only the lock's owner writes."""

    @classmethod
    def open(cls, path: Path | str) -> RunFolder:
        """An existing run. Raises UsageError where there is none."""
        folder = cls(path)
        if not folder.study_path.is_file():
            what = "is no run folder (it holds no study.toml)" if folder.path.is_dir() else "is not there"
            raise UsageError(f"{path} {what}")
        return folder

    @classmethod
    def create_or_match(cls, path: Path | str, study: StudyFile) -> RunFolder:
        """A new run with `study` frozen in it, or an existing one of the same study.

        Raises UsageError where the folder holds another study or anything else.
        """
        folder = cls(path)
        if folder.study_path.is_file():
            there = folder.study
            if folder.before_choices:  # of another kind, which `run_setup` refuses, and not of another study
                study = study.model_copy(update={"choice_seeds": there.choice_seeds})
            key = first_difference(study, there)
            if key is not None:
                raise UsageError(
                    f"{path} holds another study: its {key} is {getattr(there, key)!r}, "
                    f"here it is {getattr(study, key)!r}; choose another --out"
                )
            return folder
        if folder.path.exists() and (not folder.path.is_dir() or any(folder.path.iterdir())):
            raise UsageError(f"{path} is not empty and holds no study.toml; choose another --out")
        try:
            write_atomically(folder.study_path, study.to_toml())
            for part in (folder.records_path, folder.artifacts_path, folder.log_path):
                part.mkdir(exist_ok=True)
        except OSError as error:
            raise UsageError(f"{path} cannot be made: {error.strerror}") from None
        return folder

    def remove_unstarted(self) -> None:
        """Removes the folder of a run that was refused before anything was begun; any other is left as it is."""
        if self.read_json("comparison.json") is not None or any(self.records_path.glob("*.json")):
            return
        if RunLock(self.path).held:  # by a driver that has only begun
            return
        for part in (self.records_path, self.artifacts_path, self.log_path):
            shutil.rmtree(part, ignore_errors=True)
        for file in (self.study_path, self.path / "lock"):
            file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it holds what is not the run's
            self.path.rmdir()

    @property
    def study_path(self) -> Path:
        return self.path / "study.toml"

    @property
    def report_path(self) -> Path:
        return self.path / "report"

    @property
    def study(self) -> StudyFile:
        """The frozen description."""
        study = parse_study(read_study(self.study_path), str(self.study_path))
        return study.model_copy(update={"choice_seeds": 0}) if self.before_choices else study

    @property
    def before_choices(self) -> bool:
        """Whether a version wrote it that retrained nothing for a choice, and scored trials and finals otherwise."""
        return "choice_seeds" not in read_study(self.study_path) and any(self.records_path.glob("*.json"))

    def store_url(self) -> str:
        """Where the Optuna store is: the study's own URL, else SQLite in this folder."""
        return self.study.store or f"sqlite:///{(self.path / 'store.db').resolve()}"

    def records(self, *roles: Role) -> list[Record]:
        """All records of these roles (none named: all), by role, family, repeat, incumbent, trial and number."""
        found = []
        for path in self.records_path.glob("*.json"):
            if path.name.startswith("."):
                continue  # an unfinished write
            record = Record.from_json(path.read_text(encoding="utf-8"), str(path))
            if not roles or record.role in roles:
                found.append(record)
        return sorted(found, key=lambda r: (r.role, r.family, r.repeat, r.incumbent, r.trial or 0, r.number))

    def bounds(self, given: Sequence[str] | None, records: Iterable[Record]) -> tuple[Constraint, ...]:
        """What a study's constraints (`given`) and the guards come to on this run's data, by its records."""
        described = (self.read_json("comparison.json") or {}).get("data") or {}
        return constraints_in_force(given, described.get("kind", "vector"), described.get("levels"), records)

    def read_json(self, relative: str) -> Any:
        """A JSON artifact, or None where it is not there."""
        path = self.artifacts_path / relative
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
