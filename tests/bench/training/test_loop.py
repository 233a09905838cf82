"""The training loop: what it owns, and that it is the same every time."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Generator, nn

from gentune.bench.data.examples import Examples
from gentune.bench.seeds import derive
from gentune.bench.training.averages import WIDTHS
from gentune.bench.training.loop import (
    DeadlineError,
    DivergedError,
    LoopSettings,
    StageTraining,
    TrainingRun,
    _Batches,
    plan,
    train,
)
from gentune.bench.training.state import TrainingState
from gentune.models import Adam, Batch, Losses, Phase, Stage, Trainable


class Line(Trainable):
    """y = w x with dropout and noise, so that every source of randomness is used."""

    def __init__(self, start: float = 0.0) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([start]))
        self.dropout = nn.Dropout(0.2)

    def loss(self, batch: Batch, generator: Generator) -> Losses:
        noise = 0.1 * torch.randn(batch.x.shape, generator=generator)
        error = (self.dropout(self.w * batch.x) - 2 * batch.x + noise).square().mean()
        return Losses(error, {"w": self.w.sum()})


def data(n: int = 50) -> Batch:
    return Batch(torch.linspace(-1, 1, n).unsqueeze(1))


def trained(seed: int = 0, steps: int = 30, average: float = 0.0, **settings: object) -> Line:
    model = Line()
    loop = LoopSettings(batch_size=16, averages=average > 0, **settings)  # type: ignore[arg-type]
    train(model, data(), loop, steps=steps, seed=seed, average=average)
    return model


def test_a_seed_fixes_everything_and_global_randomness_is_left_alone() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = trained()
    assert torch.equal(before, torch.random.get_rng_state())
    torch.rand(7)
    assert torch.equal(first.w, trained().w)
    assert not torch.equal(first.w, trained(seed=1).w)


def test_advancing_in_parts_equals_an_unbroken_run() -> None:
    def stage_training(model: Line) -> StageTraining:
        settings = LoopSettings(batch_size=16, averages=True)
        return StageTraining(model, model.stages()[0], Examples.of(data()), settings, horizon=40, seed=3)

    broken, whole = Line(), Line()
    parts = stage_training(broken)
    for until in (10, 40):
        for _ in parts.advance(until):
            torch.rand(3)  # somebody else uses the global generator in between
    unbroken = stage_training(whole)
    for _ in unbroken.advance(40):
        pass
    parts.use_average(0.1)
    unbroken.use_average(0.1)
    assert torch.equal(broken.w, whole.w)
    assert parts.history == unbroken.history


def test_every_epoch_shows_every_example_once() -> None:
    batches = _Batches(10, 4, seed=0)
    stream = torch.cat([batches.indices(draw) for draw in range(5)])
    assert sorted(stream[:10].tolist()) == list(range(10))
    assert sorted(stream[10:].tolist()) == list(range(10))
    assert stream[:10].tolist() != stream[10:].tolist()
    late = _Batches(10, 4, seed=0).indices(4)
    assert torch.equal(late, stream[16:20])


def test_the_order_is_that_of_shuffled_epochs_of_which_one_is_held() -> None:
    batches = _Batches(10, 4, seed=3)
    expected = torch.cat(
        [torch.randperm(10, generator=torch.Generator().manual_seed(derive(3, "epoch", epoch))) for epoch in range(4)]
    )
    for draw in (0, 1, 2, 7, 3):
        assert torch.equal(batches.indices(draw), expected[4 * draw : 4 * draw + 4])
    assert batches._kept is not None
    assert (len(batches._kept[1]), batches._kept[1].dtype) == (10, torch.int32)


def test_a_batch_may_be_larger_than_the_data() -> None:
    counts = torch.bincount(_Batches(3, 7, seed=0).indices(0), minlength=3)
    assert counts.sum() == 7
    assert counts.min() >= 2


class Two(Trainable):
    """Two phases that must not touch each other's weights."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.ones(1))
        self.b = nn.Parameter(torch.ones(1))
        self.calls: list[str] = []
        self.fractions: list[float] = []

    def stages(self) -> tuple[Stage, ...]:
        return (
            Stage(
                "both",
                phases=(
                    Phase("a", [self.a], self.loss_a, Adam(0.1), steps=2, after=lambda: self.calls.append("after")),
                    Phase("b", [self.b], self.loss_b, Adam(0.1)),
                ),
            ),
        )

    def loss_a(self, batch: Batch, generator: Generator) -> Losses:
        self.calls.append("a")
        assert not self.b.requires_grad
        return Losses((self.a * self.b).sum())

    def loss_b(self, batch: Batch, generator: Generator) -> Losses:
        self.calls.append("b")
        self.fractions.append(self.progress.fraction)
        assert not self.a.requires_grad
        return Losses((self.a * self.b).sum())


def test_phases_take_turns_and_keep_to_their_weights() -> None:
    model = Two()
    run = train(model, data(), LoopSettings(), steps=4, seed=0)
    assert model.calls == ["a", "after", "a", "after", "b"] * 4
    assert model.fractions == [0.0, 0.25, 0.5, 0.75]
    assert model.a.requires_grad
    assert model.b.requires_grad
    assert run.steps == 4
    assert run.history[-1]["step"] == 4


def test_averaged_weights_lag_behind() -> None:
    last, averaged = trained(steps=40), trained(steps=40, average=0.2)
    assert abs(averaged.w.item()) < abs(last.w.item())  # w rises from 0


@pytest.mark.parametrize("until", [40, 100])
@pytest.mark.parametrize("half_life", [0.02, 0.05, 0.2])
def test_the_average_is_exponential_over_the_steps_so_far(half_life: float, until: int) -> None:
    model = Line()
    training = StageTraining(
        model, model.stages()[0], Examples.of(data()), LoopSettings(batch_size=16, averages=True), horizon=100, seed=0
    )
    seen = torch.cat([model.w.detach().clone() for _ in training.advance(until)])
    weights = 0.5 ** (torch.arange(until - 1, -1, -1) / (half_life * 100))
    expected = (weights * seen).sum() / weights.sum()
    training.use_average(half_life)
    assert abs(model.w.detach() - expected) < 0.05 * abs(seen[-1] - expected)


def test_a_half_life_of_nought_is_the_last_weights_and_averages_change_no_training() -> None:
    model = Line()
    train(model, data(), LoopSettings(batch_size=16, averages=True), steps=30, seed=0)
    assert torch.equal(model.w, trained().w)


@pytest.mark.parametrize(
    ("average", "averages", "said"),
    [(0.1, False, "keep no averages"), (-0.1, True, "of 0 or more"), (float("nan"), True, "of 0 or more")],
)
def test_a_half_life_that_cannot_be_had_is_refused(average: float, averages: bool, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        train(Line(), data(), LoopSettings(averages=averages), steps=1, seed=0, average=average)


def test_divergence_is_found() -> None:
    with pytest.raises(DivergedError, match="not finite by step"):
        train(Line(float("nan")), data(), LoopSettings(), steps=20, seed=0)


def test_a_deadline_is_kept() -> None:
    with pytest.raises(DeadlineError, match="the budget ended at step 1"):
        train(Line(), data(), LoopSettings(), steps=20, seed=0, deadline=time.monotonic() - 1)


def test_gradients_are_clipped() -> None:
    class Steep(Line):
        def stages(self) -> tuple[Stage, ...]:
            # Adam's first step is the learning rate whatever the gradient; eps = 1 makes it show the gradient.
            optimiser = Adam(1.0, betas=(0.0, 0.0), eps=1.0)
            return (Stage("s", phases=(Phase("p", [self.w], self.steep, optimiser),)),)

        def steep(self, batch: Batch, generator: Generator) -> Losses:
            return Losses(1e6 * self.w.sum())

    model = Steep()
    train(model, data(), LoopSettings(gradient_clip=0.5), steps=1, seed=0)
    torch.testing.assert_close(model.w.detach(), torch.tensor([-0.5 / 1.5]))


def test_learning_rate_schedule_refers_to_the_full_horizon() -> None:
    class Scheduled(Line):
        def stages(self) -> tuple[Stage, ...]:
            optimiser = Adam(1.0, warmup_steps=4, decay="cosine", final_share=0.1)
            return (Stage("s", phases=(Phase("p", [self.w], self.loss, optimiser),)),)

    model = Scheduled()
    training = StageTraining(model, model.stages()[0], Examples.of(data()), LoopSettings(), horizon=20, seed=0)
    rates = [training._optimisers[0].param_groups[0]["lr"] for _ in training.advance(20)]
    cosine = [0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * s / 20)) for s in range(20)]
    expected = [c * min(1.0, (s + 1) / 4) for s, c in enumerate(cosine)]
    assert rates == pytest.approx(expected)


def test_bfloat16_trains() -> None:
    assert torch.isfinite(trained(precision="bfloat16").w).all()


@pytest.mark.parametrize("wrong", [{}, {"fit": lambda d, g: None, "phases": "some"}, {"share": 0.0}])
def test_a_stage_is_either_phases_or_a_fit(wrong: dict[str, object]) -> None:
    phases = (Phase("p", [nn.Parameter(torch.ones(1))], lambda b, g: Losses(b.x.sum()), Adam(0.1)),)
    arguments = {k: (phases if v == "some" else v) for k, v in wrong.items()}
    if "share" in arguments:
        arguments["phases"] = phases
    with pytest.raises(ValueError, match="stage 's'"):
        Stage("s", **arguments)  # type: ignore[arg-type]


def test_a_loss_must_be_a_scalar() -> None:
    class Wrong(Line):
        def loss(self, batch: Batch, generator: Generator) -> Losses:
            return Losses(self.w * batch.x)

    with pytest.raises(ValueError, match="wanted a scalar"):
        train(Wrong(), data(), LoopSettings(), steps=1, seed=0)


def test_progress_is_told() -> None:
    shares: list[float] = []
    train(Line(), data(), LoopSettings(), steps=30, seed=0, on_progress=shares.append)
    assert shares == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert all(a < b for a, b in itertools.pairwise(shares))


# --- shares of a training, and going on ---------------------------------------------------------------------


class Memory:
    """States of one training, by stage and step."""

    def __init__(self) -> None:
        self.states: dict[tuple[int, int], TrainingState] = {}
        self.held: list[int] = []

    def newest(self, stage: int, step: int, beyond: int = 0) -> TrainingState | None:
        there = [s for n, s in self.states if n == stage and beyond < s <= step]
        return self.states[stage, max(there)] if there else None

    @contextmanager
    def holding(self, stage: int, waiting: Callable[[], None]) -> Iterator[None]:
        self.held.append(stage)
        yield

    def keep(self, stage: int, state: TrainingState) -> None:
        self.states[stage, state.step] = replace(state, tensors={k: v.clone() for k, v in state.tensors.items()})


def line_with(kept: Memory, fidelity: float, average: float = 0.1, **options: object) -> tuple[Line, TrainingRun]:
    model = Line()
    settings = LoopSettings(batch_size=16, averages=True)
    options |= {"fidelity": fidelity, "average": average}
    run = train(model, data(), settings, steps=40, seed=0, kept=kept, **options)  # type: ignore[arg-type]
    return model, run


@pytest.mark.parametrize("fidelity", [0.0, -0.5, 1.01, float("nan")])
def test_a_fidelity_is_a_share(fidelity: float) -> None:
    with pytest.raises(ValueError, match=r"fidelity is .*wanted more than 0, at most 1"):
        plan(Line().stages(), 10, fidelity)


def test_a_share_of_a_training_has_the_schedules_of_the_whole() -> None:
    model = Two()
    run = train(model, data(), LoopSettings(), steps=8, seed=0, fidelity=0.5)
    assert model.fractions == [0.0, 0.125, 0.25, 0.375]
    assert run.steps == 4
    tiny = train(Two(), data(), LoopSettings(), steps=8, seed=0, fidelity=0.01)
    assert tiny.steps == 1


def test_going_on_equals_an_unbroken_training() -> None:
    whole, broken = Memory(), Memory()
    unbroken, account = line_with(whole, 1.0)
    for fidelity in (0.1, 0.3, 1.0):
        model, run = line_with(broken, fidelity)
    assert sorted(broken.states) == [(0, 4), (0, 12), (0, 40)]
    assert torch.equal(model.w, unbroken.w)
    first, second = whole.states[0, 40], broken.states[0, 40]
    assert set(first.tensors) == {
        "model.w",
        "average.step",
        "average.widths",
        *(f"average.{width}/0" for width in range(len(WIDTHS))),
        *(f"optimiser.0.0.{name}" for name in ("step", "exp_avg", "exp_avg_sq")),
    }
    assert all(torch.equal(first.tensors[name], second.tensors[name]) for name in first.tensors)
    assert (run.history, run.steps) == (account.history, account.steps)
    assert run.seconds > run.seconds_now > 0


def test_what_is_kept_is_the_last_weights_and_not_their_average() -> None:
    kept, other = Memory(), Memory()
    model, _ = line_with(kept, 1.0)
    last, _ = line_with(other, 1.0, average=0.0)
    state = kept.states[0, 40]
    assert torch.equal(last.w, state.tensors["model.w"])
    assert not torch.equal(model.w, state.tensors["model.w"])
    assert all(torch.equal(tensor, other.states[0, 40].tensors[name]) for name, tensor in state.tensors.items())
    again, run = line_with(other, 1.0)
    assert torch.equal(again.w, model.w)
    assert run.seconds_now == 0.0


def test_with_the_very_state_nothing_is_trained_and_nobody_is_kept_waiting() -> None:
    kept = Memory()
    model, first = line_with(kept, 0.5)
    assert kept.held == [0]
    again, run = line_with(kept, 0.5)
    assert kept.held == [0]
    assert torch.equal(model.w, again.w)
    assert (run.seconds, run.seconds_now, run.seconds_kept) == (first.seconds, 0.0, first.seconds)
    assert again.progress.fraction == 0.5
    assert not again.training


def test_progress_begins_where_the_kept_part_ends() -> None:
    kept = Memory()
    line_with(kept, 0.25)
    shares: list[float] = []
    line_with(kept, 0.5, on_progress=shares.append)
    assert shares == pytest.approx([0.5, 1.0])


def test_a_failed_training_leaves_its_account_and_no_state() -> None:
    kept, run = Memory(), TrainingRun()
    with pytest.raises(DivergedError):
        train(Line(float("nan")), data(), LoopSettings(), steps=20, seed=0, kept=kept, run=run)
    assert run.seconds == run.seconds_now > 0
    assert not kept.states


def test_weights_that_are_not_finite_are_not_kept() -> None:
    class Bursting(Line):
        def __init__(self) -> None:
            super().__init__()
            self.other = nn.Buffer(torch.zeros(1))

        def stages(self) -> tuple[Stage, ...]:
            return (Stage("s", phases=(Phase("p", [self.w], self.loss, Adam(0.1), after=self.burst),)),)

        def burst(self) -> None:
            self.other.fill_(float("inf"))

    kept = Memory()
    with pytest.raises(DivergedError, match="weight other"):
        train(Bursting(), data(), LoopSettings(), steps=2, seed=0, kept=kept)
    assert not kept.states


class Shared(Line):
    """A first stage that depends on nothing, besides weights of any shape."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.zero = nn.Buffer(torch.zeros(1))
        self.other = nn.Parameter(torch.zeros(width))

    def stages(self) -> tuple[Stage, ...]:
        first = Phase("p", [self.w], self.loss, Adam(0.1), after=self.turn)
        second = Phase("q", [self.other], self.other_loss, Adam(0.1))
        return (
            Stage("first", phases=(first,), share=0.5, depends_on=()),
            Stage("second", phases=(second,), share=0.5),
        )

    def turn(self) -> None:
        self.zero.neg_()

    def other_loss(self, batch: Batch, generator: Generator) -> Losses:
        return Losses((self.other - self.w.detach()).square().sum())


def test_a_shared_stage_keeps_what_it_has_changed_in_any_bit() -> None:
    kept = Memory()
    train(Shared(), data(), LoopSettings(), steps=6, seed=0, kept=kept)
    # Three changes of sign leave -0, which equals 0 but for a bit.
    assert {name for name in kept.states[0, 3].tensors if name.startswith("model.")} == {"model.w", "model.zero"}
    assert {"model.other", "model.w"} <= set(kept.states[1, 3].tensors)
    del kept.states[1, 3]
    wide, alone = Shared(5), Shared(5)
    train(wide, data(), LoopSettings(), steps=6, seed=0, kept=kept)
    train(alone, data(), LoopSettings(), steps=6, seed=0)
    assert torch.equal(wide.other, alone.other)
    assert math.copysign(1.0, wide.zero.item()) == -1.0


def test_a_stage_starts_from_the_averaged_weights_of_the_one_before() -> None:
    kept = Memory()
    train(Shared(), data(), LoopSettings(averages=True), steps=20, seed=0, average=0.1, kept=kept)
    first, second = (kept.states[stage, 10].tensors["model.w"] for stage in range(2))
    assert not torch.equal(first, second)
    alone = Shared()
    (stage, _), settings = alone.stages(), LoopSettings(averages=True)
    training = StageTraining(alone, stage, Examples.of(data()), settings, horizon=10, seed=derive(0, "first"))
    for _ in training.advance(10):
        pass
    assert torch.equal(alone.w, first)
    training.use_average(0.1)
    assert torch.equal(alone.w, second)


def test_a_state_without_averages_cannot_serve_a_training_with_them() -> None:
    kept = Memory()
    train(Line(), data(), LoopSettings(batch_size=16), steps=40, seed=0, fidelity=0.5, kept=kept)
    with pytest.raises(ValueError, match="stored averages do not fit"):
        line_with(kept, 1.0)


def test_a_state_of_another_shape_is_refused() -> None:
    kept = Memory()
    train(Shared(), data(), LoopSettings(), steps=6, seed=0, kept=kept)
    with pytest.raises(ValueError, match=r"has torch.float32 of shape \(3,\) for 'model.other'.*depends on more than"):
        train(Shared(5), data(), LoopSettings(), steps=6, seed=0, kept=kept)
