"""How much memory scores of a large set take: whether it grows with the set.

    python tests/performance/scoring_memory.py [--images 20000 80000] [--side 32] [--folder DIR]

For each size it writes labelled colour images of smooth noise as one .npy, maps it, and prints in Markdown by how many
MiB the memory that no file backs (`RssAnon`) rises at most during three steps, with 2,000 real images as samples:
scores as of a final with its nearest train examples, those of `gentune evaluate`, and the pictures of `gentune latent`.
The evaluator is a small untrained one: its own memory is left out, and training it would take the most time.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from input_path import resident, write_images

SAMPLES = 2_000
CLASSES = 10
EVERY = 0.005  # seconds between looks at the memory


def rise(step: Callable[[], object]) -> float:
    """MiB by which RssAnon rises at most while a step runs."""
    before, highest, running = resident(), 0.0, True

    def watch() -> None:
        nonlocal highest
        while running:
            highest = max(highest, resident())
            time.sleep(EVERY)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        step()
    finally:
        running = False
        watcher.join()
    return 1024 * (highest - before)


def measure(path: Path) -> list[float]:
    """The rise in each step, in this process."""
    import torch

    from gentune.bench.artifacts.latent_pictures import picture_codes
    from gentune.bench.artifacts.neighbours import nearest_neighbours, write_neighbours
    from gentune.bench.data import DataSet
    from gentune.bench.data.examples import Examples
    from gentune.bench.evaluators import Evaluator, networks
    from gentune.bench.registry import family
    from gentune.bench.scoring.context import ScoringContext
    from gentune.bench.scoring.references import real_examples
    from gentune.bench.scoring.scorer import metrics_of_samples, score
    from gentune.models import Batch, ConditionSpec, DataSpec

    torch.set_num_threads(1)
    levels = np.load(path, mmap_mode="r")
    rows = np.random.default_rng(0).permutation(len(levels))
    parts = np.split(rows, [int(0.6 * len(rows)), int(0.8 * len(rows))])
    spec = DataSpec("large", "image", levels.shape[1:], levels=256, condition=ConditionSpec("label", classes=CLASSES))
    train, validation, test = (
        Examples.of_arrays(spec, levels, np.arange(len(part)) % CLASSES, rows=part) for part in parts
    )
    data = DataSet(spec, {"train": train, "validation": validation, "test": test})
    some = validation[:SAMPLES]
    samples = Batch(some.x.clone(), some.condition)
    evaluator = Evaluator("convolutional", "untrained", networks.Convolutional(spec, width=2))
    torch.manual_seed(0)
    model = family("beta_vae").load()(spec).eval()
    evaluator.features(samples.x)
    with torch.no_grad():
        model.encode(samples[:500])  # type: ignore[operator]

    def final() -> None:
        context = ScoringContext(
            data, "test", samples, evaluator, path.parent / "final", real_count=real_examples(data, "test")
        )
        score(context, ["fid", "authenticity", "nearest_train_distance"])
        assert context.generated_features is not None
        assert context.train_features is not None
        found = nearest_neighbours(context.generated_features.features, context.train_features.features)
        write_neighbours(path.parent, "samples", samples, context.train, found, spec, maker="real")

    def external() -> None:
        context = ScoringContext(data, "test", samples, evaluator, path.parent / "external", tested_on=test)
        score(context, metrics_of_samples())

    def latent() -> None:
        picture_codes(model, data, path.parent, "codes", maker="beta_vae", seed=0, judge=lambda: None)

    return [rise(step) for step in (final, external, latent)]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--images", type=int, nargs="+", default=[20_000, 80_000])
    options.add_argument("--side", type=int, default=32)
    options.add_argument("--folder", type=Path, help="Where the images lie for the time being.")
    options.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.measure is not None:
        print(" | ".join(f"{mib:,.0f} MiB" for mib in measure(given.measure)))
        return
    print(f"| images of {given.side}×{given.side}×3 | final | evaluate | latent |\n|---:|---:|---:|---:|")
    for count in given.images:
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            path = Path(folder) / "images.npy"
            write_images(path, count, given.side)
            command = [sys.executable, __file__, "--measure", str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            print(f"| {count:,} | {done.stdout.strip()} |", flush=True)


if __name__ == "__main__":
    main()
