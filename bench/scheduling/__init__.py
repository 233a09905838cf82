"""Where trials run: in this process, or on local devices in worker processes of one thread each."""

from .base import Died, Done, Pool, Progressed, place
from .in_process import InProcessPool
from .local import LocalPool

__all__ = ["Died", "Done", "InProcessPool", "LocalPool", "Pool", "Progressed", "place"]
