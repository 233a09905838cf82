"""A study under measured seconds, on real trainings: each second is charged once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import gentune
from gentune.bench.registry.families import _registered as registered
from gentune.bench.runs.records import Record
from gentune.bench.runs.run_folder import RunFolder
from gentune.models.autoencoders.beta_vae import BetaVAE
from gentune.search_spaces import shipped_cards

BUDGET = 4.0
CARD = next(p for p in shipped_cards() if p.stem == "beta_vae")


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Record]]:
    """Of a study of a beta-VAE whose full training is short."""
    text = CARD.read_text().replace('name = "beta_vae"', 'name = "short_vae"')
    gentune.register(BetaVAE, f"{text}\n[sizes.vector_2]\nsteps = 40\n")
    out = tmp_path_factory.mktemp("seconds") / "run"
    patch = pytest.MonkeyPatch()
    patch.setattr("gentune.bench.protocol.SAMPLES", 200)  # scores are no matter here
    patch.setattr("gentune.bench.protocol.MOST_FINAL_SAMPLES", 400)
    patch.setattr("gentune.bench.driver.study.MOST_TRIALS", 40)  # on a fast machine the budget pays for hundreds
    gentune.tune("short_vae", data="two_moons", seconds=BUDGET, seeds=1, choice_seeds=1, two_speeds=True, out=out)
    patch.undo()
    yield RunFolder(out).records("trial")
    del registered["short_vae"]


@pytest.mark.slow
def test_each_second_of_training_is_charged_once(trials: list[Record]) -> None:
    complete = [r for r in trials if r.state == "complete"]
    assert {"train", "resample"} <= {r.move for r in complete}
    by_number = {r.number: r for r in trials}
    for record in complete:
        trained = record.seconds["train"] + record.seconds["kept"]
        if record.parent is not None:
            parent = by_number[record.parent]
            trained -= parent.seconds["train"] + parent.seconds["kept"]
        assert record.cost == pytest.approx(max(trained, 0.0) + record.seconds["sample"], abs=1e-6)
    # The last trial ends where the budget does, within a step and its samples.
    assert sum(r.cost for r in trials) < 1.1 * BUDGET
