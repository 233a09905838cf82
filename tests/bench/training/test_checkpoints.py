"""The cache of trainings: keys, whole and damaged states, locks, and trials that go on from what is kept."""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from gentune.bench import registry
from gentune.bench.data import DataSet, describe_data, locate, open_data
from gentune.bench.data import load as load_data
from gentune.bench.training import code_version as code_version_module
from gentune.bench.training.cache import TrainingCache, release
from gentune.bench.training.code_version import code_version
from gentune.bench.training.key import TrainingKey
from gentune.bench.training.loop import LoopSettings, plan
from gentune.bench.training.setting import split_setting
from gentune.models import GenerativeModel
from gentune.search_spaces import FamilyCard
from gentune.testing.continuation import same_bits, train_kept

CPU = torch.device("cpu")
KEY = "0123456789abcdef" * 2
SHIPPED = {name: entry.require_card() for name, entry in registry.families().items() if entry.registered is None}


def never() -> None:
    raise AssertionError("the lock is held")


def cache_with(tmp_path: Path, *steps: int, key: str = KEY) -> TrainingCache:
    cache = TrainingCache(tmp_path)
    for step in steps:
        cache.write(key, step, {"family": "f", "data": "d", "run": {"steps": step}}, bytes([step]) * 1000)
    return cache


# --- states on the disk -------------------------------------------------------------------------------------


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    cache = cache_with(tmp_path, 20, 3)
    assert cache.steps(KEY) == [3, 20]
    found = cache.read(KEY, 20)
    assert found is not None
    assert found[0]["run"] == {"steps": 20}
    assert found[1] == bytes([20]) * 1000
    assert cache.read(KEY, 4) is None
    assert cache.steps("f" * 32) == []


def test_the_first_of_two_writers_stays(tmp_path: Path) -> None:
    cache = cache_with(tmp_path, 5)
    cache.write(KEY, 5, {"run": {}}, b"other")
    found = cache.read(KEY, 5)
    assert found is not None
    assert found[1] == bytes([5]) * 1000
    assert {path.name for path in (cache.states_path / KEY).iterdir()} == {"000000005"}


@pytest.mark.parametrize("name", ["state.json", "tensors.safetensors"])
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_any_damage_is_found_and_set_aside(
    tmp_path: Path, name: str, harm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = cache_with(tmp_path, 5)
    path = cache.place(KEY, 5) / name
    content = bytearray(path.read_bytes())
    if harm == "remove":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    assert cache.read(KEY, 5) is None
    assert cache.steps(KEY) == []
    (aside,) = cache.damaged_path.iterdir()
    assert aside.name.startswith(f"{KEY}-5-")
    assert "a kept training is damaged" in capsys.readouterr().err


def test_a_state_in_another_s_place_is_found(tmp_path: Path) -> None:
    cache = cache_with(tmp_path, 5)
    cache.place(KEY, 5).rename(cache.place(KEY, 6))
    assert cache.read(KEY, 6) is None
    assert len(list(cache.damaged_path.iterdir())) == 1


def test_every_byte_of_a_description_counts(tmp_path: Path) -> None:
    cache = cache_with(tmp_path, 5)
    path = cache.place(KEY, 5) / "state.json"
    content = path.read_bytes()
    for i in range(len(content)):
        cache.place(KEY, 5).mkdir(exist_ok=True)
        path.write_bytes(content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :])
        (path.parent / "tensors.safetensors").write_bytes(bytes([5]) * 1000)
        found = cache.read(KEY, 5)
        assert found is None or found[0]["run"] == {"steps": 5}


def test_a_lock_is_waited_for_and_passed_on(tmp_path: Path) -> None:
    cache = TrainingCache(tmp_path)
    order = []

    def hold() -> None:
        with cache.locked(KEY, never):
            order.append("first")
            started.set()
            time.sleep(0.2)
            order.append("first ends")

    started = threading.Event()
    thread = threading.Thread(target=hold)
    thread.start()
    started.wait()
    waits: list[int] = []
    with cache.locked(KEY, lambda: waits.append(1)):
        order.append("second")
    thread.join()
    assert order == ["first", "first ends", "second"]
    assert waits


def test_a_lock_whose_file_was_deleted_is_taken_again(tmp_path: Path) -> None:
    cache = TrainingCache(tmp_path)
    lock = cache.try_lock(KEY)
    assert lock is not None
    assert cache.try_lock(KEY) is None
    cache.tidy(KEY)
    assert not (cache.states_path / KEY).exists()
    release(lock)
    again = cache.try_lock(KEY)
    assert again is not None
    release(again)


# --- keys ---------------------------------------------------------------------------------------------------


def key_of(name: str = "ddpm", seed: int = 0, data: str = "two_moons", **params: object) -> TrainingKey:
    card = registry.family(name).require_card()
    shared = {**card.loop.only("loop").default(), **{k: v for k, v in params.items() if k in card.loop}}
    loop = LoopSettings(**shared, averages=card.averaged)  # type: ignore[arg-type]
    given = {k: v for k, v in params.items() if k not in card.loop}
    found = TrainingKey.of(card, registry.family(name).load(), given, loop, load_data(data), seed=seed, device=CPU)
    assert found is not None
    return found


def stage_keys(
    key: TrainingKey, name: str = "ddpm", fidelity: float = 1.0, steps: int = 40, average: float = 0.0
) -> tuple[str, ...]:
    torch.manual_seed(key.seed)
    settings = {k: v for k, v in key.settings.items() if not k.startswith("loop.")}
    model = registry.family(name).load()(load_data("two_moons").spec, **settings)
    return key.of_stages(model, plan(model.stages(), steps, fidelity), average)


def test_a_spelt_out_default_is_the_same_training() -> None:
    assert key_of() == key_of(learning_rate=2e-3, width=32, batch_size=128)
    assert key_of(dropout=0) == key_of(dropout=0.0)


def test_a_setting_is_the_same_training_whatever_the_study_changes_in_the_space() -> None:
    family = registry.family("naive_bayes")
    changes: dict[str, dict[str, Any]] = {
        "conditionals": {"choices": ["gaussian", "kernel_density"]},
        "regularisation": {"low": 1e-4, "default": 2e-3},
    }
    changed = registry.cards_of([family.name], load_data("two_moons").spec, {family.name: changes})
    cards = [family.require_card(), changed[family.name].card]
    assert "bins" in cards[0].space
    assert "bins" not in cards[1].space
    found = []
    for card in cards:
        setting = split_setting(card, {"conditionals": "gaussian", "regularisation": 0.01})
        data = load_data("two_moons")
        found.append(TrainingKey.of(card, family.load(), setting.train, setting.loop, data, seed=0, device=CPU))
    assert found[0] is not None
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"data": "eight_gaussians"},
        {"learning_rate": 2e-3 * (1 + 2**-52)},
        {"width": 31},
        {"schedule": "linear"},
        {"batch_size": 127},
        {"gradient_clip": 2.0},
        {"name": "realnvp"},
    ],
)
def test_whatever_the_weights_depend_on_changes_the_key(change: dict[str, object]) -> None:
    name = str(change.get("name", "ddpm"))
    assert stage_keys(key_of(**change), name)[-1] != stage_keys(key_of())[-1]  # type: ignore[arg-type]


def test_threads_device_code_and_horizon_change_the_key() -> None:
    key = key_of()
    for other in (replace(key, device="cuda"), replace(key, device="cpu/2"), replace(key, code="0")):
        assert set(stage_keys(other)).isdisjoint(stage_keys(key))
    assert stage_keys(key, steps=41)[-1] != stage_keys(key)[-1]
    assert stage_keys(key, fidelity=0.5) == stage_keys(key)


def test_a_stage_is_shared_by_settings_on_which_it_does_not_depend() -> None:
    first, second = stage_keys(key_of()), stage_keys(key_of(learning_rate=1e-3))
    assert first[0] == second[0]
    assert first[1] != second[1]


def test_a_half_life_is_part_of_what_starts_from_averaged_weights() -> None:
    key = key_of()
    assert stage_keys(key, average=0.1) == stage_keys(key)  # a fit, and one stage of training
    registry.load_plugin(str(Path(__file__).parents[2] / "plugins" / "staged.py"))
    staged = key_of("staged")
    none, some, other = (stage_keys(staged, "staged", average=half_life) for half_life in (0.0, 0.1, 0.1 + 2**-52))
    assert none[0] == some[0] == other[0]
    assert all(len(set(keys)) == 3 for keys in zip(none[1:], some[1:], other[1:], strict=True))
    assert stage_keys(replace(key, settings={**key.settings, "loop.averages": False}))[-1] != stage_keys(key)[-1]


# --- the code's version -------------------------------------------------------------------------------------


def module_from(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"plugin_{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


PLUGIN = """
from gentune.models import GenerativeModel
import helper_of_a_plugin
class Own(GenerativeModel):
    {body}
"""


@pytest.fixture
def plugin_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str | None]]:
    """The version of a plug-in's family with these contents of its file, its helper, and an unrelated file."""
    count = iter(range(100))

    def version(body: str = "pass", helper: str = "x = 1", unrelated: str = "") -> str | None:
        folder = tmp_path / str(next(count))
        folder.mkdir()
        (folder / "own.py").write_text(PLUGIN.format(body=body))
        (folder / "helper_of_a_plugin.py").write_text(helper)
        (folder / "unrelated.py").write_text(unrelated)
        with monkeypatch.context() as patch:
            patch.syspath_prepend(str(folder))
            code_version_module._is_library.cache_clear()
            sys.modules.pop("helper_of_a_plugin", None)
            return code_version(module_from(folder / "own.py").Own)

    yield version
    sys.modules.pop("helper_of_a_plugin", None)


def test_a_change_of_a_plugin_or_of_what_it_imports_changes_the_version(
    plugin_version: Callable[..., str | None],
) -> None:
    first = plugin_version()
    assert first is not None
    assert plugin_version() == first  # in another folder
    assert plugin_version(unrelated="y = 2") == first
    assert plugin_version(body="y = 2") != first
    assert plugin_version(helper="x = 2") != first


def test_the_version_covers_the_loop_and_what_the_family_imports() -> None:
    sources, libraries = code_version_module._closure(["gentune.models.diffusion.ddpm", "gentune.bench.training.loop"])
    models = ("diffusion.ddpm", "diffusion.gaussian_diffusion", "nets.unet", "likelihoods", "base", "data_spec")
    wanted = {f"gentune.models.{name}" for name in models}
    loop = ("training.averages", "training.loop", "training.state", "training.watch", "seeds")
    wanted |= {f"gentune.bench.{name}" for name in loop}
    assert wanted <= set(sources)
    assert not {"gentune.models.adversarial.wgan_gp", "gentune.bench.driver.study", "gentune"} & set(sources)
    assert libraries["torch"] == torch.__version__
    assert "zuko" in code_version_module._closure(["gentune.models.flows.realnvp"])[1]


def test_packages_of_another_environment_are_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "lib" / "site-packages" / "installed_next_door.py"
    package.parent.mkdir(parents=True)
    package.write_text("x = 1")
    (tmp_path / "own_module.py").write_text("x = 1")
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert code_version_module._is_library("installed_next_door")
    assert not code_version_module._is_library("own_module")


def test_the_package_of_models_leads_to_the_modules_of_every_group() -> None:
    """It hands on names from any of them, so that a plug-in which imports it depends on all."""
    sources, _ = code_version_module._closure(["gentune.models"])
    reached = set(code_version_module._with_contents("gentune.models"))
    assert "gentune.models" in sources
    assert {"gentune.models.adversarial.wgan_gp", "gentune.models.nets.unet", "gentune.models.base"} <= reached


def test_a_family_without_a_source_file_has_no_version() -> None:
    made = type("Made", (GenerativeModel,), {"__module__": "nowhere"})
    assert code_version(made) is None


# --- trainings that go on -------------------------------------------------------------------------------------


def settings_for(name: str) -> dict[str, object]:
    """The cheapest setting."""
    small = ("width", "hidden", "channels", "depth", "transforms", "timesteps", "latent_dim")
    return {p.name: p.low for p in registry.family(name).require_card().space if p.name in small and p.role == "train"}


def suits(card: FamilyCard, data: str) -> bool:
    """Whether a family trains on data; where it is free to have no condition, on those without images and texts."""
    spec = describe_data(locate(data))
    if spec.condition.kind in ("image", "text") and not card.requires_condition:
        return False
    return card.fit(spec.kind, spec.condition.kind, paired=not spec.unpaired).reason is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "data"),
    [
        (name, data)
        for name, card in SHIPPED.items()
        for data in ("digits", "two_moons", "super_resolution:digits", "captions")
        if suits(card, data)
    ],
)
def test_a_quarter_of_a_training_and_the_rest_equal_the_whole(tmp_path: Path, name: str, data: str) -> None:
    assert_continued_equals_unbroken(tmp_path, name, data, steps=120)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "data"), [("beta_vae", "digits"), ("wgan_gp", "two_moons")])
def test_one_hundred_steps_and_three_hundred_more_equal_four_hundred(tmp_path: Path, name: str, data: str) -> None:
    assert_continued_equals_unbroken(tmp_path, name, data, steps=400)


def assert_continued_equals_unbroken(folder: Path, name: str, data: str, *, steps: int) -> None:
    entry, given = registry.family(name), open_data(locate(data))
    few = DataSet(given.spec, {"train": given.splits["train"].select(slice(200))})

    def trained(cache: str, fidelity: float) -> dict[str, Tensor]:
        card = entry.require_card()
        run = train_kept(card, entry.load(), settings_for(name), few, folder / cache, steps=steps, fidelity=fidelity)
        assert run.run.steps in (0, round(steps * fidelity))
        return run.state(folder / cache, -1) | {f"final.{k}": v for k, v in run.model.state_dict().items()}

    unbroken = trained("unbroken", 1.0)
    trained("broken", 0.25)
    assert same_bits(trained("broken", 1.0), unbroken)
