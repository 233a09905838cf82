"""The Optuna store next to the records: for dashboards and Optuna's own tools. Records come first.

The store holds what the records say, in the order of their numbers; whatever it lacks after a crash is added
when the run is resumed. A file of SQLite gets its tables under another name, since Optuna makes them one by one: a
table whose index is missing would take every study twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna
from optuna.trial import TrialState, create_trial
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from ...search_spaces import SearchSpace
from ..errors import UsageError
from ..proposal.optuna_space import to_distribution
from .constraints import Constraint, excesses
from .records import Record


class OptunaStore:
    """The studies of one run in one Optuna storage."""

    def __init__(self, url: str) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            _make_file(url)
            self._storage = optuna.storages.get_storage(url)
        except (ImportError, SQLAlchemyError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UsageError(f"store {url} cannot be opened: {reason}") from error
        self._studies: dict[str, optuna.Study] = {}
        self._told: dict[str, int] = {}

    def open(self, name: str, directions: Sequence[str]) -> None:
        """Makes a study known, as it is in the store or new."""
        study = optuna.create_study(
            study_name=name,
            storage=self._storage,
            load_if_exists=True,
            directions=["minimize" if d == "lower" else "maximize" for d in directions],
        )
        self._studies[name] = study
        self._told[name] = len(study.get_trials(deepcopy=False))

    def catch_up(
        self,
        name: str,
        records: Mapping[int, Record],
        space: SearchSpace,
        constraints: Sequence[Constraint] = (),
    ) -> None:
        """Adds the records that the store lacks, up to the first gap in their numbers.

        constraints: of the study. Optuna, too, takes a trial that exceeds one for none of the best.
        """
        while self._told[name] in records:
            record = records[self._told[name]]
            params = {key: value for key, value in record.params.items() if key in space}
            self._studies[name].add_trial(
                create_trial(
                    state=_state(record),
                    params=dict(params),
                    distributions={key: to_distribution(space[key]) for key in params},
                    values=list(record.objectives) if record.objectives else None,
                    constraints=excesses(constraints, [record]),
                    intermediate_values=_curve(record, self._studies[name].directions),
                    user_attrs={
                        "record": record.name,
                        "cost": record.cost,
                        "seed": record.seed,
                        **({"reason": record.reason} if record.reason else {}),
                        **{f"metric:{key}": figure["value"] for key, figure in record.metrics.items()},
                    },
                )
            )
            self._told[name] += 1


def _make_file(url: str) -> None:
    """Makes the file of a SQLite store that is not there yet, whole or not at all."""
    parts = make_url(url)
    if parts.get_backend_name() != "sqlite" or parts.database in (None, "", ":memory:"):
        return
    path = Path(parts.database)
    if path.exists() or "file:" in parts.database:
        return
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.unlink(missing_ok=True)  # a process that was killed has left it
    optuna.storages.RDBStorage(parts.set(database=str(unfinished)).render_as_string(False)).engine.dispose()
    unfinished.replace(path)


def _state(record: Record) -> TrialState:
    """What Optuna calls it; a trial that a rule has stopped has scores, and one that a deadline has stopped none."""
    if record.objectives is None:
        return TrialState.FAIL
    return TrialState.COMPLETE if record.state == "complete" else TrialState.PRUNED


def _curve(record: Record, directions: Sequence[optuna.study.StudyDirection]) -> dict[int, float]:
    """Intermediate scores by the percentage of a full training; Optuna has none for several objectives."""
    if len(directions) > 1:
        return {}
    sign = 1.0 if directions[0] == optuna.study.StudyDirection.MINIMIZE else -1.0
    return {round(100 * p["fidelity"]): sign * p["objectives"][0] for p in record.curve if p["objectives"] is not None}
