"""Class names in cards: relative to `gentune.models` with a leading dot, else absolute."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gentune.models import load_class
from gentune.models.flows.realnvp import RealNVP
from gentune.search_spaces import load_card, shipped_cards


def test_a_leading_dot_is_relative_to_the_models() -> None:
    assert load_class(".flows.realnvp:RealNVP") is RealNVP


def test_without_a_dot_a_name_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own package may be called as one of ours is."""
    assert load_class("gentune.models.flows.realnvp:RealNVP") is RealNVP
    folder = tmp_path / "flows"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "realnvp.py").write_text("class RealNVP: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = load_class("flows.realnvp:RealNVP")
    try:
        assert found is not RealNVP
        assert found.__module__ == "flows.realnvp"
    finally:
        del sys.modules["flows.realnvp"], sys.modules["flows"]


@pytest.mark.parametrize("path", list(shipped_cards()), ids=lambda path: path.stem)
def test_every_shipped_card_names_a_class_in_its_own_group(path: Path) -> None:
    reference = load_card(path).implementation
    module, name = reference.split(":")
    assert module.startswith(f".{path.parent.name}.")
    family = load_class(reference)
    assert (family.__module__, family.__name__) == (f"gentune.models{module}", name)
