"""Codes of a model, and their decoded examples, for the metrics of latent control."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from ...models.base import Batch, GenerativeModel
from .. import protocol
from ..data.examples import Examples
from ..metrics.latent import interpolate
from ..seeds import derive

EPSILON = 1e-4  # the step along a path between codes, as in arXiv:1812.04948


def drawn_codes(model: GenerativeModel, n: int, seed: int) -> Tensor:
    """n codes (n, c) on the CPU that the model would sample from, as its `decode` takes them.

    Those of `draw_codes(n, generator)` where the family has it: a code density fitted to codes, or a learned prior.
    Else standard normal ones, `latent_dim` of them or, of maps that can be inverted, as many as the data has numbers.
    """
    generator = torch.Generator(model.device).manual_seed(seed)
    draw: Callable[[int, Generator], Tensor] | None = getattr(model, "draw_codes", None)
    with torch.no_grad():
        if draw is not None:
            return draw(n, generator).cpu()
        dimensions: int = getattr(model, "latent_dim", model.data.dimensions)
        return torch.randn(n, dimensions, generator=generator, device=model.device).cpu()


def decoded(model: GenerativeModel, codes: Tensor, labels: Tensor | None = None) -> Tensor:
    """Examples (n, *shape) of codes (n, c), on the CPU: continuous values, not rounded to a lattice.

    labels: int64 (n,), for models that decode with a condition; others do without, and a model that is given none
    chooses them by `evaluation_seed`, the same ones every time.
    """
    decode: Callable[..., Tensor] = model.decode  # type: ignore[assignment]
    if labels is None or "condition" not in inspect.signature(decode).parameters:
        return in_chunks(decode, model, codes)
    with torch.no_grad():
        parts = zip(codes.split(protocol.CHUNK), labels.split(protocol.CHUNK), strict=True)
        return torch.cat([decode(z.to(model.device), y.to(model.device)).cpu() for z, y in parts])


def encoded(model: GenerativeModel | None, batch: Batch | Examples) -> Tensor | None:
    """Codes (n, c) of examples, on the CPU; None where the model does not encode."""
    if model is None or not model.can("encode"):
        return None
    return in_chunks(model.encode, model, batch).flatten(1)  # type: ignore[arg-type]


def in_chunks(function: Callable[[Any], Tensor], model: GenerativeModel, rows: Batch | Examples | Tensor) -> Tensor:
    """A model's function of examples or codes, some at a time on its device; the result lies on the CPU."""
    with torch.no_grad():
        parts = (rows[start : start + protocol.CHUNK] for start in range(0, len(rows), protocol.CHUNK))
        return torch.cat([function(part.to(model.device)).cpu() for part in parts])


def path_examples(model: GenerativeModel | None, n: int) -> tuple[Tensor, Tensor] | None:
    """Decoded codes, and decoded codes EPSILON further on the line to others; None where the model does not decode
    codes alone.

    Both ends of a line are codes that the model would sample from: between them it is asked for what it never
    learned, and a smooth model has no jumps there.
    """
    if model is None or not model.can("decode") or model.requires_condition():
        return None
    a, b = drawn_codes(model, 2 * n, derive(0, "paths")).chunk(2)
    return decoded(model, a), decoded(model, interpolate(a, b, EPSILON))
