"""Sequences as people read them, and as artifacts; synthetic ones are marked as such."""

from __future__ import annotations

import json
from pathlib import Path

from torch import Tensor

from ...models.base import Batch
from ...models.data_spec import DataSpec
from ..files import write_atomically

_SHOWN = 12
_TOKENS = 2_000  # of one sequence


def text_of(x: Tensor, spec: DataSpec) -> str:
    """One sequence (T,) as it is written, or its tokens as numbers where they stand for no text."""
    tokens = [int(token) for token in x[spec.mask_of(x)][:_TOKENS]]
    return "".join(spec.symbols[token] for token in tokens) if spec.symbols else " ".join(map(str, tokens))


def write_texts(folder: Path, name: str, batch: Batch, spec: DataSpec, *, maker: str | None) -> Path:
    """Writes the first sequences to `name`.json. maker: the family that made them; None for real examples."""
    path = folder / f"{name}.json"
    texts = [text_of(x, spec) for x in batch.x[:_SHOWN]]
    content = {"synthetic": maker is not None, "made_by": maker, "texts": texts}
    write_atomically(path, json.dumps(content, ensure_ascii=False) + "\n")
    return path
