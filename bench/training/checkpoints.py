"""Trainings and trained models on the disk: safetensors for tensors, JSON for what they belong to; never a pickle."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, load_file, save
from torch import Tensor

from ...models.base import GenerativeModel
from .. import registry
from ..data import DataRef, open_data
from ..files import write_atomically
from .cache import TrainingCache, cache_limit, say
from .cache_upkeep import trim
from .state import TrainingState

_TRIM_EVERY = 0.01  # of the limit: how much a process keeps between looks at the whole cache
_unseen: dict[Path, float] = {}  # bytes that this process has kept since its last look at a cache


@dataclass(frozen=True)
class ModelCard:
    """What a saved model belongs to."""

    family: str
    data: DataRef  # by which it was opened
    data_fingerprint: str
    params: dict[str, Any]  # the whole setting: training, loop and sampling parameters
    seed: int


def save_model(folder: Path, model: GenerativeModel, card: ModelCard) -> None:
    """Writes weights and card, each atomically, the card last: a folder with a card is whole."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_atomically(folder / "model.safetensors", save(tensors))
    write_atomically(folder / "model.json", json.dumps(asdict(card) | {"data": card.data.to_value()}, indent=1) + "\n")


def load_model(folder: Path, device: str = "cpu") -> tuple[GenerativeModel, ModelCard]:
    """A saved model, ready to sample. Raises FileNotFoundError where no whole model was saved."""
    content = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    card = ModelCard(**content | {"data": DataRef.from_value(content["data"])})
    family = registry.family(card.family)
    space = family.require_card().space
    arguments = {name: value for name, value in card.params.items() if name in space and space[name].role == "train"}
    model = family.load()(open_data(card.data).spec, **arguments)
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.to(torch.device(device)).eval(), card


class KeptTraining:
    """The kept states of one training in a cache, for the training loop (`state.StateStore`).

    keys: of its stages, in their order. family, data: for people who look at the cache.
    limit: bytes that the whole cache may take; None: as the environment says.
    """

    def __init__(
        self, cache: TrainingCache, keys: Sequence[str], *, family: str, data: str, limit: int | None = None
    ) -> None:
        self._cache, self._keys = cache, tuple(keys)
        self._about = {"family": family, "data": data}
        self._limit = cache_limit() if limit is None else limit

    def newest(self, stage: int, step: int, beyond: int = 0) -> TrainingState | None:
        """The state with the most steps, at most `step` and more than `beyond`; damaged ones are set aside."""
        key = self._keys[stage]
        for there in reversed(self._cache.steps(key)):
            if beyond < there <= step:
                found = self._cache.read(key, there)
                if found is not None:
                    description, tensors = found
                    return TrainingState(there, load(tensors), description["run"])
        return None

    @contextmanager
    def holding(self, stage: int, waiting: Callable[[], None]) -> Iterator[None]:
        """Holds the stage's lock; `waiting` is called now and then until it is free."""
        with ExitStack() as stack:
            try:
                stack.enter_context(self._cache.locked(self._keys[stage], waiting))
            except OSError as error:  # a cache that may only be read: trained without it
                say(f"{self._cache.root} cannot be locked: {error.strerror or error}")
            yield

    def keep(self, stage: int, state: TrainingState) -> None:
        """Writes a state. A full disk does not fail the training: a line says that the state is not kept."""
        content = save({name: _plain(tensor) for name, tensor in state.tensors.items()})
        if len(content) > self._limit:
            return
        try:
            self._cache.write(self._keys[stage], state.step, {**self._about, "run": dict(state.run)}, content)
            root = self._cache.root
            _unseen[root] = _unseen.get(root, float("inf")) + len(content)
            if _unseen[root] > _TRIM_EVERY * self._limit:
                trim(self._cache, self._limit)
                _unseen[root] = 0.0
        except OSError as error:
            say(f"a training cannot be kept in {self._cache.root}: {error.strerror or error}")


def _plain(tensor: Tensor) -> Tensor:
    """A copy on the CPU: safetensors refuses tensors that share memory."""
    return tensor.detach().to("cpu", copy=True).contiguous()
