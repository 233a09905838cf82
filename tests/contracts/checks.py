"""What contracts check in more than one place: values that follow the data convention, signatures that match a card."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from gentune.models import DataSpec
from gentune.search_spaces import Parameter


def check_values(x: Tensor, spec: DataSpec, *, lattice: bool) -> None:
    """Type and range of examples; lattice: whether images have to lie on it."""
    if spec.kind == "sequence":
        assert spec.vocabulary is not None
        assert x.dtype == torch.int64
        assert 0 <= int(x.min()) <= int(x.max()) < spec.vocabulary
        return
    assert x.dtype == torch.float32
    assert torch.isfinite(x).all()
    if spec.kind == "image":
        assert x.abs().max() <= 1.0
        assert not lattice or torch.equal(x, spec.to_lattice(x))


def compare_signature(function: Any, parameters: Sequence[Parameter], skip: tuple[str, ...]) -> None:
    """Names, order-free, types and defaults of a function's keyword arguments against a card's parameters."""
    given = {name: p for name, p in inspect.signature(function).parameters.items() if name not in skip}
    assert set(given) == {p.name for p in parameters}
    hints = get_type_hints(function)
    for parameter in parameters:
        argument = given[parameter.name]
        assert argument.kind is inspect.Parameter.KEYWORD_ONLY, f"{parameter.name} is not a keyword argument"
        assert argument.default == parameter.default, f"{parameter.name}: defaults differ"
        assert type(argument.default) is type(parameter.default), f"{parameter.name}: types of defaults differ"
        hint = hints[parameter.name]
        if get_origin(hint) is Literal:
            assert set(get_args(hint)) == set(parameter.choices)
        else:
            wanted = {"int": {int}, "float": {float}}.get(parameter.kind, {type(c) for c in parameter.choices})
            assert set(get_args(hint) or (hint,)) == wanted, f"{parameter.name}: annotated {hint}"
