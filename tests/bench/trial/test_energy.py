"""The energy meter, on a stand-in counter: no test machine counts."""

from __future__ import annotations

import torch

from gentune.bench.trial.energy import Meter

CPU = torch.device("cpu")


def test_only_what_runs_is_counted() -> None:
    readings = iter([1_000.0, 3_500.0, 10_000.0, 10_250.0])
    meter = Meter(CPU, lambda device: next(readings))
    with meter.running():
        pass
    assert meter.joules == 2.5
    with meter.running():
        pass
    assert meter.joules == 2.75


def test_a_device_that_does_not_tell_has_no_energy() -> None:
    meter = Meter(CPU)
    with meter.running():
        pass
    assert meter.joules is None
