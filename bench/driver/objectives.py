"""Objectives that a run could not have are refused before anything else is looked at.

What the data's description alone tells has been refused before (`registry.check_objective`). Here follows what takes
torch to know, then what takes the data.
"""

from __future__ import annotations

from collections.abc import Sequence

from .. import registry
from ..data import DataRef, DataSet, describe_data, open_data
from ..errors import UsageError
from ..metrics.inputs import INPUTS
from ..runs.study_file import StudyFile

_OF_GPUS = ("peak_memory", "energy")  # metrics that a CPU does not tell
# What inputs of metrics are made with, by the ability of a model that they need.
_ABILITIES = {"reconstructions": "reconstruct", "codes": "encode", "train_codes": "encode", "path_features_a": "decode"}


def checked_data(config: StudyFile) -> DataSet:
    """The data of a study that can have its objectives.

    Raises UsageError for an objective that this machine, the devices, a family or the data cannot have.
    """
    spec = describe_data(config.data)
    usual = registry.default_objective(spec, config.evaluators)
    for name in config.objective:
        lacking = _lacking_device(name, config.devices) or registry.metric(name).lacking()
        lacking = lacking or _lacking_data(name, config.data, spec.name)
        if lacking is not None:
            raise UsageError(f"metric {name!r} {lacking}; wanted another objective, such as {usual}")
        _check_families(config.families, name, usual)
    return open_data(config.data)


def _check_families(families: Sequence[str], metric: str, usual: str) -> None:
    """Raises UsageError for a family without a method that an input of the metric is made with."""
    abilities = sorted({_ABILITIES[need] for need in registry.metric(metric).needs if need in _ABILITIES})
    if not abilities:
        return
    missing = {f: [a for a in abilities if not registry.family(f).load().can(a)] for f in families}
    able = [family for family, lacks in missing.items() if not lacks]
    instead = f"--families {','.join(able)}" if able else f"--objective {usual}"
    for family, lacks in missing.items():
        if lacks:
            reason = f"cannot {lacks[0]}, so {metric} is not defined for it"
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


def _lacking_data(metric: str, ref: DataRef, data: str) -> str | None:
    for need in ("modes", "factors"):
        if need in registry.metric(metric).needs and getattr(open_data(ref), need) is None:
            return f"needs {INPUTS[need].words}, which {data!r} does not have"
    return None
