"""Buffers whose sizes come from the data, such as the examples that a kernel density keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn


class KeepsData(nn.Module):
    """A module with such buffers: they take the sizes of a state that is loaded.

    sized_by_data: names of these buffers.
    """

    sized_by_data: ClassVar[tuple[str, ...]]

    def make_room(self, state: Mapping[str, Tensor], prefix: str = "") -> None:
        """Gives every such buffer the shape that it has in `state`, whose names begin with `prefix`."""
        for name in self.sized_by_data:
            if prefix + name in state:
                own = self.get_buffer(name)
                setattr(self, name, torch.empty_like(state[prefix + name], dtype=own.dtype, device=own.device))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        self.make_room(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *rest)


def make_room(model: nn.Module, state: Mapping[str, Tensor], prefix: str = "") -> None:
    """Readies every module of a model for a state whose tensors will be copied in."""
    for path, module in model.named_modules():
        if isinstance(module, KeepsData):
            module.make_room(state, f"{prefix}{path}." if path else prefix)
