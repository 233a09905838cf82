"""The key of a kept training: for each stage a hash of all that its weights depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from ...models.base import GenerativeModel
from ...search_spaces import FamilyCard
from ...search_spaces.space import Value
from ..data import DataSet
from .code_version import code_version
from .loop import LoopSettings
from .state import PlannedStage

_SCHEMA = 2  # of the keys and of what lies behind them


@dataclass(frozen=True)
class TrainingKey:
    """All that a training depends on except its stages' lengths.

    settings: the training hyperparameters, every one of the family's, and the loop's ("loop.NAME").
    data: fingerprint and what the model sees of the description. seed: of initial weights and training.
    code: see `code_version`. device: "cuda", or "cpu" with the number of threads, which decide the order of sums.
    """

    family: str
    settings: Mapping[str, Value]
    data: str
    seed: int
    code: str
    device: str

    @classmethod
    def of(
        cls,
        card: FamilyCard,
        family: type[GenerativeModel],
        train: Mapping[str, Any],
        loop: LoopSettings,
        data: DataSet,
        *,
        seed: int,
        device: torch.device,
    ) -> TrainingKey | None:
        """The key of a setting; None for a family whose source is in no file, so that nobody can tell its versions.

        train: keyword arguments of the constructor; those left out stand at its own defaults.
        """
        code = code_version(family)
        if code is None:
            return None
        settings: dict[str, Any] = {}
        for name, default in card.constructor.items():
            value = train.get(name, default)
            settings[name] = float(value) if isinstance(default, float) else value
        settings |= {f"loop.{name}": value for name, value in asdict(loop).items()}
        threads = f"/{torch.get_num_threads()}" if device.type == "cpu" else ""
        return cls(card.name, settings, _describe(data), seed, code, device.type + threads)

    def of_stages(
        self, model: GenerativeModel, planned: Sequence[PlannedStage], average: float = 0.0
    ) -> tuple[str, ...]:
        """The key of each stage of a fresh model's training: 32 hexadecimal digits.

        A later stage starts where the one before it ends, and so depends on that one's key and last step, and on the
        average with which it ends (`average`, the half-life), where it has one: a `fit` has none. What a stage keeps
        of itself is from before averaging, so that its own key holds no half-life.
        """
        keys: list[str] = []
        for index, part in enumerate(planned):
            shared = part.stage.depends_on is not None
            identity = {
                "schema": _SCHEMA,
                **asdict(self),
                "settings": self._settings_of(part.stage.depends_on),
                "stage": [index, part.stage.name, part.horizon],
                # Where settings that do not count shift the drawing of initial weights, nothing can be shared.
                "initial": _initial(model, part) if shared else None,
                "before": None if index == 0 else [keys[-1], *_end(planned[index - 1], average)],
            }
            text = json.dumps(identity, sort_keys=True, allow_nan=False)  # floats by repr: exactly
            keys.append(hashlib.sha256(text.encode()).hexdigest()[:32])
        return tuple(keys)

    def _settings_of(self, names: Sequence[str] | None) -> dict[str, Value]:
        return {
            name: value
            for name, value in self.settings.items()
            if names is None or name in names or name.startswith("loop.")
        }


def _describe(data: DataSet) -> str:
    spec = data.spec
    fields = (spec.kind, spec.shape, spec.levels, spec.vocabulary, spec.padding, spec.condition, spec.pairing)
    return f"{data.fingerprint} {fields!r} {spec.mean!r} {spec.deviation!r}"


def _end(part: PlannedStage, average: float) -> tuple[int, float | None]:
    """Where a stage ends, but for what its key says."""
    return part.until, float(average) if part.stage.phases else None


def _initial(model: GenerativeModel, part: PlannedStage) -> str:
    """A hash of the weights that a stage trains, as they are before it."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    digest = hashlib.sha256()
    for phase in part.stage.phases:
        for parameter in phase.parameters:
            values = parameter.detach().cpu().contiguous()
            digest.update(f"{phase.name} {names.get(id(parameter))} {values.dtype} {tuple(values.shape)} ".encode())
            digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
