"""What every family keeps: the contract between a class, its card, and the rest of the house."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from gentune.bench.budget.operations import count_operations
from gentune.bench.data import DataSet
from gentune.bench.data.examples import Examples
from gentune.bench.registry import size_of
from gentune.bench.training.loop import LoopSettings
from gentune.models import Batch, DataSpec, GenerativeModel, Progress, load_class
from gentune.search_spaces import FamilyCard, Fit, Parameter, load_card

from .checks import check_values, compare_signature
from .continuation import KeptRun, same_bits, train_kept
from .examples import CONDITIONED, PLAIN, PLANE, SHORT, TOKENS, all_sequences, conditions_like, seeded

_CHEAP = (
    "width",
    "diffusion_width",
    "hidden",
    "channels",
    "layers",
    "transforms",
    "steps",
    "evaluations",
)  # taken at their low, for speed


class FamilyContract:
    """Derive from it in a test module, name the card, and pytest runs the contract:

        class TestMine(FamilyContract):
            card = "mine.toml"   # a path, or a FamilyCard
            family = Mine        # left out: the class that the card names

    Each check runs on every data kind that the card lists: grey images with labels, colour images without, plane
    vectors, short sequences; and, where the card takes them, on each with images and texts as conditions.
    `settings` overrides training hyperparameters, for speed.
    """

    card: ClassVar[FamilyCard | Path | str]
    family: ClassVar[type[GenerativeModel] | None] = None
    settings: ClassVar[Mapping[str, Any]] = {}

    # --- what a plug-in may override -------------------------------------------------------------------

    @classmethod
    def specs(cls) -> list[DataSpec]:
        """The data that the checks run on."""
        fits = {spec: cls._fit(spec) for spec in (*PLAIN, *CONDITIONED)}
        # Labels on images are enough for families that can do without.
        optional = ("none",) if cls.the_card().requires_condition else ("none", "label")
        return [s for s, fit in fits.items() if fit.reason is None and (s in PLAIN or fit.condition not in optional)]

    @classmethod
    def examples(cls, spec: DataSpec, n: int) -> Batch:
        """n random examples that follow the data convention."""
        generator = seeded(n)
        if spec.kind == "image":
            assert spec.levels is not None
            shade = torch.rand(n, 1, 1, 1, generator=generator)
            noise = torch.rand(n, *spec.shape, generator=generator)
            x = spec.from_levels(((shade + noise) / 2 * spec.levels).long())
        elif spec.kind == "vector":
            x = torch.randn(n, *spec.shape, generator=generator)
        else:
            assert spec.vocabulary is not None
            x = torch.randint(spec.vocabulary, (n, *spec.shape), generator=generator)
            if spec.padding is not None:
                length = torch.randint(1, spec.shape[0] + 1, (n, 1), generator=generator)
                x[torch.arange(spec.shape[0]) >= length] = spec.padding
        return Batch(x, conditions_like(spec, n))

    # --- the card and the signatures -------------------------------------------------------------------

    def test_constructor_takes_what_the_card_lists(self) -> None:
        compare_signature(self.the_family().__init__, self._parameters("train"), skip=("self", "data"))

    def test_sample_takes_what_the_card_lists(self) -> None:
        skip = ("self", "n", "condition", "generator")
        compare_signature(self.the_family().sample, self._parameters("sample"), skip=skip)

    def test_it_requires_a_condition_where_the_card_says_so(self) -> None:
        assert self.the_family().requires_condition() == self.the_card().requires_condition, (
            "a family requires a condition if `condition` has no default in `sample`"
        )

    def test_unknown_keywords_are_refused(self) -> None:
        spec = self.specs()[0]
        with pytest.raises(TypeError, match="no_such_setting"):
            self.the_family()(spec, no_such_setting=1)  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="no_such_setting"):
            asked = self._askable(spec, 1)[0]
            self._build(spec).sample(1, condition=asked, generator=seeded(0), no_such_setting=1)

    def test_stages_of_the_default_setting(self, spec: DataSpec) -> None:
        card = self.the_card()
        model = self.the_family()(spec)
        stages = model.stages()
        assert len({stage.name for stage in stages}) == len(stages)
        shares = [stage.share for stage in stages if stage.phases]
        assert not shares or sum(shares) == pytest.approx(1.0)
        assert not shares or card.full_steps(size_of(spec)) > 1, "no full training in steps for this kind of data"
        own = {id(p) for p in model.parameters()}
        for stage in stages:
            assert set(stage.depends_on or ()) <= set(card.space.names) | set(card.loop.names)
            trained = [id(p) for phase in stage.phases for p in phase.parameters]
            assert len(trained) == len(set(trained)), f"two phases of {stage.name!r} share parameters"
            assert set(trained) <= own

    # --- training ----------------------------------------------------------------------------------------

    def test_losses_are_finite_scalars_with_gradients(self, spec: DataSpec) -> None:
        model, batch = self._build(spec), self.examples(spec, 8)
        model.train()
        model.progress = Progress(5, 10)
        for stage in model.stages():
            if stage.fit is not None:
                stage.fit(self.examples(spec, 64), seeded(0))
            for phase in stage.phases:
                losses = phase.loss(batch, seeded(0))
                assert losses.total.shape == ()
                assert torch.isfinite(losses.total)
                for name, part in losses.parts.items():
                    assert part.shape == (), f"part {name!r} is no scalar"
                gradients = torch.autograd.grad(losses.total, list(phase.parameters), allow_unused=True)
                known = [g for g in gradients if g is not None]
                assert all(torch.isfinite(g).all() for g in known)
                assert any(g.abs().sum() > 0 for g in known), f"phase {phase.name!r} has no gradient"

    def test_a_loss_draws_from_its_generator_alone(self, spec: DataSpec) -> None:
        model, batch = self._build(spec), self.examples(spec, 8)
        model.eval()  # dropout draws from the global generator, which the loop seeds
        for stage in model.stages():
            for phase in stage.phases:
                torch.manual_seed(1)
                first = phase.loss(batch, seeded(0)).total
                torch.manual_seed(2)
                assert torch.equal(first, phase.loss(batch, seeded(0)).total)

    def test_continued_training_equals_an_unbroken_one(self, spec: DataSpec, tmp_path: Path) -> None:
        data, settings, steps = self._data(spec), self._cheap("train"), 8
        unbroken = self._train_kept(settings, data, tmp_path / "unbroken", steps=steps)
        self._train_kept(settings, data, tmp_path / "broken", steps=steps, fidelity=0.25)
        continued = self._train_kept(settings, data, tmp_path / "broken", steps=steps)
        assert continued.stages == unbroken.stages
        last = len(unbroken.stages) - 1
        states = [r.state(tmp_path / c, last) for r, c in ((unbroken, "unbroken"), (continued, "broken"))]
        assert same_bits(*states), "weights, averages or optimiser state differ"
        assert same_bits(unbroken.model.state_dict(), continued.model.state_dict())
        assert torch.equal(self._sample(unbroken.model, 0), self._sample(continued.model, 0))
        assert (continued.run.steps, continued.run.history) == (unbroken.run.steps, unbroken.run.history)
        assert continued.run.fit_operations == unbroken.run.fit_operations
        loaded = self._train_kept(settings, data, tmp_path / "broken", steps=steps)
        assert loaded.run.seconds_now == 0.0
        assert torch.equal(self._sample(unbroken.model, 0), self._sample(loaded.model, 0)), "more than tensors is kept"

    def test_stages_depend_on_what_they_say(self, spec: DataSpec, tmp_path: Path) -> None:
        data, cheap = self._data(spec), self._cheap("train")
        named = [stage.depends_on for stage in self._build(spec).stages()]
        if all(names is None for names in named):
            pytest.skip("every stage depends on all hyperparameters")
        first = self._train_kept(cheap, data, tmp_path / "first", steps=1)
        sized = self.the_card().sized(size_of(spec)).space
        for parameter in (sized[p.name] for p in self._parameters("train")):
            values = (*parameter.choices, parameter.low, parameter.high, parameter.default)
            differing = (v for v in values if v is not None and v != cheap.get(parameter.name, parameter.default))
            if (other := next(differing, None)) is None:
                continue  # it has one value at this size
            other = int(other) if parameter.kind == "int" else other
            cache = tmp_path / parameter.name
            second = self._train_kept({**cheap, parameter.name: other}, data, cache, steps=1)
            for number, names in enumerate(named):
                if first.stages[number] == second.stages[number]:
                    assert names is not None, f"a change of {parameter.name!r} does not change the key"
                    assert same_bits(first.state(tmp_path / "first", number), second.state(cache, number)), (
                        f"stage {number} depends on {parameter.name!r}, and does not say so"
                    )

    def test_its_operations_can_be_counted(self, spec: DataSpec) -> None:
        trains = any(stage.phases for stage in self._build(spec).stages())
        counted = count_operations(
            lambda: self._build(spec),
            self.examples(spec, 16),
            LoopSettings(),
            steps=10,
            sampling=self._cheap("sample"),
            conditional=self._fit(spec).condition != "none",
        )
        # What matters is that counting goes through at all; a network without products counts nothing.
        assert counted.train == 0.0 or trains

    # --- sampling ----------------------------------------------------------------------------------------

    def test_samples_follow_the_data_convention(self, spec: DataSpec) -> None:
        model = self._trained(spec)
        for condition in self._askable(spec, 5):
            x = model.sample(5, condition=condition, generator=seeded(0), **self._cheap("sample"))
            assert x.shape == (5, *spec.shape)
            check_values(x, spec, lattice=True)

    def test_samples_are_determined_by_the_generator(self, spec: DataSpec) -> None:
        model = self._trained(spec)
        draws: list[Tensor] = []
        for seed in (0, 0, 1):
            torch.manual_seed(len(draws))  # the global generator must not matter
            draws.append(self._sample(model, seed))
        assert torch.equal(draws[0], draws[1])
        assert torch.equal(draws[0], draws[2]) == self.the_card().deterministic

    def test_every_sampling_choice_works(self, spec: DataSpec) -> None:
        model, cheap = self._trained(spec), self._cheap("sample")
        for parameter in self._parameters("sample"):
            for value in parameter.choices or (parameter.low, parameter.high):
                if parameter.name in cheap and value != cheap[parameter.name]:
                    continue
                value = int(value) if parameter.kind == "int" else value  # type: ignore[arg-type]
                setting = cheap | {parameter.name: value}
                x = model.sample(2, condition=self._askable(spec, 2)[0], generator=seeded(0), **setting)
                check_values(x, spec, lattice=True)

    def test_weights_survive_safetensors(self, spec: DataSpec) -> None:
        model = self._trained(spec)
        state = load(save({name: t.contiguous() for name, t in model.state_dict().items()}))
        torch.manual_seed(99)
        again = self.the_family()(spec, **self._cheap("train"))
        again.load_state_dict(state)
        again.eval()
        assert torch.equal(self._sample(model, 0), self._sample(again, 0))

    # --- what else a family can do -----------------------------------------------------------------------

    def test_likelihood_is_of_the_kind_on_the_card(self, spec: DataSpec) -> None:
        kind = self.the_card().likelihood[spec.kind]
        if kind == "none":
            if set(self.the_card().likelihood.values()) == {"none"}:
                assert not self.the_family().can("log_likelihood")
            return
        model, batch = self._trained(spec), self.examples(spec, 6)
        for condition in self._askable(spec, 6):
            first, second = (model.log_likelihood(Batch(batch.x, condition)) for _ in range(2))  # type: ignore[operator]
            assert first.kind == kind
            assert first.log_prob.shape == (6,)
            assert torch.isfinite(first.log_prob).all()
            assert torch.equal(first.log_prob, second.log_prob), "a figure cannot be made again"

    def test_exact_densities_integrate_to_one(self) -> None:
        if PLANE not in self.specs() or self.the_card().likelihood["vector"] != "exact":
            pytest.skip("no exact density of vectors")
        model = self._trained(PLANE, steps=20)
        edges = torch.linspace(-9.0, 9.0, 601, dtype=torch.float64)
        centres = ((edges[1:] + edges[:-1]) / 2).float()
        grid = torch.cartesian_prod(centres, centres)  # (360000, 2)
        with torch.no_grad():
            log_density = torch.cat(
                [model.log_likelihood(Batch(part)).log_prob for part in grid.split(40_000)]  # type: ignore[operator]
            )
        cell = float(edges[1] - edges[0]) ** 2
        assert log_density.double().exp().sum().item() * cell == pytest.approx(1.0, abs=1e-2)

    def test_exact_probabilities_of_sequences_sum_to_one(self) -> None:
        if TOKENS not in self.specs() or self.the_card().likelihood["sequence"] != "exact":
            pytest.skip("no exact probability of sequences")
        model = self._trained(SHORT, steps=20)
        with torch.no_grad():
            log_prob = model.log_likelihood(Batch(all_sequences(SHORT))).log_prob  # type: ignore[operator]
        assert log_prob.double().exp().sum().item() == pytest.approx(1.0, abs=1e-4)

    def test_codes_and_reconstructions_have_their_shapes(self, spec: DataSpec) -> None:
        model, batch = self._trained(spec), self.examples(spec, 4)
        family = self.the_family()
        with torch.no_grad():
            if family.can("encode"):
                z = model.encode(batch)  # type: ignore[operator]
                assert z.ndim == 2
                assert len(z) == 4
                assert not family.can("decode") or z.shape[1] == getattr(model, "latent_dim", spec.dimensions)
            if family.can("draw_codes"):
                drawn = model.draw_codes(4, seeded(0))  # type: ignore[operator]
                assert torch.equal(drawn, model.draw_codes(4, seeded(0)))  # type: ignore[operator]
                assert family.can("decode")
                assert drawn.shape == (z.shape if family.can("encode") else (4, model.latent_dim))
                z = drawn
            elif family.can("decode") and not family.can("encode"):
                z = torch.randn(4, model.latent_dim, generator=seeded(0))  # type: ignore[call-overload]
            if family.can("decode"):
                conditions = (batch.condition,) if family.requires_condition() else ()
                decoded = model.decode(z, *conditions)  # type: ignore[operator]
                assert decoded.shape == batch.x.shape
                check_values(decoded, spec, lattice=False)
            if family.can("reconstruct"):
                again = model.reconstruct(batch)  # type: ignore[operator]
                assert again.shape == batch.x.shape
                check_values(again, spec, lattice=False)

    def test_imputation_fills_in_what_is_missing_alone(self, spec: DataSpec) -> None:
        if not self.the_family().can("impute"):
            pytest.skip("no imputation of its own")
        model, batch = self._trained(spec), self.examples(spec, 6)
        x = batch.x
        missing = torch.rand(x.shape, generator=seeded(0)) < 0.5
        given = batch if self.the_card().requires_condition else Batch(x)
        filled = model.impute(given, missing, seeded(0))  # type: ignore[operator]
        assert filled.shape == x.shape
        assert torch.equal(filled[~missing], x[~missing])
        check_values(filled, spec, lattice=False)

    def test_completions_keep_what_is_there(self, spec: DataSpec) -> None:
        if not self.the_family().can("complete"):
            pytest.skip("no completion")
        model, batch, cheap = self._trained(spec), self.examples(spec, 6), self._cheap("sample")
        missing = (torch.arange(spec.dimensions) >= spec.dimensions // 2).view(spec.shape).expand(batch.x.shape)
        for condition in self._askable(spec, 6):
            given = Batch(batch.x, condition)
            first, second = (model.complete(given, missing, generator=seeded(0), **cheap) for _ in range(2))  # type: ignore[operator]
            assert torch.equal(first[~missing], batch.x[~missing])
            assert torch.equal(first, second)
            check_values(first, spec, lattice=True)

    # --- plumbing ----------------------------------------------------------------------------------------

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "spec" in metafunc.fixturenames:
            metafunc.parametrize("spec", self.specs(), ids=lambda spec: spec.name)

    @classmethod
    def the_card(cls) -> FamilyCard:
        return cls.card if isinstance(cls.card, FamilyCard) else load_card(cls.card)

    @classmethod
    def the_family(cls) -> type[GenerativeModel]:
        if cls.family is not None:
            return cls.family
        return load_class(cls.the_card().implementation)

    def _parameters(self, role: str) -> list[Parameter]:
        return [p for p in self.the_card().space if p.role == role]

    def _cheap(self, role: str) -> dict[str, Any]:
        cheap = {p.name: p.low for p in self._parameters(role) if p.name in _CHEAP and p.kind == "int"}
        return {**cheap, **self.settings} if role == "train" else cheap

    def _build(self, spec: DataSpec) -> GenerativeModel:
        torch.manual_seed(0)
        return self.the_family()(spec, **self._cheap("train"))

    def _trained(self, spec: DataSpec, steps: int = 2) -> GenerativeModel:
        """A model after a few optimiser steps of every phase, so that nothing rests on its initial weights."""
        model, data = self._build(spec), self.examples(spec, 64)
        generator = seeded(0)
        model.train()
        for stage in model.stages():
            if stage.fit is not None:
                stage.fit(data, generator)
            optimisers = [torch.optim.Adam(list(phase.parameters), 1e-3) for phase in stage.phases]
            for step in range(steps if stage.phases else 0):
                model.progress = Progress(step, steps)
                for phase, optimiser in zip(stage.phases, optimisers, strict=True):
                    optimiser.zero_grad()
                    phase.loss(data, generator).total.backward()
                    optimiser.step()
                    if phase.after is not None:
                        phase.after()
        model.eval()
        return model

    def _train_kept(self, settings: Mapping[str, Any], data: DataSet, cache: Path, **options: Any) -> KeptRun:
        return train_kept(self.the_card(), self.the_family(), settings, data, cache, **options)

    def _data(self, spec: DataSpec) -> DataSet:
        return DataSet(spec, {"train": Examples.of(self.examples(spec, 48), spec)})

    @classmethod
    def _fit(cls, spec: DataSpec) -> Fit:
        return cls.the_card().fit(spec.kind, spec.condition.kind)

    def _askable(self, spec: DataSpec, n: int) -> list[Tensor | None]:
        """What n examples of the data may be asked for: conditions where the card takes them, then none."""
        asked = [] if self._fit(spec).condition == "none" else [conditions_like(spec, n)]
        return asked if self.the_card().requires_condition else [*asked, None]

    def _sample(self, model: GenerativeModel, seed: int) -> Tensor:
        condition = self._askable(model.data, 3)[0]
        return model.sample(3, condition=condition, generator=seeded(seed), **self._cheap("sample"))
