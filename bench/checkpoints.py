"""Trained models on the disk: safetensors for the weights, JSON for what they belong to; never a pickle."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from ..models.base import GenerativeModel
from . import registry
from .data import load as load_data
from .files import write_atomically


@dataclass(frozen=True)
class ModelCard:
    """What a saved model belongs to."""

    family: str
    data: str
    data_fingerprint: str
    params: dict[str, Any]  # the whole setting: training, loop and sampling parameters
    seed: int


def save_model(folder: Path, model: GenerativeModel, card: ModelCard) -> None:
    """Writes weights and card, each atomically, the card last: a folder with a card is whole."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_atomically(folder / "model.safetensors", save(tensors))
    write_atomically(folder / "model.json", json.dumps(asdict(card), indent=1) + "\n")


def load_model(folder: Path, device: str = "cpu") -> tuple[GenerativeModel, ModelCard]:
    """A model as it was saved, ready to sample. Raises FileNotFoundError where no whole model was saved."""
    card = ModelCard(**json.loads((folder / "model.json").read_text(encoding="utf-8")))
    family = registry.family(card.family)
    space = family.require_card().space
    arguments = {name: value for name, value in card.params.items() if name in space and space[name].role == "train"}
    model = family.load()(load_data(card.data).spec, **arguments)
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.to(torch.device(device)).eval(), card
