"""Families by name, and as jobs carry them."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from gentune.bench import registry
from gentune.bench.data import data_specs
from gentune.bench.registry import plugins
from gentune.bench.registry.families import Family
from gentune.models import GenerativeModel


class Here(GenerativeModel):
    """Known to this program alone."""


def test_a_resolved_family_travels_between_processes(tiny_plugin: Path) -> None:
    registry.load_plugin(tiny_plugin)
    for family in (registry.family("vae"), registry.family("tiny")):
        sent = family.resolved([str(tiny_plugin)])
        received = pickle.loads(pickle.dumps(sent))
        assert received == sent
        assert received.card == family.card
        assert received.load() is family.load()


def test_what_other_processes_cannot_import_stays_in_this_one(
    tiny_plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.load_plugin(tiny_plugin)
    card = registry.family("tiny").require_card()

    class Inner(GenerativeModel):
        pass

    plugin = str(tiny_plugin)
    assert registry.family("tiny").resolved().local is registry.family("tiny").load()  # workers do not load its file
    assert registry.family("tiny").resolved([plugin]).local is None
    assert Family("tiny", "here.py", card, registered=Here).resolved([plugin]).local is None
    assert Family("tiny", "here.py", card, registered=Inner).resolved([plugin]).local is Inner
    monkeypatch.setitem(plugins._origins, ("families", "tiny"), None)  # as when this program registers it
    assert Family("tiny", "here.py", card, registered=Here).resolved([plugin]).local is Here


def test_only_where_all_were_asked_for_are_the_others_left_out() -> None:
    spec = data_specs()["two_moons"]
    fitting, _ = registry.families_for(["all"], spec)
    left_out = registry.left_out(fitting, ("mmd",), spec)
    assert "takes" in left_out["dcgan"] and "gan" not in left_out
    assert registry.left_out(fitting[1:], ("mmd",), spec) == {}
    lacking = registry.check_objective(("nll",), fitting, spec)
    left_out = registry.left_out([name for name in fitting if name not in lacking], ("nll",), spec)
    assert left_out["gan"] == "has no likelihood, so nll is not defined for it"
