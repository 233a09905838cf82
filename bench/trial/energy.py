"""Energy drawn by a device that reports it: NVIDIA's counters through NVML (the package nvidia-ml-py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch


class Meter:
    """Measures the energy that a device draws while the meter runs.

    The counter is the whole device's, idle power and other programs included. A processor's counters (RAPL) are not
    read: they are for the whole package, which other trials share.

    joules: so far; None where the device does not report it, or nothing has run.
    """

    def __init__(self, device: torch.device, counter: Callable[[torch.device], float | None] | None = None) -> None:
        self.joules: float | None = None
        self._device = device
        self._counter = counter or _millijoules

    @contextmanager
    def running(self) -> Iterator[None]:
        start = self._counter(self._device)
        yield
        end = self._counter(self._device)
        if start is not None and end is not None:
            self.joules = (self.joules or 0.0) + (end - start) / 1000.0


def _millijoules(device: torch.device) -> float | None:
    """The counter of a CUDA device since its driver was loaded."""
    if device.type != "cuda":
        return None
    try:
        nvml: Any = import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
        identity = str(torch.cuda.get_device_properties(device).uuid)  # the same under CUDA_VISIBLE_DEVICES
        handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{identity}")
        return float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle))
    except nvml.NVMLError:  # devices before Volta do not count
        return None
