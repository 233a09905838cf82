"""Autoencoders next to pythae's: an epoch of training, and samples, at equal architecture; a command, not a test.

    pip install -c constraints.txt -e '.[peers]'
    OMP_NUM_THREADS=1 python tests/performance/speed_pythae.py --rounds 15

Both sides train the same networks on the same 1,024 binary digits in batches of 64 with Adam, each through its own
trainer: ours is the house's loop, theirs `BaseTrainer`'s. Turns alternate, and what counts is the median of the ratios
of neighbouring turns. The likelihoods are the same for the VAE (Bernoulli) and the autoencoder (squared error);
pythae's VQ-VAE has a squared error where ours has Bernoulli. VQ-VAEs are compared by the first stage alone, since
the priors are of different architectures.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from gentune.bench.data import load
from gentune.bench.data.examples import Examples
from gentune.bench.training.loop import LoopSettings, StageTraining
from gentune.models import Batch, ConditionSpec, DataSpec, GenerativeModel
from gentune.models.autoencoders.autoencoder import Autoencoder
from gentune.models.autoencoders.vae import VAE
from gentune.models.autoencoders.vq_vae import VQVAE

TARGET = 1.05  # ours over theirs, at most
_SAMPLES = 500  # as many as runs draw at a time
_EXAMPLES, _BATCH = 1_024, 64
_ROUNDS = 15
_CODES, _CODE_DIM = 64, 16

Model = TypeVar("Model", bound=GenerativeModel)


@dataclass(frozen=True)
class Pair:
    """The same work done by this house and by another."""

    name: str
    ours: Callable[[], object]
    theirs: Callable[[], object]


def pairs() -> list[Pair]:
    """Every pair; each side is warm after one call. Raises ModuleNotFoundError without pythae."""
    return [*_vae(), *_autoencoder(), *_vq_vae()]


def _vae() -> list[Pair]:
    from pythae import models
    from pythae.samplers import NormalSampler

    data = _binary_digits()
    ours = _seeded(lambda: VAE(data[0]))
    config = models.VAEConfig(input_dim=data[0].shape, latent_dim=ours.latent_dim, reconstruction_loss="bce")
    twin = _seeded(lambda: VAE(data[0]))
    theirs = models.VAE(config, encoder=_encoder(twin.encoder, "vae"), decoder=_decoder(twin.decoder, nn.Sigmoid()))
    sampler = NormalSampler(theirs)
    return [
        Pair("vae, epoch", _our_epoch(ours, data[1]), _their_epoch(theirs, data[1])),
        Pair("vae, samples", _our_samples(ours, output="mean"), lambda: sampler.sample(_SAMPLES, return_gen=True)),
    ]


def _autoencoder() -> list[Pair]:
    from pythae.models import AE, AEConfig
    from pythae.samplers import GaussianMixtureSampler, GaussianMixtureSamplerConfig

    data = _binary_digits()
    ours, twin = (_seeded(lambda: Autoencoder(data[0])) for _ in range(2))
    config = AEConfig(input_dim=data[0].shape, latent_dim=ours.latent_dim)
    theirs = AE(config, encoder=_encoder(twin.encoder, "ae"), decoder=_decoder(twin.decoder, nn.Identity()))
    ours.fit_codes(data[1], torch.Generator().manual_seed(0))
    sampler = GaussianMixtureSampler(theirs, GaussianMixtureSamplerConfig(n_components=10))
    sampler.fit((data[1].x + 1) / 2)
    return [
        Pair("autoencoder, epoch", _our_epoch(ours, data[1]), _their_epoch(theirs, data[1])),
        Pair("autoencoder, samples", _our_samples(ours), lambda: sampler.sample(_SAMPLES, return_gen=True)),
    ]


def _vq_vae() -> list[Pair]:
    from pythae import models

    data = _binary_digits()
    ours, twin = (_seeded(lambda: VQVAE(data[0], codes=_CODES, code_dim=_CODE_DIM)) for _ in range(2))
    side = data[0].shape[1] // 4
    config = models.VQVAEConfig(
        input_dim=data[0].shape,
        latent_dim=ours.latent_dim,
        num_embeddings=_CODES,
        use_ema=True,
        decay=0.97,
    )
    into_map = nn.Sequential(twin.encoder, _ToMap(side))
    from_map = nn.Sequential(_FromMap(), twin.decoder)
    theirs = models.VQVAE(config, encoder=_encoder(into_map, "ae"), decoder=_decoder(from_map, nn.Identity()))
    return [Pair("vq_vae, epoch", _our_epoch(ours, data[1]), _their_epoch(theirs, data[1]))]


class _ToMap(nn.Module):
    """Vectors (n, T, d) to a map (n, d, side, T / side), as pythae wants its codes."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, z: Tensor) -> Tensor:
        return z.transpose(1, 2).unflatten(2, (self.side, -1))


class _FromMap(nn.Module):
    """The way back."""

    def forward(self, z: Tensor) -> Tensor:
        return z.flatten(2).transpose(1, 2)


def _encoder(network: nn.Module, kind: str) -> Any:
    """Our network as pythae's encoder; "vae": its outputs are means and log-deviations."""
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseEncoder

    class Wrapped(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Tensor) -> Any:
            out = self.network(2 * x - 1)
            if kind == "ae":
                return ModelOutput(embedding=out)
            mean, log_scale = out.chunk(2, dim=1)
            return ModelOutput(embedding=mean, log_covariance=2 * log_scale.clamp(-8.0, 4.0))

    return Wrapped()


def _decoder(network: nn.Module, last: nn.Module) -> Any:
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder

    class Wrapped(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.last = network, last

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=self.last(self.network(z)))

    return Wrapped()


def _our_epoch(model: GenerativeModel, data: Batch) -> Callable[[], object]:
    training = StageTraining(
        model, model.stages()[0], Examples.of(data), LoopSettings(batch_size=_BATCH), horizon=10**6, seed=0
    )

    def epoch() -> None:
        for _ in training.advance(training.step + _EXAMPLES // _BATCH):
            pass

    return epoch


def _their_epoch(model: Any, data: Batch) -> Callable[[], object]:
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    folder = tempfile.mkdtemp(prefix="pythae-")
    config = BaseTrainerConfig(
        output_dir=folder, per_device_train_batch_size=_BATCH, learning_rate=4e-3, num_epochs=1, no_cuda=True
    )
    dataset = BaseDataset((data.x + 1) / 2, torch.ones(len(data)))
    trainer = BaseTrainer(model, dataset, training_config=config)
    trainer.prepare_training()
    trainer.callback_handler.callbacks = []  # no progress bar
    return lambda: trainer.train_step(1)


def _our_samples(model: GenerativeModel, **settings: Any) -> Callable[[], object]:
    model.eval()
    return lambda: model.sample(_SAMPLES, generator=torch.Generator().manual_seed(0), **settings)


def _seeded(make: Callable[[], Model]) -> Model:
    torch.manual_seed(0)
    return make()


def _binary_digits() -> tuple[DataSpec, Batch]:
    """Digits with two levels, without labels."""
    data = load("digits")
    spec = replace(data.spec, name="binary_digits", levels=2, condition=ConditionSpec())
    return spec, Batch(torch.where(data.splits["train"].x[:_EXAMPLES] > 0, 1.0, -1.0))


def _turn(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description="Autoencoders next to pythae's, in interleaved turns.")
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    try:
        every = pairs()
    except ModuleNotFoundError as error:
        sys.exit(f"{error}: pip install -c constraints.txt -e '.[peers]'")
    print(f"{'milliseconds, median':<24}{'ours':>9}{'pythae':>9}{'ratio':>9}   wanted: at most {TARGET}")
    for pair in every:
        pair.ours(), pair.theirs()
        turns = [(_turn(pair.ours), _turn(pair.theirs)) for _ in range(rounds)]
        ours, theirs = (statistics.median(side) for side in zip(*turns, strict=True))
        ratio = statistics.median(a / b for a, b in turns)
        print(f"{pair.name:<24}{1e3 * ours:9.1f}{1e3 * theirs:9.1f}{ratio:9.2f}", flush=True)


if __name__ == "__main__":
    main()
