"""torch loads part of itself with the first optimiser of a process: seconds that no training or limit is to bear."""

from __future__ import annotations


def load_all_of_torch() -> None:
    """Loads what torch would load with the first optimiser. Costs nothing the second time.

    To be called before a clock or a limit of time starts: on a busy machine the limit would end the import half way,
    and what is half loaded stays broken for the rest of the process.
    """
    import torch._dynamo  # noqa: F401 - what optimisers load on their first call
