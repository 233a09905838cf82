"""How many samples finals draw: one number for all families of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .. import protocol
from ..budget.operations import Operations


@dataclass(frozen=True)
class FinalSamples:
    """n samples for each final, where `wanted` would have been drawn but for `limited_by`, a family; None: for none."""

    n: int
    wanted: int
    limited_by: str | None = None


def final_samples(asked: int | None, real: int, defaults: Mapping[str, Operations]) -> FinalSamples:
    """`asked`, if given; else ten times the real examples, within 3,600 and 10,000.

    Where sampling that many would take more operations than the training of some family's default setting, all
    families draw as many as take that family's training: whole multiples of the real examples, never fewer than these.
    Operations are counted, so that no machine's speed has a say; a family without counted steps (a `fit`) has none.

    real: examples that they are compared with. defaults: operations of each family's default setting.
    """
    if asked is not None:
        return FinalSamples(asked, asked)
    wanted = min(protocol.MOST_FINAL_SAMPLES, max(protocol.FEWEST_FINAL_SAMPLES, protocol.SAMPLES_PER_REAL * real))
    affordable = {name: int(o.train / o.per_sample) for name, o in defaults.items() if o.train and o.per_sample}
    slowest = min(affordable, key=lambda name: affordable[name], default=None)
    if slowest is None or affordable[slowest] >= wanted:
        return FinalSamples(wanted, wanted)
    return FinalSamples(min(wanted, max(1, affordable[slowest] // real) * real), wanted, slowest)
