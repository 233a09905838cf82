"""Constants of the measuring protocol that several rooms share.

Scores depend on all of them, so that a change makes the scores of earlier runs another protocol's. They are read as
`protocol.NAME`, so that tests can make them small.
"""

from __future__ import annotations

SAMPLES = 2_000  # the most examples of each side that trials' sample metrics see, and finals' at equal counts
REAL_EXAMPLES = 5_000  # the most real examples that distribution metrics of finals see
# Samples of a final: ten times the real examples, within these bounds. More would hardly lessen the error, since the
# spread between trainings and the real side's share of it are left.
SAMPLES_PER_REAL = 10
FEWEST_FINAL_SAMPLES, MOST_FINAL_SAMPLES = 3_600, 10_000
LIKELIHOOD_EXAMPLES = 20_000  # the most examples whose likelihood is computed
OUTLYING = 1e-3  # share of vectors that every family is taken to expect anywhere about the train split
TRAIN_EXAMPLES = 20_000  # the most train examples among which copies are looked for
CHUNK = 500  # examples that a model draws or evaluates at a time; chunks have their own seeds
INTERMEDIATE_SHARES = (0.125, 0.25, 0.5)  # shares of a full training at which scores are taken, besides its end
FEW = 64  # samples; a score on few is compared with other scores on as few alone
SIGNS = {"lower": 1.0, "higher": -1.0}  # of objectives, in the engine's eyes


def shares_between(begun: float, goal: float) -> tuple[float, ...]:
    """The shares of a full training at which one that goes from `begun` to `goal` may be stopped."""
    return tuple(share for share in INTERMEDIATE_SHARES if begun < share < goal)
