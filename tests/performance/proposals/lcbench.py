"""Neural networks on ten data sets, by the surrogate of LCBench in YAHPO Gym.

Sources: Zimmer et al., Auto-PyTorch Tabular (2021); Pfisterer et al., YAHPO Gym (2022). Needs the optional package
onnxruntime, and `lcbench/model.onnx` and `lcbench/encoding.json` in the folder that GENTUNE_TASKS names.

Seven parameters, the same for all data sets; the loss is 100 less the validation accuracy in percent after 52 epochs.
The surrogate has no noise. For each data set there is the task as it is, one with noise of a tenth of the
interquartile range of random settings, and one in which large steps fail. All have learning curves by the epoch.
"""

from __future__ import annotations

import json
import os
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from noisy import gaussian
from spaces import draw, integer, number, real
from task import FailedTrial, Task

from gentune.search_spaces.space import SearchSpace, Setting

KNOWN: dict[str, float] = {}
DATA_SETS = (34539, 126025, 126029, 167083, 167149, 167181, 167200, 168329, 168910, 189862)
NOISY, FAILING = (126029, 167149, 168910), (126025, 167083, 168329)  # those that `all` has with noise, and failing

EPOCHS = 52
_LARGEST_STEP = 0.01  # of learning rate × momentum / (1 − momentum); two fifths of random settings lie above
_ACCURACY = 1  # the model's column
_INPUTS = (
    "batch_size",
    "learning_rate",
    "momentum",
    "weight_decay",
    "num_layers",
    "max_units",
    "max_dropout",
)


def folder() -> Path | None:
    """Where the surrogate lies, if GENTUNE_TASKS names a folder that has it."""
    named = os.environ.get("GENTUNE_TASKS")
    found = Path(named).expanduser() / "lcbench" if named else None
    return found if found is not None and (found / "model.onnx").is_file() else None


def space(momentum: float = 0.9) -> SearchSpace:
    """The space of all data sets; the default, with this momentum, is one that trains most networks well."""
    return SearchSpace(
        (
            integer("batch_size", 16, 512, log=True, default=128),
            real("learning_rate", 1e-4, 0.1, log=True, default=1e-2),
            real("momentum", 0.1, 0.99, default=momentum),
            real("weight_decay", 1e-5, 0.1, default=1e-4),
            integer("num_layers", 1, 5, default=3),
            integer("max_units", 64, 1024, log=True, default=256),
            real("max_dropout", 0.0, 1.0, default=0.25),
        )
    )


def plain_task(data: int) -> Task:
    """Every trial measures the surrogate exactly."""
    curve = partial(_loss, data)
    truth = partial(_loss, data, share=1.0)
    return Task(f"lcbench_{data}", "mixed", space(), lambda setting, generator: truth(setting), truth, curve)


def noisy_task(data: int) -> Task:
    """Constant Gaussian noise."""
    within, generator = space(), np.random.default_rng(0)
    truth = partial(_loss, data, share=1.0)
    low, high = np.quantile([truth(draw(within, generator)) for _ in range(400)], (0.25, 0.75))
    return gaussian(f"lcbench_noisy_{data}", within, truth, lambda value: float(high - low) / 10)


def failing_task(data: int) -> Task:
    """Trials fail where the effective step of gradient descent with momentum is large."""

    def curve(setting: Setting, share: float) -> float:
        momentum = number(setting, "momentum")
        if number(setting, "learning_rate") * momentum / (1 - momentum) > _LARGEST_STEP:
            raise FailedTrial("diverged")
        return _loss(data, setting, share)

    truth = partial(curve, share=1.0)
    within = space(momentum=0.4)
    return Task(f"lcbench_failing_{data}", "failing", within, lambda setting, generator: truth(setting), truth, curve)


def _loss(data: int, setting: Setting, share: float) -> float:
    """100 less the accuracy in percent after a share of all epochs."""
    session, codes = _surrogate()
    inputs = [max(1, round(share * EPOCHS)), *(number(setting, name) for name in _INPUTS)]
    given = {"x_cat": np.array([[codes[str(data)]]], np.int32), "x_cont": np.array([inputs], np.float32)}
    return 100.0 - float(session.run(None, given)[0][0, _ACCURACY])


@cache
def _surrogate() -> tuple[Any, dict[str, int]]:
    """A session of one thread, and the codes of the data sets."""
    at = folder()
    if at is None:
        raise RuntimeError("the LCBench tasks need lcbench/model.onnx in the folder that GENTUNE_TASKS names")
    try:
        import onnxruntime
    except ImportError as error:
        raise RuntimeError("the LCBench tasks need the package onnxruntime: pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(at / "model.onnx", options, providers=["CPUExecutionProvider"])
    codes: dict[str, int] = json.loads((at / "encoding.json").read_text(encoding="utf-8"))["OpenML_task_id"]
    return session, codes


BUILDERS = {
    **{f"lcbench_{data}": partial(plain_task, data) for data in DATA_SETS},
    **{f"lcbench_noisy_{data}": partial(noisy_task, data) for data in DATA_SETS},
    **{f"lcbench_failing_{data}": partial(failing_task, data) for data in DATA_SETS},
}
