"""What a look at families before a run refuses, and what it leaves to the trials."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import gentune
from gentune.bench.data import DataRef, load
from gentune.bench.driver import preflight as module
from gentune.bench.driver.preflight import preflight
from gentune.bench.errors import UsageError
from gentune.bench.runs.study_file import StudyFile
from gentune.bench.scoring.sampling import TrialError, check_samples
from gentune.models.base import Batch

CARD = """
[family]
name = "looked_at"
group = "test"
summary = "a plug-in"
class = "mine:LookedAt"
kinds = ["vector"]
steps = { vector = 3 }
[train.rate]
type = "float"
low = 0.01
high = 0.1
default = 0.05
"""
FAMILY = """
import torch
from gentune.models import GenerativeModel, Losses

class LookedAt(GenerativeModel):
    def __init__(self, data, *, rate: float = 0.05):
        super().__init__(data)
        if rate > 1.0:
            raise ValueError("rate above 1")
        self.learning_rate = rate
        self.mean = torch.nn.Parameter(torch.zeros(data.shape))

    def loss(self, batch, generator):
        return Losses((batch.x - self.mean).square().mean())

    def sample(self, n, *, condition=None, generator):
        return self.mean + torch.randn(n, *self.data.shape, generator=generator)

"""


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    registered = import_module("gentune.bench.registry.families")._registered
    known = dict(registered)
    yield
    registered.clear()
    registered.update(known)
    sys.modules.pop("looked_at", None)


def look_at(folder: Path, body: str = "", card: str = CARD, **options: Any) -> None:
    """Registers the family with other methods, and looks at it."""
    source = folder / "looked_at.py"
    source.write_text(FAMILY + "".join(f"    {line}\n" for line in body.splitlines()))
    spec = importlib.util.spec_from_file_location("looked_at", source)
    assert spec is not None
    assert spec.loader is not None
    loaded: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules["looked_at"] = loaded
    spec.loader.exec_module(loaded)
    gentune.register_family(loaded.LookedAt, card)
    given = {"families": ("looked_at",), "objective": ("mmd",), **options}
    study = StudyFile(data=DataRef("two_moons"), trainings=2, **given)
    preflight(study, load("two_moons"), folder / "cache")


SAMPLE = "def sample(self, n, *, condition=None, generator):"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("def loss(self, batch, generator): return batch.x.mean()", "AttributeError: 'Tensor' object has no attribute"),
        ("def loss(self, batch): return None", "takes 2 positional arguments but 3 were given"),
        ("def sample(self, n): return None", "got an unexpected keyword argument"),
        (f"{SAMPLE} return torch.zeros(n, 3)", "samples have shape (2, 3); wanted (2, 2)"),
        (f"{SAMPLE} return torch.zeros(n, 2).long()", "samples are of type int64; wanted float32"),
        (f"{SAMPLE} return torch.randn(n, 2)", "its samples differ at one seed"),
        (f"{SAMPLE} return [n]", "`sample` gave list; wanted a tensor"),
        ("def __init__(self, data): super().__init__(data)", "it cannot be built: TypeError"),
    ],
)
def test_a_broken_interface_is_refused(body: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        look_at(tmp_path, body)
    assert str(error.value).startswith("family 'looked_at' does not keep the interface of families: ")
    assert said in str(error.value)
    assert not (tmp_path / "cache").exists()


def test_what_its_own_code_raises_is_left_to_the_trials(tmp_path: Path) -> None:
    look_at(tmp_path, "def loss(self, batch, generator): raise RuntimeError('boom')")
    assert not (tmp_path / "cache").exists()


def test_a_family_that_was_found_good_is_not_looked_at_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look_at(tmp_path)

    def again(*_: object, **__: object) -> None:
        raise AssertionError("looked at again")

    monkeypatch.setattr(module, "train", again)
    look_at(tmp_path)
    with pytest.raises(UsageError, match="looked at again"):
        look_at(tmp_path, "def more(self): return 1")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"space": {"looked_at": {"rate": {"fix": 2.0}}}}, "its default setting cannot be used by family 'looked_at'"),
        ({"space": {"looked_at": {"rate": {"high": 3.0}}}}, "space.looked_at: rate = 3.0 cannot be used by family"),
        ({"space": {"looked_at": {"batch_size": {"low": 0}}}}, "space.looked_at: batch_size = 0 cannot be used"),
    ],
)
def test_ranges_beyond_the_cards_are_tried_on_the_family(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    if "batch_size" in options["space"]["looked_at"]:
        options["space"]["looked_at"]["batch_size"]["scale"] = "linear"
    with pytest.raises(UsageError) as error:
        look_at(tmp_path, **options)
    assert str(error.value).startswith(said)
    look_at(tmp_path, space={"looked_at": {"rate": {"high": 0.9}}})


def test_a_size_is_tried_on_the_family(tmp_path: Path) -> None:
    card = CARD.replace("high = 0.1\ndefault = 0.05", "high = 0.2\ndefault = 0.15\nwidth = true")
    look_at(tmp_path, card=card)
    with pytest.raises(UsageError, match=r"its default setting cannot be used by family 'looked_at': .*rate above 1"):
        look_at(tmp_path, card=card, size=64.0)


def test_samples_out_of_range_are_no_samples() -> None:
    digits = load("digits")
    good = torch.zeros(2, 1, 8, 8)
    check_samples(Batch(good), 2, digits)
    check_samples(Batch(torch.full_like(good, 1.00001)), 2, digits)
    with pytest.raises(TrialError, match=r"samples are out of range: from 0 to 1\.5; wanted -1 to 1"):
        check_samples(Batch(torch.cat([good[:1], good[:1] + 1.5])), 2, digits)
    check_samples(Batch(torch.full((2, 2), 9.0)), 2, load("two_moons"))
