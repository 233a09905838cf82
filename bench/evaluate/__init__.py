"""External samples: reads them from files and scores them against a data set."""

from .external_samples import Scores, evaluate

__all__ = ["Scores", "evaluate"]
