"""The training loop: what it owns, and that it is the same every time."""

from __future__ import annotations

import itertools
import math
import time

import pytest
import torch
from torch import Generator, nn

from gentune.bench.training import (
    DeadlineError,
    DivergedError,
    LoopSettings,
    StageTraining,
    _Batches,
    train,
)
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


def trained(seed: int = 0, steps: int = 30, **settings: object) -> Line:
    model = Line()
    train(model, data(), LoopSettings(batch_size=16, **settings), steps=steps, seed=seed)  # type: ignore[arg-type]
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
        settings = LoopSettings(batch_size=16, ema_half_life=0.1)
        return StageTraining(model, model.stages()[0], data(), settings, horizon=40, seed=3)

    broken, whole = Line(), Line()
    parts = stage_training(broken)
    for until in (10, 40):
        for _ in parts.advance(until):
            torch.rand(3)  # somebody else uses the global generator in between
    unbroken = stage_training(whole)
    for _ in unbroken.advance(40):
        pass
    parts.use_average()
    unbroken.use_average()
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
    last, averaged = trained(steps=40), trained(steps=40, ema_half_life=0.2)
    assert abs(averaged.w.item()) < abs(last.w.item())  # w rises from 0


def test_the_average_follows_its_formula() -> None:
    model = Line()
    training = StageTraining(
        model, model.stages()[0], data(), LoopSettings(batch_size=16, ema_half_life=0.1), horizon=20, seed=0
    )
    expected = model.w.detach().clone()
    for step in training.advance(20):
        decay = min(0.5 ** (1 / 2.0), (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model.w.detach()
    training.use_average()
    torch.testing.assert_close(model.w.detach(), expected)


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
    training = StageTraining(model, model.stages()[0], data(), LoopSettings(), horizon=20, seed=0)
    rates = [training._optimisers[0].param_groups[0]["lr"] for _ in training.advance(20)]
    cosine = [0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * s / 20)) for s in range(20)]
    expected = [c * min(1.0, (s + 1) / 4) for s, c in enumerate(cosine)]
    assert rates == pytest.approx(expected)


def test_bfloat16_trains() -> None:
    assert torch.isfinite(trained(precision="bfloat16").w).all()


def test_a_fit_stage_gets_the_whole_split_and_counts_its_operations() -> None:
    class Fitted(Trainable):
        def __init__(self) -> None:
            super().__init__()
            self.mean = nn.Buffer(torch.zeros(1))

        def stages(self) -> tuple[Stage, ...]:
            return (Stage("fit", fit=self.fit),)

        def fit(self, batch: Batch, generator: Generator) -> float:
            self.mean.fill_(len(batch))
            return 123.0

    model = Fitted()
    run = train(model, data(), LoopSettings(), steps=1, seed=0)
    assert model.mean.item() == 50
    assert run.fit_operations == 123.0
    assert run.steps == 0


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
