"""Checks the options of a run and drives it; shared by the command line and the Python API."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .. import registry
from ..budget.kinds import too_little
from ..data import describe_data, open_data
from ..errors import UsageError
from ..runs.constraints import parse_constraint
from ..runs.looks import finished, seeds_of
from ..runs.option_values import tables_over
from ..runs.records import SCHEMA
from ..runs.run_folder import RunFolder
from ..runs.study_file import BUDGETS, StudyFile
from ..runs.study_options import flag, metavar, parse_study, read_options, read_study, required, specs
from ..scheduling import executor
from ..scheduling.base import place
from ..training.cache import cache_limit
from .objectives import check_metrics

if TYPE_CHECKING:
    from .outlook import Outlook


class Listener(Protocol):
    """Receives the messages of a run."""

    def say(self, line: str) -> None:
        """Reports one line of text."""

    def update(self) -> None:
        """Called often, so that a display can reread the folder."""


def describe(study: Path | None, options: Mapping[str, Any], *, keywords: bool = False) -> StudyFile:
    """A checked description from a study file and options; the options win.

    study: the study file; None: there is none.
    options: values by the names of `StudyFile`'s fields; None: not given.
    keywords: whether messages name options as keywords of Python; else as flags of the command line.
    Raises UsageError with one line about what is wrong. Imports nothing heavy, unless plug-ins do.
    """
    asked = {key: value for key, value in options.items() if value is not None}
    sources: list[tuple[Mapping[str, Any], str, Path]] = [(asked, "", Path())]
    if study is not None:
        sources.append((read_study(study), str(study), study.parent))
    _load_plugins(sources)
    given, *rest = (read_options(*source) for source in sources)
    content = rest[0] if rest else {}
    if any(key in given for key in BUDGETS):
        content = {key: value for key, value in content.items() if key not in BUDGETS}
    for name, value in given.items():
        laid = specs()[name].tables and name in content
        content[name] = tables_over(content[name], value) if laid else value
    where = "" if study is None else f"{study}: "
    for key in StudyFile.model_fields:
        if required(key) and key not in content:
            raise UsageError(f"{where}no {key} given; wanted {_usage(key, keywords)}")
    if not any(key in content for key in BUDGETS):
        first, second, last = (_usage(key, keywords) for key in BUDGETS)
        raise UsageError(f"{where}no budget given; wanted {first}, {second} or {last}")

    spec = describe_data(content["data"])
    chosen = registry.normal_form(content.get("evaluators"), spec)
    content["evaluators"] = chosen
    registry.check_evaluators(chosen, spec)
    content.setdefault("objective", (registry.default_objective(spec, chosen),))
    config = parse_study(content, "" if study is None else str(study))
    _refuse_less_than_one(config)
    executor(config.executor)  # a wrong name is refused before a folder is made
    if config.executor == "local" and config.devices != ("auto",):
        place(config.devices, 1, cuda_devices=sys.maxsize, cores=1)  # which are there is known once torch is
    registry.check_constraints((parse_constraint(text).metric for text in config.constraints or ()), spec, chosen)
    everything = config.families == ("all",)
    names, _ = registry.families_for(config.families, spec)
    lacking = registry.check_objective(config.objective, names, spec, chosen)
    if lacking and not everything:
        name, reason = next(iter(lacking.items()))
        raise UsageError(f"family {name!r} {reason}")
    names = [name for name in names if name not in lacking]
    if not names:
        raise UsageError(f"{where}no family is left to compare on {spec.name}")
    registry.starts_of(registry.cards_of(names, spec, config.space, config.size), config.start)
    return config.model_copy(update={"families": tuple(names)})


def _load_plugins(sources: Sequence[tuple[Mapping[str, Any], str, Path]]) -> None:
    """Loads the plug-ins that the first of the sources names, before data are looked up: plug-ins may have readers."""
    for content, where, base in sources:
        if "plugins" in content:
            registry.load_plugins(read_options({"plugins": content["plugins"]}, where, base)["plugins"])
            return
    registry.load_plugins(())


def _refuse_less_than_one(config: StudyFile) -> None:
    """Raises UsageError for less than a full training, which is what every default setting costs."""
    if config.trainings is not None and config.trainings < 1:
        names = "any family" if config.families == ("all",) else ", ".join(config.families)
        raise UsageError(too_little(names, *config.budget, 1.0))


def drive(folder: RunFolder, changes: Mapping[str, Any], listener: Listener) -> None:
    """Runs a folder's comparison to its end.

    changes: values of options that may change when a run is resumed (None: as in its study.toml), for this run alone.
    Raises UsageError for a wrong value, a budget in which nothing fits, and a run of an earlier version.
    """
    given = {"seeds": seeds_of(folder)} | {name: value for name, value in changes.items() if value is not None}
    config = folder.study.model_copy(update=read_options(given, "", Path()))
    refuse_earlier_version(folder, config.seeds)
    cache_limit()  # a wrong one is refused before anything is trained
    if config.seeds == seeds_of(folder) and finished(folder):
        listener.say(f"{folder.path} is finished; more --seeds would add finals to it")
        return  # also from a disk that cannot be written, and where the data are gone
    try:
        with redirect_stdout(sys.stderr):  # which belongs to the command's document, whatever plug-ins print
            outlook = _look_ahead(folder, config)
            from .comparison import ComparisonDriver
            from .interruption import terminable

            with terminable() as stop_if_asked:

                def update() -> None:
                    stop_if_asked()
                    listener.update()

                ComparisonDriver(folder, config, outlook=outlook, say=listener.say, on_update=update).run()
    except UsageError:
        folder.remove_unstarted()  # else the right options would be another study in it
        raise


def _look_ahead(folder: RunFolder, config: StudyFile) -> Outlook | None:
    """What the families of a new run cost and how long they take; None for a run with trials, which teach that.

    Raises UsageError for devices that are not there, families that cannot be trained, and where a default setting or
    one to start with does not fit into the budget. It does not wait for the imports of the whole driver.
    """
    if folder.records("trial"):
        return None
    registry.load_plugins(config.plugins)
    check_metrics(config)
    if config.evaluators:
        from ..evaluators import check_content

        for name in config.evaluators:
            check_content(name)
    if config.executor == "local":
        import torch

        place(config.devices, 1, cuda_devices=torch.cuda.device_count(), cores=1)
    from ..files import default_cache
    from .outlook import look_ahead
    from .preflight import preflight

    data = open_data(config.data)
    preflight(config, data, default_cache())
    return look_ahead(config, data, refuse=True)


def refuse_earlier_version(folder: RunFolder, seeds: int) -> None:
    """Raises UsageError for a run whose records this version would not have made: what it adds would not fit them.

    seeds: with how many of them finals are wanted. A finished run of the same schema that has so many is left alone.
    """
    schemas = [record.schema for record in folder.records()]
    finished = (folder.read_json("comparison.json") or {}).get("state") == "finished"
    if schemas and min(schemas) < SCHEMA:
        reason = f"records of schema {min(schemas)}, wanted {SCHEMA}"
    elif folder.before_choices and not (finished and seeds == folder.study.seeds):
        reason = "its study.toml has no choice_seeds"
    else:
        return
    raise UsageError(
        f"{folder.path} was written by an earlier version ({reason}); "
        "it can be read but not resumed; begin a new run with another --out"
    )


def _usage(name: str, keywords: bool) -> str:
    return f"{name}={metavar(name)}" if keywords else f"{flag(name)} {metavar(name)}"
