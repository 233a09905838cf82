"""From what people ask for to a checked description and a driven run; shared by command line and Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from .. import registry
from ..data import DataRef, describe_data
from ..errors import UsageError
from ..runs.records import SCHEMA
from ..runs.run_folder import RunFolder
from ..runs.study_file import StudyFile, parse_study, read_study
from ..training.cache import cache_limit


class Listener(Protocol):
    """Who follows a run."""

    def say(self, line: str) -> None:
        """Something happened."""

    def update(self) -> None:
        """Called often: time to look at the folder again."""


def describe(study: Path | None, options: Mapping[str, Any]) -> StudyFile:
    """A checked description from a study file and options (None: not given), the options winning.

    Raises UsageError with one line about what is wrong. Imports nothing heavy, unless plug-ins do.
    """
    content = read_study(study) if study is not None else {}
    given = {key: value for key, value in options.items() if value is not None}
    budgets = ("trainings", "flops", "seconds")
    if any(key in given for key in budgets):
        content = {key: value for key, value in content.items() if key not in budgets}
    content |= given
    if study is not None and "plugins" in content and "plugins" not in given:
        content["plugins"] = [str((study.parent / p).resolve()) for p in content["plugins"]]
    if study is not None and "warm_start" in content and "warm_start" not in given:
        content["warm_start"] = [str((study.parent / p).resolve()) for p in content["warm_start"]]
    where = str(study) if study is not None else "the command"
    for key, hint in (("data", "--data NAME"), ("families", "--families a,b or --families all")):
        if key not in content:
            raise UsageError(f"{where}: no {key} given; wanted {hint}")
    if not any(key in content for key in budgets):
        raise UsageError(f"{where}: no budget given; wanted --trainings N, --flops X or --seconds S")

    for plugin in content.get("plugins", ()):
        registry.load_plugin(plugin)
    spec = describe_data(DataRef.from_value(content["data"]))
    content.setdefault("objective", [registry.default_objective(spec)])
    config = parse_study(content, where)
    if config.store is not None and "://" not in config.store:
        raise UsageError(f"{where}: store {config.store!r} is no URL; wanted for example sqlite:///path/to/store.db")
    everything = list(config.families) == ["all"]
    names, _ = registry.families_for(config.families, spec)
    lacking = registry.check_objective(config.objective, names, spec)
    if lacking and not everything:
        name, reason = next(iter(lacking.items()))
        raise UsageError(f"family {name!r} {reason}")
    names = [name for name in names if name not in lacking]
    if not names:
        raise UsageError(f"{where}: no family is left to compare on {spec.name}")
    return config.model_copy(update={"families": tuple(names)})


def drive(folder: RunFolder, changes: Mapping[str, Any], listener: Listener) -> None:
    """Runs a folder's comparison to its end; `changes` to workers and devices hold for this run alone."""
    refuse_earlier_schema(folder)
    from .comparison import ComparisonDriver, terminable

    cache_limit()  # a wrong one is refused before anything is trained
    config = folder.study.model_copy(update={k: v for k, v in changes.items() if v is not None})
    with terminable():
        ComparisonDriver(folder, config, say=listener.say, on_update=listener.update).run()


def refuse_earlier_schema(folder: RunFolder) -> None:
    """Raises UsageError where a run's records are of an earlier schema: its trials cannot be made again."""
    schemas = [record.schema for record in folder.records()]
    if schemas and min(schemas) < SCHEMA:
        raise UsageError(
            f"{folder.path} was written by an earlier version (records of schema {min(schemas)}, wanted {SCHEMA}); "
            "it can be read but not resumed; begin a new run with another --out"
        )
