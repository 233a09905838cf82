"""Objectives and constraints that a run could not have are refused before anything else is looked at.

What the data's description and the cards alone tell has been refused before (`registry.check_objective`). Here follow
the devices, what this machine has to have, what data sets know of themselves, and the methods of families.
"""

from __future__ import annotations

from collections.abc import Sequence

from .. import registry
from ..data import describe_data, lacks
from ..errors import UsageError
from ..metrics.inputs import INPUTS
from ..runs.constraints import parse_constraint
from ..runs.study_file import StudyFile

_OF_GPUS = ("peak_memory", "energy")  # metrics that a CPU does not tell
# What inputs of metrics are made with, by the ability of a model that they need.
_ABILITIES = {"reconstructions": "reconstruct", "codes": "encode", "train_codes": "encode", "path_features_a": "decode"}


def check_metrics(config: StudyFile) -> None:
    """Raises UsageError for an objective or a constraint that this machine, the devices, a family or the data cannot
    have."""
    spec = describe_data(config.data)
    usual = registry.default_objective(spec, config.evaluators)
    for name in config.objective:
        if reason := _lacking(name, config, spec.name):
            raise UsageError(f"metric {name!r} {reason}; wanted another objective, such as {usual}")
        _check_families(config.families, name, usual)
    for text in config.constraints or ():
        name = parse_constraint(text).metric
        if reason := _lacking(name, config, spec.name):
            raise UsageError(f"metric {name!r} {reason}, so it cannot be constrained")


def _lacking(metric: str, config: StudyFile, data: str) -> str | None:
    """What a metric needs and would not get, in words that go on from its name. data: the data set's name."""
    if reason := _lacking_device(metric, config.devices) or registry.metric(metric).lacking():
        return reason
    needs = registry.metric(metric).needs
    for need in ("modes", "factors", "grammatical"):
        if need in needs and lacks(config.data, need):
            return f"needs {INPUTS[need].words}, which {data!r} does not have"
    return None


def _check_families(families: Sequence[str], metric: str, usual: str) -> None:
    """Raises UsageError for a family without a method that an input of the metric is made with."""
    abilities = sorted({_ABILITIES[need] for need in registry.metric(metric).needs if need in _ABILITIES})
    if not abilities:
        return
    missing = {f: [a for a in abilities if not registry.family(f).load().can(a)] for f in families}
    able = [family for family, methods in missing.items() if not methods]
    instead = f"--families {','.join(able)}" if able else f"--objective {usual}"
    for family, methods in missing.items():
        if methods:
            reason = f"cannot {methods[0]}, so {metric} is not defined for it"
            raise UsageError(f"family {family!r} {reason}; wanted {instead}")


def _lacking_device(metric: str, devices: Sequence[str]) -> str | None:
    if metric not in _OF_GPUS:
        return None
    if list(devices) == ["auto"]:
        import torch

        devices = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if devices and "cpu" not in devices:
        return None
    return "is measured on CUDA devices, and this run is on the CPU"
