"""How fast training batches come, next to a plain DataLoader, and how much memory a large set takes.

    python tests/performance/input_path.py [--images 200000] [--side 64] [--folder DIR]

It writes colour images of smooth noise as one .npy, opens it by the reader of arrays with a cold and a warm cache, each
in a process of its own, and prints a table in Markdown. `RssAnon` is the memory that is not backed by files.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 128
SECONDS = 10.0  # that each way of loading is measured
STEPS = 20  # of training


def write_images(path: Path, count: int, side: int) -> None:
    """Smooth noise (n, 3, side, side) in 8 bits: fields of 8×8 random values, enlarged."""
    random = np.random.default_rng(0)
    x = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, 3, side, side))
    for start in range(0, count, 2_000):
        n = min(2_000, count - start)
        coarse = random.integers(0, 256, (n, 3, 8, 8), dtype=np.uint8)
        x[start : start + n] = coarse.repeat(side // 8, axis=2).repeat(side // 8, axis=3)
    x.flush()


def resident() -> float:
    """GiB of this process that no file backs, at this moment."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 2**20
    raise RuntimeError("this system does not tell RssAnon")


def measure(path: Path) -> dict[str, Any]:
    """Opens the set and trains on it, in this process: seconds, examples per second, GiB."""
    import torch

    from gentune.bench import registry
    from gentune.bench.data import locate, open_data
    from gentune.bench.training.loop import LoopSettings, train
    from gentune.bench.training.setting import build_model

    torch.set_num_threads(1)
    began, peak = time.perf_counter(), resident()
    data = open_data(locate(str(path)))
    examples = data.splits["train"]
    generator = torch.Generator().manual_seed(0)
    examples[torch.randint(len(examples), (BATCH,), generator=generator)]
    first = time.perf_counter() - began
    peak = max(peak, resident())

    def ours() -> Iterator[int]:
        while True:
            batch = examples[torch.randint(len(examples), (BATCH,), generator=generator)]
            yield len(batch)

    stored = np.load(path, mmap_mode="r")

    class Plain(torch.utils.data.Dataset[torch.Tensor]):
        def __len__(self) -> int:
            return len(stored)

        def __getitem__(self, index: int) -> torch.Tensor:
            return torch.from_numpy(stored[index].astype(np.float32)) / 127.5 - 1

    def plain() -> Iterator[int]:
        for batch in torch.utils.data.DataLoader(Plain(), batch_size=BATCH, shuffle=True):
            yield len(batch)

    speeds = {"gentune": _speed(ours()), "DataLoader": _speed(plain())}
    model = build_model(registry.family("beta_vae").load(), data.spec, {}, 0)
    train(model, examples, LoopSettings(batch_size=BATCH), steps=STEPS, seed=0)
    return {
        "first_batch_seconds": first,
        "speeds": speeds,
        "opened_gib": peak,
        "trained_gib": resident(),
    }


def _speed(batches: Iterator[int]) -> float:
    """Examples per second."""
    next(batches)
    began, count = time.perf_counter(), 0
    for n in batches:
        count += n
        if time.perf_counter() - began > SECONDS:
            break
    return count / (time.perf_counter() - began)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--images", type=int, default=200_000)
    options.add_argument("--side", type=int, default=64)
    options.add_argument("--folder", type=Path, help="Where the images and the cache lie for the time being.")
    options.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.measure is not None:
        print(json.dumps(measure(given.measure)))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        path = Path(folder) / "images.npy"
        write_images(path, given.images, given.side)
        environment = os.environ | {"GENTUNE_CACHE": str(Path(folder) / "cache"), "OMP_NUM_THREADS": "1"}
        print(f"{given.images:,} images of {given.side}×{given.side}×3, {path.stat().st_size / 2**30:.2f} GiB\n")
        print("| cache | first batch after imports | examples/s | plain DataLoader | RssAnon opened | trained |")
        print("|---|---:|---:|---:|---:|---:|")
        for cache in ("cold", "warm"):
            command = [sys.executable, __file__, "--measure", str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
            found = json.loads(done.stdout)
            print(
                f"| {cache} | {found['first_batch_seconds']:.2f} s | {found['speeds']['gentune']:,.0f} "
                f"| {found['speeds']['DataLoader']:,.0f} | {found['opened_gib']:.2f} GiB "
                f"| {found['trained_gib']:.2f} GiB |",
                flush=True,
            )


if __name__ == "__main__":
    main()
